"""Choosers for the columns of an uploaded file, as the Evaluate and Train tabs show them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import gradio as gr

from dsum_demo.ui.theme import Update

ROLES = ("dialogue", "summary", "id")


def column_choosers(prefix: str = "column", several: Collection[str] = ()) -> dict[str, gr.Dropdown]:
    """A hidden dropdown per role. prefix: of their element ids. several: roles that may have several columns."""
    return {
        role: gr.Dropdown(
            [],
            label=f"Column: {role}",
            visible=False,
            filterable=False,
            multiselect=role in several,
            min_width=110,
            elem_id=f"{prefix}-{role}",
        )
        for role in ROLES
    }


def fill_choosers(
    columns: Sequence[str],
    chosen: Mapping[str, Sequence[str]],
    several: Collection[str] = (),
    hidden: Collection[str] = (),
) -> list[Update]:
    """Updates of `column_choosers`: the columns of the file, with the first chosen one of a role selected, or all."""
    return [
        gr.update(
            visible=role not in hidden,
            choices=list(columns),
            value=list(chosen.get(role, ())) if role in several else next(iter(chosen.get(role, ())), None),
        )
        for role in ROLES
    ]


def hide_choosers() -> list[Update]:
    return [gr.update(visible=False) for _ in ROLES]
