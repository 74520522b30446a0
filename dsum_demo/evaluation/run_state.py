"""State of a running evaluation: generates outputs, or takes them from the cache, and scores them."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from dsum_demo.errors import DsumError, ModelUnavailableError, Stopped
from dsum_demo.evaluation.output_cache import CachedOutput, ModelIdentity, OutputCache, identify, output_key
from dsum_demo.evaluation.records import Evaluation, EvaluationProgress, ExampleRecord, SystemInfo
from dsum_demo.evaluation.scoring import score_output
from dsum_demo.generation.batch import generate_many
from dsum_demo.models.catalog import ModelSpec
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.loading import merged
from dsum_demo.models.store import LoadedModel, ModelStore

log = logging.getLogger(__name__)


@dataclass
class System:
    spec: ModelSpec
    title: str
    loaded: LoadedModel | None = None
    identity: ModelIdentity | None = None
    error: str = ""

    def info(self) -> SystemInfo:
        known = self.loaded
        return SystemInfo(
            self.spec.name,
            self.title,
            str(self.spec.kind),
            known.total_parameters if known else self.spec.parameters,
            known.trained_parameters if known else self.spec.trained_parameters,
            self.identity.weights if self.identity else "",
            self.identity.dtype if self.identity else "",
            self.error,
        )


@dataclass
class EvaluationState:
    """One running evaluation. places: the indices of the records of each cleaned dialogue. written, seconds: number of
    generated (not cached) summaries and the time they took.
    """

    store: ModelStore
    evaluation: Evaluation
    systems: list[System]
    decode: DecodingConfig
    cache: OutputCache
    should_stop: Callable[[], bool]
    records: list[ExampleRecord]
    bf16: bool = False
    places: dict[str, list[int]] = field(default_factory=dict)
    done: int = 0
    written: int = 0
    seconds: float = 0.0

    def progress(self, note: str, finished: bool = False) -> EvaluationProgress:
        records = tuple(record for record in self.records if record.outputs)
        total = len(self.records) * len(self.systems)
        left = None
        if self.written:
            working = sum(not system.error for system in self.systems) / len(self.systems)
            left = self.seconds / self.written * max(0.0, total * working - self.done)
        return EvaluationProgress(
            self.done,
            total,
            0.0 if finished else left,
            note,
            replace(
                self.evaluation,
                systems=tuple(system.info() for system in self.systems),
                examples=records,
                finished=finished,
                trained_on=self._trained_on(records),
            ),
        )

    def write(self, system: System, dialogues: Sequence[str]) -> Iterator[EvaluationProgress]:
        """Evaluate one system on some dialogues; cached outputs are not generated again."""
        if system.error:
            return
        try:
            yield from self._write(system, dialogues)
        except Stopped:
            raise
        except DsumError as error:
            system.error = str(error)
            yield self.progress(f"{system.title} failed")
        except Exception as error:
            # Isolate failures: the other systems continue.
            log.exception("%s failed", system.spec.name)
            system.error = f"{system.spec.name} failed unexpectedly: {type(error).__name__}: {error}"
            yield self.progress(f"{system.title} failed")

    def _write(self, system: System, dialogues: Sequence[str]) -> Iterator[EvaluationProgress]:
        note = f"Generating with {system.title}"
        if system.identity is None:
            yield self.progress(f"Loading {system.title}")
            self._identify(system)
        keys = {dialogue: self._key(system, dialogue) for dialogue in dialogues}
        known = self.cache.get(list(keys.values()))
        for dialogue in dialogues:
            if keys[dialogue] in known:
                if self.should_stop():
                    raise Stopped("The evaluation was stopped.")
                self._take(system, dialogue, known[keys[dialogue]], cached=True)
        if known:
            yield self.progress(note)
        missing = [dialogue for dialogue in dialogues if keys[dialogue] not in known]
        if not missing:
            return
        loaded = self._load(system)
        yield self.progress(note)
        family = self.store.registry.family(system.spec.family)
        limits = family.max_source_tokens, self.decode.max_new_tokens
        fitted = {dialogue: loaded.fit(family.prompt, dialogue, *limits) for dialogue in missing}
        started = time.monotonic()
        prompts = [fitted[dialogue].source_ids for dialogue in missing]
        for written in generate_many(loaded, prompts, self.decode, self.should_stop):
            outputs = {
                missing[place]: CachedOutput(
                    g.text, g.new_tokens, g.seconds, g.hit_length_limit, fitted[missing[place]].turns_left_out
                )
                for place, g in written.items()
            }
            self.cache.put({keys[text]: output for text, output in outputs.items()})
            before = self.done
            for text, output in outputs.items():
                self._take(system, text, output, cached=False)
            self.written += self.done - before
            self.seconds += time.monotonic() - started
            yield self.progress(note)
            started = time.monotonic()

    def _trained_on(self, records: Sequence[ExampleRecord]) -> dict[str, tuple[str, ...]]:
        found = {
            system.spec.name: tuple(r.id for r in records if r.fingerprint in system.identity.trained_on)
            for system in self.systems
            if system.identity and system.identity.trained_on
        }
        return {name: ids for name, ids in found.items() if ids}

    def _take(self, system: System, dialogue: str, output: CachedOutput, *, cached: bool) -> None:
        for place in self.places[dialogue]:
            record = self.records[place]
            scored = score_output(
                record,
                output.text,
                self.evaluation.policy,
                tokens=output.tokens,
                seconds=output.seconds,
                hit_length_limit=output.hit_length_limit,
                turns_left_out=output.turns_left_out,
                cached=cached,
            )
            self.records[place] = replace(record, outputs={**record.outputs, system.spec.name: scored})
            self.done += 1

    def _identify(self, system: System) -> ModelIdentity:
        """Set the system's identity for the cache; downloads its files if necessary."""
        registry = self.store.registry
        system.identity = identify(system.spec, registry, self.cache)
        if system.identity is None:
            self._load(system)
            system.identity = identify(system.spec, registry, self.cache)
        if system.identity is None:
            raise ModelUnavailableError(f"The files of {system.spec.name} are not on this machine.")
        if self.bf16:
            system.identity = replace(system.identity, dtype="bfloat16")
        return system.identity

    def _load(self, system: System) -> LoadedModel:
        if system.loaded is None:
            loaded = self.store.load(system.spec, should_stop=self.should_stop)
            if loaded.dtype == "float32":
                loaded = replace(loaded, model=merged(loaded.model))
                if self.bf16:
                    # A copy, because the store's model must keep its precision.
                    loaded = replace(loaded, model=copy.deepcopy(loaded.model).to(torch.bfloat16), dtype="bfloat16")
            system.loaded = loaded
        return system.loaded

    def _key(self, system: System, dialogue: str) -> str:
        identity = system.identity
        assert identity is not None
        family = self.store.registry.family(system.spec.family)
        prompt, limit = family.prompt.fingerprint, family.max_source_tokens
        return output_key(identity.weights, prompt, limit, self.decode.as_dict(), identity.dtype, dialogue)
