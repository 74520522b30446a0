"""How a large bfloat16 model is kept and multiplied on a CPU: matrices packed where it has bfloat16, else widened, and
the input embedding in a file.

A token of a summary is written by reading every weight of the decoder once, so that reading is what takes the time, and
half the bytes take about half of it. What it comes to is measured in benchmarks/README.md. Knows torch only, nothing of
files or families.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch

# What is written at once, Linux brings back at once: a row's neighbors too.
PIECE = 65_536
# Up to here a row costs another reading of the weight at most; from here on, widening it first is faster.
FEW_ROWS = 3


class PackedLinear(torch.nn.Linear):
    """A linear layer whose `weight` has its shape and dtype, but an order of bytes that only oneDNN reads.

    torch multiplies a row by a plain bfloat16 matrix at little more than half of the memory's speed; oneDNN's blocked
    order, which torch's compiler uses too, comes close to all of it. The layer takes the place of the plain one:
    nothing is kept twice. Whatever else reads the values gets an error of torch's.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise.default(input, self.weight, self.bias, "none", [], "")


class WideningLinear(torch.nn.Linear):
    """A linear layer that keeps its `weight` in bfloat16 and gives float32, for a CPU without bfloat16.

    A few rows are multiplied in bfloat16, as fast as the weight is read; for more, arithmetic is what takes the time,
    and the weight is widened for the moment.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.numel() <= FEW_ROWS * self.in_features:
            product = torch.nn.functional.linear(input.to(self.weight.dtype), self.weight).float()
            return product if self.bias is None else product + self.bias
        return torch.nn.functional.linear(input.float(), self.weight.float(), self.bias)


class WideningEmbedding(torch.nn.Embedding):
    """An embedding that keeps its `weight` in bfloat16 and gives float32."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).float()


def suit_cpu(model: Any) -> None:
    """Let a bfloat16 model on the CPU multiply as that CPU does best, in place; any other stays as it is."""
    if not _bfloat16_on_cpu(next(model.parameters())):
        return
    if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pack(model)
    else:
        widen(model)


def leave_rows_in_a_file(model: Any) -> None:
    """Let the input embedding of a bfloat16 model on the CPU, of which a text needs some hundred rows, be read from a
    temporary file where it is needed, in place.

    The values are the same; the file has no name and ends with the model. An embedding that is the head as well stays
    in memory: every token reads all of it.
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
        return  # A full disk, or a system that opens no file twice: memory is what there is.
    # The parameter stays the same object, which the encoder, the decoder and trees over the same tensors share.
    weight.data = rows.view(weight.shape)


def pack(model: Any) -> None:
    """Turn the linear layers into packed ones; one that shares its matrix with an embedding stays."""
    embedded = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    plain = [module for module in _linear(model) if id(module.weight) not in embedded]
    # The largest first: what its plain matrix leaves free holds the next, and memory does not grow in between.
    for module in sorted(plain, key=lambda module: -module.weight.numel()):
        packed = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach())
        module.weight = torch.nn.Parameter(packed, requires_grad=False)
        module.__class__ = PackedLinear


def widen(model: Any) -> None:
    """Let the model compute in float32, keeping its matrices as they are."""
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
    """Whether `widen` was here, and activations are not of the weights' dtype."""
    return any(isinstance(module, WideningLinear) for module in model.modules())


def unpack(model: Any) -> None:
    """Give every packed or widening linear layer of the model a plain matrix of its own, in place."""
    layers: list[Any] = [module for module in model.modules() if isinstance(module, PackedLinear | WideningLinear)]
    for module in layers:
        values = module.weight.to_dense() if isinstance(module, PackedLinear) else module.weight.float()
        module.weight = torch.nn.Parameter(values, requires_grad=False)
        module.__class__ = torch.nn.Linear


def _bfloat16_on_cpu(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype is torch.bfloat16


def _linear(model: Any) -> list[Any]:
    return [module for module in model.modules() if type(module) is torch.nn.Linear]
