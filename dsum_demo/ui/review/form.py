"""The form that starts a review: where the texts come from, how many items and reviewers, who sees the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.data.columns import EXPECTED_COLUMNS, guess_columns
from dsum_demo.data.sources import SAMPLES
from dsum_demo.data.tables import read_rows
from dsum_demo.errors import DsumError, InputError
from dsum_demo.evaluation.background import UPLOAD
from dsum_demo.evaluation.storage import SavedEvaluation
from dsum_demo.review.records import MAX_SYSTEMS, REVEALS, ReviewSettings
from dsum_demo.ui.columns import ROLES, column_choosers, fill_choosers, hide_choosers
from dsum_demo.ui.compare.families import family_choices
from dsum_demo.ui.evaluate.form import FILE_TYPES, guess_outputs, system_choices
from dsum_demo.ui.evaluate.saved import label
from dsum_demo.ui.html import notice
from dsum_demo.ui.review.visitor import LONGEST_REVIEWER
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import QUIET, Update

EVALUATION, FILE = "evaluation", "file"
NEW = (SAMPLES, UPLOAD)  # models write new summaries
SOURCES = [
    ("A saved evaluation", EVALUATION),
    ("A file of recorded outputs", FILE),
    ("New summaries of the samples", SAMPLES),
    ("New summaries of a file", UPLOAD),
]
REVEAL_TITLES = dict(zip(REVEALS, ("At the end", "After each item"), strict=True))
REPEATED = 0.1  # of a reviewer's items, if the names are revealed at the end
DEFAULT_ITEMS = 10
MOST_PUBLIC_ITEMS = 100
ABOUT = (
    "Judge summaries without knowing which system wrote them, alone or with others through a link. The names are "
    "revealed after the verdict."
)
FORMS_OF_FILES = {
    FILE: "A table with one column of outputs per system, at least one reference column, and the dialogues.",
    UPLOAD: f"A table with the columns {EXPECTED_COLUMNS}.",
}


@dataclass(frozen=True)
class FormValues:
    """What is in the form. columns: by role, in the order of ROLES."""

    source: str
    evaluation: str | None
    systems: Sequence[str] | None
    file: str | None
    references: Sequence[str] | None
    outputs: Sequence[str] | None
    models: Sequence[str] | None
    name: str
    items: float | None
    verdicts: float | None
    reveal: str
    judges: bool
    shares: bool
    reviewer: str
    dialogue: str | None
    summary: str | None
    id: str | None

    def limit(self, public: bool) -> int | None:
        """The number of items, None for all. Raises InputError for a negative one."""
        limit = int(self.items) if self.items else None
        if limit is not None and limit < 1:
            raise InputError(f"The number of items is {limit}; give 1 or more, or 0 for all.")
        return min(limit or MOST_PUBLIC_ITEMS, MOST_PUBLIC_ITEMS) if public else limit

    def settings(self) -> ReviewSettings:
        """Raises InputError for an invalid value."""
        return ReviewSettings(
            verdicts_per_item=int(self.verdicts or 1),
            reveal=self.reveal,
            repeat_share=REPEATED if self.reveal == "end" else 0.0,
            owner_reviews=bool(self.judges),
            share_results=bool(self.shares),
        )

    def columns(self) -> dict[str, str]:
        """The chosen columns by role; recorded outputs have no column of summaries."""
        chosen = {role: getattr(self, role) for role in ROLES}
        return {role: name for role, name in chosen.items() if name and (role, self.source) != ("summary", FILE)}


@dataclass(frozen=True)
class ReviewForm:
    """values: the inputs of FormValues, in its order."""

    samples: gr.Button
    start: gr.Button
    evaluation: gr.Dropdown
    family: gr.Dropdown
    models: gr.CheckboxGroup
    reviewer: gr.Textbox
    values: list[Any]


def build_review_form(services: Services, owner: gr.BrowserState) -> ReviewForm:
    """Build and connect the form inside the caller's column. owner: the visitor's secret."""
    first = services.registry.seen_by("").default_family.name
    gr.HTML(f"<p>{ABOUT}</p>", elem_classes="hint")
    samples = gr.Button("Review the samples now", variant="primary", elem_id="review-samples")
    with gr.Accordion("Start another review", open=False, elem_id="review-form"):
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                source = gr.Radio(SOURCES, value=EVALUATION, label="Texts", elem_id="review-source")
                evaluation = gr.Dropdown([], label="Evaluation", filterable=False, elem_id="review-evaluation")
                systems = gr.CheckboxGroup([], label=f"Systems, 2 to {MAX_SYSTEMS}", elem_id="review-systems")
                with gr.Column(visible=False) as of_file:
                    file = gr.File(
                        label="Drop a file", file_types=FILE_TYPES, type="filepath", height=120, elem_id="review-file"
                    )
                    form_of_file = gr.HTML(elem_classes="hint")
                    with gr.Column() as recorded:
                        references = gr.Dropdown([], multiselect=True, label="Reference columns", min_width=220)
                        outputs = gr.Dropdown(
                            [], multiselect=True, label="Output columns, one per system", min_width=220,
                            elem_id="review-outputs",
                        )  # fmt: skip
                    with gr.Row():
                        choosers = column_choosers("review-column")
                with gr.Column(visible=False) as of_models:
                    family = gr.Dropdown(
                        family_choices(services.registry.seen_by(""), ask=False), value=first, label="Model family",
                        filterable=False, elem_id="review-family",
                    )  # fmt: skip
                    models = gr.CheckboxGroup(
                        **first_models(services, first), label=f"Systems, 2 to {MAX_SYSTEMS}",
                        info="The same summaries as in the Evaluate tab, with its decoding.", elem_id="review-models",
                    )  # fmt: skip
            with gr.Column(scale=3, min_width=300):
                name = gr.Textbox(label="Name of the review", placeholder="by default that of the data", max_lines=1)
                with gr.Row():
                    items = gr.Number(
                        DEFAULT_ITEMS, label="Number of items", precision=0, minimum=1, min_width=130,
                        elem_id="review-items",
                    )  # fmt: skip
                    verdicts = gr.Number(
                        3, label="Reviewers per item", precision=0, minimum=1, min_width=130, elem_id="review-verdicts"
                    )
                reveal = gr.Radio(
                    [(title, name) for name, title in REVEAL_TITLES.items()], value="end", label="Reveal the systems",
                    info="At the end: one in ten items is shown twice to measure self-consistency.",
                    elem_id="review-reveal",
                )  # fmt: skip
                judges = gr.Checkbox(
                    True, label="I review too", info="Who judges sees the results after the last verdict.",
                    elem_id="review-judges",
                )  # fmt: skip
                shares = gr.Checkbox(True, label="Reviewers see the results after finishing", elem_id="review-shares")
                reviewer = gr.Textbox(
                    label="Your name as a reviewer", placeholder="a random id without a name", max_lines=1,
                    max_length=LONGEST_REVIEWER,
                )  # fmt: skip
        start = gr.Button("Start the review", variant="primary", elem_id="review-start")
    problem = gr.HTML(elem_id="review-file-problem")
    source.change(
        choose_source,
        source,
        [evaluation, systems, of_file, file, form_of_file, recorded, of_models, *choosers.values()],
        **QUIET,
    )
    evaluation.change(MethodType(systems_of, services), evaluation, systems, **QUIET)
    family.change(MethodType(offer_models, services), [family, owner], models, **QUIET)
    file.change(read_columns, [source, file], [references, outputs, *choosers.values(), problem], **QUIET)
    values = [
        source, evaluation, systems, file, references, outputs, models, name, items, verdicts, reveal, judges, shares,
        reviewer, *choosers.values(),
    ]  # fmt: skip
    return ReviewForm(samples, start, evaluation, family, models, reviewer, values)


def choose_source(chosen: str) -> tuple[Update, ...]:
    """Show the inputs for this kind of texts."""
    return (
        *(gr.update(visible=chosen == EVALUATION),) * 2,
        gr.update(visible=chosen in FORMS_OF_FILES),
        None,
        f"<p>{FORMS_OF_FILES.get(chosen, '')}</p>",
        gr.update(visible=chosen == FILE),
        gr.update(visible=chosen in NEW),
        *hide_choosers(),
    )


def first_models(services: Services, family: str, owner: str = "") -> dict[str, Any]:
    """`choices` and `value`: the models of the family, with as many as a review can have selected."""
    choices = system_choices(services.registry.seen_by(owner).family(family))
    return choices | {"value": choices["value"][:MAX_SYSTEMS]}


def offer_models(services: Services, family: str, owner: str = "") -> Update:
    return gr.update(**first_models(services, family, owner))


def offer_evaluations(services: Services, chosen: str | None) -> Update:
    """The saved evaluations, with the chosen one selected, or the samples."""
    saved = [one for one in services.evaluations.saved.list() if not one.reason and len(one.systems) > 1]
    names = [one.name for one in saved]
    samples = shipped_samples(services)
    value = chosen if chosen in names else samples.name if samples else names[0] if names else None
    return gr.update(choices=[(label(one), one.name) for one in saved], value=value)


def systems_of(services: Services, chosen: str | None) -> Update:
    """The evaluation's systems with scores; as many as a review can have are selected."""
    found = next((one for one in services.evaluations.saved.list() if one.name == chosen), None)
    names = [name for name, _ in found.rouge1] if found else []
    titles = found.systems if found and len(set(found.systems)) == len(names) else names
    return gr.update(choices=list(zip(titles, names, strict=True)), value=names[:MAX_SYSTEMS])


