"""Compares fine-tuning methods on the same base model, data, budget and seeds: quality against cost.

Trains with `dsum train` in child processes, one at a time, in a separate data folder, and evaluates the resulting
models. Progress is saved in study.json (see `report`), so a stopped study can be resumed.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dsum_demo.composition import make_judges, make_registry, make_sources, make_store
from dsum_demo.data.examples import Example, draw
from dsum_demo.errors import DataError, InputError, Stopped, TrainingError
from dsum_demo.metrics.checks import CHECKS
from dsum_demo.metrics.scores import METRICS, f1_of, signature
from dsum_demo.models.architectures import ENCODER_DECODER
from dsum_demo.runs.store import Run, Runs, RunState
from dsum_demo.runs.worker import probe, start_child
from dsum_demo.settings import Settings
from dsum_demo.study.report import STUDY_FILE, Study, read_study
from dsum_demo.study.variants import read_variant
from dsum_demo.training.config import DataConfig, RunConfig, TrainingConfig
from dsum_demo.training.methods import METHODS
from dsum_demo.utils.files import safe_name

POLL_SECONDS = 0.5
STOP_SECONDS = 60.0
QUALITY, COSTS = "quality", "costs"
PARTS = (QUALITY, COSTS)


@dataclass(frozen=True)
class StudyPlan:
    """The configuration of a study. Raises InputError for an unknown method or a value out of bounds.

    methods: each a method or a variant as `read_variant` reads it. dialogues: number of training dialogues; if it
    equals steps x batch_size, each is seen once. validation_share: split off the training source to choose learning
    rates. search_steps: of each try; 0 keeps the methods' default learning rates. factors: multiples of the default, in
    ascending order, to try. beyond: how many more are tried while the best is the lowest or highest. validation: the
    source for the final evaluation, limited to `validation_limit` dialogues. task_type: PEFT's task type of the base
    model. judge: the name of a judge of the final evaluation's summaries, "" for none.
    """

    base: str
    methods: tuple[str, ...] = tuple(METHODS)
    source: str = "dialogsum:train"
    validation: str = "dialogsum:validation"
    validation_share: float = 0.02
    validation_limit: int = 500
    dialogues: int = 3840
    batch_size: int = 16
    steps: int = 240
    search_steps: int = 60
    seeds: tuple[int, ...] = (1, 2)
    factors: tuple[float, ...] = (0.3, 1.0, 3.0)
    beyond: int = 3
    task_type: str = ENCODER_DECODER.task_type
    judge: str = ""

    def __post_init__(self) -> None:
        for name in self.methods:
            read_variant(name, self.task_type)
        if not self.methods or not self.seeds or not self.factors:
            raise InputError("A study needs at least one method, one seed and one learning rate.")
        if self.factors[0] <= 0 or list(self.factors) != sorted(set(self.factors)):
            raise InputError(f"factors is {self.factors}; give positive numbers in ascending order.")
        for name, least in (
            ("validation_limit", 1), ("dialogues", 1), ("batch_size", 1), ("steps", 1), ("search_steps", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; give {least} or more.")

    def learning_rates(self, name: str) -> list[float]:
        """Return the learning rates to try for a method, rounded to two significant digits."""
        default = self.default_learning_rate(name)
        return [_rounded(default * factor) for factor in self.factors]

    def default_learning_rate(self, name: str) -> float:
        return read_variant(name, self.task_type).method.learning_rate

    def further(self, tried: Sequence[float], best: float) -> float | None:
        """Return the next learning rate to try if the best is the lowest or highest tried, else None."""
        enough = len(self.factors) == 1 or len(tried) >= len(self.factors) + self.beyond
        if enough or min(tried) < best < max(tried):
            return None
        step = self.factors[-1] / self.factors[-2]
        rate = _rounded(best * step if best == max(tried) else best / step)
        return None if rate in tried else rate

    def config(self, name: str, learning_rate: float, steps: int, seed: int) -> RunConfig:
        variant = read_variant(name, self.task_type)
        return RunConfig(
            self.base,
            TrainingConfig(
                method=variant.method.name,
                options=variant.options,
                learning_rate=learning_rate,
                max_steps=steps,
                batch_size=self.batch_size,
                evaluations=1,
                best_by="loss",
                validation_sample=64,
                seed=seed,
                task_type=self.task_type,
            ),
            DataConfig(source=self.source, validation_share=self.validation_share, limit=self.dialogues),
        )


@dataclass(frozen=True)
class StudyProgress:
    """done, total: units (runs, evaluations, probes). note: the current unit. seconds_left: None until it is known."""

    done: int
    total: int
    note: str
    seconds_left: float | None


def run_study(
    plan: StudyPlan,
    settings: Settings,
    out: Path,
    *,
    parts: tuple[str, ...] = PARTS,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[StudyProgress]:
    """Run the remaining units of the study in `out`, yielding before each one and at the end.

    parts: "quality" trains and evaluates; "costs" measures memory and speed, which requires an otherwise idle machine.
    It takes all settings, because its child processes get them, with `out` as the data folder. A failed run is
    recorded with its reason and the study continues. Raises InputError if `out` has a study with
    another plan and for an unknown judge, DataError if the data is not available, and Stopped on request; completed
    units are kept.
    """
    if plan.judge:
        make_judges(settings).find(plan.judge)
    out.mkdir(parents=True, exist_ok=True)
    work = _StudyState(
        plan, replace(settings, data_dir=out.resolve()), out, _begun(plan, out), should_stop, settings.outputs_file
    )
    examples: list[Example] = []
    if QUALITY in parts:
        examples = draw(make_sources(settings).read(plan.validation), plan.validation_limit, seed=0)
    units = [*work.quality_units(examples)] if QUALITY in parts else []
    units += work.cost_units() if COSTS in parts else ()
    times: list[float] = []
    for number, unit in enumerate(units):
        if should_stop():
            raise Stopped("The study was stopped; run the same command again to resume it.")
        left = (len(units) - number) * sum(times) / len(times) if times else None
        yield StudyProgress(number, len(units), unit.note, left)
        started = time.monotonic()
        if unit.do():
            times.append(time.monotonic() - started)
    yield StudyProgress(len(units), len(units), "done", 0.0)


@dataclass(frozen=True)
class _Unit:
    """`do` returns whether there was anything to do."""

    note: str
    do: Callable[[], bool]


@dataclass
class _StudyState:
    """cache: of generated and judged summaries, which an app with the same data folder reads too."""

    plan: StudyPlan
    settings: Settings
    out: Path
    study: Study
    should_stop: Callable[[], bool]
    cache: Path

    def quality_units(self, examples: list[Example]) -> Iterator[_Unit]:
        yield _Unit(f"{self.plan.base}, not fine-tuned", partial(self._original, examples))
        for name in self.plan.methods:
            if self.plan.search_steps:
                for rate in self.plan.learning_rates(name):
                    yield _Unit(f"{name}: trying learning rate {rate:g}", partial(self._search, name, rate))
                for _ in range(self.plan.beyond):
                    yield _Unit(f"{name}: another learning rate, if necessary", partial(self._search_beyond, name))
            for seed in self.plan.seeds:
                yield _Unit(f"{name}: seed {seed}", partial(self._final, name, seed, examples))

    def cost_units(self) -> Iterator[_Unit]:
        for name in self.plan.methods:
            yield _Unit(f"{name}: memory and speed", partial(self._cost, name))

    def _write(self, **changes: Any) -> None:
        self.study = replace(self.study, **changes)
        self.study.write(self.out)

    def _original(self, examples: list[Example]) -> bool:
        if self.study.original and _has_all(self.study.original, examples):
            return False
        record = {"model": self.plan.base, **self._evaluated(self.plan.base, examples)}
        references = max(len(example.references) for example in examples)
        self._write(original=record, signature=signature(n=len(examples), references=references).as_dict())
        return True

    def _search(self, name: str, rate: float) -> bool:
        tried = self.study.search.get(name, [])
        # Also by their number: a study started with other default learning rates is not searched again.
        if len(tried) >= len(self.plan.factors) or any(entry[0] == rate for entry in tried):
            return False
        self._try(name, rate)
        return True

    def _try(self, name: str, rate: float) -> None:
        tried = self.study.search.get(name, [])
        config = self.plan.config(name, rate, self.plan.search_steps, seed=self.plan.seeds[0])
        run = self._train(f"search-{name}-{rate:g}", config)
        result = run.result() or {}
        loss = result.get("best", {}).get("loss")
        entry = [rate, loss, "" if loss is not None else run.status().reason or "The run has no result."]
        self._write(search={**self.study.search, name: [*tried, entry]})
        run.drop_weights()

    def _search_beyond(self, name: str) -> bool:
        best = self.study.best_learning_rate(name)
        rate = self.plan.further([entry[0] for entry in self.study.search[name]], best) if best else None
        if rate is None:
            return False
        self._try(name, rate)
        return True

    def _final(self, name: str, seed: int, examples: list[Example]) -> bool:
        before = self.study.final(name, seed)
        if before and _has_all(before, examples):
            return False
        rate = self.study.best_learning_rate(name) if self.plan.search_steps else self.plan.default_learning_rate(name)
        if rate is None:
            row: dict[str, Any] = {"method": name, "seed": seed, "reason": "Training failed with all learning rates."}
        else:
            run = self._train(f"{name}-seed{seed}", self.plan.config(name, rate, self.plan.steps, seed))
            result = run.result()
            row = {"method": name, "seed": seed, "learning_rate": rate}
            if result is None:
                row["reason"] = run.status().reason or "The run has no result."
            else:
                kept = ("trained_parameters", "share", "checkpoint_bytes", "steps", "best", "general_loss")
                row |= {key: result.get(key) for key in kept}
                row |= self._evaluated(run.name, examples)
        self._write(finals=[*(final for final in self.study.finals if final is not before), row])
        return True

    def _cost(self, name: str) -> bool:
        if name in self.study.costs:
            return False
        rate = self.study.best_learning_rate(name) or self.plan.default_learning_rate(name)
        config = self.plan.config(name, rate, self.plan.steps, seed=self.plan.seeds[0])
        self._write(costs={**self.study.costs, name: probe(config, self.settings.as_environment(), self.should_stop)})
        return True

    def _train(self, name: str, config: RunConfig) -> Run:
        """Start or resume a run, wait until it ends, and return it."""
        runs, name = Runs(self.settings.runs_dir), safe_name(name)
        run = next((run for run in runs.all() if run.name == name), None) or runs.create(config.as_record(), name)
        if run.status().state is RunState.FINISHED:
            return run
        environment = self.settings.as_environment()
        with run.output_file.open("ab") as output:
            child = start_child(["train", "--resume", run.name], environment, output, subprocess.STDOUT)
            try:
                while child.poll() is None:
                    time.sleep(POLL_SECONDS)
                    if self.should_stop():
                        raise Stopped("The study was stopped; run the same command again to resume it.")
            except BaseException:
                run.request_stop()
                try:
                    child.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                raise
        if run.result() and not self.study.environment:
            self._write(environment=run.environment())
        return run

    def _evaluated(self, model: str, examples: list[Example]) -> dict[str, dict[str, list[float | None]]]:
        """The F1 of every metric and the value of every check that has some, per example in order; rounded to four
        digits to keep the file small.
        """
        # They import torch, which a wrong argument need not wait for.
        from dsum_demo.evaluation.judging import judged
        from dsum_demo.evaluation.output_cache import OutputCache
        from dsum_demo.evaluation.runner import evaluate

        registry = make_registry(self.settings)
        store, cache = make_store(self.settings, registry), OutputCache(self.cache)
        states = evaluate(
            store, [registry.spec(model)], examples, data=self.plan.validation, cache=cache,
            should_stop=self.should_stop,
        )  # fmt: skip
        if self.plan.judge:
            states = judged(states, make_judges(self.settings, store), self.plan.judge, cache, self.should_stop)
        *_, last = states
        evaluation = last.evaluation
        if error := evaluation.systems[0].error:
            raise TrainingError(f"{model}: {error}")
        if not evaluation.finished:
            raise Stopped("The study was stopped.")
        if evaluation.judge:
            facts = {key: value for key, value in evaluation.judge.items() if key != "seconds_per_100"}
            self.study = replace(self.study, judge=facts)
        outputs = {record.id: record.outputs[model] for record in evaluation.examples}
        found = [outputs[example.id] for example in examples]
        scores = [f1_of(output.scores) for output in found]
        checks = {check.name: _rounded_values(output.checks.get(check.name) for output in found) for check in CHECKS}
        return {
            "f1": {name: _rounded_values(row[name] for row in scores) for name in METRICS},
            "checks": {name: values for name, values in checks.items() if any(v is not None for v in values)},
        }


def _has_all(record: Mapping[str, Any], examples: Sequence[Example]) -> bool:
    """Whether a record has all dialogues: older versions left out those whose references ROUGE cannot read."""
    return all(len(values) == len(examples) for values in record.get("f1", {}).values())


def _rounded_values(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 4) for value in values]


def _rounded(rate: float) -> float:
    return min(1.0, float(f"{rate:.1e}"))


def _begun(plan: StudyPlan, out: Path) -> Study:
    record = json.loads(json.dumps(asdict(plan)))
    if not (out / STUDY_FILE).is_file():
        return Study(plan=record)
    try:
        study = read_study(out)
    except DataError as error:
        raise InputError(f"{error} Give another folder or delete the file.") from None
    # Plans of older versions had no task_type, and all were of encoder-decoder models, and no judge.
    saved = {"task_type": ENCODER_DECODER.task_type, "judge": "", **study.plan}
    if saved != record:
        changed = ", ".join(key for key in record if saved.get(key) != record[key])
        raise InputError(f"{out} has a study with another plan (different: {changed}); give another folder.")
    return study
