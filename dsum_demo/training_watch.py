"""Watches a training step by step: tells each one, obeys a stop, plans checkpoints by the clock, ends what explodes.

Knows the trainer that it watches.
"""

from __future__ import annotations

import math
import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dsum_demo.adalora import rank_allocator
from dsum_demo.errors import TrainingError
from dsum_demo.trainer import ADVICE, Trainer

# A run that is long between two evaluations still loses no more than this to a crash.
SECONDS_BETWEEN_CHECKPOINTS = 600


class Watch(TrainerCallback):
    """Tells every step, obeys a stop, plans checkpoints by the clock, and ends a run whose loss explodes."""

    def __init__(self, trainer: Trainer, vocabulary: int):
        self.trainer = trainer
        self.certain = math.log(vocabulary)  # the loss of one that guesses: all words alike
        self.first: float | None = None
        self.level = 0.0
        self.saved = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.keep_random_state()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self.trainer.keep_random_state()
        if self.trainer.stop_asked():
            self.trainer.stopped = control.should_training_stop = True
            # Both are made up for: the checkpoint after the loop, the evaluation by who resumes.
            control.should_evaluate = control.should_save = False
        elif time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
            control.should_save = True
        return control

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        if self.trainer.stop_asked():
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
        self.trainer.told("step", logs=logs)
        self._look_for_an_explosion(logs["loss"], state.global_step)

    def _look_for_an_explosion(self, loss: float, step: int) -> None:
        """A smoothed loss of three times what the run began with, or what guessing costs, will not come back."""
        if self.first is None:
            self.first = self.level = loss
        self.level = 0.8 * self.level + 0.2 * loss
        if self.level > 3 * max(self.certain, self.first):
            raise TrainingError(
                f"The training loss exploded to {loss:.3g} at step {step}, from {self.first:.3g}; {ADVICE}"
            )
