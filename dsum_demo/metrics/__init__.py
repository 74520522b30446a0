"""Scores of a summary and their uncertainty: ROUGE, grounding, checks, overlap with other texts, bootstrap."""
