"""transformers' Seq2SeqTrainer as this project needs it: its own order of batches, sealed checkpoints, the best weights
apart, a stop that is obeyed anywhere, and an end to a run that is broken.

Knows one model, encoded rows and a folder to write into; nothing of runs, jobs or pages.
"""

from __future__ import annotations

import copy
import math
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Seq2SeqTrainer,
    StoppingCriteria,
    StoppingCriteriaList,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from dsum_demo.errors import Stopped, TrainingError
from dsum_demo.prompts import DecodeConfig
from dsum_demo.training_batches import LengthGroupedOrder
from dsum_demo.training_checkpoints import keep_only, seal, seal_of, swap_in

ADVICE = "lower the learning rate, and train T5 in bf16 or fp32, never in fp16."
# A run that is long between two evaluations still loses no more than this to a crash.
SECONDS_BETWEEN_CHECKPOINTS = 600
_ADAPTIVE = "adalora.pt"


class Trainer(Seq2SeqTrainer):
    """`should_stop` is asked after every batch and every generated token; `told` gets an event's kind and its values.

    Set before `train`: best_folder (where the best weights go), decode (how validation is written), compiled.
    """

    best_folder: Path
    decode: DecodeConfig
    tokenizer: PreTrainedTokenizerBase
    compiled: Any = None
    should_stop: Callable[[], bool] = staticmethod(lambda: False)
    told: Callable[..., None] = staticmethod(lambda kind, **values: None)
    evaluated_at = -1
    best_step = 0
    stopped = False

    # what it learns from

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedOrder:
        rows = train_dataset if train_dataset is not None else self.train_dataset
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LengthGroupedOrder([len(ids) for ids in rows["input_ids"]], batch, self.args.seed)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        # The training step alone: the Trainer's own option also compiles validation, for minutes each time.
        chosen = self.compiled if self.compiled is not None and model.training else model
        return super().compute_loss(chosen, inputs, *args, **kwargs)

    # what ends it

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        value = loss.item()
        if not math.isfinite(value) or value == 0.0:
            # Before the optimizer's step: the weights are still what they were.
            raise TrainingError(f"The training loss became {value} at step {self.state.global_step + 1}; {ADVICE}")
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        if not math.isfinite(float(norm)):
            step = self.state.global_step + 1
            raise TrainingError(f"The gradient became {float(norm)} at step {step}; {ADVICE}")
        return norm

    # validation

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        started, before = time.monotonic(), copy.deepcopy(self.model.generation_config)
        config, state = self.decode, _random_state()
        try:
            metrics = super().evaluate(
                *args,
                **kwargs,
                max_length=config.max_new_tokens + 1,  # the decoder's start token counts
                num_beams=config.num_beams,
                no_repeat_ngram_size=config.no_repeat_ngram_size,
                length_penalty=config.length_penalty,
                do_sample=False,
                stopping_criteria=StoppingCriteriaList([_StopAsked(self.should_stop)]),
            )
        finally:
            # Generation leaves every default of transformers in it, a limit of 20 tokens among them.
            self.model.generation_config = before
            # A loader draws a seed for its workers: how often one validates is not to change what is learned.
            _set_random_state(state)
        self.evaluated_at = self.state.global_step
        self.evaluation_seconds = time.monotonic() - started
        return metrics

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> dict[str, float]:
        metrics = super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)
        if skip_scheduler:  # the evaluation that a stop had put off, see `save_where_it_stands`
            self._determine_best_metric(metrics, trial)
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        better = super()._determine_best_metric(metrics, trial)
        if better:
            self.best_step = self.state.global_step
            self.save_best()
        self.told("evaluation", metrics=metrics, best=better, seconds=self.evaluation_seconds)
        return better

    # what it writes

    def save_best(self) -> None:
        """Replace the best weights by those of now; whoever reads finds the old ones or the new."""
        if not self.is_world_process_zero():
            return
        new = self.best_folder.with_name(f".{self.best_folder.name}-new")
        shutil.rmtree(new, ignore_errors=True)
        try:
            self._save(str(new))
            swap_in(new, self.best_folder)
        except _WRITING_FAILED as error:
            shutil.rmtree(new, ignore_errors=True)
            raise self._unwritten("The best weights", error) from error

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # PEFT asks the Hub for the base's config otherwise. The Trainer would add its arguments as a pickle.
        unasked = {} if isinstance(self.model, PreTrainedModel) else {"save_embedding_layers": False}
        self.model.save_pretrained(output_dir, state_dict=state_dict, **unasked)
        self.tokenizer.save_pretrained(str(output_dir))

    def save_where_it_stands(self) -> None:
        """A checkpoint of this very step, from outside the loop: after a stop, or where memory ran out."""
        _set_random_state(self.random_state)
        self.model.zero_grad()
        self._save_checkpoint(self.model, None)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        parent = Path(self.args.output_dir)
        folder = parent / f"checkpoint-{step}"
        main = self.is_world_process_zero()
        if main and seal_of(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)  # what a crash left of it
        try:
            super()._save_checkpoint(model, trial)
            if main:
                if _rank_allocator(self.model) is not None:
                    torch.save(_adaptive_state(self.model), folder / _ADAPTIVE)
                due = step % self.args.eval_steps == 0 or step == self.state.max_steps
                size = seal(folder, step=step, evaluation_due=due and self.evaluated_at != step)
                keep_only(folder)
                self.told("checkpoint", bytes=size)
        except torch.OutOfMemoryError:
            raise
        except _WRITING_FAILED as error:
            free = shutil.disk_usage(parent).free
            shutil.rmtree(folder, ignore_errors=True)
            raise self._unwritten(f"The checkpoint of step {step}", error, free) from error

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        file = Path(resume_from_checkpoint) / _ADAPTIVE
        if file.is_file() and _rank_allocator(self.model) is not None:
            _set_adaptive_state(self.model, torch.load(file, weights_only=True))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _unwritten(self, what: str, error: BaseException, free: int | None = None) -> TrainingError:
        if free is None:
            free = shutil.disk_usage(Path(self.args.output_dir).parent).free
        return TrainingError(
            f"{what} could not be written ({_first_line(error)}); {free / 1e6:,.0f} MB are free on that disk. "
            "Make room and resume the run: what it had saved before is still there."
        )


