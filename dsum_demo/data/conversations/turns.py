"""What every reader of a format returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Turn:
    """What one person said, on one line. speaker: "" where nobody is named. line: the turn as the text had it."""

    speaker: str
    text: str
    line: str = ""


@dataclass(frozen=True)
class Parsed:
    """The turns of a text, the format's title ("" for none) and how many of each kind of thing were left out."""

    format: str
    turns: Sequence[Turn]
    dropped: Counter[str] = field(default_factory=Counter)
