"""Results of a study: study.json, means with confidence intervals, the Pareto front and a textual summary."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from dsum_demo.errors import DataError, InputError
from dsum_demo.metrics.bootstrap import Bootstrap, Interval
from dsum_demo.metrics.checks import CHECKS, Check
from dsum_demo.metrics.scores import HEADLINE, METRICS, Metric
from dsum_demo.study.variants import Variant, read_variant
from dsum_demo.training.methods import Method
from dsum_demo.utils.files import write_atomically
from dsum_demo.utils.formatting import quantity

STUDY_FILE = "study.json"


@dataclass(frozen=True)
class MethodCost:
    """An axis of the quality-against-cost chart. `key` is a field of MethodRow; `scale` turns it into `unit`."""

    key: str
    title: str
    unit: str
    scale: float = 1.0


COSTS = (
    MethodCost("trained_parameters", "Trained parameters", "million", 1e-6),
    MethodCost("checkpoint_bytes", "Checkpoint size", "MB", 1e-6),
    MethodCost("peak_memory_bytes", "Peak memory in training", "GB", 1e-9),
    MethodCost("seconds_per_step", "Time of a training step", "s"),
)


@dataclass(frozen=True, eq=False)
class Study:
    """The contents of study.json; equal only to itself, so that results can be cached by it.

    search: by method, a list of [learning rate, validation loss or None, reason]. finals: one record per method and
    seed, with `f1` and `checks`: by metric or check, one value per validation dialogue, None without a value; older
    studies have no checks. original: the same for the base model. costs: the record of the cost probe by method. judge:
    as in an Evaluation, None if the summaries were not judged.
    """

    plan: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict)
    signature: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Sequence[Sequence[Any]]] = field(default_factory=dict)
    original: Mapping[str, Any] | None = None
    finals: Sequence[Mapping[str, Any]] = ()
    costs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    judge: Mapping[str, Any] | None = None

    def write(self, folder: Path) -> None:
        write_atomically(folder / STUDY_FILE, json.dumps(asdict(self), ensure_ascii=False) + "\n")

    def best_learning_rate(self, method: str) -> float | None:
        """Return the learning rate with the lowest validation loss, or None if all runs failed."""
        tried = [(loss, rate) for rate, loss, _ in self.search.get(method, ()) if loss is not None]
        return min(tried)[1] if tried else None

    def final(self, method: str, seed: int) -> Mapping[str, Any] | None:
        return next((row for row in self.finals if row["method"] == method and row["seed"] == seed), None)


@dataclass(frozen=True)
class MethodRow:
    """The results of one method or variant, `method` as in the study's plan.

    f1, checks: by metric or check that the study has, the mean over seeds and dialogues with its confidence interval
    over dialogues. spread: mean ROUGE-1 F1 per seed. Costs are None if not measured. recovered: the method's gain
    divided by that of full fine-tuning; None if the interval of full fine-tuning's gain includes zero. forgetting: how
    much the loss on a general text rose, mean over seeds; None if it was not measured or is not defined for the
    architecture.
    """

    method: str
    title: str
    learning_rate: float
    f1: Mapping[str, Interval]
    checks: Mapping[str, Interval]
    spread: tuple[float, ...]
    recovered: Interval | None
    trained_parameters: int | None
    share: float | None
    checkpoint_bytes: int | None
    peak_memory_bytes: int | None
    samples_per_second: float | None
    seconds_per_step: float | None
    forgetting: float | None = None

    @property
    def variant(self) -> Variant:
        return read_variant(self.method)

    @property
    def parent(self) -> Method:
        """The method, also of a variant."""
        return self.variant.method

    def mean(self, quality: str) -> Interval | None:
        """The mean of a metric or check."""
        return self.f1.get(quality) or self.checks.get(quality)

    def merit(self, quality: str) -> float | None:
        """The mean of a metric or check as a value of which more is better."""
        mean = self.mean(quality)
        return None if mean is None else qualities()[quality].merit(mean.mean)


def qualities() -> dict[str, Metric | Check]:
    """What a study records of every summary, by name: the metrics and the checks."""
    return {**METRICS, **{check.name: check for check in CHECKS}}


def recorded_qualities(study: Study) -> dict[str, Metric | Check]:
    """Those of `qualities` of which the original or a method has a mean; older studies have ROUGE only."""
    found = {*original_means(study)}.union(*((*row.f1, *row.checks) for row in method_rows(study)))
    return {name: quality for name, quality in qualities().items() if name in found}


def read_study(folder: Path) -> Study:
    """The study of a folder; the same object as before if its file has not changed. Raises DataError if the folder has
    no valid study.json.
    """
    file = folder / STUDY_FILE
    try:
        stat = file.stat()
        return _read(file, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{folder} has no readable study ({error}); create one with dsum study --out.") from None


@lru_cache(maxsize=8)
def _read(file: Path, mtime_ns: int, size: int) -> Study:
    return Study(**json.loads(file.read_text(encoding="utf-8")))


@lru_cache(maxsize=8)
def original_means(study: Study) -> dict[str, Interval]:
    """The base model's means with intervals over dialogues, by metric or check; empty if it was not evaluated."""
    return _means(study.original) if study.original else {}


