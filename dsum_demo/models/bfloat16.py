"""bfloat16 inference on a CPU: packed matrices if it supports bfloat16, else converted ones, and a memory-mapped input
embedding.

Every new token reads all decoder weights once, so memory bandwidth limits speed, and bfloat16 takes about half the time
of float32 (measured in benchmarks/README.md).
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch

# Bytes per write: Linux reads a file back in chunks of the size in which it was written.
PIECE = 65_536
# Up to this many rows, bfloat16 products are faster; with more rows, converting the weight to float32 first is.
FEW_ROWS = 3


class PackedLinear(torch.nn.Linear):
    """A linear layer whose `weight` keeps its shape and dtype, but in oneDNN's blocked memory format.

    torch multiplies a row by a plain bfloat16 matrix at little more than half of the memory bandwidth; the blocked
    format, which torch's compiler uses too, reaches nearly all of it. The layer replaces the plain one, so no weight is
    stored twice. Other code that reads the values gets an error from torch.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise.default(input, self.weight, self.bias, "none", [], "")


class WideningLinear(torch.nn.Linear):
    """A linear layer with a bfloat16 `weight` and float32 output, for a CPU without bfloat16 arithmetic.

    A few rows are multiplied in bfloat16, limited by memory bandwidth; for more rows, arithmetic is the limit, and the
    weight is converted to float32 temporarily.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.numel() <= FEW_ROWS * self.in_features:
            product = torch.nn.functional.linear(input.to(self.weight.dtype), self.weight).float()
            return product if self.bias is None else product + self.bias
        return torch.nn.functional.linear(input.float(), self.weight.float(), self.bias)


class WideningEmbedding(torch.nn.Embedding):
    """An embedding with a bfloat16 `weight` and float32 output."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).float()


def optimize_for_cpu(model: Any) -> None:
    """Replace the linear layers of a bfloat16 model on the CPU by its fastest ones, in place; skip other models."""
    if not _bfloat16_on_cpu(next(model.parameters())):
        return
    if can_pack():
        pack(model)
    else:
        widen(model)


def can_pack() -> bool:
    """Whether torch has the private operators that `pack` needs, and the CPU bfloat16 arithmetic."""
    operators = torch.ops.mkldnn
    names = ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise")
    available = torch.backends.mkldnn.is_available() and all(hasattr(operators, name) for name in names)
    return available and bool(operators._is_mkldnn_bf16_supported())


def offload_embedding(model: Any) -> None:
    """Move the input embedding of a bfloat16 model on the CPU to a memory-mapped temporary file, in place; a text needs
    only some hundred of its rows.

    The values are the same; the file has no name and is deleted with the model. An embedding that is tied to the head
    stays in memory, because every token reads all of it.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    weight = embedding.weight
    if not _bfloat16_on_cpu(weight) or (head is not None and head.weight is weight):
        return
    values = memoryview(weight.detach().view(torch.int16).numpy()).cast("B")
    try:
        with tempfile.NamedTemporaryFile(prefix="dsum-embedding-", buffering=PIECE) as file:
            for begin in range(0, len(values), PIECE):
                file.write(values[begin : begin + PIECE])
            file.flush()
            rows = torch.from_file(file.name, size=weight.numel(), dtype=weight.dtype)
    except (OSError, RuntimeError):
        return  # The disk is full, or the system cannot open a file twice: keep the embedding in memory.
    # The parameter stays the same object, which the encoder, the decoder and other module trees share.
    weight.data = rows.view(weight.shape)


def pack(model: Any) -> None:
    """Replace linear layers by packed ones, except those that share their matrix with an embedding."""
    embedded = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    plain = [module for module in _linear(model) if id(module.weight) not in embedded]
    # The largest first: the next ones reuse the memory that its plain matrix frees.
    for module in sorted(plain, key=lambda module: -module.weight.numel()):
        packed = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach())
        module.weight = torch.nn.Parameter(packed, requires_grad=False)
        module.__class__ = PackedLinear


def widen(model: Any) -> None:
    """Make the model compute in float32 with bfloat16 matrices."""
    linear = _linear(model)
    embeddings = [module for module in model.modules() if type(module) is torch.nn.Embedding]
    matrices = {id(module.weight) for module in (*linear, *embeddings)}
    for module in linear:
        module.__class__ = WideningLinear
    for module in embeddings:
        module.__class__ = WideningEmbedding
    for parameter in model.parameters():
        if id(parameter) not in matrices:
            parameter.data = parameter.data.float()


def computes_in_float32(model: Any) -> bool:
    """Whether `widen` was applied, so that activations have another dtype than the weights."""
    return any(isinstance(module, WideningLinear) for module in model.modules())


def unpack(model: Any) -> None:
    """Replace every packed or converting linear layer of the model by a plain one with its own matrix, in place."""
    layers: list[Any] = [module for module in model.modules() if isinstance(module, PackedLinear | WideningLinear)]
    for module in layers:
        values = module.weight.to_dense() if isinstance(module, PackedLinear) else module.weight.float()
        module.weight = torch.nn.Parameter(values, requires_grad=False)
        module.__class__ = torch.nn.Linear


def _bfloat16_on_cpu(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype is torch.bfloat16


def _linear(model: Any) -> list[Any]:
    return [module for module in model.modules() if type(module) is torch.nn.Linear]
