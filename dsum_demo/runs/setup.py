"""Loads what a run needs before training or probing: the base model's files, the tokenizer and the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from dsum_demo.data.examples import Example
from dsum_demo.data.sources import Sources
from dsum_demo.errors import ModelUnavailableError
from dsum_demo.hub.client import Progress, StopAsked
from dsum_demo.hub.download import fetch
from dsum_demo.models.architectures import architecture_of
from dsum_demo.models.catalog import Family, Kind, ModelSpec
from dsum_demo.models.loading import expected_parameters, load_tokenizer, load_whole
from dsum_demo.models.prompts import Prompt
from dsum_demo.models.registry import Registry
from dsum_demo.training.batches import Pair, encode_pairs
from dsum_demo.training.config import RunConfig, TrainingConfig
from dsum_demo.training.dataset import TrainingData, read_training_data
from dsum_demo.training.first_batch import first_batch
from dsum_demo.training.loop import check_architecture
from dsum_demo.training.methods import METHODS, method
from dsum_demo.utils.hardware import free_memory_bytes
from dsum_demo.utils.ranks import local_rank

# A conservative estimate of the activation memory of a training step, per dialogue token, layer and channel. It only
# decides whether a run is probed before it starts.
ACTIVATION_BYTES = 200
MOST_NAMED = 10


@dataclass(frozen=True)
class Setup:
    """The inputs of a run. The model is loaded separately, because it is large."""

    config: RunConfig
    family: Family
    base: ModelSpec
    folder: Path
    tokenizer: PreTrainedTokenizerBase
    data: TrainingData

    @property
    def train_pairs(self) -> list[Pair]:
        return [(example.dialogue, example.references[0]) for example in self.data.train]

    @property
    def validation_pairs(self) -> list[Pair]:
        return [(example.dialogue, example.references[0]) for example in self.data.validation]

    def load_model(self) -> Any:
        """Load the base model in float32 for training. Raises ModelUnavailableError or UnsafeWeightsError."""
        if torch.cuda.is_available():
            torch.cuda.set_device(local_rank())
        prompt = self.family.prompt
        return load_whole(self.folder, self.tokenizer, torch.float32, prompt).requires_grad_(True)


def first_batch_of(setup: Setup) -> dict[str, Any]:
    """The first batch of a run, without loading the model; see `training.first_batch`."""
    training, architecture, prompt = setup.config.training, setup.family.architecture, setup.family.prompt
    encoded = encode_pairs(setup.train_pairs, setup.tokenizer, training, architecture, prompt)
    adapter = method(training.method, training.task_type).config(training.options)
    collate = architecture.collator(setup.tokenizer, SimpleNamespace(active_peft_config=adapter))
    return first_batch(encoded, setup.train_pairs, setup.tokenizer, training, architecture, prompt, collate)


def set_up(
    config: RunConfig,
    registry: Registry,
    sources: Sources,
    on_progress: Progress = lambda text, share: None,
    should_stop: StopAsked = lambda: False,
) -> Setup:
    """Load the inputs of a run; downloads the base model if necessary. Raises DsumError if something is missing."""
    family = registry.family_to_train(config.base)
    base = family.base
    check_architecture(config.training, family.architecture, base.name)
    data = read_training_data(config.data, sources)
    folder = folder_of_model(base, registry, on_progress, should_stop)
    tokenizer = load_tokenizer(folder)
    note = truncation_note((*data.train, *data.validation), tokenizer, family.prompt, config.training.max_source_tokens)
    return Setup(config, family, base, folder, tokenizer, replace(data, notes=(*data.notes, *([note] if note else []))))


def folder_of_model(
    spec: ModelSpec, registry: Registry, on_progress: Progress, should_stop: StopAsked = lambda: False
) -> Path:
    """The folder of a model's weights; downloads them if necessary. Raises ModelUnavailableError."""
    available = registry.availability(spec)
    if not available.usable or spec.source is None:
        raise ModelUnavailableError(f"{spec.name} is not available: {available.reason}")
    adapter = spec.kind is Kind.ADAPTER
    return registry.folder_of(spec) or fetch(
        spec.source, spec.name, adapter=adapter, on_progress=on_progress, should_stop=should_stop
    )


def truncation_note(examples: Sequence[Example], tokenizer: Any, prompt: Prompt, max_tokens: int) -> str:
    """A sentence with the dialogues that lose turns because they are longer than `max_tokens`; empty if all fit."""
    # A token has at least one byte, so most short dialogues need not be tokenized.
    room = max_tokens - len(prompt.encode(tokenizer, ""))
    long = [example for example in examples if len(example.dialogue.encode()) > room]
    fitted = [(example.id, prompt.fit(tokenizer, example.dialogue, max_tokens)) for example in long]
    cut = [
        f"{name} ({f.turns_left_out:,} turn{'s' * (f.turns_left_out != 1)})" if f.turns_left_out else name
        for name, f in fitted
        if f.turns_left_out or f.cut_inside_turn
    ]
    if not cut:
        return ""
    more = f" and {len(cut) - MOST_NAMED} more" if len(cut) > MOST_NAMED else ""
    lose = (
        "1 dialogue is longer and loses its" if len(cut) == 1 else f"{len(cut):,} dialogues are longer and lose their"
    )
    return f"The model reads {max_tokens} tokens; {lose} last turns: {', '.join(cut[:MOST_NAMED])}{more}."


def least_bytes(folder: Path, config: TrainingConfig) -> int:
    """Return a lower bound on the memory of weights, gradients and optimizer state, without activations.

    AdamW keeps two values per trained weight (Kingma and Ba 2015), Adafactor almost none (Shazeer and Stern 2018).
    """
    weights = 4 * expected_parameters(folder)
    if METHODS[config.method].peft_type is not None:
        return weights
    return weights * (4 if config.optimizer == "adamw" else 2)


def may_not_fit(setup: Setup, model_config: Any) -> bool:
    """Whether memory may be too small, by a conservative estimate; such a run is probed before it starts."""
    training = setup.config.training
    architecture = architecture_of(model_config.model_type)
    tokens = training.batch_size * (training.max_source_tokens + training.max_target_tokens)
    channels = architecture.layers(model_config) * architecture.width(model_config)
    activations = ACTIVATION_BYTES * tokens * channels
    return least_bytes(setup.folder, training) + activations > free_memory_bytes() / 2
