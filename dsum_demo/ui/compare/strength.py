"""How loud an adapter speaks in a comparison: a slider for the variants whose strength can be turned.

Knows the registry and adapters' configs; what strength does to a model is not known here.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from dsum_demo.errors import ModelError, UnknownModelError
from dsum_demo.models.adapters import adapter_config, has_strength
from dsum_demo.models.catalog import Kind, ModelSpec
from dsum_demo.models.registry import Registry

AS_TRAINED = 1.0


def strength_slider(registry: Registry, spec: ModelSpec | None, elem_id: str) -> gr.Slider:
    return gr.Slider(
        0,
        2,
        AS_TRAINED,
        step=0.1,
        label="Strength (0: the original, 1: as trained)",
        visible=can_be_turned(registry, spec),
        elem_id=elem_id,
    )


def offer_strength(registry: Registry, name: str | None, owner: str = "") -> Any:
    """Another variant begins as it was trained; the slider is there for those that have a strength."""
    try:
        spec = registry.seen_by(owner).spec(name) if name else None
    except UnknownModelError:
        spec = None
    return gr.update(visible=can_be_turned(registry, spec), value=AS_TRAINED)


def can_be_turned(registry: Registry, spec: ModelSpec | None) -> bool:
    """Told from the adapter's files; False where they are not on this machine."""
    if spec is None or spec.kind is not Kind.ADAPTER:
        return False
    folder = registry.folder_of(spec)
    try:
        return folder is not None and has_strength(adapter_config(folder))
    except ModelError:
        return False
