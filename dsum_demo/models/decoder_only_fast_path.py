"""Fast paths for decoder-only models on a CPU, with the same results (benchmarks/README.md).

If several query heads share keys and values, torch's kernel for grouped queries takes four times as long for a new
token as its plain kernel, which is used here with the queries of a group as if they were several tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

try:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask
except ImportError:  # undocumented; without them transformers' own attention runs
    sdpa_attention_forward = None  # type: ignore[assignment]

NAME = "grouped"


def group_queries(model: Any) -> None:
    """Replace torch's attention for new tokens by this one, in place."""
    if sdpa_attention_forward is not None and getattr(model.config, "_attn_implementation", "") == "sdpa":
        model.set_attn_implementation(NAME)


def keep_head_input_contiguous(model: Any) -> None:
    """Make the head copy the last tokens of a batch of prompts before it multiplies them, in place.

    They are a non-contiguous slice, for which torch would copy the whole matrix once per prompt.
    """
    model.get_output_embeddings().register_forward_pre_hook(_contiguous)


def _contiguous(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.contiguous() for tensor in inputs)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """(texts, heads, tokens, size) each; returns (texts, tokens, heads, size)."""
    texts, heads, tokens, size = query.shape
    if tokens > 1 or heads == key.shape[1] or query.device.type != "cpu":
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    grouped = query.view(texts, key.shape[1], -1, size)
    found = scaled_dot_product_attention(grouped, key, value, attention_mask, scale=scaling)
    return found.reshape(texts, 1, heads, size), None


if sdpa_attention_forward is not None:
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
