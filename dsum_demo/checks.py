"""What can be told of a summary beside ROUGE: length, copying, novelty, repetition, speakers, invented names.

Knows texts only: nothing of models, files or pages. Each check carries the sentences that say how it is computed and
what it misses, so that a page and a report say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One check. `how` and `misses` are a sentence each.

    unit: "ratio" (1 is equal), "share" (0 to 1), "yes/no" (0 or 1) or "count".
    needs: "dialogue" or "references", without which there is no value.
    """

    name: str
    title: str
    unit: str
    needs: str
    how: str
    misses: str


@dataclass(frozen=True)
class Checked:
    """A summary's values by the check's name, None where there is nothing to compute them from; and the names and
    numbers that do not stand in the dialogue.
    """

    values: dict[str, float | None]
    ungrounded: tuple[str, ...] = ()


CHECKS: tuple[Check, ...] = ()


def check_summary(summary: str, dialogue: str | None, references: Sequence[str]) -> Checked:
    """Every check of CHECKS on one summary."""
    raise NotImplementedError
