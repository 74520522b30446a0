"""The types of the API's answers, from which their published schemas are made.

Seconds are wall-clock times, and scores are from 0 to 1. A field that is NotRequired is in some answers only.
"""

from __future__ import annotations

from typing import (
    Any,
    NotRequired,  # pydantic needs this one before Python 3.12
)

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

described = with_config(ConfigDict(use_attribute_docstrings=True))


@described
class ReadingAnswer(TypedDict):
    """How the text was read."""

    format: str
    """The detected format, or "" for a plain dialogue."""
    turns: int
    speakers: list[str]
    dropped: dict[str, int]
    """How many notices, time stamps and other parts were removed, by kind."""


@described
class SignatureAnswer(TypedDict):
    """What must be equal for two scores to be comparable."""

    text: str
    """The whole signature in one line."""
    library: str
    version: str
    stemmer: bool
    lsum_split: str
    policy: str
    references: int
    n: int
    others: NotRequired[list[str]]
    """The signatures of metrics other than ROUGE."""


@described
class ScoreAnswer(TypedDict):
    """Precision, recall and F1 from 0 to 1."""

    precision: float
    recall: float
    fmeasure: float


@described
class SystemAnswer(TypedDict):
    """One system's summary of a dialogue, with its times and scores."""

    name: str
    kind: str
    """base, full, adapter or recorded."""
    family: str
    title: str
    summary: str
    rouge: dict[str, float] | None
    """F1 by metric, from 0 to 1; null without a reference."""
    phase: str
    """done, or failed with an error."""
    strength: float | None
    """What the adapter's part is multiplied by; null for other models."""
    error: str
    parameters: int | None
    trained_parameters: int | None
    new_tokens: int
    seconds: float | None
    first_token_seconds: float | None
    tokens_per_second: float | None
    hit_length_limit: bool
    best_of: NotRequired[dict[str, Any]]
    origin: NotRequired[str]
    made: NotRequired[str]
    turns_left_out: int | None
    """Turns of the dialogue that did not fit into the model's input."""
    cut_inside_turn: bool


@described
class SummaryAnswer(SystemAnswer):
    """A summary, its time, and warnings about the input."""

    warnings: list[str]
    reading: ReadingAnswer | None


@described
class ComparisonAnswer(TypedDict):
    """Every system's summary of a dialogue."""

    signature: SignatureAnswer | None
    """Of the scores; null without a reference."""
    family: str
    dialogue: str
    """The text that was summarized."""
    reading: ReadingAnswer | None
    references: list[str]
    decode: dict[str, int | float | bool]
    """The decoding settings, by their names in transformers."""
    recorded: str
    warnings: list[str]
    turns_left_out: int
    cut_inside_turn: bool
    systems: list[SystemAnswer]


@described
class ScoredAnswer(TypedDict):
    """The scores of a summary."""

    scores: dict[str, ScoreAnswer]
    """By metric."""
    signature: SignatureAnswer


@described
class JudgeAnswer(TypedDict):
    """A judge's values of a summary."""

    name: str
    method: str
    trust: list[str]
    """What the judge's own test found, one sentence per value."""
    can_rank: bool
    seconds: float
    bits_per_token: dict[str, float | None]


@described
class ChecksAnswer(TypedDict):
    """The checks of a summary."""

    checks: dict[str, float | None]
    """By name; null if the dialogue or a reference is missing."""
    not_in_dialogue: list[str]
    """Names and numbers of the summary that are not in the dialogue."""
    judge: NotRequired[JudgeAnswer]


@described
class EvaluationAnswer(TypedDict):
    """The progress of an evaluation; the last one has the report."""

    done: int
    total: int
    note: str
    report: NotRequired[dict[str, Any]]
    """Means with confidence intervals, paired differences, checks, slices and warnings: the content of report.json."""
    examples: NotRequired[list[dict[str, Any]]]
    """Every example with its outputs and their scores."""


@described
class ModelAnswer(TypedDict):
    """A model and its state."""

    name: str
    family: str
    kind: str
    """base, full or adapter."""
    state: str
    reason: str
    """Why the model is not available, or ""."""
    source: str | None
    """The Hub id or the folder."""
    revision: str | None
    base: str | None
    """The name of the model that an adapter was trained on."""
    parameters: int | None
    trained_parameters: int | None
    size_bytes: int | None
    licence: str
    note: str


@described
class ModelsAnswer(TypedDict):
    """Every model of every family."""

    models: list[ModelAnswer]


@described
class RunAnswer(TypedDict):
    """A training run. A run that was deleted has its name and state only."""

    run: str
    state: str
    """queued, running, finished, stopped, failed or deleted, among others."""
    reason: NotRequired[str]
    config: NotRequired[dict[str, Any]]
    steps: NotRequired[list[dict[str, Any]]]
    """The latest steps."""
    evaluations: NotRequired[list[dict[str, Any]]]
    """The latest validation results."""
    result: NotRequired[dict[str, Any] | None]
    """At the end."""


@described
class ReviewAnswer(TypedDict):
    """A review, as its owner sees it."""

    review: str
    """The token that reviewers need."""
    link: str
    name: str
    created: str
    systems: list[str]
    items: int
    identical: int
    """Items left out because all their summaries are equal."""
    without_dialogue: int
    """Items left out because their dialogue is not known."""
    answers: dict[str, int]
    """Answered items by reviewer."""
    results_open: bool


@described
class ReviewsAnswer(TypedDict):
    """The reviews of an owner, newest first."""

    reviews: list[ReviewAnswer]


@described
class ReviewProgressAnswer(TypedDict):
    """How far a reviewer is."""

    answered: int
    remaining: int


@described
class ReviewSummaryAnswer(TypedDict):
    """A summary to judge, without its system."""

    label: str
    text: str


@described
class ReviewItemAnswer(TypedDict):
    """The next item to judge; the fields after `item` are missing if it is null."""

    reviewer: str
    progress: ReviewProgressAnswer
    item: str | None
    """Null when every item is answered."""
    round: NotRequired[int]
    dialogue: NotRequired[str]
    summaries: NotRequired[list[ReviewSummaryAnswer]]


@described
class VerdictAnswer(TypedDict):
    """What is known after a verdict."""

    progress: ReviewProgressAnswer
    systems: NotRequired[dict[str, list[str]]]
    """The systems behind each label, if the review reveals them after each item."""


@described
class RevealedVerdict(TypedDict):
    """One of your verdicts with its systems."""

    item: str
    round: int
    systems: dict[str, list[str]]
    """The systems behind each label."""
    ranks: dict[str, int]
    """The rank of each system; 1 is best."""


@described
class RevealAnswer(TypedDict):
    """All of your verdicts."""

    verdicts: list[RevealedVerdict]


@described
class ReviewResultsAnswer(TypedDict):
    """A report or a text, as asked."""

    report: NotRequired[dict[str, Any]]
    text: NotRequired[str]


@described
class DeletedAnswer(TypedDict):
    """What was deleted."""

    deleted: str
