"""Linear layers in the order of bytes that the processor reads fastest, for large models in bfloat16 on a CPU.

A token of a summary is written by reading every weight of the decoder once, so that reading is what takes the time.
torch multiplies one row by a plain bfloat16 matrix at little more than half of the memory's speed; oneDNN's own blocked
order, which torch's compiler uses too, comes close to all of it (benchmarks/README.md). Knows torch only, nothing of
files or families.
"""

from __future__ import annotations

from typing import Any

import torch


class PackedLinear(torch.nn.Linear):
    """A linear layer without bias whose `weight` has its shape and dtype, but an order of bytes that only oneDNN reads.

    It takes the place of the plain one: nothing is kept twice. Whatever else reads the values gets an error of torch's.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise.default(input, self.weight, None, "none", [], "")


def can_pack(model: Any) -> bool:
    weight = next(model.parameters())
    if weight.device.type != "cpu" or weight.dtype is not torch.bfloat16:
        return False
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def pack(model: Any) -> None:
    """Turn the model's linear layers into packed ones, in place; one that shares its matrix with an embedding stays."""
    shared = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    plain = [m for m in model.modules() if type(m) is torch.nn.Linear and m.bias is None and id(m.weight) not in shared]
    # The largest first: what its plain matrix leaves free holds the next, and memory does not grow in between.
    for module in sorted(plain, key=lambda module: -module.weight.numel()):
        packed = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach())
        module.weight = torch.nn.Parameter(packed, requires_grad=False)
        module.__class__ = PackedLinear


def unpack(model: Any) -> None:
    """Give every packed layer of the model a plain matrix of its own, in place."""
    packed: list[torch.nn.Linear] = [module for module in model.modules() if isinstance(module, PackedLinear)]
    for module in packed:
        module.weight = torch.nn.Parameter(module.weight.to_dense(), requires_grad=False)
        module.__class__ = torch.nn.Linear
