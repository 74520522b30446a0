"""A transformers Trainer with sealed checkpoints and stop requests, which saves the best weights to a separate folder.

A loss or gradient that is not finite raises TrainingError.
"""

from __future__ import annotations

import math
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dsum_demo.errors import TrainingError
from dsum_demo.training.adalora import adaptive_state, rank_allocator, set_adaptive_state
from dsum_demo.training.checkpoints import keep_only, seal, seal_of, swap_in
from dsum_demo.utils.formatting import first_line, size

ADVICE = "lower the learning rate, and train T5 in bf16 or fp32, never in fp16."
_ADAPTIVE = "adalora.pt"


class ResumableTrainer(transformers.Trainer):
    """`should_stop` is called after every batch; `report` receives an event's kind and values.

    Set before `train`: best_folder (for the best weights), tokenizer. best_adapters: those that are saved with the best
    weights, None for all; a checkpoint has all of them.
    """

    model: Any
    best_folder: Path
    tokenizer: PreTrainedTokenizerBase
    best_adapters: Sequence[str] | None = None
    should_stop: Callable[[], bool] = staticmethod(lambda: False)
    report: Callable[..., None] = staticmethod(lambda kind, **values: None)
    evaluated_at = -1
    evaluation_seconds = 0.0
    random_state: tuple[Any, ...] = ()
    stopped = False

    @property
    def evaluate_every(self) -> int:
        return int(self.args.eval_steps or 1)

    # Private: the Trainer would take another step if a resumed run has already reached its last step.
    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        value = loss.item()
        if not math.isfinite(value) or value == 0.0:
            # Raised before the optimizer step, so the weights are unchanged.
            raise TrainingError(f"The training loss became {value} at step {self.state.global_step + 1}; {ADVICE}")
        return loss

    # Private: no callback receives the norm before the optimizer step changes the weights.
    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        if not math.isfinite(float(norm)):
            step = self.state.global_step + 1
            raise TrainingError(f"The gradient became {float(norm)} at step {step}; {ADVICE}")
        return norm

    def stop_requested(self) -> bool:
        """Whether any process is asked to stop. All ranks must agree, or they deadlock."""
        asked = self.should_stop()
        if self.args.world_size == 1:
            return asked
        flag = torch.tensor(int(asked), device=self.args.device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        started, state = time.monotonic(), _random_state()
        try:
            metrics = super().evaluate(*args, **kwargs)
        finally:
            # A data loader draws a seed for its workers; the number of evaluations must not change the training.
            _set_random_state(state)
        self.evaluated_at = self.state.global_step
        self.evaluation_seconds = time.monotonic() - started
        if self.is_in_train:
            self._keep_best(metrics)
        return metrics

    def _keep_best(self, metrics: dict[str, float]) -> None:
        """Save the weights if they are the best so far. The Trainer only compares after `evaluate` has returned."""
        sign = 1 if self.args.greater_is_better else -1
        value, best = metrics[f"eval_{self.args.metric_for_best_model}"], self.state.best_metric
        better = sign * value > (-math.inf if best is None else sign * best)
        if better:
            self.state.best_metric, self.state.best_global_step = value, self.state.global_step
            self.save_best()
        self.report("evaluation", metrics=metrics, best=better, seconds=self.evaluation_seconds)

    def save_best(self) -> None:
        """Replace the best weights by the current ones. A crash leaves the old or the new ones."""
        if not self.is_world_process_zero():
            return
        new = self.best_folder.with_name(f".{self.best_folder.name}-new")
        shutil.rmtree(new, ignore_errors=True)
        try:
            self.save_model(str(new))
            swap_in(new, self.best_folder)
        except _WRITING_FAILED as error:
            shutil.rmtree(new, ignore_errors=True)
            raise self._write_error("The best weights", error) from error

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if not self.args.should_save:
            return
        # By default PEFT requests the base's config from the Hub. The Trainer would add its arguments as a pickle.
        options: dict[str, Any] = {}
        if not isinstance(self.model, PreTrainedModel):
            adapters = None if _internal_call else self.best_adapters
            options = {"save_embedding_layers": False, "selected_adapters": adapters}
        self.model.save_pretrained(output_dir, **options)
        self.tokenizer.save_pretrained(str(output_dir))

    def keep_random_state(self) -> None:
        """Keep the state of all random generators for a checkpoint of this step."""
        self.random_state = _random_state()

    def save_current_step(self) -> None:
        """Save a checkpoint of the current step from outside the loop, after a stop or an out-of-memory error.

        Nothing if the loop has saved it already: a crash while it is written again would leave none.
        """
        if seal_of(Path(str(self.args.output_dir), f"checkpoint-{self.state.global_step}")):
            return
        _set_random_state(self.random_state)
        self.model.zero_grad()
        self._save_checkpoint(self.model, None)

    # Private: the seal must come after every file, and a failed write must leave no folder.
    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        parent = Path(str(self.args.output_dir))
        folder = parent / f"checkpoint-{step}"
        main = self.is_world_process_zero()
        if main and seal_of(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)  # incomplete after a crash
        self.accelerator.wait_for_everyone()
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()  # every rank writes its random state
            if main:
                if rank_allocator(self.model) is not None:
                    torch.save(adaptive_state(self.model), folder / _ADAPTIVE)
                due = step % self.evaluate_every == 0 or step == self.state.max_steps
                size = seal(folder, step=step, evaluation_due=due and self.evaluated_at != step)
                keep_only(folder)
                self.report("checkpoint", bytes=size)
        except torch.OutOfMemoryError:
            raise
        except _WRITING_FAILED as error:
            free = shutil.disk_usage(parent).free
            shutil.rmtree(folder, ignore_errors=True)
            raise self._write_error(f"The checkpoint of step {step}", error, free) from error

    # Private: AdaLoRA's ranks are part of the weights, and PEFT does not restore them.
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        file = Path(resume_from_checkpoint) / _ADAPTIVE
        if file.is_file() and rank_allocator(self.model) is not None:
            set_adaptive_state(self.model, torch.load(file, weights_only=True))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _write_error(self, what: str, error: BaseException, free: int | None = None) -> TrainingError:
        if free is None:
            free = shutil.disk_usage(Path(str(self.args.output_dir)).parent).free
        return TrainingError(
            f"{what} could not be written ({first_line(error)}); {size(free)} are free on that disk. "
            "Free disk space and resume the run; earlier checkpoints are intact."
        )


# If the disk is full, torch.save raises RuntimeError and safetensors its own error.
_WRITING_FAILED = (OSError, SafetensorError, RuntimeError)


def _random_state() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _set_random_state(state: tuple[Any, ...]) -> None:
    python, numpy, cpu, cuda = state
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)
