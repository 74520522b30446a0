"""Generates summaries with a loaded model: one at a time as a stream, or many in a continuous batch. Both give the same
texts.
"""

__all__ = ["batch", "candidates", "stopping", "streaming"]
