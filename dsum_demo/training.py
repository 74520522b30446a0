"""Fine-tunes one model on pairs of dialogue and summary: full or PEFT, through transformers' Seq2SeqTrainer.

The one trainer of the project: recipes call it too. It writes into the folder it is given and knows nothing of pages
or jobs; progress goes out through `on_event`, a stop comes in through `should_stop`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import (
    Adafactor,
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from dsum_demo.errors import InputError, TrainingError
from dsum_demo.loading import native_bf16
from dsum_demo.metrics import ROUGE_TYPES, mean_scores, score_summary
from dsum_demo.peft_methods import method
from dsum_demo.prompts import LABEL_PAD_ID, DecodeConfig, encode_target, fit_dialogue

# Whole numbers where the bounds are.
_BOUNDS = {
    "weight_decay": (0.0, 1.0),
    "label_smoothing": (0.0, 0.9),
    "warmup_share": (0.0, 1.0),
    "max_steps": (0, 1_000_000),
    "batch_size": (1, 1024),
    "evaluations": (1, 1000),
    "max_source_tokens": (1, 8192),
    "max_target_tokens": (2, 8192),
    "seed": (0, 2**32 - 1),
}

Event = dict[str, Any]
Pair = tuple[str, str]


@dataclass(frozen=True)
class TrainingConfig:
    """What decides a run's result, beside base and data. Raises InputError when out of bounds.

    method: a name in `peft_methods.METHODS`; `options` go to its PEFT config. learning_rate: the peak, reached after
    `warmup_share` of the steps and falling linearly to 0. optimizer: "adamw", or "adafactor" whose step is scaled by
    each tensor's RMS (what T5's initialisation expects). max_steps: 0 means that `epochs` decide. evaluations: how
    often within the run the validation sample is generated and scored; the best checkpoint is kept. compile: fuse the
    model's operations with torch.compile, which needs a C++ compiler and takes some minutes before the first steps.
    """

    method: str = "lora"
    options: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    warmup_share: float = 0.05
    epochs: float = 1.0
    max_steps: int = 0
    batch_size: int = 16
    evaluations: int = 4
    max_source_tokens: int = 512
    max_target_tokens: int = 128
    seed: int = 42
    compile: bool = False

    def __post_init__(self) -> None:
        method(self.method).config(self.options)
        if not 0 < self.learning_rate <= 1:
            raise InputError(f"learning_rate is {self.learning_rate}; give a number above 0 and at most 1.")
        if self.optimizer not in ("adamw", "adafactor"):
            raise InputError(f"optimizer is {self.optimizer!r}; choose adamw or adafactor.")
        if not 0 < self.epochs <= 1000:
            raise InputError(f"epochs is {self.epochs}; give a number above 0 and at most 1000.")
        for name, (low, high) in _BOUNDS.items():
            value, whole = getattr(self, name), isinstance(low, int)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not low <= value <= high or (whole and value != int(value)):
                raise InputError(f"{name} is {value!r}; give a {'whole ' if whole else ''}number from {low} to {high}.")
            # Web forms send 16.0 for 16.
            object.__setattr__(self, name, type(low)(value))


@dataclass(frozen=True)
class TrainingResult:
    """Counts of parameters, optimizer steps, wall-clock seconds, the best validation scores (ROUGE F1 in 0..1)."""

    folder: Path
    parameters: int
    trained_parameters: int
    steps: int
    seconds: float
    best: dict[str, float]
    stopped: bool


class _Watch(TrainerCallback):
    """Passes the Trainer's log lines on, asks for a stop, and ends a run whose loss says that it is broken."""

    def __init__(self, on_event: Callable[[Event], None], should_stop: Callable[[], bool]):
        self.on_event, self.should_stop = on_event, should_stop
        self.stopped = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        if self.should_stop():
            self.stopped = control.should_training_stop = True
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and (not math.isfinite(loss) or loss == 0.0):
            raise TrainingError(
                f"The training loss became {loss} at step {state.global_step}; "
                "lower the learning rate, and train T5 in bf16 or fp32, never in fp16."
            )
        self.on_event({"step": state.global_step, "steps": state.max_steps, "epoch": state.epoch, **(logs or {})})


class _Trainer(Seq2SeqTrainer):
    """Compiles the training step alone: the Trainer's own option also compiles validation, for minutes each time."""

    compiled: Any = None

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        chosen = self.compiled if self.compiled is not None and model.training else model
        return super().compute_loss(chosen, inputs, *args, **kwargs)


