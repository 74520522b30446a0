"""The data of an evaluation: examples, the systems' outputs and their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.metrics.scores import METRICS, Score

READINGS = ("rows", "dialogues")


@dataclass(frozen=True)
class SystemInfo:
    """One system. kind: "base", "full", "adapter" or "recorded"; for a recorded column inferred from its name.

    weights: fingerprint of the weights, "" for recorded outputs. dtype: "float32", "bfloat16" or "". error: a message
    if the system failed; its outputs before the failure are kept.
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

    tokens, seconds: None for recorded outputs; seconds is the output's share of the time of its batches.
    turns_left_out: number of turns that were truncated because the dialogue was too long for the model. scores: by the
    evaluation's reference policy. by_reference: the scores against each reference, in order. checks: see
    `checks.CHECKS`. ungrounded: names and numbers not in the dialogue.
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
    """One example. dialogue is None and references are () if the texts must not be distributed (`storage.fill_texts`)
    or a recorded file has no dialogue; the other fields are set.

    id: unique in the evaluation. fingerprint: of the dialogue, "" without one. group: equal for rows of the same
    dialogue, which are resampled together. row: number of the (first) row in the source, from 1. outputs: by system
    name, without systems that have not generated yet. lead3: the scores of the first three turns as a summary; human:
    the mean scores of each reference against the others; None if they cannot be computed.
    """

    id: str
    row: int
    fingerprint: str
    group: str
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

    def as_dict(self, *, texts: bool = True) -> dict[str, Any]:
        """An object for JSON; without dialogue and references if texts is False."""
        return {
            **self.__dict__,
            "dialogue": self.dialogue if texts else None,
            "references": list(self.references) if texts else [],
            "topics": list(self.topics),
            "outputs": {name: _output_dict(output) for name, output in self.outputs.items()},
            "lead3": _scores_dict(self.lead3) if self.lead3 else None,
            "human": _scores_dict(self.human) if self.human else None,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ExampleRecord:
        """Read the result of `as_dict`. Raises KeyError, TypeError, ValueError or AttributeError for other data."""
        return cls(
            id=str(raw["id"]),
            row=int(raw["row"]),
            fingerprint=str(raw["fingerprint"]),
            group=str(raw["group"]),
            dialogue=None if raw["dialogue"] is None else str(raw["dialogue"]),
            references=tuple(map(str, raw["references"])),
            reference_count=int(raw["reference_count"]),
            topics=tuple(map(str, raw["topics"])),
            words=raw["words"],
            turns=raw["turns"],
            speakers=raw["speakers"],
            outputs={str(name): _output(output) for name, output in raw["outputs"].items()},
            lead3=_scores(raw["lead3"]) if raw["lead3"] else None,
            human=_scores(raw["human"]) if raw["human"] else None,
        )


@dataclass(frozen=True)
class BrokenRow:
    """An invalid row and the reason."""

    row: int
    reason: str


@dataclass(frozen=True)
class Published:
    """Scores reported by others: ROUGE-1, -2 and -L per kind of system, F1 x 100."""

    title: str
    source: str
    scores: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Evaluation:
    """All outputs and scores of a complete or partial evaluation.

    data: the name of the source. total: number of examples to evaluate; `examples` has those with at least one output,
    in the source's order. decode: a DecodingConfig as a dict or None. reading: "rows" (every row is an example) or
    "dialogues" (rows that share a dialogue are one example with several references). trained_on: by system, the ids of
    evaluated examples that were in its training data. set_aside: examples that do not count for this reason. judge: its
    name, method, trust (sentences), can_rank and seconds_per_100 summaries; None if the outputs were not judged.
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
    set_aside: tuple[ExampleRecord, ...] = ()
    judge: Mapping[str, Any] | None = None

    def system(self, name: str) -> SystemInfo:
        return next(system for system in self.systems if system.name == name)

    def example(self, id: str) -> ExampleRecord:
        return next(example for example in self.examples if example.id == id)

    def of_kind(self, kind: str) -> SystemInfo | None:
        """The first system of a kind, which the headline and the lists of notable examples use."""
        return next((system for system in self.systems if system.kind == kind), None)

    def facts(self) -> dict[str, Any]:
        """All fields but the examples, as an object for JSON."""
        facts = {name: value for name, value in self.__dict__.items() if name not in ("examples", "set_aside")}
        return facts | {
            "systems": [asdict(system) for system in self.systems],
            "skipped": [asdict(row) for row in self.skipped],
            "published": asdict(self.published) if self.published else None,
            "trained_on": {name: list(ids) for name, ids in self.trained_on.items()},
            "decode": dict(self.decode) if self.decode else None,
        }

    @classmethod
    def from_facts(cls, raw: Mapping[str, Any], examples: tuple[ExampleRecord, ...]) -> Evaluation:
        """Read the result of `facts`. Raises KeyError, TypeError or AttributeError for other data."""
        published = raw["published"]
        return cls(
            **{
                **raw,
                "systems": tuple(SystemInfo(**system) for system in raw["systems"]),
                "skipped": tuple(BrokenRow(**row) for row in raw["skipped"]),
                "published": Published(**{**published, "scores": {k: tuple(v) for k, v in published["scores"].items()}})
                if published
                else None,
                "trained_on": {name: tuple(ids) for name, ids in raw["trained_on"].items()},
                "examples": examples,
            }
        )


@dataclass(frozen=True)
class EvaluationProgress:
    """The progress of an evaluation.

    done, total: numbers of summaries (examples x systems). seconds_left: None if unknown. note: the current step.
    evaluation: the results so far; examples are evaluated in random order, so they are a random sample of all.
    """

    done: int
    total: int
    seconds_left: float | None
    note: str
    evaluation: Evaluation


def f1_table(examples: Sequence[ExampleRecord], systems: Sequence[str]) -> list[list[float]]:
    """F1 by example and (system, metric), with metrics in the order of METRICS. NaN without an output, and for a metric
    that is newer than a saved evaluation.
    """
    return [
        [
            value
            for name in systems
            for value in f1_row(example.outputs[name].scores if name in example.outputs else None)
        ]
        for example in examples
    ]


def f1_row(scores: Mapping[str, Score] | None) -> list[float]:
    """F1 in the order of METRICS, NaN if missing."""
    return [scores[name].fmeasure if scores and name in scores else float("nan") for name in METRICS]


def by_metric(columns: Iterable[int], interval: Callable[[int], Interval]) -> dict[str, Interval]:
    """The interval of each metric's column, without metrics that have no values."""
    found = {name: interval(column) for name, column in zip(METRICS, columns, strict=True)}
    return {name: mean for name, mean in found.items() if mean.n}


def _output_dict(output: Output) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "text": output.text,
        "rouge": _scores_dict(output.scores),
        "checks": dict(output.checks),
        "ungrounded": list(output.ungrounded),
        "tokens": output.tokens,
        "seconds": output.seconds,
        "hit_length_limit": output.hit_length_limit,
        "turns_left_out": output.turns_left_out,
        "cached": output.cached,
    }
    if len(output.by_reference) > 1:
        raw["rouge_by_reference"] = [_scores_dict(scores) for scores in output.by_reference]
    return raw


def _output(raw: Mapping[str, Any]) -> Output:
    scores = _scores(raw["rouge"])
    return Output(
        text=str(raw["text"]),
        scores=scores,
        by_reference=tuple(map(_scores, raw["rouge_by_reference"])) if "rouge_by_reference" in raw else (scores,),
        checks=dict(raw["checks"]),
        ungrounded=tuple(map(str, raw["ungrounded"])),
        tokens=raw["tokens"],
        seconds=raw["seconds"],
        hit_length_limit=bool(raw["hit_length_limit"]),
        turns_left_out=int(raw["turns_left_out"]),
        cached=bool(raw["cached"]),
    )


def _scores_dict(scores: Mapping[str, Score]) -> dict[str, dict[str, float]]:
    return {
        rouge: {"precision": score.precision, "recall": score.recall, "f1": score.fmeasure}
        for rouge, score in scores.items()
    }


def _scores(raw: Mapping[str, Any]) -> dict[str, Score]:
    return {name: Score(*(float(parts[part]) for part in ("precision", "recall", "f1"))) for name, parts in raw.items()}
