"""What an evaluation has written down: every example, what every system wrote for it, and how that scores.

Plain data, as a run makes it and a saved evaluation keeps it. Knows metrics; nothing of models, files or pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.metrics.scores import METRICS, Score

READINGS = ("rows", "dialogues")


@dataclass(frozen=True)
class SystemInfo:
    """One system. kind: "base", "full", "adapter" or "recorded"; a recorded column's kind is told from its name.

    weights: fingerprint of the weights, "" for recorded outputs. dtype: "float32", "bfloat16" or "". error: a sentence
    where the system failed; what it wrote before stays.
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

    tokens, seconds: None where recorded; seconds is its share of the time that it was under way with others.
    turns_left_out: the dialogue was too long for the model by so many turns. scores: by the evaluation's reference
    policy. by_reference: a score for each reference, in their order. checks: see `checks.CHECKS`. ungrounded: names and
    numbers not in the dialogue.
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

    id: unique in the evaluation. fingerprint: `data.fingerprint` of the dialogue, "" where there is none. group: what
    rows of one dialogue have in common; they are resampled together. row: number of the (first) row in the source, from
    1. outputs: by the system's name; a system that has not come so far is missing. lead3: the scores of the first three
    turns taken as a summary; human: how each reference scores against the others, on average; None where there is
    nothing to compute from.
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
        """An object for JSON. texts False leaves dialogue and references out."""
        return {
            "id": self.id,
            "row": self.row,
            "fingerprint": self.fingerprint,
            "group": self.group,
            "dialogue": self.dialogue if texts else None,
            "references": list(self.references) if texts else [],
            "reference_count": self.reference_count,
            "topics": list(self.topics),
            "words": self.words,
            "turns": self.turns,
            "speakers": self.speakers,
            "outputs": {name: _output_dict(output) for name, output in self.outputs.items()},
            "lead3": _scores_dict(self.lead3) if self.lead3 else None,
            "human": _scores_dict(self.human) if self.human else None,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ExampleRecord:
        """Raises KeyError, TypeError, ValueError or AttributeError for what `as_dict` did not write."""
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
    system has done, in the source's order. decode: a DecodingConfig as a dict or None. reading: "rows"
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

    def example(self, id: str) -> ExampleRecord:
        return next(example for example in self.examples if example.id == id)

    def of_kind(self, kind: str) -> SystemInfo | None:
        """The first system of a kind: the trio that the headline and the ready lists speak of."""
        return next((system for system in self.systems if system.kind == kind), None)

    def facts(self) -> dict[str, Any]:
        """Everything but the examples, as an object for JSON."""
        facts = {name: value for name, value in self.__dict__.items() if name != "examples"}
        return facts | {
            "systems": [asdict(system) for system in self.systems],
            "skipped": [asdict(row) for row in self.skipped],
            "published": asdict(self.published) if self.published else None,
            "trained_on": {name: list(ids) for name, ids in self.trained_on.items()},
            "decode": dict(self.decode) if self.decode else None,
        }

    @classmethod
    def from_facts(cls, raw: Mapping[str, Any], examples: tuple[ExampleRecord, ...]) -> Evaluation:
        """The evaluation that `facts` was written of. Raises KeyError, TypeError or AttributeError otherwise."""
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
    """done of total: summaries (examples times systems). seconds_left: None until it can be told. note: what is being
    done, in a sentence. evaluation: everything so far; examples are done in an order drawn by the seed, so that a part
    is a fair sample of the whole.
    """

    done: int
    total: int
    seconds_left: float | None
    note: str
    evaluation: Evaluation


def f1_table(examples: Sequence[ExampleRecord], systems: Sequence[str]) -> list[list[float]]:
    """A row an example; for each system its F1 in the order of METRICS. NaN where a system has not come so far, and for
    a metric that is newer than a saved evaluation.
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
    """F1 in the order of METRICS, NaN where there is none."""
    return [scores[name].fmeasure if scores and name in scores else float("nan") for name in METRICS]


def by_metric(columns: Iterable[int], interval: Callable[[int], Interval]) -> dict[str, Interval]:
    """What `interval` gives for the column of each metric in METRICS, without the metrics that have no values."""
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
