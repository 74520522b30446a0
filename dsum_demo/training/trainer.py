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
)

from dsum_demo.errors import Stopped, TrainingError
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import LABEL_PAD_ID
from dsum_demo.training.adalora import adaptive_state, orthogonality, rank_allocator, set_adaptive_state
from dsum_demo.training.batches import LengthGroupedOrder
from dsum_demo.training.checkpoints import keep_only, seal, seal_of, swap_in
from dsum_demo.utils.formatting import first_line, size

ADVICE = "lower the learning rate, and train T5 in bf16 or fp32, never in fp16."
_ADAPTIVE = "adalora.pt"


class Trainer(Seq2SeqTrainer):
    """`should_stop` is asked after every batch and every generated token; `told` gets an event's kind and its values.

    Set before `train`: best_folder (where the best weights go), decode (how validation is written), compiled.
    """

    model: Any
    best_folder: Path
    decode: DecodingConfig
    scores: Scores
    tokenizer: PreTrainedTokenizerBase
    compiled: Any = None
    should_stop: Callable[[], bool] = staticmethod(lambda: False)
    told: Callable[..., None] = staticmethod(lambda kind, **values: None)
    evaluated_at = -1
    evaluation_seconds = 0.0
    random_state: tuple[Any, ...] = ()
    stopped = False

    @property
    def evaluate_every(self) -> int:
        return int(self.args.eval_steps or 1)

    # what it learns from

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedOrder:
        rows: Any = train_dataset if train_dataset is not None else self.train_dataset
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LengthGroupedOrder([len(ids) for ids in rows["input_ids"]], batch, self.args.seed)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        # The training step alone: the Trainer's own option also compiles validation, for minutes each time.
        chosen = self.compiled if self.compiled is not None and model.training else model
        loss: Any = super().compute_loss(chosen, inputs, *args, **kwargs)
        if model.training and rank_allocator(self.model) is not None:
            # PEFT adds it to a loss that the model computes; here the loss is computed outside.
            loss = loss + orthogonality(self.model) / self.current_gradient_accumulation_steps
        return loss

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True  # resumed behind its last step, which the loop would not notice
        else:
            super()._run_epoch(*args, **kwargs)

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

    def stop_asked(self) -> bool:
        """Whether any process is asked to stop: they all have to answer alike, or wait for one another for ever."""
        asked = self.should_stop()
        if self.args.world_size == 1:
            return asked
        flag = torch.tensor(int(asked), device=self.args.device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag)

    # validation

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        started, before = time.monotonic(), copy.deepcopy(self.model.generation_config)
        config, state = self.decode, _random_state()
        # Several processes have to leave an evaluation together: they are asked after the step.
        criteria = [_StopAsked(self.should_stop)] if self.args.world_size == 1 else []
        try:
            metrics = super().evaluate(
                *args,
                **kwargs,
                max_length=config.max_new_tokens + 1,  # the decoder's start token counts
                num_beams=config.num_beams,
                no_repeat_ngram_size=config.no_repeat_ngram_size,
                length_penalty=config.length_penalty,
                do_sample=False,
                stopping_criteria=StoppingCriteriaList(criteria),
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
        unasked: dict[str, Any] = {} if isinstance(self.model, PreTrainedModel) else {"save_embedding_layers": False}
        self.model.save_pretrained(output_dir, state_dict=state_dict, **unasked)
        self.tokenizer.save_pretrained(str(output_dir))

    def keep_random_state(self) -> None:
        """Remember what is random now: the state that a checkpoint of this step has to hold."""
        self.random_state = _random_state()

    def save_where_it_stands(self) -> None:
        """A checkpoint of this very step, from outside the loop: after a stop, or where memory ran out."""
        _set_random_state(self.random_state)
        self.model.zero_grad()
        self._save_checkpoint(self.model, None)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        parent = Path(str(self.args.output_dir))
        folder = parent / f"checkpoint-{step}"
        main = self.is_world_process_zero()
        if main and seal_of(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)  # what a crash left of it
        self.accelerator.wait_for_everyone()
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()  # each process writes its random state
            if main:
                if rank_allocator(self.model) is not None:
                    torch.save(adaptive_state(self.model), folder / _ADAPTIVE)
                due = step % self.evaluate_every == 0 or step == self.state.max_steps
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
        if file.is_file() and rank_allocator(self.model) is not None:
            set_adaptive_state(self.model, torch.load(file, weights_only=True))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _unwritten(self, what: str, error: BaseException, free: int | None = None) -> TrainingError:
        if free is None:
            free = shutil.disk_usage(Path(str(self.args.output_dir)).parent).free
        return TrainingError(
            f"{what} could not be written ({first_line(error)}); {size(free)} are free on that disk. "
            "Make room and resume the run: what it had saved before is still there."
        )


# torch.save raises RuntimeError where the disk is full, safetensors an error of its own.
_WRITING_FAILED = (OSError, SafetensorError, RuntimeError)


def token_loss(smoothing: float) -> Callable[..., torch.Tensor]:
    """compute_loss_func of the Trainer: cross entropy, the mean over all label tokens of one optimizer step.

    A step's gradient so does not depend on how its dialogues are split into batches and processes. T5's own loss is
    the mean over one batch, and takes no notice of the number that the Trainer hands it.
    """

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        logits = outputs["logits"][:, -labels.shape[1] :]  # prompt tuning writes its learned vectors before them
        total = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=LABEL_PAD_ID, label_smoothing=smoothing,
            reduction="sum",
        )  # fmt: skip
        return total / (num_items_in_batch if num_items_in_batch is not None else (labels != LABEL_PAD_ID).sum())

    return loss


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
        )[: len(self.references)]  # several processes repeat rows, so that all have as many
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
