"""What a training tells while it runs: the trainer's steps and evaluations as events, with speed, memory and time left.

Knows the trainer and its rows; the events are described in run_events.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from dsum_demo.hardware import device_name, memory_bytes, peak_memory_bytes
from dsum_demo.metrics import ROUGE_TYPES
from dsum_demo.run_events import Event
from dsum_demo.trainer import Trainer
from dsum_demo.training_batches import Rows

STEPS_IN_SPEED = 20


class Progress:
    """Turns what the trainer tells into events, with speed, memory and the time that is left."""

    def __init__(self, trainer: Trainer, rows: Rows, on_event: Callable[[Event], None], steps: int):
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
        """Over this process's training steps, evaluations and checkpoints left out."""
        return self.together * self.steps_here / self.training_seconds if self.training_seconds else 0.0

    def start(self, resumed_at: int, resumed: bool) -> None:
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
            }
        )

    def emit(self, kind: str, **values: Any) -> None:
        state = self.trainer.state
        self.on_event({"event": kind, "step": state.global_step, "steps": self.steps, "epoch": state.epoch, **values})

    def told(self, kind: str, **values: Any) -> None:
        """What `trainer.Trainer` calls."""
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
            samples_per_second=self.together / pace if pace else None,
            memory_bytes=memory_bytes(),
            peak_memory_bytes=peak_memory_bytes(),
            seconds=now - self.began,
            seconds_left=pace * to_come + self.evaluation_seconds * evaluations_to_come,
        )

    def _evaluation(self, metrics: dict[str, float], best: bool, seconds: float) -> None:
        self.evaluation_seconds = seconds
        scores = {name: metrics[f"eval_{name}"] for name in ("loss", *ROUGE_TYPES)}
        texts = self.trainer.scores.texts
        self.emit("evaluation", **scores, best=best, seconds=seconds, summaries=self.rows.watched(texts))
