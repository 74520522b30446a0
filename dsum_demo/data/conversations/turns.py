"""The result of every format's reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Turn:
    """One turn. speaker: "" if unknown. line: the original line, if it is to be kept."""

    speaker: str
    text: str
    line: str = ""


@dataclass(frozen=True)
class Parsed:
    """The turns of a text, the format's title ("" for none) and the numbers of removed items by kind."""

    format: str
    turns: Sequence[Turn]
    dropped: Counter[str] = field(default_factory=Counter)