@lru_cache(maxsize=8)
def method_rows(study: Study) -> list[MethodRow]:
    """Return a row per method with at least one evaluated run, best ROUGE-1 first.

    The intervals of a study are computed once, because every visitor's page shows them.
    """
    rows = []
    full = [row for row in study.finals if row["method"] == "full" and row.get("f1")]
    for method in dict.fromkeys(row["method"] for row in study.finals):
        finals = [row for row in study.finals if row["method"] == method and row.get("f1")]
        variant = _variant(method)
        if not finals or variant is None:
            continue
        values = _over_seeds(finals)
        names, columns = list(values), list(values.values())
        baseline = dict(_values(study.original or {})).get(HEADLINE)
        # While an older study is resumed, the base model may have more dialogues than a method.
        if full and baseline and len(baseline) == len(values.get(HEADLINE, ())):
            columns += [_over_seeds(full)[HEADLINE], baseline]
        table = Bootstrap(list(zip(*columns, strict=True)))
        means = {name: table.mean(place) for place, name in enumerate(names)}
        # A share of a gain that may be zero is meaningless.
        sure = len(columns) > len(names) and table.difference(-2, -1).excludes_zero
        cost = study.costs.get(method, {})
        rows.append(
            MethodRow(
                method=method,
                title=variant.title,
                learning_rate=finals[0]["learning_rate"],
                f1={name: mean for name, mean in means.items() if name in METRICS},
                checks={name: mean for name, mean in means.items() if name not in METRICS},
                spread=seed_means(study, method, HEADLINE),
                recovered=table.ratio_of_gains(names.index(HEADLINE), -2, -1) if sure else None,
                trained_parameters=cost.get("trained_parameters", finals[0].get("trained_parameters")),
                share=cost.get("share", finals[0].get("share")),
                checkpoint_bytes=cost.get("checkpoint_bytes", finals[0].get("checkpoint_bytes")),
                peak_memory_bytes=cost.get("peak_memory_bytes"),
                samples_per_second=cost.get("samples_per_second"),
                seconds_per_step=cost.get("seconds_per_step"),
                forgetting=_forgetting(finals),
            )
        )
    return ranked(rows)


def ranked(rows: Sequence[MethodRow], quality: str = HEADLINE) -> list[MethodRow]:
    """The rows from the best mean of a metric or check to the worst; those without one last."""
    return sorted(rows, key=lambda row: math.inf if (merit := row.merit(quality)) is None else -merit)


def seed_means(study: Study, method: str, quality: str) -> tuple[float, ...]:
    """The mean of a metric or check over the dialogues per seed."""
    found = [dict(_values(row)).get(quality) for row in study.finals if row["method"] == method]
    return tuple(fmean(v for v in values if not math.isnan(v)) for values in found if values)


def _forgetting(finals: Sequence[Mapping[str, Any]]) -> float | None:
    losses = [row["general_loss"] for row in finals if row.get("general_loss")]
    return fmean(after - before for before, after in losses) if losses else None


