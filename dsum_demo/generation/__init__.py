"""Generates summaries with a loaded model: one at a time as a stream, many in a continuous batch, or those of requests
that wait for the model in one batch. In float32 all give the same texts.
"""

__all__ = ["batch", "candidates", "scheduler", "stopping", "streaming"]
