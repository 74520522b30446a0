"""Finds a model's weight files in a folder and reads tensor names and shapes from their headers.

Imports only the standard library and never loads or unpickles weights. Format of safetensors:
https://huggingface.co/docs/safetensors (8 bytes length, little-endian; JSON; data).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsum_demo.errors import ModelUnavailableError, UnsafeWeightsError
from dsum_demo.utils.gguf_header import read_gguf_header

MODEL_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
# Pickle formats of other tools. A .bin is not listed, because torch can read it without executing code.
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill", ".npy", ".bin", ".h5", ".msgpack")
MAX_HEADER_BYTES = 100_000_000

Shape = tuple[int, ...]


@dataclass(frozen=True)
class WeightFiles:
    """A folder's weights: safetensors, one GGUF file, or a .bin, to be read with torch's weights-only unpickler."""

    files: tuple[Path, ...]

    @property
    def safetensors(self) -> bool:
        return self.files[0].suffix == ".safetensors"

    @property
    def gguf(self) -> bool:
        return self.files[0].suffix == ".gguf"

    @property
    def lists_tensors(self) -> bool:
        """Whether tensor names and shapes can be read from the files' headers."""
        return self.safetensors or self.gguf

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)


@dataclass(frozen=True)
class TensorEntry:
    """One tensor in a file; `begin` and `end` are byte offsets from the file's start. dtype: the file's own name."""

    file: Path
    dtype: str
    shape: Shape
    begin: int
    end: int


def model_name(folder: Path) -> str:
    """The readable name of the model in this folder: a run keeps it in best/, the Hub cache names folders by commit."""
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    return folder.parent.name if folder.name == "best" else folder.name


def find_weights(folder: Path, *, adapter: bool) -> WeightFiles:
    """The folder's weights: safetensors, then a .bin, then a model's single GGUF file.

    Raises UnsafeWeightsError if there are only formats that can run code, ModelUnavailableError if there are no
    weights, a shard is missing or there are several GGUF files.
    """
    if not folder.is_dir():
        raise ModelUnavailableError(f"There is no folder {folder.parent.name}/{folder.name}.")
    for name in ADAPTER_FILES if adapter else MODEL_FILES:
        file = folder / name
        if file.is_file():
            files = _shards(file) if name.endswith(".index.json") else (file,)
            return WeightFiles(files)
    quantized = [] if adapter else sorted(folder.glob("*.gguf"))
    if len(quantized) == 1:
        return WeightFiles((quantized[0],))
    if quantized:
        names = ", ".join(file.name for file in quantized[:3])
        raise ModelUnavailableError(f"{model_name(folder)} holds {len(quantized)} GGUF files ({names}); keep one.")
    wanted = ADAPTER_FILES[0] if adapter else MODEL_FILES[0]
    unsafe = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
    if unsafe:
        raise UnsafeWeightsError(
            f"{model_name(folder)} holds its weights only as {', '.join(unsafe[:3])}, a format that can run code "
            f"when it is opened. Save them as {wanted}."
        )
    raise ModelUnavailableError(f"{model_name(folder)} has no {wanted}.")


def _shards(index: Path) -> tuple[Path, ...]:
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise UnsafeWeightsError(
                f"{index.name} in {model_name(index.parent)} names {name!r}, which is outside its folder."
            )
        if not (index.parent / name).is_file():
            raise ModelUnavailableError(
                f"{model_name(index.parent)} lacks {name}, a part of its weights; download it again."
            )
    if not names:
        raise ModelUnavailableError(f"{index.name} in {model_name(index.parent)} names no weights.")
    return tuple(index.parent / name for name in names)


def read_entries(weights: WeightFiles) -> dict[str, TensorEntry]:
    """Every tensor by transformers' name, read from the headers. Raises ModelUnavailableError for a corrupt file."""
    if weights.gguf:
        [file] = weights.files
        return {t.name: TensorEntry(file, t.type, t.shape, t.begin, t.end) for t in read_gguf_header(file).tensors}
    return {name: entry for file in weights.files for name, entry in _entries(file)}


def _entries(file: Path) -> Iterator[tuple[str, TensorEntry]]:
    broken = f"{file.name} in {model_name(file.parent)} is not a safetensors file"
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if head.startswith(b"version "):
            raise ModelUnavailableError(f"{broken} but a Git LFS pointer; run: git lfs pull")
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise ModelUnavailableError(f"{broken} or is truncated; download it again.")
        try:
            table = json.loads(stream.read(length))
            for name, entry in table.items():
                if name != "__metadata__":
                    begin, end = (8 + length + int(offset) for offset in entry["data_offsets"])
                    if not 8 + length <= begin <= end <= size:
                        raise ValueError(f"{name} is outside the file")
                    yield name, TensorEntry(file, entry["dtype"], tuple(int(n) for n in entry["shape"]), begin, end)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelUnavailableError(f"{broken} ({error}); download it again.") from None


def count_parameters(shapes: Mapping[str, Shape]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def shapes_of(entries: Mapping[str, TensorEntry]) -> dict[str, Shape]:
    return {name: entry.shape for name, entry in entries.items()}


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises ModelUnavailableError if the file does not hold one."""
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(f"{file.name} in {model_name(file.parent)} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise ModelUnavailableError(f"{file.name} in {model_name(file.parent)} does not hold a JSON object.")
    return value
