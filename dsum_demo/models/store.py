"""The model store: loads each model once, shares bases between adapters, and evicts the least recently used family."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from dsum_demo.errors import IncompatibleAdapterError, InputError, ModelUnavailableError, Stopped, UnsafeWeightsError
from dsum_demo.hub.client import HubRefusal, Progress, StopAsked, cached_tokenizer
from dsum_demo.hub.download import discard_damaged, fetch
from dsum_demo.hub.source import SourceKind
from dsum_demo.models.adapter_scaling import at_strength, check_strength
from dsum_demo.models.adapters import adapter_config, changes_inputs, check_adapter, has_strength
from dsum_demo.models.architectures import Architecture, architecture_of
from dsum_demo.models.catalog import Kind, ModelSpec
from dsum_demo.models.loading import (
    count,
    device,
    expected_parameters,
    load_adapted,
    load_tokenizer,
    load_whole,
    serving_dtype,
    twin,
)
from dsum_demo.models.prompts import FittedDialogue, Prompt
from dsum_demo.models.registry import Registry
from dsum_demo.settings import GIGABYTE
from dsum_demo.utils.checkpoint_files import find_weights
from dsum_demo.utils.formatting import size
from dsum_demo.utils.hardware import free_memory_bytes

LOCK_POLL_SECONDS = 0.1


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready to generate. Its generation config keeps only the token ids.

    total_parameters: including the adapter. trained_parameters: those trained on summaries; 0 for a base model. turn: a
    lock to hold during generation, for the few adapters that cannot generate two texts at once; else None. template:
    for an adapter whose strength can be changed, a tree over the same tensors that never generates; else None.
    """

    spec: ModelSpec
    model: Any
    tokenizer: PreTrainedTokenizerBase
    total_parameters: int
    trained_parameters: int
    dtype: str
    turn: threading.Lock | None = None
    template: Any = None

    @property
    def architecture(self) -> Architecture:
        return architecture_of(self.model.config.model_type)

    @property
    def end_token_ids(self) -> list[int]:
        """Every token that ends a summary."""
        ends = self.model.generation_config.eos_token_id
        return ends if isinstance(ends, list) else [ends]

    def fit(self, prompt: Prompt, dialogue: str, max_source_tokens: int, max_new_tokens: int) -> FittedDialogue:
        """The prompt, with the dialogue truncated to leave room for the summary."""
        limit = self.architecture.prompt_limit(self.model.config, max_source_tokens, max_new_tokens)
        return prompt.fit(self.tokenizer, dialogue, limit)

    def at_strength(self, strength: float) -> LoadedModel:
        """The same model with its adapter's update multiplied by `strength`, 0 to 2; 0 gives the base's output.

        Uses no extra memory and does not modify this model. Raises InputError for a number out of range, or for a model
        without a strength setting.
        """
        if check_strength(strength) == 1.0:
            return self
        if self.template is None:
            raise InputError(f"{self.spec.name} has no strength setting; only additive adapters such as LoRA do.")
        return replace(self, model=at_strength(self.template, strength), template=None)


@dataclass
class _LoadedFamily:
    models: dict[str, LoadedModel] = field(default_factory=dict)
    tokenizer: PreTrainedTokenizerBase | None = None


