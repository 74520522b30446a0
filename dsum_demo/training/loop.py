"""Fine-tunes one model on (dialogue, summary) pairs, fully or with PEFT, using a transformers Trainer."""

from __future__ import annotations

import gc
import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import (
    Adafactor,
    EarlyStoppingCallback,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from dsum_demo.errors import InputError, Stopped, TrainingError
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.models.architectures import Architecture, architecture_of
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.loading import native_bf16
from dsum_demo.models.prompts import DEFAULT_PROMPT, Prompt
from dsum_demo.training.batches import EncodedDataset, Pair
from dsum_demo.training.callbacks import ProgressCallback, Watch
from dsum_demo.training.checkpoints import evaluation_due, last_complete, recover, step_of, weights_bytes
from dsum_demo.training.config import TrainingConfig
from dsum_demo.training.events import Event
from dsum_demo.training.first_batch import first_batch
from dsum_demo.training.forgetting import general_loss
from dsum_demo.training.methods import linear_modules, method
from dsum_demo.training.resumable import ResumableTrainer
from dsum_demo.training.trainer import Trainer, token_loss
from dsum_demo.utils.formatting import first_line
from dsum_demo.utils.hardware import peak_memory_bytes
from dsum_demo.utils.ranks import is_main, world_size

log = logging.getLogger(__name__)

EVALUATION_BATCH = 32


@dataclass(frozen=True)
class TrainingResult:
    """folder: the best weights. parameters, trained_parameters: counts. steps: total optimizer steps, of planned_steps.
    seconds: wall-clock training time of this process. best: the validation scores at best_step (ROUGE F1 in 0..1, and
    "loss"), {} before the first evaluation. stopped: on request. early: by early stopping. peak_memory_bytes: see
    `hardware`. checkpoint_bytes: size of the weight files in `folder`.
    """

    folder: Path
    parameters: int
    trained_parameters: int
    steps: int
    seconds: float
    best: dict[str, float]
    stopped: bool
    planned_steps: int = 0
    best_step: int = 0
    early: bool = False
    samples_per_second: float = 0.0
    peak_memory_bytes: int = 0
    checkpoint_bytes: int = 0


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train_pairs: Sequence[Pair],
    validation_pairs: Sequence[Pair],
    config: TrainingConfig,
    folder: Path,
    *,
    base_name: str,
    decode: DecodingConfig,
    prompt: Prompt = DEFAULT_PROMPT,
    on_event: Callable[[Event], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
    resume: bool = False,
) -> TrainingResult:
    """Fine-tune `model` (changed in place) and save the best weights to `folder/best`.

    base_name: the base model that a saved adapter names. on_event: receives the events described in `events`. resume:
    continue from the last complete checkpoint in `folder`, with the same order and learning rates. If GPU memory runs
    out, the batch is halved and accumulation doubled.

    Raises InputError without pairs or for invalid options, and TrainingError if the loss is not finite, exactly zero or
    exploding, or a file cannot be written.
    """
    if not train_pairs or not validation_pairs:
        raise InputError("Training needs at least one pair for training and one for validation.")
    best, checkpoints = folder / "best", folder / "checkpoints"
    if is_main():
        recover(best)
    batch, accumulation = config.batch_size, config.accumulation
    steps = planned_steps(len(train_pairs), config)
    architecture = architecture_of(model.config.model_type)
    before = general_loss(model, tokenizer, architecture)
    trained = prepare(model, config, base_name, steps)
    watched = validation_pairs[: config.validation_sample]
    rows = EncodedDataset(tokenizer, train_pairs, watched, config, architecture, prompt)
    attention = getattr(model.config, "_attn_implementation", None)
    use_training_attention(model)
    last = last_complete(checkpoints) if resume else None
    started = time.monotonic()
    try:
        while True:
            trainer = build_trainer(
                trained, tokenizer, rows, config, folder, decode=decode, batch=batch, accumulation=accumulation,
                due=evaluation_due(last),
            )  # fmt: skip
            progress = ProgressCallback(trainer, rows, on_event, steps)
            trainer.should_stop, trainer.report = should_stop, progress.report
            progress.start(resumed_at=step_of(last), resumed=last is not None, general_loss=before)
            if last is None:
                collate = architecture.collator(tokenizer, trained)
                shown = first_batch(rows.train, train_pairs, tokenizer, config, architecture, prompt, collate)
                progress.emit("first_batch", **shown)
            ran_out = _run(trainer, last)
            if ran_out is None:
                break
            batch, accumulation = _smaller_batch(batch, accumulation, ran_out, trainer.args.world_size)
            if trainer.state.global_step:
                trainer.save_current_step()
                last = last_complete(checkpoints)
            progress.emit("batch", batch_size=batch, accumulation=accumulation, reason=ran_out)
            del trainer, progress
            gc.collect()
            torch.cuda.empty_cache()
        if trainer.stopped:
            trainer.save_current_step()
        if not best.exists():
            trainer.save_best()  # stopped before the first evaluation
        trainer.accelerator.wait_for_everyone()
    finally:
        if attention:
            model.set_attn_implementation(attention)
    return training_result(trainer, progress, best, time.monotonic() - started)


def training_result(
    trainer: ResumableTrainer, progress: ProgressCallback, best: Path, seconds: float
) -> TrainingResult:
    """The result of a trainer that has ended."""
    steps, planned = trainer.state.global_step, progress.steps
    return TrainingResult(
        folder=best,
        parameters=progress.rows.parameters,
        trained_parameters=progress.rows.trained_parameters,
        steps=steps,
        planned_steps=planned,
        seconds=seconds,
        best=_best_scores(trainer),
        best_step=trainer.state.best_global_step or 0,
        stopped=trainer.stopped,
        early=not trainer.stopped and steps < planned,
        samples_per_second=progress.samples_per_second,
        peak_memory_bytes=peak_memory_bytes(),
        checkpoint_bytes=weights_bytes(best),
    )


def planned_steps(dialogues: int, config: TrainingConfig) -> int:
    """Return the total number of optimizer steps, with WORLD_SIZE processes."""
    together = config.batch_size * config.accumulation * world_size()
    return config.max_steps or math.ceil(config.epochs * math.ceil(dialogues / together))


def prepare(model: PreTrainedModel, config: TrainingConfig, base_name: str, steps: int) -> Any:
    """Return the model to train: `model` itself or with a new adapter. Seeds all random generators.

    Raises InputError for options that do not fit the model.
    """
    set_seed(config.seed)
    architecture = architecture_of(model.config.model_type)
    check_architecture(config, architecture, base_name)
    limit = architecture.prompt_limit(model.config, config.max_source_tokens, config.max_target_tokens)
    if config.max_source_tokens > limit:
        raise InputError(
            f"max_source_tokens is {config.max_source_tokens}; with summaries of up to {config.max_target_tokens} "
            f"tokens {base_name} reads at most {limit}."
        )
    chosen = method(config.method, config.task_type)
    modules = linear_modules({name: tuple(tensor.shape) for name, tensor in model.named_parameters()})
    peft_config = chosen.config(config.options, steps, modules)
    if peft_config is None:
        return model
    model.name_or_path = base_name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT uses a deprecated attribute of the model
            warnings.filterwarnings("ignore", "Unsupported layer type", UserWarning)  # T5's norm, for LayerNorm tuning
            adapted = get_peft_model(model, peft_config)
    except (ValueError, TypeError, NotImplementedError, AssertionError) as error:
        raise InputError(f"{chosen.title} cannot start with these options: {error}") from error
    vocabulary = model.get_input_embeddings(), model.get_output_embeddings()
    if any(isinstance(layer, BaseTunerLayer) for layer in vocabulary):
        raise InputError("target_modules includes the embedding or output layer, which may share weights; remove it.")
    return adapted


def check_architecture(config: TrainingConfig, architecture: Architecture, base_name: str) -> None:
    """Raises InputError if the config's task type does not match the base model's architecture."""
    if config.task_type != architecture.task_type:
        raise InputError(
            f"The config's task_type is {config.task_type}; {base_name} is {architecture.name} and needs "
            f"{architecture.task_type}."
        )


def use_training_attention(model: PreTrainedModel) -> None:
    """Set the attention implementation that trains fastest on this device, in place."""
    wanted = architecture_of(model.config.model_type).cpu_training_attention
    if wanted and not torch.cuda.is_available():
        model.set_attn_implementation(wanted)


def build_trainer(
    trained: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: EncodedDataset,
    config: TrainingConfig,
    folder: Path,
    *,
    decode: DecodingConfig,
    batch: int,
    accumulation: int,
    due: bool = False,
) -> Trainer:
    steps = planned_steps(len(rows.train), config)
    trainer = Trainer(
        model=trained,
        args=_arguments(config, folder, steps, batch, accumulation, len(rows.validation), due),
        train_dataset=rows.train,
        eval_dataset=rows.validation,
        data_collator=rows.architecture.collator(tokenizer, trained),
        compute_loss_func=token_loss(rows.architecture, config.label_smoothing),
        optimizer_cls_and_kwargs=optimizer_of(config),
        callbacks=callbacks_of(config),
    )
    trainer.add_callback(Watch(trainer, len(tokenizer)))
    trainer.architecture = rows.architecture
    trainer.tokenizer, trainer.decode, trainer.rows_at_once = tokenizer, decode, trainer.args.per_device_eval_batch_size
    trainer.prompts, trainer.references = rows.validation["prompt_ids"], rows.references
    trainer.best_folder = folder / "best"
    trainer.compiled = torch.compile(trained, dynamic=True) if config.compile else None
    # It would print every log entry; they are passed to `on_event`.
    trainer.remove_callback(PrinterCallback)
    rows.parameters = sum(parameter.numel() for parameter in trained.parameters())
    rows.trained_parameters = sum(p.numel() for p in trained.parameters() if p.requires_grad)
    return trainer


def _run(trainer: Trainer, checkpoint: Path | None) -> str | None:
    """Train until finished or stopped; returns the GPU's error message if its memory ran out, else None."""
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except Stopped:
        trainer.stopped = True
    except torch.OutOfMemoryError as error:
        # The exception itself would keep the step's tensors alive.
        return first_line(error)
    return None


def _smaller_batch(batch: int, accumulation: int, ran_out: str, processes: int) -> tuple[int, int]:
    """Return (batch, accumulation) with at most half the batch and the same number of dialogues per optimizer step."""
    if batch == 1 or processes > 1:
        where = "" if processes == 1 else " on each process"
        raise TrainingError(
            f"Out of memory with batch size {batch}{where}: {ran_out} Lower batch_size or max_source_tokens, or choose "
            "a method that trains fewer parameters."
        )
    together = batch * accumulation
    smaller = next(size for size in range(batch // 2, 0, -1) if together % size == 0)
    return smaller, together // smaller


def use_bf16(config: TrainingConfig) -> bool:
    return native_bf16() if config.precision == "auto" else config.precision == "bf16"


def common_arguments(config: TrainingConfig, folder: Path, steps: int, best_by: str, due: bool) -> dict[str, Any]:
    """The arguments that every trainer of transformers and TRL gets for a config. due: evaluate before training."""
    every = math.ceil(steps / config.evaluations)  # the last step is always evaluated
    return {
        "output_dir": str(folder / "checkpoints"),
        "max_steps": steps,
        "learning_rate": config.peak_learning_rate,
        # Rounded down: the first warm-up step has a learning rate of 0, which would waste a step of a short run.
        "warmup_steps": int(config.warmup_share * steps),
        "lr_scheduler_type": "linear",
        "weight_decay": config.weight_decay,
        "eval_strategy": "steps",
        "eval_steps": every,
        "eval_on_start": due,
        "save_strategy": "steps",
        "save_steps": every,
        "load_best_model_at_end": False,  # the best weights are saved separately
        "metric_for_best_model": best_by,
        "greater_is_better": best_by != "loss",
        "bf16": use_bf16(config),
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "seed": config.seed,
        "data_seed": config.seed,
        "report_to": "none",
        "disable_tqdm": True,
    }


def _arguments(
    config: TrainingConfig, folder: Path, steps: int, batch: int, accumulation: int, validation: int, due: bool
) -> TrainingArguments:
    evaluated = EVALUATION_BATCH * batch // config.batch_size
    share = math.ceil(validation / world_size())  # incomplete batches are padded
    return TrainingArguments(
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        per_device_eval_batch_size=max(1, min(evaluated, share)),
        ddp_find_unused_parameters=False,
        **common_arguments(config, folder, steps, config.best_by, due),
    )


def optimizer_of(config: TrainingConfig) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """The class of the optimizer and its arguments."""
    if config.optimizer == "adafactor":
        return Adafactor, {"lr": config.learning_rate, "scale_parameter": True, "relative_step": False}
    return torch.optim.AdamW, {"lr": config.learning_rate, "betas": (0.9, 0.98), "fused": True}


def callbacks_of(config: TrainingConfig) -> list[TrainerCallback]:
    """The callback of early stopping, if the config has a patience."""
    return [EarlyStoppingCallback(config.patience)] if config.patience else []


def _best_scores(trainer: ResumableTrainer) -> dict[str, float]:
    """Return the scores of the best evaluation, including those of earlier processes."""
    step = trainer.state.best_global_step
    entry = next((e for e in trainer.state.log_history if e.get("step") == step and "eval_loss" in e), {})
    return {name: entry[f"eval_{name}"] for name in (*ROUGE_TYPES, "loss") if f"eval_{name}" in entry}
