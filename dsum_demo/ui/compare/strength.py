"""The slider that scales an adapter's update in a comparison."""

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
        label="Adapter strength",
        info="0: the original model, 1: as trained.",
        visible=is_scalable(registry, spec),
        elem_id=elem_id,
    )


def offer_strength(registry: Registry, name: str | None, owner: str = "") -> Any:
    """Reset the slider for the selected model, and show it if the model is an additive adapter."""
    try:
        spec = registry.seen_by(owner).spec(name) if name else None
    except UnknownModelError:
        spec = None
    return gr.update(visible=is_scalable(registry, spec), value=AS_TRAINED)


def is_scalable(registry: Registry, spec: ModelSpec | None) -> bool:
    """Whether the model is an adapter with a strength; False if its files are not on this machine."""
    if spec is None or spec.kind is not Kind.ADAPTER:
        return False
    folder = registry.folder_of(spec)
    try:
        return folder is not None and has_strength(adapter_config(folder))
    except ModelError:
        return False
