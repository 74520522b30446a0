"""The layout of the Train tab: the form on the left, the selected run on the right, all runs below."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gradio as gr

from dsum_demo.data.tables import ENDINGS
from dsum_demo.runs.limits import PUBLIC
from dsum_demo.training.config import DATA_FIELDS, TRAINING_FIELDS, RunConfig
from dsum_demo.training.methods import METHODS, method
from dsum_demo.training.presets import presets
from dsum_demo.training.sweep import DEFAULT_STEPS
from dsum_demo.ui.account import can_sign_in
from dsum_demo.ui.columns import column_choosers
from dsum_demo.ui.html import notice
from dsum_demo.ui.services import Services
from dsum_demo.ui.train.form import (
    ADVANCED_OPTIONS,
    FIRST_PRESET,
    TrainingForm,
    base_choices,
    explain_method,
    explain_preset,
    field_component,
    module_choices,
    option_fields,
    public_note,
    source_choices,
)
from dsum_demo.ui.train.preferences import build_preferences
from dsum_demo.ui.train.push import build_push
from dsum_demo.ui.train.run_cards import EMPTY
from dsum_demo.ui.train.upload import sample_file_link

# name, label, gradio's variant, width in pixels
BUTTONS: tuple[tuple[str, str, Any, int], ...] = (
    ("open", "Open in Compare", "primary", 150),
    ("keep", "Stop and keep the best", "secondary", 190),
    ("discard", "Stop and discard", "stop", 150),
    ("resume", "Resume", "secondary", 100),
    ("zip", "Download as zip", "secondary", 150),
    ("export", "Export", "secondary", 90),
    ("delete", "Delete", "stop", 80),
)


def plain(*value: str, **more: Any) -> gr.HTML:
    """HTML without a frame, hidden while it is empty."""
    return gr.HTML(*value, elem_classes="plain", **more)


def build_form(services: Services, first: RunConfig) -> tuple[TrainingForm, dict[str, Any]]:
    """(the form, the other components of the left column by name); inside the caller's column."""
    public = services.settings.public
    chosen = method(first.training.method, first.training.task_type)
    left: dict[str, Any] = {}
    if public:
        plain(notice(_public_rules(can_sign_in(services.settings))))
    named = [(each.title, each.name) for each in presets().values()]
    preset = gr.Dropdown(named, value=FIRST_PRESET, label="Preset", filterable=False, elem_id="train-preset")
    left["noted"] = plain(explain_preset(FIRST_PRESET, first.training.task_type, public))
    base = gr.Dropdown(
        base_choices(services, ask=False), value=first.base, label="Base model", filterable=False, elem_id="train-base"
    )
    titled = [(row.title, row.name) for row in METHODS.values()]
    way = gr.Dropdown(titled, value=chosen.name, label="Method", filterable=False, elem_id="train-method")
    left["explained"] = plain(explain_method(chosen))
    name = gr.Textbox(
        label="Run name",
        info="Letters, digits, “.”, “-” and “_”. Leave empty to generate one from the method and the data.",
        elem_id="train-name",
    )
    with gr.Row():
        start = gr.Button("Start training", variant="primary", elem_id="train-start", scale=3, min_width=130)
        price = gr.Button("Estimate cost", elem_id="train-cost", scale=2, min_width=130)
        cancel = gr.Button("Cancel", variant="stop", visible=False, elem_id="train-cancel", scale=1, min_width=70)
    left |= {"start": start, "price": price, "cancel": cancel}
    left["problem"] = plain(elem_id="train-problem")
    left["cost"] = plain(elem_id="cost")
    left["command"] = plain(elem_id="command")
    with gr.Accordion("Data", open=True, elem_id="train-data"):
        source = gr.Radio(source_choices(services), value=first.data.source, show_label=False, elem_id="train-source")
        with gr.Column(visible=False) as left["uploading"]:
            left["file"] = gr.File(
                label="Drop a file", file_types=[*ENDINGS, ".gz", ".zip"], height=104, elem_id="train-file"
            )
            plain(sample_file_link())
        place = gr.Textbox(label="File or folder", visible=False, elem_id="train-place", placeholder="/data/dialogues")
        uploaded = gr.Textbox(visible=False)
        with gr.Row():
            columns = column_choosers()
        left["preview"] = plain(elem_id="train-preview")
        with gr.Accordion("Split and size", open=False):
            data = {each.name: field_component(each, getattr(first.data, each.name)) for each in DATA_FIELDS}
    options: dict[str, Any] = {}

    def option_components(names: Iterable[str]) -> None:
        with gr.Row():
            for key in names:
                own = chosen.field(key)
                value = first.training.options.get(key)
                options[key] = field_component(own or option_fields()[key], value, visible=own is not None)

    with gr.Accordion("Method options", open=True, elem_id="train-options"):
        option_components(key for key in option_fields() if key not in ADVANCED_OPTIONS)
        with gr.Accordion("Advanced", open=False, elem_id="train-advanced"):
            option_components(ADVANCED_OPTIONS)
    options["target_modules"].choices = [(m, m) for m in module_choices(services, chosen.name, first.base)]
    options = {key: options[key] for key in option_fields()}
    with gr.Accordion("Training settings", open=False, elem_id="train-settings"), gr.Row():
        training = {
            each.name: field_component(each, getattr(first.training, each.name), note=public_note(each.name, public))
            for each in TRAINING_FIELDS
        }
    with gr.Accordion("Learning-rate sweep", open=False, elem_id="train-sweep"):
        plain(
            '<p class="hint">Trains with four learning rates around the one in the training settings, from the same '
            "weights and with the same batches, and shows the loss of each. It is queued and saves no model.</p>"
        )
        with gr.Row():
            left["sweep_steps"] = gr.Number(
                DEFAULT_STEPS, step=1, label="steps per learning rate", elem_id="sweep-steps", min_width=160
            )
            left["start_sweep"] = gr.Button("Start the sweep", elem_id="start-sweep", min_width=130)
    if not public:
        left |= build_preferences(services)
    kept = {"preset": FIRST_PRESET, "method": chosen.name, "options": {}, "task_type": first.training.task_type}
    left |= {"kept": gr.State(kept), "measured": gr.State(None), "described": gr.State({})}
    form = TrainingForm(base, preset, way, source, place, uploaded, name, columns, options, training, data)
    return form, left


