"""State of continuous batching: one row per text, one token per step; rows leave and join between steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutput

NOT_BEGUN = -1  # fills the steps before a row joined
ROOM = 16  # tokens that a cache reserves before it is copied to a larger one

Choose = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (rows, steps) tokens, (rows, vocabulary) logits: (rows)


@dataclass
class BatchState:
    """Rows in progress, aligned by step; the steps before a row joined are masked.

    T5's positions are relative, so each row gets the text that it would get alone. names: the caller's name of each
    row. tokens: (rows, steps), beginning with the decoder's start token. source_mask: (rows, source tokens). seconds:
    each row's share of the time spent.
    """

    names: list[int]
    tokens: torch.Tensor
    source_mask: torch.Tensor
    cache: EncoderDecoderCache
    seconds: list[float]

    @classmethod
    def begin(
        cls, model: Any, names: list[int], states: torch.Tensor, mask: torch.Tensor, choose: Choose
    ) -> BatchState:
        """Rows with their first token, from the encoder's output: (rows, source tokens, width)."""
        start = model.generation_config.decoder_start_token_id
        tokens = torch.full((len(names), 1), start, dtype=torch.long, device=mask.device)
        steps = DynamicCache()
        if hasattr(DynamicLayer, "lazy_initialization"):
            steps.layer_class_to_replicate = _RoomyLayer
        rows = cls(names, tokens, mask, EncoderDecoderCache(steps, DynamicCache()), [0.0] * len(names))
        rows._add(model, states, choose)
        return rows

    def step(self, model: Any, choose: Choose) -> None:
        """Add one token to each row."""
        # Keys and values of the sources are cached: only the shape of their hidden states is used.
        self._add(model, self.source_mask.new_empty((*self.source_mask.shape, 0), dtype=model.dtype), choose)

    def _add(self, model: Any, states: torch.Tensor, choose: Choose) -> None:
        there = self.tokens != NOT_BEGUN
        logits = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=self.source_mask,
            decoder_input_ids=self.tokens[:, -1:],
            decoder_attention_mask=None if there.all() else there.long(),
            past_key_values=self.cache,
            use_cache=True,
        ).logits
        chosen = choose(self.tokens, logits[:, -1].float())
        self.tokens = torch.cat([self.tokens, chosen[:, None]], dim=1)

    def spend(self, seconds: float) -> None:
        """Add `seconds` in equal shares to all rows."""
        self.seconds = [so_far + seconds / len(self.names) for so_far in self.seconds]

    def lengths(self) -> torch.Tensor:
        """(rows) number of generated tokens, without the start token."""
        return (self.tokens != NOT_BEGUN).sum(dim=1) - 1

    def written(self, row: int) -> list[int]:
        """Without the start token."""
        tokens: list[int] = self.tokens[row, -int(self.lengths()[row]) :].tolist()
        return tokens

    def change(self, staying: Sequence[int], joining: BatchState | None = None) -> None:
        """Remove rows, with the steps and padding that only they used, and add others in the same copy of the caches,
        which are large.
        """
        stay = torch.tensor(staying, dtype=torch.long, device=self.tokens.device)
        self.names, self.seconds = [self.names[row] for row in staying], [self.seconds[row] for row in staying]
        self.tokens, self.source_mask = self.tokens[stay], self.source_mask[stay]
        groups = [self] if joining is None else [self, joining]
        written = max(int(rows.lengths().max()) for rows in groups)
        width = max(int(rows.source_mask.sum(dim=1).max()) for rows in groups)
        tokens = [pad(rows.tokens, (written + 1 - rows.tokens.shape[1], 0), value=NOT_BEGUN) for rows in groups]
        masks = [pad(rows.source_mask, (0, width - rows.source_mask.shape[1])) for rows in groups]
        # The newest token is not in the cache yet.
        for name, size in (("self_attention_cache", written), ("cross_attention_cache", width)):
            at_end = name == "self_attention_cache"
            caches: list[Any] = [getattr(rows.cache, name) for rows in groups]
            for mine, *theirs in zip(*(cache.layers for cache in caches), strict=True):
                mine.keys = _gathered(mine.keys, stay, [layer.keys for layer in theirs], size, at_end)
                mine.values = _gathered(mine.values, stay, [layer.values for layer in theirs], size, at_end)
        self.tokens, self.source_mask = torch.cat(tokens), torch.cat(masks)
        self.names = [name for rows in groups for name in rows.names]
        self.seconds = [seconds for rows in groups for seconds in rows.seconds]


class _RoomyLayer(DynamicLayer):
    """transformers' cache layer with reserved space; the original copies its whole content for every token."""

    _room: Sequence[torch.Tensor] = ()
    _shown: torch.Tensor | None = None

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """One token's: (rows, heads, 1, size) each."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        new, held = (key_states, value_states), self.get_seq_length()
        if self.keys is not self._shown or held == self._room[0].shape[2]:
            old: Any = (self.keys, self.values) if held else [states[:, :, :0] for states in new]
            self._room = [pad(states, (0, 0, 0, ROOM)) for states in old]
        for room, states in zip(self._room, new, strict=True):
            room[:, :, held : held + 1] = states
        self.keys, self.values = (room[:, :, : held + 1] for room in self._room)
        self._shown = self.keys
        return self.keys, self.values


def _gathered(
    held: torch.Tensor, stay: torch.Tensor, joining: Sequence[torch.Tensor], size: int, at_end: bool
) -> torch.Tensor:
    """(rows, heads, size, width) of the kept and the new rows: the last or first `size` positions, padded with zeros
    if there are fewer.
    """
    result = held.new_zeros((len(stay) + sum(map(len, joining)), held.shape[1], size, held.shape[3]))

    def part(states: torch.Tensor, length: int) -> torch.Tensor:
        return states[:, :, -length:] if at_end else states[:, :, :length]

    common = min(size, held.shape[2])
    torch.index_select(part(held, common), 0, stay, out=part(result[: len(stay)], common))
    for states in joining:
        common = min(size, states.shape[2])
        part(result[len(stay) :], common).copy_(part(states, common))
    return result