class ModelStore:
    """Thread-safe; loads one model of a family at a time.

    Beyond `memory_budget_bytes`, the least recently used families are evicted, except the one being loaded.
    A running generation keeps its model in memory until it ends.
    """

    def __init__(self, registry: Registry, memory_budget_bytes: int = 6 * GIGABYTE):
        self.registry = registry
        self.memory_budget_bytes = memory_budget_bytes
        self._lock = threading.Lock()
        self._families: OrderedDict[str, _LoadedFamily] = OrderedDict()
        self._turns: dict[str, threading.Lock] = {}

    def load(
        self, spec: ModelSpec, on_progress: Progress | None = None, should_stop: StopAsked | None = None
    ) -> LoadedModel:
        """The model, from memory if it is loaded, else from the disk or the Hub.

        on_progress gets a message and a fraction from 0 to 1 (None if unknown). Raises Stopped if should_stop() is
        true, and ModelUnavailableError, IncompatibleAdapterError or UnsafeWeightsError with the fix.
        """
        tell, stopping = on_progress or (lambda text, share: None), should_stop or (lambda: False)
        with self._turn(spec.family, stopping):
            loaded = self._load(self._touch(spec.family), spec, tell, stopping)
            self._evict(keep=spec.family)
            return loaded

    def loaded(self) -> list[str]:
        """Names of the models in memory, the least recently used family first."""
        with self._lock:
            return [name for family in self._families.values() for name in family.models]

    def memory_bytes(self) -> int:
        """Bytes of all tensors in memory, shared ones counted once."""
        with self._lock:
            return _bytes_of(self._families.values())

    def unload(self, family_name: str) -> None:
        with self._lock:
            self._families.pop(family_name, None)

    @contextmanager
    def _turn(self, family_name: str, should_stop: StopAsked) -> Iterator[None]:
        with self._lock:
            turn = self._turns.setdefault(family_name, threading.Lock())
        # Another caller's download may hold the lock for long, so waiting must be stoppable.
        while not turn.acquire(timeout=LOCK_POLL_SECONDS):
            if should_stop():
                raise Stopped(f"Stopped while waiting for {family_name}.")
        try:
            yield
        finally:
            turn.release()

    def _touch(self, family_name: str) -> _LoadedFamily:
        with self._lock:
            family = self._families.setdefault(family_name, _LoadedFamily())
            self._families.move_to_end(family_name)
            return family

    def _load(self, family: _LoadedFamily, spec: ModelSpec, tell: Progress, should_stop: StopAsked) -> LoadedModel:
        known = family.models.get(spec.name)
        if known and known.spec == spec:
            return known
        if should_stop():
            raise Stopped(f"Stopped before {spec.name} was loaded.")
        if spec.kind is Kind.ADAPTER:
            loaded = self._load_adapter(family, spec, tell, should_stop)
        else:
            with self._remembering_refusal(spec):
                loaded = self._load_whole(family, spec, self._folder(spec, tell, should_stop), tell)
        with self._lock:  # another thread may be adding up what is in memory
            family.models[spec.name] = loaded
        self.registry.mark_loaded(spec)
        return loaded

    @contextmanager
    def _remembering_refusal(self, spec: ModelSpec) -> Iterator[None]:
        try:
            yield
        except (HubRefusal, IncompatibleAdapterError, UnsafeWeightsError) as error:
            self.registry.mark_failed(spec, str(error))
            raise

    def _load_whole(self, family: _LoadedFamily, spec: ModelSpec, folder: Path, tell: Progress) -> LoadedModel:
        self._expect(spec, folder)
        if family.tokenizer is None:
            family.tokenizer = load_tokenizer(self._tokenizer_folder(spec, folder))
        tell(f"Loading {spec.name}", None)
        model = load_whole(folder, family.tokenizer, prompt=self.registry.family(spec.family).prompt)
        total = count(model)
        trained = 0 if spec.kind is Kind.BASE else total
        return LoadedModel(spec, model, family.tokenizer, total, trained, _dtype_name(model))

    def _load_adapter(
        self, family: _LoadedFamily, spec: ModelSpec, tell: Progress, should_stop: StopAsked
    ) -> LoadedModel:
        family_spec = self.registry.family(spec.family)
        original = family_spec.base
        with self._remembering_refusal(spec):
            folder = self._folder(spec, tell, should_stop)
            # Before the base is loaded: these checks read only headers and fail early.
            registry = self.registry
            check_adapter(folder, family_spec.architecture, registry.folder_of(original), registry.names_of(original))
        base = self._load(family, original, tell, should_stop)
        tell(f"Loading {spec.name}", None)
        with self._remembering_refusal(spec):
            model, trained = load_adapted(folder, base.model)
        turn = threading.Lock() if changes_inputs(adapter_config(folder)) else None
        # Made now, before the model generates: copying a model during generation is not safe.
        template = twin(model) if has_strength(adapter_config(folder)) else None
        return LoadedModel(
            spec, model, base.tokenizer, base.total_parameters + trained, trained, base.dtype, turn, template
        )

    def _folder(self, spec: ModelSpec, tell: Progress, should_stop: StopAsked) -> Path:
        if spec.source is None:
            raise ModelUnavailableError(f"{spec.name} does not exist yet. {spec.note}".strip())
        is_adapter = spec.kind is Kind.ADAPTER
        if spec.source.kind is not SourceKind.HUB:
            folder = Path(spec.source.location)
            find_weights(folder, adapter=is_adapter)
            return folder
        here, damage = self.registry.folder_of(spec), ""
        if here and (damaged := discard_damaged(here)):
            here, damage = None, f" ({', '.join(damaged)} was corrupt)"
            tell(f"{spec.name}: {', '.join(damaged)} is corrupt; downloading it again", None)
        reason = "" if here else self.registry.hub_unreachable_because()
        if reason:
            said = f"{spec.name} is not on this machine{damage} and cannot be downloaded. {reason}"
            raise ModelUnavailableError(f"{said} {self.registry.offline_offer()}".strip())
        return here or fetch(spec.source, spec.name, adapter=is_adapter, on_progress=tell, should_stop=should_stop)

    def _tokenizer_folder(self, spec: ModelSpec, folder: Path) -> Path:
        """The base's folder, so that a family shares one tokenizer; the model's own if the base is not on this disk."""
        original = self.registry.family(spec.family).base
        if spec.kind is Kind.BASE or original.source is None:
            return folder
        if original.source.kind is SourceKind.HUB:
            return cached_tokenizer(original.source) or folder
        return self.registry.folder_of(original) or folder

    def _expect(self, spec: ModelSpec, folder: Path) -> None:
        """Evict models before loading: running out of memory kills the process without an exception."""
        parameters = expected_parameters(folder)
        needed = parameters * serving_dtype(parameters).itemsize
        self._evict(keep=spec.family, coming=needed)
        free = free_memory_bytes()
        if device().type == "cpu" and needed > free:
            raise ModelUnavailableError(
                f"{spec.name} needs {size(needed)} of memory and {size(free)} are free. "
                "Close other programs or choose a smaller family."
            )

    def _evict(self, keep: str, coming: int = 0) -> None:
        with self._lock:
            for name in list(self._families):
                if _bytes_of(self._families.values()) + coming <= self.memory_budget_bytes:
                    break
                if name != keep:
                    del self._families[name]


def _bytes_of(families: Iterable[_LoadedFamily]) -> int:
    # Shared tensors are the same objects; a packed one has no storage address.
    tensors = {
        id(tensor): tensor.nbytes
        for family in families
        for loaded in family.models.values()
        for tensor in (*loaded.model.parameters(), *loaded.model.buffers())
    }
    return sum(tensors.values())


def _dtype_name(model: Any) -> str:
    return str(next(model.parameters()).dtype).removeprefix("torch.")
