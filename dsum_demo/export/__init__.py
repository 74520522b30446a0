"""Writes a model in formats that other programs load, and checks each export by loading it again. The check runs in a
child process that does not import dsum: it generates summaries with the code that lies next to the weights.
"""

__all__ = ["formats", "runner"]
