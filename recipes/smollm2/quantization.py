"""GGUF files of a fine-tuned Llama: rounding to their grids while training, and writing them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dsum_demo.models.gguf_writer import add_tensors

# Bits per weight besides a float16 scale for 32 weights. Layers need the finer grid. The fine-tune of all weights must
# not return to its base's own grid (Q4_1), which would undo it.
LAYER_BITS, EMBEDDING_BITS = 5, 4
_BLOCK = 32
_EMBEDDING = "embed_tokens"


def bits_of(name: str) -> int:
    """Bits per weight of a tensor in the file, by its name in transformers."""
    return EMBEDDING_BITS if _EMBEDDING in name else LAYER_BITS


def rounded(weights: torch.Tensor, bits: int) -> torch.Tensor:
    """The values that a matrix has after Q4_0 (bits=4) or Q5_0 (bits=5), but for ties what `gguf.quants` computes."""
    blocks = weights.detach().float().reshape(-1, _BLOCK)
    half = 2 ** (bits - 1)
    extreme = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    scale = extreme / -half
    inverse = torch.where(scale == 0, 0.0, 1.0 / scale)
    steps = (blocks * inverse + (half + 0.5)).trunc_().clamp_(0, 2 * half - 1)
    values = (steps - half) * scale.half().float()
    return values.reshape(weights.shape).to(weights.dtype)


# One kernel instead of a dozen passes over the weights, which on two cores took as long as the step itself.
_compiled = torch.compile(rounded, dynamic=True)
_WORTH_COMPILING = 10_000_000  # parameters


@contextmanager
def rounded_weights(model: torch.nn.Module) -> Iterator[None]:
    """Inside, every matrix has the values of the file; its gradients then apply to the unrounded weights.

    The straight-through estimator: Bengio et al., 2013, https://arxiv.org/abs/1308.3432.
    """
    kept = {}
    large = sum(parameter.numel() for parameter in model.parameters()) > _WORTH_COMPILING
    rounding = _compiled if large and shutil.which("g++") else rounded
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                kept[name] = parameter.detach().clone()
                parameter.copy_(rounding(parameter, bits_of(name)))
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in kept:
                    parameter.copy_(kept[name])


def write_gguf(model: Any, base: Path, path: Path, title: str) -> None:
    """Write a Llama's weights with the vocabulary and settings of the base's GGUF file."""
    import gguf

    reader = gguf.GGUFReader(base)
    writer = gguf.GGUFWriter(path, "llama")
    own = {"general.architecture", "general.name", "general.file_type", "general.quantization_version"}
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in own:
            continue
        inner = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(key, field.contents(), field.types[0], sub_type=inner)
    writer.add_name(title)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q5_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    kinds = {4: gguf.GGMLQuantizationType.Q4_0, 5: gguf.GGMLQuantizationType.Q5_0}
    for _ in add_tensors(writer, model, lambda name: kinds[bits_of(name)]):
        pass
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
