"""Preference training: DPO (Rafailov et al. 2023, arXiv:2305.18290) of a LoRA with TRL's DPOTrainer."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset, disable_progress_bars
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer

from dsum_demo.errors import TrainingError
from dsum_demo.models.architectures import DECODER_ONLY
from dsum_demo.models.prompts import Prompt
from dsum_demo.training.checkpoints import swap_in
from dsum_demo.training.config import TrainingConfig
from dsum_demo.training.events import Event
from dsum_demo.training.forgetting import general_loss
from dsum_demo.training.loop import common_arguments, planned_steps
from dsum_demo.training.preference_pairs import PreferencePair
from dsum_demo.utils.hardware import device_name, memory_bytes, peak_memory_bytes

# The weight of the distance to the reference model; TRL's default.
BETA = 0.1


def train_preferences(
    adapted: Any,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    config: TrainingConfig,
    folder: Path,
    *,
    prompt: Prompt,
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Train the LoRA of the PeftModel `adapted` and save the weights with the lowest validation loss to `folder/best`.

    The reference model is the adapter as it was at the beginning. Returns whether training was stopped on request.
    Raises TrainingError if the loss is not finite.
    """
    disable_progress_bars()
    steps = planned_steps(len(train), config)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = DPOConfig(
            output_dir=scratch,
            per_device_train_batch_size=config.batch_size,
            per_device_eval_batch_size=config.batch_size,
            gradient_accumulation_steps=config.accumulation,
            beta=BETA,
            max_length=config.max_source_tokens + config.max_target_tokens,
            save_strategy="no",
            activation_checkpointing=False,  # TRL trades speed for memory by default
            **common_arguments(config, steps),
        )
        trainer = DPOTrainer(
            model=adapted,
            args=arguments,
            train_dataset=_rows(train, tokenizer, prompt, config),
            eval_dataset=_rows(validation, tokenizer, prompt, config),
            processing_class=tokenizer,
        )
        watch = _Watch(adapted, tokenizer, folder / "best", steps, on_event, should_stop)
        trainer.remove_callback(PrinterCallback)  # the logs are passed to `on_event`
        trainer.add_callback(watch)
        trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
        on_event(
            {
                "event": "start", "step": 0, "steps": steps, "resumed": False, "batch_size": config.batch_size,
                "accumulation": config.accumulation, "processes": 1, "precision": "bf16" if arguments.bf16 else "fp32",
                "device": device_name(), "parameters": _without_reference(adapted), "trained_parameters": trained,
                "train_dialogues": len(train), "validation_dialogues": len(validation),
                "general_loss": general_loss(adapted, tokenizer, DECODER_ONLY),
            }
        )  # fmt: skip
        trainer.train()
        if not (folder / "best").exists():
            watch.save()  # stopped before the first evaluation
    return watch.stopped


def _rows(pairs: Sequence[PreferencePair], tokenizer: Any, prompt: Prompt, config: TrainingConfig) -> Dataset:
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


def _without_reference(adapted: Any) -> int:
    return sum(parameter.numel() for name, parameter in adapted.named_parameters() if ".ref." not in name)


class _Watch(TrainerCallback):
    """Turns TRL's logs into events, saves the best weights, and stops on request."""

    def __init__(
        self,
        adapted: Any,
        tokenizer: Any,
        best: Path,
        steps: int,
        on_event: Callable[[Event], None],
        should_stop: Callable[[], bool],
    ):
        self.adapted, self.tokenizer, self.best, self.steps = adapted, tokenizer, best, steps
        self.on_event, self.should_stop = on_event, should_stop
        self.began = self.mark = time.monotonic()
        self.lowest, self.stopped = math.inf, False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if self.should_stop():
            self.stopped = control.should_training_stop = True
            control.should_evaluate = False
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        logs, step, now = logs or {}, state.global_step, time.monotonic()
        event = {"step": step, "steps": self.steps, "epoch": state.epoch}
        if "loss" in logs:
            if not math.isfinite(logs["loss"]):
                raise TrainingError(f"The training loss became {logs['loss']} at step {step}; lower the learning rate.")
            together = args.per_device_train_batch_size * args.gradient_accumulation_steps
            event |= {
                "event": "step", "loss": logs["loss"], "learning_rate": logs.get("learning_rate"),
                "grad_norm": logs.get("grad_norm"), "accuracy": logs.get("rewards/accuracies"),
                "samples_per_second": together / max(1e-9, now - self.mark), "memory_bytes": memory_bytes(),
                "peak_memory_bytes": peak_memory_bytes(), "seconds": now - self.began,
                "seconds_left": (now - self.began) / step * (self.steps - step),
            }  # fmt: skip
            self.on_event(event)
        elif "eval_loss" in logs:
            better = logs["eval_loss"] < self.lowest
            if better:
                self.lowest = logs["eval_loss"]
                self.save()
            event |= {
                "event": "evaluation", "loss": logs["eval_loss"], "accuracy": logs.get("eval_rewards/accuracies"),
                "margin": logs.get("eval_rewards/margins"), "best": better, "seconds": logs.get("eval_runtime", 0.0),
                "general_loss": general_loss(self.adapted, self.tokenizer, DECODER_ONLY),
            }  # fmt: skip
            self.on_event(event)
        self.mark = time.monotonic()

    def save(self) -> None:
        """Replace the best weights by the current ones, without the copy that is the reference."""
        new = self.best.with_name(f".{self.best.name}-new")
        shutil.rmtree(new, ignore_errors=True)
        try:
            self.adapted.save_pretrained(new, selected_adapters=["default"], save_embedding_layers=False)
            self.tokenizer.save_pretrained(str(new))
            swap_in(new, self.best)
        except OSError as error:
            raise TrainingError(f"The best weights could not be written ({error}); free disk space.") from error
