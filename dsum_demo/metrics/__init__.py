"""Scores a summary against references, checks it against its dialogue, and estimates the uncertainty of means. A new
metric is one row in `scores.METRICS`. Only BERTScore uses a model.
"""

__all__ = ["bertscore", "bootstrap", "checks", "grounding", "overlap", "rouge", "scores", "words"]
