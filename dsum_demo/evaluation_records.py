"""What an evaluation has written down: every example, what every system wrote for it, and how that scores.

Plain data, as a run makes it and a saved evaluation keeps it. Knows metrics; nothing of models, files or pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dsum_demo.metrics import Score

READINGS = ("rows", "dialogues")


@dataclass(frozen=True)
class SystemInfo:
    """One system. kind: "base", "full", "adapter" or "recorded"; a recorded column's kind is told from its name.

    weights: fingerprint of the weights, "" for recorded outputs. dtype: "float32", "bfloat16" or "". error: a sentence
    where the system failed; what it wrote before stays.
    trained_on: fingerprints of the dialogues it was trained on, as far as they are known.
    """

    name: str
    title: str
    kind: str
    parameters: int | None = None
    trained_parameters: int | None = None
    weights: str = ""
    dtype: str = ""
    error: str = ""


@dataclass(frozen=True)
class Output:
    """One system's summary of one example.

    tokens, seconds: None where recorded; seconds is the example's share of its batch. turns_left_out: the dialogue was
    too long for the model by so many turns. scores: by the evaluation's reference policy. by_reference: a score for
    each reference, in their order. checks: see `checks.CHECKS`. ungrounded: names and numbers not in the dialogue.
    """

    text: str
    scores: Mapping[str, Score]
    by_reference: tuple[Mapping[str, Score], ...]
    checks: Mapping[str, float | None]
    ungrounded: tuple[str, ...] = ()
    tokens: int | None = None
    seconds: float | None = None
    hit_length_limit: bool = False
    turns_left_out: int = 0
    cached: bool = False


@dataclass(frozen=True)
class ExampleRecord:
    """One example. dialogue None and references (): its texts are not ours to ship (`evaluations.fill_texts`), or a
    recorded file has no dialogue; `reference_count` and the other facts stay.

    id: unique in the evaluation. fingerprint: `data.fingerprint` of the dialogue; examples that share it share a
    dialogue and are resampled together. row: number of the (first) row in the source, from 1. outputs: by the system's
    name; a system that has not come so far is missing. lead3: the scores of the first three turns taken as a summary;
    human: how each reference scores against the others, on average; None where there is nothing to compute from.
    """

    id: str
    row: int
    fingerprint: str
    dialogue: str | None
    references: tuple[str, ...]
    reference_count: int
    topics: tuple[str, ...]
    words: int | None
    turns: int | None
    speakers: int | None
    outputs: Mapping[str, Output]
    lead3: Mapping[str, Score] | None = None
    human: Mapping[str, Score] | None = None


@dataclass(frozen=True)
class BrokenRow:
    """A row that cannot be used, with the reason in a sentence."""

    row: int
    reason: str


@dataclass(frozen=True)
class Published:
    """Scores that others reported: per kind ROUGE-1, -2 and -L, F1 x 100."""

    title: str
    source: str
    scores: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Evaluation:
    """Everything that was written and scored, complete or as far as it has come.

    data: the source as it was named. total: how many examples there are to do; `examples` has those that at least one
    system has done, in the source's order. decode: a DecodeConfig as a dict, None for recorded outputs. reading: "rows"
    (every row an example) or "dialogues" (rows that share a dialogue are one example with several references).
    trained_on: for each system the ids of evaluated examples that were in its training data.
    """

    data: str
    systems: tuple[SystemInfo, ...]
    examples: tuple[ExampleRecord, ...]
    total: int
    policy: str = "mean"
    reading: str = "rows"
    seed: int = 0
    family: str = ""
    decode: Mapping[str, object] | None = None
    recorded: bool = False
    finished: bool = False
    created: str = ""
    trained_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: tuple[BrokenRow, ...] = ()
    published: Published | None = None

    def system(self, name: str) -> SystemInfo:
        return next(system for system in self.systems if system.name == name)

    def of_kind(self, kind: str) -> SystemInfo | None:
        """The first system of a kind: the trio that the headline and the ready lists speak of."""
        return next((system for system in self.systems if system.kind == kind), None)