def encode_pairs(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, config: TrainingConfig) -> Dataset:
    """(dialogue, summary) pairs as unpadded rows of `input_ids` and `labels`; inference tokenizes the same way."""
    return Dataset.from_list(
        [
            {
                "input_ids": list(fit_dialogue(tokenizer, dialogue, config.max_source_tokens).source_ids),
                "labels": encode_target(tokenizer, summary, config.max_target_tokens),
            }
            for dialogue, summary in pairs
        ]
    )


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train_pairs: Sequence[Pair],
    validation_pairs: Sequence[Pair],
    config: TrainingConfig,
    folder: Path,
    *,
    base_name: str,
    decode: DecodeConfig,
    on_event: Callable[[Event], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
    resume: bool = False,
) -> TrainingResult:
    """Fine-tune `model` (changed in place) and save the best weights to `folder/best`.

    `base_name` is what a saved adapter names as its base. With `resume` a run goes on from `folder`'s last checkpoint.
    Raises InputError without pairs or for options that the model cannot be trained with, and TrainingError for a run
    whose loss is not finite or exactly zero.
    """
    if not train_pairs or not validation_pairs:
        raise InputError("Training needs at least one pair to learn from and one to validate on.")
    set_seed(config.seed)
    peft_config = method(config.method).config(config.options)
    trained: Any = model
    if peft_config is not None:
        model.name_or_path = base_name
        try:
            trained = get_peft_model(model, peft_config)
        except (ValueError, TypeError, NotImplementedError) as error:
            raise InputError(f"{method(config.method).title} cannot start with these options: {error}") from error
    steps_per_epoch = math.ceil(len(train_pairs) / config.batch_size)
    steps = config.max_steps or math.ceil(config.epochs * steps_per_epoch)
    every = math.ceil(steps / config.evaluations)  # the last step is scored in any case
    watch = _Watch(on_event, should_stop)
    attention = model.config._attn_implementation
    if not torch.cuda.is_available():
        # T5 adds a position bias to the scores, which the fused attention of CPUs is slower with.
        model.set_attn_implementation("eager")
    trainer = _Trainer(
        model=trained,
        args=_arguments(config, folder, steps, every, decode),
        train_dataset=encode_pairs(train_pairs, tokenizer, config),
        eval_dataset=encode_pairs(validation_pairs, tokenizer, config),
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=trained, label_pad_token_id=LABEL_PAD_ID),
        processing_class=tokenizer,
        compute_metrics=_rouge(tokenizer),
        callbacks=[watch],
    )
    trainer.compiled = torch.compile(trained, dynamic=True) if config.compile else None
    # Trainer takes this as an argument, Seq2SeqTrainer does not hand it on.
    trainer.optimizer_cls_and_kwargs = _optimizer(config)
    # It would print each log line; `on_event` has them.
    trainer.remove_callback(PrinterCallback)
    started = time.monotonic()
    generation_config = copy.deepcopy(model.generation_config)
    checkpoints = folder / "checkpoints"
    last = get_last_checkpoint(str(checkpoints)) if resume and checkpoints.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    best = folder / "best"
    # Validation leaves every default of transformers in it, a limit of 20 tokens among them.
    model.generation_config = generation_config
    model.set_attn_implementation(attention)
    trained.save_pretrained(best)
    tokenizer.save_pretrained(best)
    scores = [entry for entry in trainer.state.log_history if "eval_rouge1" in entry]
    top = max(scores, key=lambda entry: entry["eval_rouge1"], default={})
    return TrainingResult(
        folder=best,
        parameters=sum(p.numel() for p in trained.parameters()),
        trained_parameters=sum(p.numel() for p in trained.parameters() if p.requires_grad),
        steps=trainer.state.global_step,
        seconds=time.monotonic() - started,
        best={name: top[f"eval_{name}"] for name in ROUGE_TYPES if f"eval_{name}" in top},
        stopped=watch.stopped,
    )


def _arguments(
    config: TrainingConfig, folder: Path, steps: int, every: int, decode: DecodeConfig
) -> Seq2SeqTrainingArguments:
    on_gpu = torch.cuda.is_available()
    return Seq2SeqTrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=32,
        learning_rate=config.learning_rate,
        warmup_steps=math.ceil(config.warmup_share * steps),
        lr_scheduler_type="linear",
        weight_decay=config.weight_decay,
        label_smoothing_factor=config.label_smoothing,
        train_sampling_strategy="group_by_length",
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=every,
        save_steps=every,
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="rouge1",
        greater_is_better=True,
        predict_with_generate=True,
        generation_max_length=decode.max_new_tokens + 1,  # the decoder's start token counts
        generation_num_beams=decode.num_beams,
        bf16=native_bf16(),
        use_cpu=not on_gpu,
        logging_steps=max(1, min(25, every)),
        logging_nan_inf_filter=False,
        seed=config.seed,
        data_seed=config.seed,
        report_to="none",
        disable_tqdm=True,
    )


def _optimizer(config: TrainingConfig) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    if config.optimizer == "adafactor":
        return Adafactor, {"lr": config.learning_rate, "scale_parameter": True, "relative_step": False}
    return torch.optim.AdamW, {"lr": config.learning_rate, "betas": (0.9, 0.98), "fused": True}


def _rouge(tokenizer: PreTrainedTokenizerBase) -> Callable[[Any], dict[str, float]]:
    def texts(ids: Any) -> list[str]:
        return tokenizer.batch_decode(np.where(ids < 0, tokenizer.pad_token_id, ids), skip_special_tokens=True)

    def compute(prediction: Any) -> dict[str, float]:
        # The references come with the predictions: grouped by length, the rows are in another order than they were.
        pairs = zip(texts(prediction.predictions), texts(prediction.label_ids), strict=True)
        means = mean_scores([score_summary(text, [reference]) for text, reference in pairs])
        return {name: means[name].fmeasure for name in ROUGE_TYPES}

    return compute


def as_record(config: TrainingConfig) -> dict[str, Any]:
    """The config as it is written to a run's folder."""
    return {**asdict(config), "options": dict(config.options)}
