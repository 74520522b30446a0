"""Accesses the Hugging Face Hub: whether it is reachable, what the local cache holds, and resumable downloads.
Everything else works without a network.
"""

__all__ = ["client", "download", "source"]
