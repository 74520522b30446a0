"""Preference training: DPO (Rafailov et al. 2023, arXiv:2305.18290) of a LoRA with TRL's DPOTrainer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, disable_progress_bars
from transformers import PreTrainedTokenizerBase, PrinterCallback
from trl import DPOConfig, DPOTrainer

from dsum_demo.errors import Stopped
from dsum_demo.models.architectures import DECODER_ONLY, Architecture
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import Prompt
from dsum_demo.training.batches import WATCHED_DIALOGUES, Pair, evaluated_row, watched_places
from dsum_demo.training.callbacks import ProgressCallback, Watch
from dsum_demo.training.checkpoints import evaluation_due, last_complete, recover, step_of
from dsum_demo.training.config import TrainingConfig
from dsum_demo.training.events import Event
from dsum_demo.training.forgetting import general_loss
from dsum_demo.training.loop import (
    TrainingResult,
    callbacks_of,
    common_arguments,
    optimizer_of,
    planned_steps,
    training_result,
)
from dsum_demo.training.preference_pairs import PreferencePair
from dsum_demo.training.trainer import SummarizingTrainer

# The weight of the distance to the reference model; TRL's default.
BETA = 0.1


class PreferenceTrainer(SummarizingTrainer, DPOTrainer):
    """TRL's trainer with this package's checkpoints, which contain the reference too; the best weights do not."""

    best_adapters = ("default",)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: TRL would write a card into each checkpoint, and a run has one."""


def train_preferences(
    adapted: Any,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    config: TrainingConfig,
    folder: Path,
    *,
    decode: DecodingConfig,
    prompt: Prompt,
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool],
    resume: bool = False,
) -> TrainingResult:
    """Train the LoRA of the PeftModel `adapted` and save the weights with the lowest validation loss to `folder/best`.

    decode: of the summaries that every evaluation writes of WATCHED_DIALOGUES dialogues in `validation`. The reference
    model is the adapter as it was at the beginning. resume: as for `loop.train`. Raises TrainingError
    if the loss is not finite, exactly zero or exploding, or a file cannot be written.
    """
    disable_progress_bars()
    best, steps = folder / "best", planned_steps(len(train), config)
    recover(best)
    last = last_complete(folder / "checkpoints") if resume else None
    started = time.monotonic()
    arguments = DPOConfig(
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        beta=BETA,
        max_length=config.max_source_tokens + config.max_target_tokens,
        activation_checkpointing=False,  # TRL trades speed for memory by default
        **common_arguments(config, folder, steps, "loss", evaluation_due(last)),
    )
    watched = _watched(validation, config.seed)
    rows = _Rows(
        _dataset(train, tokenizer, prompt, config), _dataset(validation, tokenizer, prompt, config), watched, adapted
    )
    trainer = PreferenceTrainer(
        model=adapted,
        args=arguments,
        train_dataset=rows.train,
        eval_dataset=rows.validation,
        processing_class=tokenizer,
        callbacks=callbacks_of(config),
    )
    trainer.optimizer_cls_and_kwargs = optimizer_of(config)
    trainer.tokenizer, trainer.best_folder, trainer.decode = tokenizer, best, decode
    trainer.prompts = [
        prompt.fit(tokenizer, dialogue, config.max_source_tokens).source_ids for dialogue, _ in watched.values()
    ]
    trainer.references, trainer.rows_at_once = [reference for _, reference in watched.values()], WATCHED_DIALOGUES
    trainer.add_callback(Watch(trainer, len(tokenizer)))
    trainer.remove_callback(PrinterCallback)  # the logs are passed to `on_event`
    progress = _Progress(trainer, rows, on_event, steps)
    trainer.should_stop, trainer.report = should_stop, progress.report
    before = general_loss(adapted, tokenizer, DECODER_ONLY)
    progress.start(resumed_at=step_of(last), resumed=last is not None, general_loss=before)
    try:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    except Stopped:  # while an evaluation was writing summaries
        trainer.stopped = True
    if trainer.stopped:
        trainer.save_current_step()
    if not best.exists():
        trainer.save_best()  # stopped before the first evaluation
    return training_result(trainer, progress, best, time.monotonic() - started)


@dataclass
class _Rows:
    """What `ProgressCallback` uses. watched: see `_watched`. The reference, a copy of the adapter, is not among the
    parameters.
    """

    train: Dataset
    validation: Dataset
    watched: Mapping[int, Pair]
    adapted: Any
    architecture: Architecture = DECODER_ONLY

    @property
    def parameters(self) -> int:
        return sum(each.numel() for name, each in self.adapted.named_parameters() if ".ref." not in name)

    @property
    def trained_parameters(self) -> int:
        return sum(each.numel() for each in self.adapted.parameters() if each.requires_grad)


class _Progress(ProgressCallback):
    """Events with the accuracy, the share of pairs whose chosen text gained more than the rejected one, and with the
    summaries of the watched dialogues.
    """

    def step_values(self, logs: dict[str, float]) -> dict[str, Any]:
        return {"accuracy": logs.get("rewards/accuracies")}

    def evaluation_values(self, metrics: dict[str, float]) -> dict[str, Any]:
        written = zip(self.rows.watched.items(), self.trainer.texts, self.trainer.text_scores, strict=True)
        return {
            "accuracy": metrics.get("eval_rewards/accuracies"),
            "margin": metrics.get("eval_rewards/margins"),
            "summaries": [evaluated_row(place, pair, text, scores) for (place, pair), text, scores in written],
        }


def _watched(pairs: Sequence[PreferencePair], seed: int) -> dict[int, Pair]:
    """The dialogues that every evaluation summarizes, each with its first chosen text, by their place among the
    different dialogues of `pairs`.
    """
    chosen: dict[str, str] = {}
    for pair in pairs:
        chosen.setdefault(pair.dialogue, pair.chosen)
    found = list(chosen.items())
    return {place: found[place] for place in watched_places(len(found), seed)}


def _dataset(pairs: Sequence[PreferencePair], tokenizer: Any, prompt: Prompt, config: TrainingConfig) -> Dataset:
    """The pairs as TRL reads them: as a conversation if the family has a chat prompt, else as plain texts."""
    plain = replace(prompt, chat=False)

    def turn(role: str, text: str) -> Any:
        return [{"role": role, "content": text}] if prompt.chat else text

    rows = []
    for pair in pairs:
        fitted = prompt.fit(tokenizer, pair.dialogue, config.max_source_tokens).text
        row = {
            "prompt": turn("user", plain.render(tokenizer, fitted)),
            "chosen": turn("assistant", pair.chosen),
            "rejected": turn("assistant", pair.rejected),
        }
        rows.append({**row, "chat_template_kwargs": {"enable_thinking": False}} if prompt.chat else row)
    return Dataset.from_list(rows)
