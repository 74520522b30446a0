"""The report of an evaluation: means with intervals, paired differences, headline, warnings, slices, notable examples.

It is computed from the records only, so a saved evaluation gives the same report. Scores are from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from dsum_demo.errors import GenerationError
from dsum_demo.evaluation.notable_examples import ReadyList, ready_lists
from dsum_demo.evaluation.records import (
    Evaluation,
    ExampleRecord,
    Published,
    SystemInfo,
    by_metric,
    f1_row,
    f1_table,
)
from dsum_demo.evaluation.recovery import Recovery, recovery
from dsum_demo.evaluation.slices import Slice, slice_examples
from dsum_demo.evaluation.training_data import without_training_data
from dsum_demo.evaluation.warnings import Warning, warnings_of
from dsum_demo.metrics.bootstrap import MIN_EXAMPLES, RESAMPLES, Bootstrap, Interval
from dsum_demo.metrics.checks import CHECKS
from dsum_demo.metrics.scores import METRICS, Score, Signature, mean_scores, signature


@dataclass(frozen=True)
class ReportSignature:
    """The scores' signature and the parameters of the bootstrap over `dialogues`."""

    scores: Signature
    reading: str
    dialogues: int
    resamples: int
    seed: int

    @property
    def text(self) -> str:
        """The signature in one line."""
        rows = "" if self.dialogues == self.scores.n else f" rows of {self.dialogues} dialogues"
        intervals = (
            f"95 % intervals by bootstrap over dialogues, {self.resamples:,} resamples, seed {self.seed}"
            if self.dialogues >= MIN_EXAMPLES
            else "too few dialogues for intervals"
        )
        return f"{self.scores.text}{rows}; {intervals}"

    def as_dict(self) -> dict[str, Any]:
        return {**self.scores.as_dict(), "text": self.text, **{k: v for k, v in asdict(self).items() if k != "scores"}}


@dataclass(frozen=True)
class SystemReport:
    """One system's means over the examples with its outputs.

    f1: the mean F1 with its interval by metric. means: precision, recall and F1. checks: the mean of each check.
    checked: number of summaries that have a value of each check. tokens, seconds: means per example; None for recorded
    outputs, and seconds also if all outputs came from the cache.
    """

    name: str
    n: int
    f1: Mapping[str, Interval]
    means: Mapping[str, Score]
    checks: Mapping[str, Interval | None]
    checked: Mapping[str, int]
    tokens: float | None
    seconds: float | None


@dataclass(frozen=True)
class Difference:
    """The paired difference system - baseline by metric, over the examples with both outputs."""

    system: str
    baseline: str
    f1: Mapping[str, Interval]


@dataclass(frozen=True)
class Report:
    """The results of an evaluation without its texts.

    n: number of evaluated examples; total: of examples to evaluate; dialogues: of different dialogues in the n.
    signature: None without scores. lead3, human: means for comparison, None if not available; human is computed like
    the systems' scores, each reference against the others.
    """

    data: str
    n: int
    total: int
    dialogues: int
    signature: ReportSignature | None
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
        """The content of report.json and of `dsum evaluate --json`."""
        raw = asdict(self)
        for part in raw["slices"]:
            del part["ids"]
        return raw | {
            "signature": self.signature.as_dict() if self.signature else None,
            "systems": [_renamed(system) for system in raw["systems"]],
            "checks": {check.name: asdict(check) for check in CHECKS},
        }


def headline_report(evaluation: Evaluation) -> tuple[Evaluation, Report]:
    """The evaluation without training data and its report. Raises GenerationError if no system could be evaluated."""
    counted = without_training_data(evaluation)
    if not counted.examples:
        raise GenerationError(" ".join(system.error for system in counted.systems if system.error))
    return counted, build_report(counted)


def build_report(evaluation: Evaluation, resamples: int = RESAMPLES) -> Report:
    """The report of a complete or partial evaluation; deterministic for the evaluation's seed."""
    return _Builder(evaluation, resamples).report()


