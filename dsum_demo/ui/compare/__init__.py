"""The Compare tab: one dialogue, several systems."""
