"""The first batch of a run as HTML: its tokens by what the model does with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dsum_demo.training.events import Event
from dsum_demo.training.first_batch import PADDING, READ, explain

# Tokens of a prompt that are shown, so that the summary and the padding are in view.
BEGIN, END = 40, 24


def first_batch_details(batch: Event | None) -> str:
    """A closed disclosure; empty for a run that did not record its first batch."""
    if batch is None:
        return ""
    return (
        '<details class="watched"><summary><b>The first batch</b> <span class="hint">as the model reads it: tokens, '
        f'mask, padding</span></summary><p class="hint">{escape(explain(batch))} “·” is a space.</p>'
        '<p class="hint tokens"><span class="token">read</span> <span class="token trained">trained on</span> '
        f'<span class="token padding">padding</span></p>{"".join(map(_row, batch["rows"]))}</details>'
    )


def _row(row: Mapping[str, Any]) -> str:
    note = f'<p class="hint">{escape(row["truncated"])}</p>' if row["truncated"] else ""
    parts = "".join(map(_part, row["parts"]))
    return (
        f'<h4 class="part">Training dialogue {row["number"]}</h4>{note}'
        f'<div class="tokens" tabindex="0" role="group" aria-label="Tokens of training dialogue {row["number"]}">'
        f"{parts}</div>"
    )


def _part(part: Mapping[str, Any]) -> str:
    kind = part["kind"]
    if kind == PADDING:
        return f'<span class="token padding">{escape(part["tokens"][0])} × {part["count"]}</span> '
    tokens = part["tokens"]
    if kind == READ and len(tokens) > BEGIN + END:
        left_out = len(tokens) - BEGIN - END
        return f"{_tokens(tokens[:BEGIN], kind)}<i>… {left_out} more tokens …</i> {_tokens(tokens[-END:], kind)}"
    return _tokens(tokens, kind)


def _tokens(tokens: Sequence[str], kind: str) -> str:
    return "".join(f'<span class="token {kind}">{escape(token)}</span> ' for token in tokens)
