"""Results of a study: study.json, means with confidence intervals, the Pareto front and a textual summary."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from dsum_demo.errors import DataError
from dsum_demo.metrics.bootstrap import Bootstrap, Interval
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.training.methods import METHODS
from dsum_demo.utils.files import write_atomically

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
    seed, with `f1` (ROUGE type -> one value per validation dialogue, 0 to 1). original: the same for the base model.
    costs: the record of the cost probe by method.
    """

    plan: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict)
    signature: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Sequence[Sequence[Any]]] = field(default_factory=dict)
    original: Mapping[str, Any] | None = None
    finals: Sequence[Mapping[str, Any]] = ()
    costs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

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
    """One method's results. f1: mean over seeds and dialogues with confidence interval over dialogues. spread: mean
    ROUGE-1 F1 per seed. Costs are None if not measured. recovered: the method's gain divided by that of full
    fine-tuning; None if the interval of full fine-tuning's gain includes zero. forgetting: how much the loss on a
    general text rose, mean over seeds; None if it was not measured or is not defined for the architecture.
    """

    method: str
    title: str
    learning_rate: float
    f1: Mapping[str, Interval]
    spread: tuple[float, ...]
    recovered: Interval | None
    trained_parameters: int | None
    share: float | None
    checkpoint_bytes: int | None
    peak_memory_bytes: int | None
    samples_per_second: float | None
    seconds_per_step: float | None
    forgetting: float | None = None


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
def original_f1(study: Study) -> dict[str, Interval]:
    """Return the base model's means with intervals over dialogues, by ROUGE type; empty if it was not evaluated."""
    if not study.original:
        return {}
    columns = [study.original["f1"][rouge] for rouge in ROUGE_TYPES]
    table = Bootstrap(list(zip(*columns, strict=True)))
    return {rouge: table.mean(place) for place, rouge in enumerate(ROUGE_TYPES)}


@lru_cache(maxsize=8)
def method_rows(study: Study) -> list[MethodRow]:
    """Return a row per method with at least one evaluated run, best ROUGE-1 first.

    The intervals of a study are computed once, because every visitor's page shows them.
    """
    rows = []
    full = [row for row in study.finals if row["method"] == "full" and row.get("f1")]
    for method in METHODS:
        finals = [row for row in study.finals if row["method"] == method and row.get("f1")]
        if not finals:
            continue
        columns = [_over_seeds(finals, rouge) for rouge in ROUGE_TYPES]
        compared = bool(full and study.original)
        if compared and study.original:
            columns += [_over_seeds(full, "rouge1"), study.original["f1"]["rouge1"]]
        table = Bootstrap(list(zip(*columns, strict=True)))
        at_full, at_original = len(ROUGE_TYPES), len(ROUGE_TYPES) + 1
        # A share of a gain that may be zero is meaningless.
        sure = compared and table.difference(at_full, at_original).excludes_zero
        cost = study.costs.get(method, {})
        rows.append(
            MethodRow(
                method=method,
                title=METHODS[method].title,
                learning_rate=finals[0]["learning_rate"],
                f1={rouge: table.mean(place) for place, rouge in enumerate(ROUGE_TYPES)},
                spread=tuple(fmean(row["f1"]["rouge1"]) for row in finals),
                recovered=table.ratio_of_gains(0, at_full, at_original) if sure else None,
                trained_parameters=cost.get("trained_parameters", finals[0].get("trained_parameters")),
                share=cost.get("share", finals[0].get("share")),
                checkpoint_bytes=cost.get("checkpoint_bytes", finals[0].get("checkpoint_bytes")),
                peak_memory_bytes=cost.get("peak_memory_bytes"),
                samples_per_second=cost.get("samples_per_second"),
                seconds_per_step=cost.get("seconds_per_step"),
                forgetting=_forgetting(finals),
            )
        )
    return sorted(rows, key=lambda row: -row.f1["rouge1"].mean)


def _forgetting(finals: Sequence[Mapping[str, Any]]) -> float | None:
    losses = [row["general_loss"] for row in finals if row.get("general_loss")]
    return fmean(after - before for before, after in losses) if losses else None


def pareto_front(rows: Sequence[MethodRow], cost: str, rouge: str = "rouge1") -> list[MethodRow]:
    """Return the rows that no other row beats in both quality and cost, cheapest first."""
    measured = sorted(
        (row for row in rows if getattr(row, cost) is not None),
        key=lambda row: (getattr(row, cost), -row.f1[rouge].mean),
    )
    front: list[MethodRow] = []
    for row in measured:
        if not front or row.f1[rouge].mean > front[-1].f1[rouge].mean:
            front.append(row)
    return front


def finding(study: Study, rows: Sequence[MethodRow]) -> str:
    """Summarize the results and their limits in a few sentences."""
    by_method = {row.method: row for row in rows}
    full, original = by_method.get("full"), original_f1(study)
    if full is None or not original or len(rows) < 2:
        return "The study is not complete: it needs the base model, full fine-tuning and at least one other method."
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
    missing = [METHODS[name].title for name in plan["methods"] if name in METHODS and name not in by_method]
    if missing:
        text += f" Not measured yet: {', '.join(missing)}."
    return (
        f"{text} Every method had {plan['steps']} steps of {plan['batch_size']} dialogues and the best of "
        f"{_tried(study, rows)} learning rates; with more training, methods with few trained parameters would change "
        f"rank the most. Intervals are over {full.f1['rouge1'].n} dialogues, not over the {len(plan['seeds'])} seeds."
    )


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


def _over_seeds(finals: Sequence[Mapping[str, Any]], rouge: str) -> list[float]:
    return [fmean(values) for values in zip(*(row["f1"][rouge] for row in finals), strict=True)]
