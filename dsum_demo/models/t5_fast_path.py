"""Fast paths for T5 generation: the same operations without transformers' per-layer overhead.

transformers runs thirty modules per layer for each new token, with masks, hooks and checks that do not change between
tokens, and encodes batches with padding, whose mask every layer computes again. The savings are measured in
benchmarks/README.md. Layers are called as modules, so adapters work as usual.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache, EncoderDecoderCache
from transformers.activations import ACT2FN, NewGELUActivation
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.models.t5.modeling_t5 import T5Stack

try:
    from transformers.utils.output_capturing import _CAN_RECORD_REGISTRY
except ImportError:  # private; without it T5Stack's own code runs
    _CAN_RECORD_REGISTRY = None  # type: ignore[assignment]

# Tokens encoded at once: with more, a layer's activations no longer fit into the CPU's cache.
READ_TOGETHER = 1_024


class StepDecoder(T5Stack):
    """A decoder with a fast path for one new token per text; other calls use T5Stack's code."""

    def forward(self, *places: Any, **inputs: Any) -> Any:
        if self.training or places or self._wants_more() or not _adds_a_token(**inputs):
            return super().forward(*places, **inputs)
        hidden, cache = self.embed_tokens(inputs["input_ids"]), inputs["past_key_values"]
        hidden_steps = _hiding(inputs.get("attention_mask"), hidden.dtype)
        hidden_sources = _hiding(inputs.get("encoder_attention_mask"), hidden.dtype)
        bias = None
        block: Any
        for block in self.block:
            layer, cross, feed_forward = block.layer
            attention, normed = layer.SelfAttention, layer.layer_norm(hidden)
            keys, values = cache.self_attention_cache.update(
                _heads(attention, attention.k(normed)), _heads(attention, attention.v(normed)), attention.layer_idx
            )
            if bias is None:
                bias = attention.compute_bias(1, keys.shape[2], past_seen_tokens=keys.shape[2] - 1).contiguous()
                bias = bias if hidden_steps is None else bias + hidden_steps
            found = _attend(_heads(attention, attention.q(normed)), keys, values, bias)
            hidden = hidden + attention.o(found)
            attention, normed = cross.EncDecAttention, cross.layer_norm(hidden)
            kept = cache.cross_attention_cache.layers[attention.layer_idx]
            found = _attend(_heads(attention, attention.q(normed)), kept.keys, kept.values, hidden_sources)
            hidden = hidden + attention.o(found)
            hidden = hidden + feed_forward.DenseReluDense(feed_forward.layer_norm(hidden))
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=self.final_layer_norm(hidden), past_key_values=cache
        )

    def _wants_more(self) -> bool:
        return bool(self.config.output_attentions or self.config.output_hidden_states)


def fuse_gelu(model: Any) -> None:
    """T5 v1.1's GELU in one step: transformers' `gelu_new` spells the same formula as eight, each with a tensor of the
    widest layer's size (benchmarks/README.md).
    """
    for module in model.modules():
        if isinstance(getattr(module, "act", None), NewGELUActivation):
            module.act = ACT2FN["gelu_pytorch_tanh"]


def step_by_step(model: Any) -> None:
    """Use the fast path in a T5's decoder, in place; other models are not modified."""
    decoder = model.get_decoder()
    recorded = getattr(decoder, "_can_record_outputs", None)
    if type(decoder) is T5Stack and _CAN_RECORD_REGISTRY is not None and recorded is not None:
        decoder.__class__ = StepDecoder
        # transformers registers recordable outputs by class when a model is built.
        _CAN_RECORD_REGISTRY[decoder] = recorded


def read_texts(encoder: T5Stack, texts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """The encoder's output for tokenized texts, (tokens, width) each, computed without padding.

    The texts are concatenated to rows of READ_TOGETHER tokens (or one longer text); only attention is computed per
    text.
    """
    return [states for row in _rows(texts) for states in _read_row(encoder, row)]


def _rows(texts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    row: list[Sequence[int]] = []
    for text in texts:
        if row and sum(map(len, row)) + len(text) > READ_TOGETHER:
            yield row
            row = []
        row.append(text)
    if row:
        yield row


def _read_row(encoder: Any, texts: Sequence[Sequence[int]]) -> Sequence[torch.Tensor]:
    lengths = [len(text) for text in texts]
    device = encoder.embed_tokens.weight.device
    hidden = encoder.embed_tokens(torch.tensor([[token for text in texts for token in text]], device=device))
    biases: list[torch.Tensor] = []
    for block in encoder.block:
        layer, feed_forward = block.layer
        attention, normed = layer.SelfAttention, layer.layer_norm(hidden)
        if not biases:
            # Biases depend on distance only, so the longest text's contain those of shorter texts.
            longest = attention.compute_bias(max(lengths), max(lengths))
            biases = [longest[:, :, :length, :length].contiguous() for length in lengths]
        queries, keys, values = (
            _heads(attention, project(normed)).split(lengths, dim=2)
            for project in (attention.q, attention.k, attention.v)
        )
        found = [_attend(*each) for each in zip(queries, keys, values, biases, strict=True)]
        hidden = hidden + attention.o(torch.cat(found, dim=1))
        hidden = hidden + feed_forward.DenseReluDense(feed_forward.layer_norm(hidden))
    result: Sequence[torch.Tensor] = encoder.final_layer_norm(hidden)[0].split(lengths)
    return result


def _adds_a_token(
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    encoder_hidden_states: torch.Tensor | None = None,
    encoder_attention_mask: torch.Tensor | None = None,
    past_key_values: Any = None,
    use_cache: Any = None,
    **wishes: Any,
) -> bool:
    """Whether the fast path applies: one new token, and only the last hidden state is requested."""
    return (
        input_ids is not None
        and input_ids.shape[1] == 1
        and encoder_hidden_states is not None
        and isinstance(past_key_values, EncoderDecoderCache)
        and type(past_key_values.self_attention_cache) is DynamicCache
        and bool(past_key_values.is_updated.get(0))
        and (attention_mask is None or attention_mask.shape[1:] == (past_key_values.get_seq_length() + 1,))
        and (encoder_attention_mask is None or encoder_attention_mask.dim() == 2)
        and all(wish is None for wish in wishes.values())
    )


def _hiding(seen: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """The additive attention mask for (texts, tokens) as in transformers; None if no token is masked."""
    if seen is None or bool(seen.all()):
        return None
    added = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return added.masked_fill(~seen.bool(), torch.finfo(dtype).min)[:, None, None, :]


def _heads(attention: Any, projected: torch.Tensor) -> torch.Tensor:
    """(texts, tokens, heads * size) as (texts, heads, tokens, size)."""
    return projected.view(*projected.shape[:2], -1, attention.key_value_proj_dim).transpose(1, 2)


def _attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """(texts, tokens, heads * size). T5 does not divide by the root of a head's size, hence the scale of 1 (Raffel et
    al. 2020, arXiv:1910.10683).
    """
    found = scaled_dot_product_attention(queries, keys, values, mask, scale=1.0)
    return found.transpose(1, 2).flatten(2)
