"""Summaries that were already written, in one SQLite file: a rerun continues instead of starting again.

Knows keys and texts; nothing of models or pages. Two processes may use the file at once.
"""

from __future__ import annotations

from pathlib import Path


class OutputCache:
    """Where `file` cannot be opened or written nothing is remembered, and `problem` says why."""

    def __init__(self, file: Path):
        self.file = file
        self.problem = ""
