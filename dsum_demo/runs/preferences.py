"""Preference training of a model on the pairs of a review: its inputs, and the LoRA that is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dsum_demo.data.examples import Example
from dsum_demo.errors import InputError
from dsum_demo.hub.client import Progress, StopAsked
from dsum_demo.models.adapters import adapter_config
from dsum_demo.models.catalog import Kind
from dsum_demo.models.loading import load_tokenizer
from dsum_demo.models.prompts import PROMPT_TEMPLATE
from dsum_demo.models.registry import Registry
from dsum_demo.runs.setup import Setup, folder_of_model
from dsum_demo.training.config import RunConfig
from dsum_demo.training.dataset import TrainingData
from dsum_demo.training.events import Event
from dsum_demo.training.loop import TrainingResult, planned_steps, prepare
from dsum_demo.training.preference_pairs import PreferencePair, preference_config, read_pairs, split_pairs


@dataclass(frozen=True)
class PreferenceSetup:
    """setup: as of other runs, with the better summaries as its data. adapter: the folder of the LoRA that training
    starts from; None for a new one on the base model.
    """

    setup: Setup
    train: Sequence[PreferencePair]
    validation: Sequence[PreferencePair]
    adapter: Path | None


def set_up_preferences(
    config: RunConfig, registry: Registry, on_progress: Progress, should_stop: StopAsked
) -> PreferenceSetup:
    """Load the inputs of preference training. Raises DsumError if something is missing or there are too few pairs."""
    if find_spec("trl") is None:
        raise InputError("Preference training needs TRL; install it with `pip install -r requirements.txt`.")
    family = registry.family_to_train(config.base)
    preference_config(config, registry, config.data.source, config.start_from)
    spec = registry.spec(config.start_from)
    pairs = read_pairs(Path(config.data.source).expanduser(), (PROMPT_TEMPLATE, family.prompt.template))
    train, validation = split_pairs(pairs, config.data.validation_share, config.data.split_seed)
    folder = folder_of_model(family.base, registry, on_progress, should_stop)
    adapter = folder_of_model(spec, registry, on_progress, should_stop) if spec.kind is Kind.ADAPTER else None
    if adapter and adapter_config(adapter).get("peft_type") != "LORA":
        raise InputError(f"{spec.name} is not a LoRA; preference training continues a LoRA or starts a new one.")
    digest = hashlib.sha256("\0".join(f"{p.dialogue}\1{p.chosen}\1{p.rejected}" for p in pairs).encode()).hexdigest()
    note = f"{len(train)} pairs for training, {len(validation)} for validation (seed {config.data.split_seed})."
    data = TrainingData(_examples(train), _examples(validation), (note,), digest[:16])
    return PreferenceSetup(
        Setup(config, family, family.base, folder, load_tokenizer(folder), data), train, validation, adapter
    )


def run_preferences(
    inputs: PreferenceSetup,
    folder: Path,
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool],
    resume: bool,
) -> TrainingResult:
    """Train, from the last checkpoint if `resume`, and save the best weights to `folder/best`."""
    from dsum_demo.training.dpo import train_preferences  # imports trl

    setup, training = inputs.setup, inputs.setup.config.training
    return train_preferences(
        _adapted(inputs, setup.load_model()),
        setup.tokenizer,
        inputs.train,
        inputs.validation,
        training,
        folder,
        decode=setup.family.decode,
        prompt=setup.family.prompt,
        on_event=on_event,
        should_stop=should_stop,
        resume=resume,
    )


def _adapted(inputs: PreferenceSetup, model: Any) -> Any:
    """The model with the LoRA that is trained."""
    setup = inputs.setup
    if inputs.adapter is None:
        steps = planned_steps(len(inputs.train), setup.config.training)
        return prepare(model, setup.config.training, setup.base.name, steps)
    from peft import PeftModel

    model.name_or_path = setup.base.name
    adapted = PeftModel.from_pretrained(model, str(inputs.adapter), is_trainable=True, local_files_only=True)
    adapted.peft_config["default"].base_model_name_or_path = setup.base.name
    return adapted


def _examples(pairs: Sequence[PreferencePair]) -> tuple[Example, ...]:
    return tuple(Example(str(number), pair.dialogue, (pair.chosen,), ()) for number, pair in enumerate(pairs, 1))
