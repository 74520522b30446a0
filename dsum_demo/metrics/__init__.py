"""Scores a summary against references, checks it against its dialogue, and estimates the uncertainty of means. A new
metric is one row in `scores.METRICS`. It does not use models or files.
"""

__all__ = ["bootstrap", "checks", "grounding", "overlap", "rouge", "scores", "words"]