def pareto_front(rows: Sequence[MethodRow], cost: str, quality: str = HEADLINE) -> list[MethodRow]:
    """Return the rows that no other row beats in both quality and cost, cheapest first."""
    measured = [(getattr(row, cost), row.merit(quality), row) for row in rows]
    front: list[MethodRow] = []
    best = -math.inf
    for _, merit, row in sorted(
        ((price, merit, row) for price, merit, row in measured if price is not None and merit is not None),
        key=lambda entry: (entry[0], -entry[1]),
    ):
        if merit > best:
            best = merit
            front.append(row)
    return front


def finding(study: Study, rows: Sequence[MethodRow]) -> str:
    """Summarize the results and their limits in a few sentences."""
    by_method = {row.method: row for row in rows}
    full, original = by_method.get("full"), original_means(study)
    if full is None or not original or len(rows) < 2:
        return "The study is not complete: it needs the base model, full fine-tuning and at least one other method."
    if any("rouge1" not in means for means in (original, *(row.f1 for row in rows))):
        return "The study has no ROUGE-1: it needs references with letters from a to z or digits."
    start, top = 100 * original["rouge1"].mean, 100 * full.f1["rouge1"].mean
    text = f"Full fine-tuning raises ROUGE-1 from {start:.1f} to {top:.1f}."
    tuned = [row for row in rows if row.method != "full"]
    best = max(tuned, key=lambda row: row.f1["rouge1"].mean)
    text += f" The best other method is {best.title}: {_gained(best)}"
    text += f", with {100 * best.share:.1f} % of the parameters trained." if best.share else "."
    if "lora" in by_method and best.method != "lora":
        text += f" LoRA reaches {_gained(by_method['lora'])}."
    small = [row for row in tuned if row.share and row.share <= 0.01]
    if small:
        least = max(small, key=lambda row: row.f1["rouge1"].mean)
        text += f" With at most 1 % trained, {least.title} is best: {100 * least.f1['rouge1'].mean:.1f}."
    plan = study.plan
    missing = [each.title for name in plan["methods"] if name not in by_method and (each := _variant(name))]
    if missing:
        text += f" Not measured yet: {', '.join(missing)}."
    rates = f"the best of {_tried(study, rows)} learning rates" if plan["search_steps"] else "its default learning rate"
    return (
        f"{text} Every method had {plan['steps']} steps of {plan['batch_size']} dialogues and {rates}; with more "
        f"training, methods with few trained parameters would change rank the most. Intervals are over "
        f"{full.f1['rouge1'].n} dialogues, not over the {quantity(len(plan['seeds']), 'seed')}."
    )


def _variant(name: str) -> Variant | None:
    """None for a method that this version does not have."""
    with suppress(InputError):
        return read_variant(name)
    return None


def _gained(row: MethodRow) -> str:
    text = f"{100 * row.f1['rouge1'].mean:.1f}"
    share = row.recovered
    if share is None or share.low is None or share.high is None:
        return text
    interval = f"95 % interval {100 * share.low:.0f} to {100 * share.high:.0f}"
    return f"{text}, {100 * share.mean:.0f} % of that gain ({interval})"


def _tried(study: Study, rows: Sequence[MethodRow]) -> str:
    tried = [len(study.search[row.method]) for row in rows if study.search.get(row.method)]
    if not tried:
        return str(len(study.plan["factors"]))
    return str(min(tried)) if min(tried) == max(tried) else f"{min(tried)} to {max(tried)}"


def _values(record: Mapping[str, Any]) -> Iterator[tuple[str, list[float]]]:
    """The metrics and checks of a record that have values, NaN for a dialogue without one."""
    for name, values in {**record.get("f1", {}), **record.get("checks", {})}.items():
        if name in qualities() and any(value is not None for value in values):
            yield name, [math.nan if value is None else value for value in values]


def _over_seeds(finals: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """By metric or check that all records have, the mean over them per dialogue."""
    records = [dict(_values(row)) for row in finals]
    return {name: [_mean(values) for values in zip(*(record[name] for record in records), strict=True)]
            for name in records[0] if all(name in record for record in records)}  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    found = [value for value in values if not math.isnan(value)]
    return fmean(found) if found else math.nan


def _means(record: Mapping[str, Any]) -> dict[str, Interval]:
    found = dict(_values(record))
    table = Bootstrap(list(zip(*found.values(), strict=True))) if found else None
    return {name: table.mean(place) for place, name in enumerate(found)} if table else {}
