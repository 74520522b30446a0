"""Scores of summaries and their uncertainty: ROUGE, grounding, checks, overlap with other texts, bootstrap."""