def read_columns(source: str, file: str | None) -> tuple[Update, ...]:
    """(references, outputs, the column choosers, a problem or a note on the encoding) of an uploaded file."""
    if file is None:
        return gr.update(choices=[], value=[]), gr.update(choices=[], value=[]), *hide_choosers(), ""
    notes: list[str] = []
    try:
        names = list(next(iter(read_rows(Path(file), {}, notes).values())))
    except DsumError as error:
        said = str(error).replace(file, Path(file).name)
        return gr.update(choices=[], value=[]), gr.update(choices=[], value=[]), *hide_choosers(), notice(said, "error")
    references, outputs = guess_outputs(names) if source == FILE else ([], [])
    guessed = guess_columns(names, taken=[*references, *outputs])
    choosers = fill_choosers(names, guessed, hidden=("summary",) if source == FILE else ())
    return (
        gr.update(choices=names, value=references),
        gr.update(choices=names, value=outputs[:MAX_SYSTEMS]),
        *choosers,
        notice(" ".join(notes), "warning"),
    )


def shipped_samples(services: Services) -> SavedEvaluation | None:
    """The newest evaluation of the samples, the shipped one if there is one."""
    of_samples = [one for one in services.evaluations.saved.list() if one.data == SAMPLES and len(one.systems) > 1]
    return next((one for one in of_samples if one.shipped), of_samples[0] if of_samples else None)
