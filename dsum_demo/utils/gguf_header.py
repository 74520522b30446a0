"""Reads the header of a GGUF file: names, shapes and offsets of its tensors, under transformers' names.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from dsum_demo.errors import ModelUnavailableError

ARCHITECTURES = ("llama", "qwen2", "qwen3")
# By ggml's number: the type's name, values in a block and bytes in a block.
_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 30: ("BF16", 1, 2),
}  # fmt: skip
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# ggml's names of modules, and those of transformers.
_MODULES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
_TENSOR = re.compile(r"(?:blk\.(?P<layer>\d+)\.)?(?P<module>\w+)\.(?P<part>weight|bias)")


@dataclass(frozen=True)
class GgufTensor:
    """name: transformers' name. type: ggml's name of the format. shape: as torch counts. begin, end: byte offsets."""

    name: str
    type: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class GgufHeader:
    """architecture: `general.architecture`, one of ARCHITECTURES."""

    architecture: str
    tensors: tuple[GgufTensor, ...]


def read_gguf_header(file: Path) -> GgufHeader:
    """Raises ModelUnavailableError for a corrupt file or an unsupported architecture."""
    about = file.stat()
    return _read(file, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=32)
def _read(file: Path, size: int, modified: int) -> GgufHeader:
    try:
        with file.open("rb") as stream:
            header = _header(stream)
    except (OSError, ValueError, struct.error) as error:
        raise ModelUnavailableError(f"{file.name} is not a GGUF file that dsum reads: {error}.") from None
    if any(tensor.end > size for tensor in header.tensors):
        raise ModelUnavailableError(f"{file.name} is truncated; download it again.")
    return header


def _header(stream: BinaryIO) -> GgufHeader:
    if stream.read(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version, tensors, entries = _numbers(stream, "IQQ")
    if version not in (2, 3):
        raise ValueError(f"its version is {version}; dsum reads 2 and 3")
    metadata = {}
    for _ in range(entries):
        key = _string(stream)
        metadata[key] = _value(stream, _numbers(stream, "I")[0])
    architecture = metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise ValueError(f"its architecture is {architecture!r}; dsum reads {', '.join(ARCHITECTURES)}")
    table = list(_table(stream, tensors))
    alignment = metadata.get("general.alignment", 32)
    data = math.ceil(stream.tell() / alignment) * alignment
    return GgufHeader(
        architecture,
        tuple(
            GgufTensor(name, kind, shape, data + begin, data + begin + size) for name, kind, shape, begin, size in table
        ),
    )


def _table(stream: BinaryIO, tensors: int) -> Iterator[tuple[str, str, tuple[int, ...], int, int]]:
    for _ in range(tensors):
        name = _string(stream)
        [dimensions] = _numbers(stream, "I")
        shape = tuple(reversed(_numbers(stream, f"{dimensions}Q")))  # ggml names the innermost first
        number, begin = _numbers(stream, "IQ")
        match = _TENSOR.fullmatch(name)
        if name == "rope_freqs.weight":
            continue  # computed from the config in transformers
        if match is None or match["module"] not in _MODULES:
            raise ValueError(f"its tensor {name} is unknown")
        if number not in _TYPES:
            raise ValueError(f"the type {number} of its tensor {name} is unknown")
        kind, values, size = _TYPES[number]
        prefix = f"model.layers.{match['layer']}." if match["layer"] else ""
        module = f"{prefix}{_MODULES[match['module']]}.{match['part']}"
        yield module, kind, shape, begin, math.prod(shape) // values * size


def _value(stream: BinaryIO, kind: int) -> Any:
    """A number or a string; None for an array, which is skipped."""
    if kind in _NUMBERS:
        return _numbers(stream, _NUMBERS[kind])[0]
    if kind == _STRING:
        return _string(stream)
    if kind != _ARRAY:
        raise ValueError(f"its metadata has a value of the unknown type {kind}")
    element, length = _numbers(stream, "IQ")
    if element in _NUMBERS:
        stream.seek(length * struct.calcsize(f"<{_NUMBERS[element]}"), 1)
    else:
        for _ in range(length):
            _value(stream, element)
    return None


def _string(stream: BinaryIO) -> str:
    [length] = _numbers(stream, "Q")
    text = stream.read(length)
    if len(text) < length:
        raise ValueError("it is truncated")
    return text.decode("utf-8")


def _numbers(stream: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{layout}", stream.read(struct.calcsize(f"<{layout}")))
