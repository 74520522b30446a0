"""Preference training in the Train tab: its form, and a run on the pairs of a review or of an exported file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from dsum_demo.errors import DsumError, InputError
from dsum_demo.models.prompts import PROMPT_TEMPLATE
from dsum_demo.review.export import preference_jsonl
from dsum_demo.review.records import Review
from dsum_demo.training.config import RunConfig, TrainingConfig
from dsum_demo.training.preference_pairs import LEAST_PAIRS, preference_config, read_pairs, startable
from dsum_demo.ui.review.results import check_access
from dsum_demo.ui.review.visitor import Visitor
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import CHOICE, Update
from dsum_demo.ui.train.start import queued, refused
from dsum_demo.ui.train.upload import keep_upload
from dsum_demo.utils.files import safe_name

A_FILE = ("A file of exported pairs", "")


def build_preferences(services: Services) -> dict[str, Any]:
    """The components by name. An app that is not public only: these runs take long on a shared machine."""
    built: dict[str, Any] = {}
    with gr.Accordion("Preference training", open=False, elem_id="train-preferences") as built["preferences"]:
        gr.HTML(
            '<p class="hint">Trains a LoRA with DPO on what people preferred in a review; it needs '
            f"{LEAST_PAIRS} pairs and a decoder-only model. The reference is the model that it starts from. A full "
            "fine-tune cannot be chosen: the app loads adapters on a family’s base model only.</p>",
            elem_classes="plain",
        )
        choices = model_choices(services)
        built["start_from"] = gr.Dropdown(
            choices, value=choices[0] if choices else None, label="Start from", filterable=False,
            elem_id="preferences-model",
        )  # fmt: skip
        built["review"] = gr.Dropdown(
            [A_FILE], value="", label="Pairs", filterable=False, elem_id="preferences-review",
            info="Of a review whose results you can see, or written by dsum review export.",
        )  # fmt: skip
        built["pairs"] = gr.File(
            label="Drop the exported pairs", file_types=[".jsonl"], height=124, elem_id="preferences-file"
        )
        built["start_preferences"] = gr.Button("Start preference training", elem_id="start-preferences")
    built["review"].input(lambda review: gr.update(visible=not review), built["review"], built["pairs"], **CHOICE)
    return built


def model_choices(services: Services) -> list[str]:
    return [spec.name for spec in startable(services.registry)]


def review_choices(services: Services, visitor: Visitor) -> list[tuple[str, str]]:
    """(name and number of pairs, id) of the reviews whose results the visitor may see, newest first."""
    reviews = visitor.reviews_with_results(services.reviews)
    return [(f"{review.name}: {len(review_pairs(services, review))} pairs", review.id) for review in reviews]


def review_pairs(services: Services, review: Review) -> list[str]:
    """The lines of the review's export for preference training, without duplicates."""
    store = services.reviews
    return list(dict.fromkeys(preference_jsonl(review, store.items(review.id), store.verdicts(review.id))))


def start_preferences(
    services: Services, owner: str, visitor: Visitor, model: str | None, review: str | None, file: str | None
) -> dict[str, Update]:
    """Queue preference training of `model` on the pairs of a review, given by its id, or else of an uploaded file.

    "watching" is the run's name.
    """
    try:
        if not model:
            raise InputError("No model is selected; preference training starts from a decoder-only base model or LoRA.")
        family = services.registry.family(services.registry.spec(model).family)
        training = TrainingConfig("lora", task_type=family.architecture.task_type)
        templates = (PROMPT_TEMPLATE, family.prompt.template)
        with tempfile.TemporaryDirectory() as folder:
            if review:
                source = _written(services, visitor, services.reviews.get(review), Path(folder))
            elif file:
                source = Path(file)
            else:
                raise InputError("No pairs are selected; choose a review, or drop the file of `dsum review export`.")
            read_pairs(source, templates)
            kept = str(keep_upload(source, services.uploads_dir(owner)))
        config = preference_config(RunConfig(family.base.name, training), services.registry, kept, model)
        return queued(services, config, "", owner)
    except DsumError as error:
        return refused(services, error)


def _written(services: Services, visitor: Visitor, review: Review, folder: Path) -> Path:
    """The pairs of a review as a file. Raises InputError if the visitor may not see its results, or for too few."""
    check_access(services, visitor, review)
    lines = review_pairs(services, review)
    if len(lines) < LEAST_PAIRS:
        raise InputError(
            f"The review {review.name} has {len(lines)} usable pairs; preference training needs at least "
            f"{LEAST_PAIRS}. Review more dialogues or more systems; ties count for no pair."
        )
    file = folder / f"{safe_name(review.name) or 'review'}.jsonl"
    file.write_text("".join(lines), encoding="utf-8")
    return file
