"""Saved evaluations: a folder each with report.json and examples.jsonl.gz, those of this project read-only beside the
user's own. Knows files and records; nothing of models or pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsum_demo.bootstrap import RESAMPLES, Interval
from dsum_demo.data import Example
from dsum_demo.evaluation_records import Evaluation
from dsum_demo.settings import Settings


@dataclass(frozen=True)
class SavedEvaluation:
    """One folder. name: unique. shipped: comes with the project and cannot be deleted.

    reason: why it cannot be opened, a sentence; then the rest is empty. rouge1: mean F1 by the system's name.
    """

    name: str
    folder: Path
    shipped: bool
    data: str = ""
    created: str = ""
    systems: tuple[str, ...] = ()
    n: int = 0
    finished: bool = True
    signature: str = ""
    rouge1: tuple[tuple[str, float], ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class SavedDifference:
    """system of the second evaluation minus system of the first, paired over the examples that both hold."""

    first: str
    second: str
    n: int
    f1: dict[str, Interval]


class SavedEvaluations:
    """The shipped evaluations and those in the data folder. Every read looks at the disk again."""

    def __init__(self, settings: Settings):
        self.settings = settings

    def list(self) -> list[SavedEvaluation]:
        """Newest first, shipped ones last; a broken folder is listed with its reason."""
        raise NotImplementedError

    def open(self, name: str) -> Evaluation:
        """Raises InputError for an unknown name, DataError for a folder that cannot be read."""
        raise NotImplementedError

    def save(self, evaluation: Evaluation, name: str = "", *, texts: bool = True) -> SavedEvaluation:
        """Save under `name` (made from data and date where empty; made safe and unique). texts False leaves out
        dialogues and references, for data whose texts are not ours to ship."""
        raise NotImplementedError

    def delete(self, name: str) -> None:
        """Raises InputError for an unknown name and for a shipped evaluation."""
        raise NotImplementedError


def fill_texts(evaluation: Evaluation, examples: Sequence[Example]) -> Evaluation:
    """The evaluation with dialogues and references of `examples` where the dialogue's fingerprint is the same."""
    raise NotImplementedError


def compare_saved(
    first: Evaluation, second: Evaluation, *, seed: int = 0, resamples: int = RESAMPLES
) -> list[SavedDifference]:
    """Every system that has the same name in both, then the best of each where none has. Paired by the dialogue's
    fingerprint and the references' number. Raises InputError where they share fewer than two examples or were scored
    by another policy."""
    raise NotImplementedError
