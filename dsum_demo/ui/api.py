"""The app's API: what programs call through gradio_client, with plain values in and out."""

from __future__ import annotations

from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.comparison import compare
from dsum_demo.errors import DsumError
from dsum_demo.ui.services import Services


def add_api(services: Services) -> None:
    """`/compare` and `/models`, inside the caller's Blocks."""
    for function, name in ((compare_dialogue, "compare"), (list_models, "models")):
        # A method, not a partial: gradio reads its signature.
        gr.api(MethodType(function, services), api_name=name)


def compare_dialogue(
    services: Services, dialogue: str, references: list[str] | None = None, family: str | None = None
) -> dict[str, Any]:
    """Original, full fine-tune and LoRA of one family on one dialogue, greedy, scored where there are references."""
    registry = services.registry.seen_by("")  # a program has no runs of its own here
    try:
        chosen = registry.family(family) if family else registry.default_family
        specs = [spec for spec in chosen.default_trio() if spec]
        limit = services.settings.max_input_chars
        return compare(services.store, chosen, specs, dialogue, references or (), max_chars=limit).as_dict()
    except DsumError as error:
        raise gr.Error(services.told(error), print_exception=False) from error


def list_models(services: Services) -> dict[str, Any]:
    """Every model of every family, with its state and the reason where it cannot be had."""
    return {"models": services.registry.seen_by("").as_rows()}
