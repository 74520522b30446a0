"""A transformers Trainer with length-grouped batches, validation by `generation`, sealed checkpoints and stop requests.

The best weights are saved separately from the checkpoints; a loss or gradient that is not finite raises TrainingError.
"""

from __future__ import annotations

import math
import random
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from accelerate.utils import gather_object
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_utils import EvalLoopOutput

from dsum_demo.errors import GenerationError, TrainingError
from dsum_demo.generation.batch import generate_many
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.metrics.scores import Score, mean_scores, score_summary
from dsum_demo.models.architectures import Architecture
from dsum_demo.models.catalog import Kind, ModelSpec
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import LABEL_PAD_ID
from dsum_demo.models.store import LoadedModel
from dsum_demo.training.adalora import adaptive_state, orthogonality, rank_allocator, set_adaptive_state
from dsum_demo.training.batches import LengthGroupedOrder
from dsum_demo.training.checkpoints import keep_only, seal, seal_of, swap_in
from dsum_demo.utils.formatting import first_line, size

ADVICE = "lower the learning rate, and train T5 in bf16 or fp32, never in fp16."
_ADAPTIVE = "adalora.pt"


class Trainer(transformers.Trainer):
    """`should_stop` is called after every batch and generated token; `report` receives an event's kind and values.

    Set before `train`: architecture, best_folder (for the best weights), decode, references (for validation, in the
    order of its rows), tokenizer, compiled. texts, text_scores: the summaries of the last validation, in the same
    order, and the scores of each.
    """

    model: Any
    architecture: Architecture
    best_folder: Path
    decode: DecodingConfig
    references: Sequence[str]
    texts: Sequence[str] = ()
    text_scores: Sequence[dict[str, Score]] = ()
    tokenizer: PreTrainedTokenizerBase
    compiled: Any = None
    should_stop: Callable[[], bool] = staticmethod(lambda: False)
    report: Callable[..., None] = staticmethod(lambda kind, **values: None)
    evaluated_at = -1
    evaluation_seconds = 0.0
    random_state: tuple[Any, ...] = ()
    stopped = False

    @property
    def evaluate_every(self) -> int:
        return int(self.args.eval_steps or 1)

    # Private: the public `get_train_dataloader` would repeat the Trainer's preparation for several processes.
    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedOrder:
        rows: Any = train_dataset if train_dataset is not None else self.train_dataset
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LengthGroupedOrder([len(ids) for ids in rows["input_ids"]], batch, self.args.seed)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if not model.training:
            # Label smoothing applies to training only.
            outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
            loss: Any = token_loss(self.architecture)(outputs, inputs["labels"])
            return (loss, outputs) if return_outputs else loss
        # Only the training step: the Trainer's own option would also compile validation, which takes minutes each time.
        chosen = self.compiled if self.compiled is not None else model
        loss = super().compute_loss(chosen, inputs, return_outputs, num_items_in_batch)
        if rank_allocator(self.model) is not None:
            # PEFT adds it only to a loss computed by the model; here the Trainer computes the loss.
            loss = loss + orthogonality(self.model) / self.current_gradient_accumulation_steps
        return loss

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

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        output = super().evaluation_loop(*args, **kwargs)  # the loss only
        self.texts = self._generate_all()
        self.text_scores = [score_summary(text, [one]) for text, one in zip(self.texts, self.references, strict=True)]
        means = mean_scores(self.text_scores)
        rouge = {f"eval_{name}": means[name].fmeasure if name in means else 0.0 for name in ROUGE_TYPES}
        metrics = {**(output.metrics or {}), **rouge}
        return output._replace(metrics=metrics)

    def _generate_all(self) -> list[str]:
        """Return a summary per validation row; each process generates its share and receives all of them."""
        rank, processes = self.args.process_index, self.args.world_size
        places = range(rank, len(self.references), processes)
        prompts: Any = self.eval_dataset
        sources = [prompts[place]["prompt_ids"] for place in places]
        written: list[tuple[int, str]] = []
        try:
            with self.accelerator.autocast():
                for part in generate_many(
                    self._loaded(),
                    sources,
                    self.decode,
                    # All ranks must leave an evaluation together, so they stop only after a step.
                    self.should_stop if processes == 1 else lambda: False,
                    batch_rows=self.args.per_device_eval_batch_size,
                ):
                    written += [(places[row], generation.text) for row, generation in part.items()]
        except GenerationError as error:
            if isinstance(error.__cause__, torch.OutOfMemoryError):
                raise error.__cause__ from None  # the loop retries with a smaller batch
            raise
        return [text for _, text in sorted(gather_object(written))]

    def _loaded(self) -> LoadedModel:
        """Return the model in training in the form that `generation` expects."""
        adapter = getattr(self.model, "active_peft_config", None)
        one_at_a_time = adapter is not None and adapter.is_prompt_learning
        name = "The model in training"
        return LoadedModel(
            spec=ModelSpec(name, name, family="", kind=Kind.FULL, source=None, base=None),
            model=self.model,
            tokenizer=self.tokenizer,
            total_parameters=0,
            trained_parameters=0,
            dtype=str(self.model.dtype),
            turn=threading.Lock() if one_at_a_time else None,
        )

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
        options: dict[str, Any] = {} if isinstance(self.model, PreTrainedModel) else {"save_embedding_layers": False}
        self.model.save_pretrained(output_dir, **options)
        self.tokenizer.save_pretrained(str(output_dir))

    def keep_random_state(self) -> None:
        """Keep the state of all random generators for a checkpoint of this step."""
        self.random_state = _random_state()

    def save_current_step(self) -> None:
        """Save a checkpoint of the current step from outside the loop, after a stop or an out-of-memory error."""
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


def token_loss(architecture: Architecture, smoothing: float = 0.0) -> Callable[..., torch.Tensor]:
    """Return a `compute_loss_func` for the Trainer: mean cross entropy over all label tokens of one optimizer step.

    The gradient then does not depend on how a step is split into batches and processes. T5's own loss is the mean over
    one batch and ignores `num_items_in_batch`.
    """

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        logits, labels = architecture.aligned(outputs["logits"], labels)
        total = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=LABEL_PAD_ID, label_smoothing=smoothing,
            reduction="sum",
        )  # fmt: skip
        return total / (num_items_in_batch if num_items_in_batch is not None else (labels != LABEL_PAD_ID).sum())

    return loss


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
