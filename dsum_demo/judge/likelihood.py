"""Log-probabilities of several continuations of each prompt, with each prompt computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache


def log_probabilities(
    model: Any, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[Sequence[int]]]
) -> list[list[torch.Tensor]]:
    """For each prompt, and for each of its continuations, the log-probabilities of the continuation's tokens.

    model: decoder-only. All are token ids, and none is empty. Gradients are kept if torch is recording them.
    """
    device = model.device
    mask, inputs = _padded(prompts, "left", device)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    output = model(
        input_ids=inputs,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=DynamicCache(config=model.config),
        use_cache=True,
        logits_to_keep=1,
    )
    owner = torch.tensor([i for i, own in enumerate(continuations) for _ in own], device=device)
    rows = [row for own in continuations for row in own]
    logits = output.logits[owner]  # of each continuation's first token
    own_mask, targets = _padded(rows, "right", device)
    if targets.shape[1] > 1:
        cache = output.past_key_values
        cache.batch_select_indices(owner)
        more = model(
            input_ids=targets[:, :-1],
            attention_mask=torch.cat([mask[owner], own_mask[:, :-1]], dim=1),
            position_ids=positions[owner, -1:] + own_mask[:, :-1].cumsum(dim=1),
            past_key_values=cache,
            use_cache=True,
        )
        logits = torch.cat([logits, more.logits], dim=1)
    losses = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    found = iter(-losses.view(targets.shape))
    return [[next(found)[: len(row)] for row in own] for own in continuations]


def _padded(rows: Sequence[Sequence[int]], side: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The mask and the ids of padded rows."""
    ids = pad_sequence([torch.tensor(list(row)) for row in rows], batch_first=True, padding_side=side)
    mask = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True, padding_side=side)
    return mask.to(device), ids.to(device)