def build_view(public: bool) -> dict[str, Any]:
    right: dict[str, Any] = {"line": plain(elem_id="line", js_on_load="dsum.listenToRuns(element, trigger)")}
    right["watching"] = gr.Dropdown(
        [], label="Run", filterable=False, elem_id="watching", show_label=False, visible=False
    )
    right["card"] = plain(EMPTY, elem_id="run-card")
    right["notice"] = plain(elem_id="run-notice")
    with gr.Row(elem_id="run-buttons"):
        for name, label, variant, width in BUTTONS:
            right[name] = gr.Button(
                label, variant=variant, visible=False, size="md", elem_id=f"run-{name}", scale=0, min_width=width
            )
    with gr.Row(visible=False, elem_id="question") as right["asking"]:
        right["question"] = plain(scale=3)
        right["yes"] = gr.Button("Yes", variant="stop", size="md", elem_id="answer-yes", scale=0, min_width=80)
        right["no"] = gr.Button("No, keep it", size="md", elem_id="answer-no", scale=0, min_width=110)
    right["code"] = plain(elem_id="run-code")
    right["push"], right["pushing"] = build_push(public)
    right["zip_file"] = gr.DownloadButton("Fetch", visible="hidden", elem_id="zip-file")
    with gr.Accordion("Last log lines", open=True, visible=False) as right["log"]:
        right["output"] = plain(elem_id="output")
    with gr.Row(visible=False) as right["curves"]:
        for name, title in (("loss", "Loss"), ("score", "Validation ROUGE")):
            with gr.Column(min_width=300):
                right[f"{name}_title"] = plain(f'<h3 class="part">{title}</h3>')
                right[name] = gr.Plot(show_label=False, container=False, elem_id=f"{name}-curve")
    with gr.Row(visible=False) as right["dynamics"]:
        for name, title in (("grad_norm", "Gradient norm"), ("learning_rate", "Learning rate")):
            with gr.Column(min_width=300):
                plain(f'<h3 class="part">{title}</h3>')
                right[name] = gr.Plot(show_label=False, container=False, elem_id=f"{name.replace('_', '-')}-curve")
    with gr.Column(visible=False, elem_id="sweep") as right["sweep"]:
        plain('<h3 class="part">Training loss by learning rate</h3>')
        right["sweep_chart"] = gr.Plot(show_label=False, container=False)
        right["sweep_table"] = plain(elem_id="sweep-table", js_on_load="dsum.listenToRuns(element, trigger)")
    right["learning"] = plain(elem_id="learning")
    right["batch"] = plain(elem_id="first-batch")
    return right


def build_history() -> dict[str, Any]:
    below: dict[str, Any] = {"history": plain(elem_id="history", js_on_load="dsum.listenToRuns(element, trigger)")}
    with gr.Column(visible=False, elem_id="overlay") as below["overlay"]:
        with gr.Row():
            for name, title in (("overlay_loss", "Training loss, smoothed"), ("overlay_score", "Validation ROUGE-1")):
                with gr.Column(min_width=300):
                    plain(f'<h3 class="part">{title}</h3>')
                    below[name] = gr.Plot(show_label=False, container=False)
        below["differences"] = plain(elem_id="differences")
    return below


def _public_rules(sign_in: bool) -> str:
    where = "in this browser or with your account" if sign_in else "in this browser"
    return (
        f"This Space trains the included T5 model on the samples or an uploaded file of at most "
        f"{PUBLIC['uploaded_rows']:,} rows, for at most {PUBLIC['max_steps']} steps. Only you, {where}, can see "
        "your files and runs; other visitors only see that a run is training or queued."
    )
