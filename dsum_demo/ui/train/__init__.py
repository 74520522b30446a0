"""The Train tab: start, watch and compare training runs."""
