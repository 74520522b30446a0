"""A learning-rate sweep: four values for a few steps each, from the same weights, with the same seed and batches."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from dsum_demo.errors import TrainingError
from dsum_demo.training.config import RunConfig
from dsum_demo.training.events import Curve, Event
from dsum_demo.utils.fields import Field

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from dsum_demo.models.architectures import Architecture
    from dsum_demo.models.decoding import DecodingConfig
    from dsum_demo.models.prompts import Prompt
    from dsum_demo.training.batches import Pair

# Log-spaced; the method's default or the chosen learning rate is the third value.
FACTORS = (0.1, 10**-0.5, 1.0, 10**0.5)
DEFAULT_STEPS = 20
STEPS = Field("sweep steps", "whole", DEFAULT_STEPS, "Steps per learning rate.", 2, 1000)


@dataclass(frozen=True)
class SweepRow:
    """One learning rate of a sweep. losses: the training loss per step. level: the mean loss of the last quarter, None
    before it is complete. problem: why it ended early, "" if it did not.
    """

    rate: float
    losses: tuple[float, ...]
    level: float | None
    problem: str = ""


def with_sweep(config: RunConfig, steps: float = DEFAULT_STEPS) -> RunConfig:
    """Return `config` as a sweep of `steps` steps per learning rate. Raises InputError for a number out of bounds."""
    steps = STEPS.check(steps)
    middle = config.training.peak_learning_rate
    rates = tuple(dict.fromkeys(min(1.0, float(f"{factor * middle:.2g}")) for factor in FACTORS))
    training = replace(config.training, max_steps=int(steps), evaluations=1, patience=0, compile=False)
    return replace(config, training=training, sweep=rates)


def sweep_rows(config: RunConfig, curve: Curve) -> list[SweepRow]:
    """The results so far, a row per learning rate in ascending order."""
    problems = {event["rate"]: str(event["text"]) for event in curve.diverged}
    rows = []
    for rate in sorted(config.sweep):
        losses = tuple(event["loss"] for event in curve.steps if event.get("rate") == rate)
        complete = len(losses) >= config.training.max_steps and rate not in problems
        level = fmean(losses[-max(1, len(losses) // 4) :]) if complete else None
        rows.append(SweepRow(rate, losses, level, problems.get(rate, "")))
    return rows


def best_rate(rows: Sequence[SweepRow]) -> SweepRow | None:
    """The complete row with the lowest loss at the end."""
    complete = [row for row in rows if row.level is not None]
    return min(complete, key=lambda row: row.level or 0.0) if complete else None


def sweep(
    config: RunConfig,
    load_model: Callable[[], Any],
    tokenizer: PreTrainedTokenizerBase,
    train_pairs: Sequence[Pair],
    validation_pairs: Sequence[Pair],
    *,
    architecture: Architecture,
    decode: DecodingConfig,
    prompt: Prompt,
    before: Curve,
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Train every learning rate of `config.sweep` that is not complete in `before`; returns whether it was stopped.

    Nothing is evaluated or saved. The events are those of one run: `step` counts over all learning rates, and "rate"
    and "rate_step" identify the part.
    """
    from transformers.trainer_utils import IntervalStrategy, SaveStrategy

    from dsum_demo.training.batches import EncodedDataset
    from dsum_demo.training.callbacks import ProgressCallback
    from dsum_demo.training.loop import build_trainer, prepare, use_training_attention

    training = config.training
    steps, began = training.max_steps, time.monotonic()
    rows = EncodedDataset(tokenizer, train_pairs, validation_pairs[:1], training, architecture, prompt)
    done = {row.rate for row in sweep_rows(config, before) if row.level is not None or row.problem}
    remaining = [rate for rate in config.sweep if rate not in done]
    for number, rate in enumerate(config.sweep):
        if rate in done:
            continue
        offset, rates_left = number * steps, len(config.sweep) - number - 1
        chosen = replace(training, learning_rate=rate)
        trained = prepare(load_model(), chosen, config.base, steps)
        use_training_attention(trained)

        def forward(event: Event, offset: int = offset, rate: float = rate, rates_left: int = rates_left) -> None:
            event = {**event, "step": offset + event["step"], "steps": len(config.sweep) * steps}
            if event["event"] == "step":
                rate_step = event["step"] - offset
                pace = event["seconds"] / rate_step
                seconds = time.monotonic() - began
                left = event["seconds_left"] + pace * steps * rates_left
                event |= {"rate": rate, "rate_step": rate_step, "seconds": seconds, "seconds_left": left}
            on_event(event)

        with tempfile.TemporaryDirectory() as folder:
            trainer = build_trainer(
                trained, tokenizer, rows, chosen, Path(folder), decode=decode, batch=chosen.batch_size,
                accumulation=chosen.accumulation,
            )  # fmt: skip
            trainer.args.eval_strategy, trainer.args.save_strategy = IntervalStrategy.NO, SaveStrategy.NO
            progress = ProgressCallback(trainer, rows, forward, steps)
            trainer.should_stop, trainer.report = should_stop, progress.report
            if rate == remaining[0]:
                progress.start(resumed_at=0, resumed=bool(done))
            try:
                trainer.train()
            except TrainingError as error:
                on_event({"event": "diverged", "rate": rate, "text": str(error)})
            if trainer.stopped:
                return True
    return False
