"""The app's API: `/compare` and `/models`, for programs that call the app through gradio_client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.comparison import compare
from dsum_demo.errors import DsumError, InputError, ModelError
from dsum_demo.ui.services import Services

COMPARE_PARAMETERS = {
    "dialogue": "The dialogue to summarize: one turn per line, “Name: text”.",
    "references": "Up to three human summaries. With references, each summary gets ROUGE scores.",
    "family": "The name of a model family, as /models lists it. Default: the family that the page starts with.",
    "as_is": "Use the text as it is instead of reading it as a chat export or transcript. Default: false.",
}


def add_api(page: gr.Blocks, services: Services) -> None:
    """Add the endpoints to `page`, inside its context."""
    _endpoint(page, MethodType(compare_dialogue, services), "compare", COMPARE_PARAMETERS, "comparison")
    _endpoint(page, MethodType(list_models, services), "models", {}, "models")


def _endpoint(
    page: gr.Blocks, function: Callable[..., Any], name: str, parameters: Mapping[str, str], returned: str
) -> None:
    """An endpoint whose parameters have descriptions and whose answer has a name; gr.api leaves both out."""
    # gr.api reads the signature, which a method has and a partial does not.
    listener = gr.api(function, api_name=name)
    components: dict[int, Any] = page.blocks
    for key, (label, description) in zip(listener["inputs"], parameters.items(), strict=True):
        components[key].label = label
        components[key].api_info()["additional_description"] = description
    for key in listener["outputs"]:
        components[key].label = returned


def compare_dialogue(
    services: Services,
    dialogue: str,
    references: list[str] | None = None,
    family: str | None = None,
    as_is: bool = False,
) -> dict[str, Any]:
    """Summarize a dialogue with the original, the full fine-tune and the LoRA model of one family.

    Decoding is greedy. The answer contains every summary, its times and its scores. A model that fails has an `error`;
    if all fail, the call fails.
    """
    registry = services.registry.seen_by("")  # API callers own no runs
    try:
        if not isinstance(dialogue, str):
            raise InputError(f"dialogue is {dialogue!r}; it must be a text, one turn per line.")
        if not isinstance(references, list | None) or not all(isinstance(text, str) for text in references or ()):
            raise InputError(f"references is {str(references)[:80]!r}; it must be a list of texts, or None.")
        if not isinstance(family, str | None):
            raise InputError(f"family is {family!r}; it must be the name of a family, or None.")
        if not isinstance(as_is, bool):
            raise InputError(f"as_is is {as_is!r}; it must be true or false.")
        chosen = registry.family(family) if family else registry.default_family
        specs = [spec for spec in chosen.default_trio() if spec]
        limit = services.settings.max_input_chars
        comparison = compare(services.store, chosen, specs, dialogue, references or (), max_chars=limit, as_is=as_is)
        if comparison.failure:
            raise ModelError(comparison.failure)
    except DsumError as error:
        raise gr.Error(services.told(error), print_exception=False) from error
    return comparison.as_dict()


def list_models(services: Services) -> dict[str, Any]:
    """List every model of every family with its state and, if it is not available, the reason."""
    return {"models": services.registry.seen_by("").as_rows()}
