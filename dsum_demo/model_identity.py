"""What tells one model's summaries from another's before it is loaded: its weights, their precision, its training data.

Knows the registry's folders and the cache's fingerprints; nothing of texts or pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dsum_demo.assembly import expected_parameters, serving_dtype
from dsum_demo.data import read_fingerprints
from dsum_demo.output_cache import OutputCache
from dsum_demo.registry import Kind, ModelSpec, Registry
from dsum_demo.weight_files import find_weights

READ_WITH_WEIGHTS = ("config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "spiece.model")


@dataclass(frozen=True)
class ModelIdentity:
    """weights: fingerprint of the model's files, for an adapter its base's too. dtype: what it will be served in.
    trained_on: fingerprints of the dialogues that it was trained on; empty where its folder does not say.
    """

    weights: str
    dtype: str
    trained_on: frozenset[str]


def identify(spec: ModelSpec, registry: Registry, cache: OutputCache) -> ModelIdentity | None:
    """None where its files, or its base's, are not on this machine yet. Raises ModelError for files that no model is
    made of.
    """
    base = registry.spec(spec.base) if spec.kind is Kind.ADAPTER and spec.base else spec
    folder, whole = registry.folder_of(spec), registry.folder_of(base)
    if folder is None or whole is None:
        return None
    files = [
        *_files(folder, adapter=spec.kind is Kind.ADAPTER),
        *(_files(whole, adapter=False) if base != spec else ()),
    ]
    dtype = str(serving_dtype(expected_parameters(whole))).removeprefix("torch.")
    return ModelIdentity(cache.fingerprint(files), dtype, training_fingerprints(folder))


def training_fingerprints(folder: Path) -> frozenset[str]:
    """What a model's folder says of its training data (`data.fingerprint`, one a line). A run keeps its weights in a
    folder best/ below its own.
    """
    here = read_fingerprints(folder)
    return here if here or folder.name != "best" else read_fingerprints(folder.parent)


def _files(folder: Path, *, adapter: bool) -> Iterator[Path]:
    yield from find_weights(folder, adapter=adapter).files
    yield from (folder / name for name in READ_WITH_WEIGHTS if (folder / name).is_file())