class _Builder:
    def __init__(self, evaluation: Evaluation, resamples: int):
        self.evaluation, self.resamples = evaluation, resamples
        done = {name for example in evaluation.examples for name in example.outputs}
        self.systems = [system for system in evaluation.systems if system.name in done]
        self.names = [system.name for system in self.systems]
        # A system that failed half-way is not to take the others' examples away.
        whole = [system.name for system in self.systems if not system.error] or self.names
        self.examples = [e for e in evaluation.examples if all(name in e.outputs for name in whole)]
        self.width = len(METRICS)
        self.columns = [(name, check.name) for name in self.names for check in CHECKS]

    def report(self) -> Report:
        evaluation, examples = self.evaluation, self.examples
        dialogues = len({example.group for example in examples})
        if not examples:
            return Report(
                evaluation.data, 0, evaluation.total, 0, None, (), (), None, None, None, evaluation.published,
                warnings_of(evaluation, [], 0), (), (),
            )  # fmt: skip
        # One set of resamples for all columns, so that all comparisons are paired.
        self.resampled = self._bootstrap(
            [
                [*scores, *self._checks(example), *f1_row(example.lead3), *f1_row(example.human)]
                for example, scores in zip(examples, f1_table(examples, self.names), strict=True)
            ]
        )
        self.lead3 = self.width * len(self.names) + len(self.columns)
        references = max(example.reference_count for example in examples)
        return Report(
            data=evaluation.data,
            n=len(examples),
            total=evaluation.total,
            dialogues=dialogues,
            signature=ReportSignature(
                signature(len(examples), references, evaluation.policy),
                evaluation.reading,
                dialogues,
                self.resamples,
                evaluation.seed,
            ),
            systems=self._systems(),
            differences=self._differences(),
            recovery=self._recovery(),
            lead3=self._scale(self.lead3),
            human=self._scale(self.lead3 + self.width),
            published=evaluation.published,
            warnings=warnings_of(evaluation, examples, dialogues),
            slices=slice_examples(examples, self.names, seed=evaluation.seed, resamples=self.resamples),
            lists=ready_lists(replace(evaluation, examples=tuple(examples))),
        )

    def _bootstrap(
        self, table: Sequence[Sequence[float]], examples: Sequence[ExampleRecord] | None = None
    ) -> Bootstrap:
        groups = [example.group for example in (self.examples if examples is None else examples)]
        return Bootstrap(table, groups, seed=self.evaluation.seed, resamples=self.resamples)

    def _systems(self) -> tuple[SystemReport, ...]:
        reports = []
        for place, name in enumerate(self.names):
            outputs = [example.outputs[name] for example in self.examples if name in example.outputs]
            seconds = [o.seconds for o in outputs if o.seconds is not None]
            tokens = [o.tokens for o in outputs if o.tokens is not None]
            reports.append(
                SystemReport(
                    name,
                    len(outputs),
                    self._means(place * self.width),
                    mean_scores([output.scores for output in outputs]),
                    {
                        check: self.resampled.mean(column) if self.resampled.n[column] else None
                        for column, (of, check) in enumerate(self.columns, self.width * len(self.names))
                        if of == name
                    },
                    {check.name: sum(o.checks.get(check.name) is not None for o in outputs) for check in CHECKS},
                    fmean(tokens) if tokens else None,
                    fmean(seconds) if seconds else None,
                )
            )
        return tuple(reports)

    def _differences(self) -> tuple[Difference, ...]:
        """Every system against the base (or the first system without one), and LoRA against the full fine-tune."""
        baseline = self._of_kind("base") or (self.systems[0] if self.systems else None)
        pairs = [(system, baseline) for system in self.systems if baseline and system is not baseline]
        full, lora = self._of_kind("full"), self._of_kind("adapter")
        if full and lora and baseline not in (full, lora):
            pairs.append((lora, full))
        return tuple(self._difference(one, other) for one, other in pairs if other)

    def _difference(self, system: SystemInfo, baseline: SystemInfo) -> Difference:
        both = [e for e in self.examples if system.name in e.outputs and baseline.name in e.outputs]
        if not both:
            return Difference(system.name, baseline.name, {})
        if len(both) == len(self.examples):
            resampled, one, other = self.resampled, self.names.index(system.name), self.names.index(baseline.name)
        else:
            resampled, one, other = self._bootstrap(f1_table(both, [system.name, baseline.name]), both), 0, 1
        return Difference(
            system.name,
            baseline.name,
            by_metric(
                range(self.width),
                lambda column: resampled.difference(one * self.width + column, other * self.width + column),
            ),
        )

    def _recovery(self) -> Recovery | None:
        base, full, lora = (self._of_kind(kind) for kind in ("base", "full", "adapter"))
        if not (base and full and lora):
            return None
        names = [base.name, full.name, lora.name]
        done = [example for example in self.examples if all(name in example.outputs for name in names)]
        if not done:
            return None
        if len(done) == len(self.examples):
            return recovery(self.resampled, *(self.names.index(name) * self.width for name in names))
        return recovery(self._bootstrap(f1_table(done, names), done), *range(0, 3 * self.width, self.width))

    def _checks(self, example: ExampleRecord) -> list[float]:
        outputs = example.outputs
        values = (outputs[name].checks.get(check) if name in outputs else None for name, check in self.columns)
        return [float("nan") if value is None else value for value in values]

    def _means(self, first: int) -> dict[str, Interval]:
        return by_metric(range(first, first + self.width), self.resampled.mean)

    def _scale(self, first: int) -> dict[str, Interval] | None:
        return self._means(first) or None

    def _of_kind(self, kind: str) -> SystemInfo | None:
        return next((system for system in self.systems if system.kind == kind), None)


def _renamed(system: dict[str, Any]) -> dict[str, Any]:
    """Files use "f1" instead of rouge_score's name `fmeasure`."""
    means = {
        rouge: {"precision": s["precision"], "recall": s["recall"], "f1": s["fmeasure"]}
        for rouge, s in system["means"].items()
    }
    return system | {"means": means}
