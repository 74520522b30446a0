"""What an evaluation means: means with intervals, paired differences, the headline, warnings, slices, ready lists.

Computes from records alone, so that a saved evaluation gives the same report. Knows nothing of models or pages.
Scores and differences are between 0 and 1 here, as everywhere below the page; multiply by 100 to show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dsum_demo.bootstrap import RESAMPLES, Interval
from dsum_demo.evaluation_records import Evaluation, Published
from dsum_demo.metrics import Score, Signature


@dataclass(frozen=True)
class SystemReport:
    """One system's means over the examples that it has done.

    f1: F1 with its interval for each ROUGE type. means: precision, recall and F1. checks: the mean of each check.
    tokens, seconds: means an example; None for recorded outputs.
    """

    name: str
    n: int
    f1: Mapping[str, Interval]
    means: Mapping[str, Score]
    checks: Mapping[str, Interval | None]
    tokens: float | None
    seconds: float | None


@dataclass(frozen=True)
class Difference:
    """system minus baseline, on the examples that both have done (paired), for each ROUGE type."""

    system: str
    baseline: str
    f1: Mapping[str, Interval]


@dataclass(frozen=True)
class Recovery:
    """The headline. share: LoRA's gain over the full fine-tune's (1 is 100 %), None where `sentence` says why not."""

    sentence: str
    rouge: str
    share: Interval | None


@dataclass(frozen=True)
class Warning:
    """kind: "length_limit", "empty", "trained_on", "few", "cut_source", "failed", "skipped" or "incomplete"."""

    kind: str
    text: str
    system: str = ""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slice:
    """Means over a part of the examples. by: "topic", "length" or "speakers"; f1[system][rouge]."""

    by: str
    name: str
    n: int
    f1: Mapping[str, Mapping[str, Interval]]


@dataclass(frozen=True)
class Entry:
    """An example in a ready list. system: whose output it is about; value: what the list is sorted by."""

    id: str
    system: str
    value: float
    note: str = ""


@dataclass(frozen=True)
class ReadyList:
    """name: "gain", "loss", "lora_beats_full", "invented" or "swapped". how: what it shows, in a sentence."""

    name: str
    title: str
    how: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Report:
    """signature is None where nothing has a score yet. lead3, human: means for scale, None where there are none.

    agreement signature: human is computed by the same rule, each reference against the others.
    """

    data: str
    n: int
    total: int
    dialogues: int
    signature: Signature | None
    systems: tuple[SystemReport, ...]
    differences: tuple[Difference, ...]
    recovery: Recovery | None
    lead3: Mapping[str, Interval] | None
    human: Mapping[str, Interval] | None
    published: Published | None
    warnings: tuple[Warning, ...]
    slices: tuple[Slice, ...]
    lists: tuple[ReadyList, ...]

    def as_dict(self) -> dict[str, Any]:
        """What `dsum evaluate --json` prints and report.json holds."""
        raise NotImplementedError


def build_report(evaluation: Evaluation, resamples: int = RESAMPLES) -> Report:
    """The report of an evaluation, complete or not; the same for the same evaluation and its seed."""
    raise NotImplementedError
