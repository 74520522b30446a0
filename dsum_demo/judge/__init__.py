"""Judges summaries with a language model's likelihoods, without references, and measures how far to trust the judge.
Its own test compares true summaries with corrupted twins. It does not use data sets or saved evaluations.
"""

__all__ = ["best_of", "corruptions", "judged_texts", "judges", "likelihood_judge", "own_test"]