# torch.save raises RuntimeError where the disk is full, safetensors an error of its own.
_WRITING_FAILED = (OSError, SafetensorError, RuntimeError)


class Watch(TrainerCallback):
    """Tells every step, obeys a stop, plans checkpoints by the clock, and ends a run whose loss explodes."""

    def __init__(self, trainer: Trainer, vocabulary: int):
        self.trainer = trainer
        self.certain = math.log(vocabulary)  # the loss of one that guesses: all words alike
        self.first: float | None = None
        self.level = 0.0
        self.saved = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.random_state = _random_state()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self.trainer.random_state = _random_state()
        if self.trainer.should_stop():
            self.trainer.stopped = control.should_training_stop = True
            # Both are made up for: the checkpoint after the loop, the evaluation by who resumes.
            control.should_evaluate = control.should_save = False
        elif time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
            control.should_save = True
        return control

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        if self.trainer.should_stop():
            self.trainer.stopped = control.should_training_stop = True
        return control

    def on_optimizer_step(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if _rank_allocator(self.trainer.model) is not None:
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


class Scores:
    """The Trainer's compute_metrics: decodes what was written, keeps it in `texts`, and scores it.

    references: in the order of the validation rows, which is the order that the predictions come in.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        references: Sequence[str],
        score: Callable[[Sequence[str], Sequence[str]], dict[str, float]],
    ):
        self.tokenizer, self.references, self.score = tokenizer, references, score
        self.texts: list[str] = []

    def __call__(self, prediction: Any) -> dict[str, float]:
        ids = prediction.predictions
        self.texts = self.tokenizer.batch_decode(
            np.where(ids < 0, self.tokenizer.pad_token_id, ids), skip_special_tokens=True
        )
        return self.score(self.texts, self.references)


class _StopAsked(StoppingCriteria):
    def __init__(self, should_stop: Callable[[], bool]):
        self.should_stop = should_stop

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        if self.should_stop():
            raise Stopped("Stopped within an evaluation.")
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


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


def _rank_allocator(model: Any) -> Any:
    """AdaLoRA's, None for every other method."""
    return getattr(getattr(model, "base_model", None), "rankallocator", None)


def _adaptive_state(model: Any) -> dict[str, Any]:
    """What AdaLoRA needs to go on, and an adapter does not hold: every rank, also those taken away for now, and how
    important each has been.
    """
    allocator = _rank_allocator(model)
    return {
        "weights": {name: tensor.detach() for name, tensor in model.named_parameters() if tensor.requires_grad},
        "importance": {name: getattr(allocator, name) for name in ("ipt", "exp_avg_ipt", "exp_avg_unc")},
        "rank_pattern": model.peft_config[model.active_adapter].rank_pattern,
    }


def _set_adaptive_state(model: Any, state: dict[str, Any]) -> None:
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in state["weights"].items():
            own[name].copy_(tensor)
    for name, value in state["importance"].items():
        setattr(_rank_allocator(model), name, value)
    model.peft_config[model.active_adapter].rank_pattern = state["rank_pattern"]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
