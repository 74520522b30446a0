"""Pairs of a better and a worse summary, read from a review's export, and a config that trains on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dsum_demo.data.examples import Example
from dsum_demo.errors import DataError, InputError
from dsum_demo.models.adapters import adapter_config
from dsum_demo.models.architectures import DECODER_ONLY
from dsum_demo.models.catalog import Kind, ModelSpec
from dsum_demo.models.prompts import PROMPT_TEMPLATE
from dsum_demo.models.registry import Registry
from dsum_demo.training.config import PREFERENCE_DEFAULTS, RunConfig, TrainingConfig
from dsum_demo.training.dataset import split

LEAST_PAIRS = 50


@dataclass(frozen=True)
class PreferencePair:
    dialogue: str
    chosen: str
    rejected: str


def preference_config(config: RunConfig, registry: Registry, file: str, start_from: str = "") -> RunConfig:
    """Return `config` as preference training of `start_from` (default: the base model) on the pairs in `file`.

    Raises InputError for an encoder-decoder model, a method other than LoRA and a full fine-tune, and
    UnknownModelError.
    """
    spec = registry.spec(start_from or config.base)
    if spec.kind is Kind.FULL:
        raise InputError(
            f"{spec.name} is a full fine-tune, and adapters are loaded on a family's base model only. Choose "
            f"{spec.base} or a LoRA of it."
        )
    if registry.family(spec.family).base.name != config.base:
        raise InputError(f"{spec.name} is not a model of {config.base}; choose one of its family.")
    return _with_preferences(config, file, spec.name)


def startable(registry: Registry) -> list[ModelSpec]:
    """The models that preference training can start from: bases and LoRAs of decoder-only families that are on disk."""
    found = []
    for family in registry.families():
        for spec in family.variants if family.architecture.task_type == "CAUSAL_LM" else ():
            folder = registry.folder_of(spec) if spec.kind is not Kind.FULL else None
            if folder and (spec.kind is Kind.BASE or adapter_config(folder).get("peft_type") == "LORA"):
                found.append(spec)
    return found


def _with_preferences(config: RunConfig, file: str, start_from: str) -> RunConfig:
    """Return `config` as preference training of the model `start_from` on the pairs in `file`.

    The method's default learning rate and the default batch are replaced by PREFERENCE_DEFAULTS. Raises InputError for
    an encoder-decoder model and for a method other than LoRA.
    """
    training = config.training
    if training.task_type != DECODER_ONLY.task_type:
        raise InputError(
            f"Preference training needs a decoder-only model, and {config.base} is encoder-decoder: TRL's DPOTrainer "
            "supports causal language models only. Choose a model of another family, such as smollm2-135m."
        )
    if training.method != "lora":
        raise InputError(f"Preference training trains a LoRA; the method is {training.method}. Choose lora.")
    plain = TrainingConfig(training.method, task_type=training.task_type)
    for names in (("learning_rate",), ("batch_size", "accumulation")):
        if all(getattr(training, name) == getattr(plain, name) for name in names):
            training = replace(training, **{name: PREFERENCE_DEFAULTS[name] for name in names})
    data = replace(config.data, source=file, validation_source="", columns={})
    return replace(config, training=training, data=data, start_from=start_from)


def read_pairs(file: Path, templates: Iterable[str] = (PROMPT_TEMPLATE,)) -> list[PreferencePair]:
    """The distinct pairs of a JSON Lines file with `prompt`, `chosen` and `rejected`.

    templates: prompts with `{dialogue}`, one of which each pair's prompt has. Raises DataError, naming the line, for an
    invalid file, and InputError for fewer than LEAST_PAIRS pairs.
    """
    frames = [tuple(template.split("{dialogue}", 1)) for template in templates]
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:  # without the folder, which a visitor must not see
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise DataError(f"{file.name} cannot be read: {reason}.") from None
    pairs = [_pair(file, number, line, frames) for number, line in enumerate(lines, 1) if line.strip()]
    distinct = list(dict.fromkeys(pairs))
    if len(distinct) < LEAST_PAIRS:
        raise InputError(
            f"{file.name} has {len(distinct)} different pairs; preference training needs at least {LEAST_PAIRS}. "
            "Review more dialogues or more systems, then export again with `dsum review export NAME --format "
            "preferences`; files of several reviews can be concatenated."
        )
    return distinct


def split_pairs(
    pairs: Sequence[PreferencePair], share: float, seed: int
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """(train, validation); all pairs of one dialogue are in the same part.

    Raises InputError if all pairs have the same dialogue.
    """
    dialogues = [Example(str(n), text, (), ()) for n, text in enumerate(dict.fromkeys(p.dialogue for p in pairs))]
    _, held_out = split(dialogues, share, seed)
    validation = {example.dialogue for example in held_out}
    if not validation:
        raise InputError("All pairs have the same dialogue; preference training needs at least two dialogues.")
    return [p for p in pairs if p.dialogue not in validation], [p for p in pairs if p.dialogue in validation]


def _pair(file: Path, number: int, line: str, frames: Sequence[tuple[str, ...]]) -> PreferencePair:
    try:
        row = json.loads(line)
        prompt, chosen, rejected = (row[key] for key in ("prompt", "chosen", "rejected"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(
            f"{file.name}, line {number} has no prompt, chosen and rejected; write the file with `dsum review export "
            "NAME --format preferences`.", [number],
        ) from None  # fmt: skip
    if not all(isinstance(text, str) and text.strip() for text in (prompt, chosen, rejected)):
        raise DataError(f"{file.name}, line {number} has an empty text; remove the line.", [number])
    for before, after in frames:
        if prompt.startswith(before) and prompt.endswith(after):
            return PreferencePair(prompt[len(before) : len(prompt) - len(after)], chosen, rejected)
    raise DataError(
        f"{file.name}, line {number} has a prompt that is not dsum's; write the file with `dsum review export NAME "
        "--format preferences`.", [number],
    )  # fmt: skip
