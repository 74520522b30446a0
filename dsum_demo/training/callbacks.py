"""Trainer callbacks: stopping, time limits, loss checks and progress events."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dsum_demo.errors import TrainingError
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.training.adalora import rank_allocator
from dsum_demo.training.events import Event
from dsum_demo.training.forgetting import general_loss
from dsum_demo.training.resumable import ADVICE, ResumableTrainer
from dsum_demo.utils.hardware import device_name, memory_bytes, peak_memory_bytes

# Limits what a crash can lose if evaluations are far apart.
SECONDS_BETWEEN_CHECKPOINTS = 600


class Watch(TrainerCallback):
    """Reports every step, stops on request, saves checkpoints by time, and ends a run whose loss explodes."""

    def __init__(self, trainer: ResumableTrainer, vocabulary: int):
        self.trainer = trainer
        self.uniform_loss = math.log(vocabulary)  # of a model that predicts all tokens with equal probability
        self.first: float | None = None
        self.level = 0.0
        self.saved = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.keep_random_state()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self.trainer.keep_random_state()
        if self.trainer.stop_requested():
            self.trainer.stopped = control.should_training_stop = True
            # Not skipped but postponed: the checkpoint is saved after the loop, the evaluation is done on resume.
            control.should_evaluate = control.should_save = False
        elif time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
            control.should_save = True
        return control

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        if self.trainer.stop_requested():
            self.trainer.stopped = control.should_training_stop = True
        return control

    def on_optimizer_step(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if rank_allocator(self.trainer.model) is not None:
            self.trainer.model.base_model.update_and_allocate(state.global_step + 1)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.saved = time.monotonic()

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        self.trainer.report("step", logs=logs)
        self._check_for_explosion(logs["loss"], state.global_step)

    def _check_for_explosion(self, loss: float, step: int) -> None:
        """Raise TrainingError if the smoothed loss exceeds both the initial and the uniform loss threefold."""
        if self.first is None:
            self.first = self.level = loss
        self.level = 0.8 * self.level + 0.2 * loss
        if self.level > 3 * max(self.uniform_loss, self.first):
            raise TrainingError(
                f"The training loss exploded to {loss:.3g} at step {step}, from {self.first:.3g}; {ADVICE}"
            )


STEPS_IN_SPEED = 20


class ProgressCallback:
    """Turns the trainer's reports into events with speed, memory and remaining time."""

    def __init__(self, trainer: Any, rows: Any, on_event: Callable[[Event], None], steps: int):
        """rows: the EncodedDataset, or another object with the attributes that this class uses."""
        self.trainer, self.rows, self.on_event, self.steps = trainer, rows, on_event, steps
        self.began = self.mark = time.monotonic()
        self.step_seconds: deque[float] = deque(maxlen=STEPS_IN_SPEED)
        self.training_seconds, self.steps_here, self.evaluation_seconds = 0.0, 0, 0.0

    @property
    def together(self) -> int:
        args = self.trainer.args
        return args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size

    @property
    def samples_per_second(self) -> float:
        """Mean over this process's training steps, without evaluations and checkpoints."""
        return self.together * self.steps_here / self.training_seconds if self.training_seconds else 0.0

    def start(self, resumed_at: int, resumed: bool, general_loss: float | None = None) -> None:
        """general_loss: of the base model."""
        args = self.trainer.args
        self.on_event(
            {
                "event": "start",
                "step": resumed_at,
                "steps": self.steps,
                "resumed": resumed,
                "batch_size": args.per_device_train_batch_size,
                "accumulation": args.gradient_accumulation_steps,
                "processes": args.world_size,
                "precision": "bf16" if args.bf16 else "fp32",
                "device": device_name(),
                "parameters": self.rows.parameters,
                "trained_parameters": self.rows.trained_parameters,
                "train_dialogues": len(self.rows.train),
                "validation_dialogues": len(self.rows.validation),
                "general_loss": general_loss,
            }
        )

    def emit(self, kind: str, **values: Any) -> None:
        state = self.trainer.state
        self.on_event({"event": kind, "step": state.global_step, "steps": self.steps, "epoch": state.epoch, **values})

    def report(self, kind: str, **values: Any) -> None:
        """The trainer's `report` callback."""
        if kind == "step":
            self._step(values["logs"])
        elif kind == "evaluation":
            self._evaluation(**values)
        else:
            self.emit(kind, **values)
        self.mark = time.monotonic()

    def _step(self, logs: dict[str, float]) -> None:
        now = time.monotonic()
        self.step_seconds.append(now - self.mark)
        self.training_seconds += now - self.mark
        self.steps_here += 1
        pace = sum(self.step_seconds) / len(self.step_seconds)
        state, every = self.trainer.state, self.trainer.evaluate_every
        to_come = self.steps - state.global_step
        evaluations_to_come = math.ceil(self.steps / every) - state.global_step // every
        self.emit(
            "step",
            loss=logs["loss"],
            learning_rate=logs.get("learning_rate"),
            grad_norm=logs.get("grad_norm"),
            **self.step_values(logs),
            samples_per_second=self.together / pace if pace else None,
            memory_bytes=memory_bytes(),
            peak_memory_bytes=peak_memory_bytes(),
            seconds=now - self.began,
            seconds_left=pace * to_come + self.evaluation_seconds * evaluations_to_come,
        )

    def _evaluation(self, metrics: dict[str, float], best: bool, seconds: float) -> None:
        self.evaluation_seconds = seconds
        general = general_loss(self.trainer.model, self.trainer.tokenizer, self.rows.architecture)
        self.emit(
            "evaluation", loss=metrics["eval_loss"], **self.evaluation_values(metrics), best=best, seconds=seconds,
            general_loss=general,
        )  # fmt: skip

    def step_values(self, logs: dict[str, float]) -> dict[str, Any]:
        """More keys of a step's event."""
        return {}

    def evaluation_values(self, metrics: dict[str, float]) -> dict[str, Any]:
        """More keys of an evaluation's event."""
        scores = {name: metrics[f"eval_{name}"] for name in ROUGE_TYPES}
        return {**scores, **self.rows.evaluated_rows(self.trainer.texts, self.trainer.text_scores)}
