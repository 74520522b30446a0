"""Compares fine-tuning methods with the same base model, data, budget and seeds: quality against cost. A study is saved
after each step and can be resumed.
"""

__all__ = ["report", "runner"]
