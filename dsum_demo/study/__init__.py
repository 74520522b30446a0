"""Studies: fine-tuning methods compared with the same budget, quality against cost."""
