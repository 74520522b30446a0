"""Reads an adapter's tensors to describe them: their shapes, which are all 0, and which contain NaN or infinity."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dsum_demo.errors import ModelUnavailableError, UnsafeWeightsError
from dsum_demo.utils.checkpoint_files import Shape, TensorEntry, WeightFiles, model_name, read_entries
from dsum_demo.utils.formatting import first_line

# By the names of safetensors: bytes per number, and the bits of the exponent, which are all 1 in NaN and infinity.
_EXPONENTS = {"F16": (2, 0x7C00), "BF16": (2, 0x7F80), "F32": (4, 0x7F800000), "F64": (8, 0x7FF0000000000000)}
_NUMBERS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class TensorSummary:
    """shapes: by tensor name. zero: names of tensors that are all 0. broken: names of those with NaN or infinity."""

    shapes: Mapping[str, Shape]
    zero: frozenset[str]
    broken: tuple[str, ...]


def summarize_tensors(weights: WeightFiles) -> TensorSummary:
    """A summary of the tensors in an adapter's file; it is cached until the file changes.

    Raises ModelUnavailableError for a corrupt file, and UnsafeWeightsError for a .bin with more than tensors.
    """
    [file] = weights.files
    found = file.stat()
    return _summary(weights, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=256)
def _summary(weights: WeightFiles, mtime_ns: int, size: int) -> TensorSummary:
    if weights.safetensors:
        entries = read_entries(weights)
        values = {name: _zero_and_finite(entry) for name, entry in entries.items()}
        shapes = {name: entry.shape for name, entry in entries.items()}
    else:
        import torch  # takes seconds to import, and few adapters are saved as .bin

        tensors = read_bin(weights.files[0])
        values = {name: (not tensor.any(), bool(torch.isfinite(tensor).all())) for name, tensor in tensors.items()}
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return TensorSummary(
        shapes,
        frozenset(name for name, (zero, _) in values.items() if zero),
        tuple(name for name, (_, finite) in values.items() if not finite),
    )


def read_bin(file: Path) -> dict[str, Any]:
    """The tensors in a .bin file, read with torch's weights-only unpickler. Raises like `summarize_tensors`."""
    import torch

    name = model_name(file.parent)
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise runs_code(file.parent) from error
    except Exception as error:
        raise ModelUnavailableError(f"{file.name} in {name} cannot be read: {first_line(error)}") from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ModelUnavailableError(f"{file.name} in {name} is not a dictionary of tensors; save the adapter again.")
    return {str(name): tensor for name, tensor in found.items()}


def runs_code(folder: Path) -> UnsafeWeightsError:
    return UnsafeWeightsError(
        f"The weights in {model_name(folder)} are a pickle with more than tensors, which could run code; it was "
        "not run. Save them as safetensors."
    )


def _zero_and_finite(entry: TensorEntry) -> tuple[bool, bool]:
    """(whether all numbers are 0, whether none is NaN or infinite); the latter is True for integers and rare dtypes."""
    import numpy as np

    width, exponent = _EXPONENTS.get(entry.dtype, (1, 0))
    zero, left = True, entry.end - entry.begin
    with entry.file.open("rb") as stream:
        stream.seek(entry.begin)
        while left > 0:
            piece = stream.read(min(left, width * _NUMBERS_AT_ONCE))
            numbers = np.frombuffer(piece[: len(piece) // width * width], f"<u{width}")
            if exponent and bool((numbers & exponent == exponent).any()):
                return False, False
            zero = zero and not numbers.any()
            if not piece or (not exponent and not zero):
                break
            left -= len(piece)
    return zero, True
