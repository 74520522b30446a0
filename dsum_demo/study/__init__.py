"""Several training methods compared on one budget: quality against cost."""
