"""Starting a review: the form, and the list of reviews."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.data.columns import guess_columns
from dsum_demo.data.sources import SAMPLES
from dsum_demo.data.tables import read_rows
from dsum_demo.errors import DsumError, InputError
from dsum_demo.evaluation.background import describe
from dsum_demo.evaluation.records import Evaluation
from dsum_demo.evaluation.storage import SavedEvaluation
from dsum_demo.review.records import MAX_SYSTEMS, REVEALS, Review, ReviewDraft, ReviewSettings
from dsum_demo.review.sources import draft_from_evaluation, draft_from_file
from dsum_demo.ui.columns import ROLES, column_choosers, fill_choosers, hide_choosers
from dsum_demo.ui.evaluate.form import FILE_TYPES, guess_outputs
from dsum_demo.ui.evaluate.saved import label
from dsum_demo.ui.evaluate.tables import day
from dsum_demo.ui.html import html_table, notice
from dsum_demo.ui.review.visitor import LONGEST_REVIEWER, Visitor
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import QUIET

EVALUATION, FILE = "evaluation", "file"
SOURCES = [("A saved evaluation", EVALUATION), ("A file of recorded outputs", FILE)]
REVEAL_TITLES = dict(zip(REVEALS, ("At the end", "After each item"), strict=True))
REPEATED = 0.1  # of a reviewer's items, if the names are revealed at the end
DEFAULT_ITEMS = 10
MOST_PUBLIC_ITEMS = 100
REVIEWER = 12  # the place of the reviewer's name in the form's values
ABOUT = (
    "Judge summaries without knowing which system wrote them, alone or with others through a link. The names are "
    "revealed after the verdict."
)
FORM_OF_FILE = "A table with one column of outputs per system, at least one reference column, and the dialogues."

Update = Any  # gradio's updates are plain dictionaries


@dataclass(frozen=True)
class ReviewForm:
    """values: the inputs of `wanted_review`, in its order."""

    samples: gr.Button
    start: gr.Button
    evaluation: gr.Dropdown
    systems: gr.CheckboxGroup
    values: list[Any]


def build_review_form(services: Services) -> ReviewForm:
    """Build and connect the form inside the caller's column."""
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
                    gr.HTML(f"<p>{FORM_OF_FILE}</p>", elem_classes="hint")
                    references = gr.Dropdown([], multiselect=True, label="Reference columns", min_width=220)
                    outputs = gr.Dropdown(
                        [], multiselect=True, label="Output columns, one per system", min_width=220,
                        elem_id="review-outputs",
                    )  # fmt: skip
                    with gr.Row():
                        choosers = column_choosers("review-column")
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
        lambda chosen: (*(gr.update(visible=chosen == EVALUATION),) * 2, gr.update(visible=chosen == FILE)),
        source,
        [evaluation, systems, of_file],
        **QUIET,
    )
    evaluation.change(MethodType(offer_systems, services), evaluation, systems, **QUIET)
    file.change(read_columns, file, [references, outputs, *choosers.values(), problem], **QUIET)
    values = [source, evaluation, systems, file, references, outputs, name, items, verdicts, reveal, judges, shares,
              reviewer,               *choosers.values()]  # fmt: skip
    return ReviewForm(samples, start, evaluation, systems, values)


def offer_evaluations(services: Services, chosen: str | None) -> Update:
    """The saved evaluations, with the chosen one selected, or the samples."""
    saved = [one for one in services.evaluations.saved.list() if not one.reason and len(one.systems) > 1]
    names = [one.name for one in saved]
    samples = shipped_samples(services)
    value = chosen if chosen in names else samples.name if samples else names[0] if names else None
    return gr.update(choices=[(label(one), one.name) for one in saved], value=value)


def offer_systems(services: Services, chosen: str | None) -> Update:
    """The evaluation's systems with scores; as many as a review can have are selected."""
    found = next((one for one in services.evaluations.saved.list() if one.name == chosen), None)
    names = [name for name, _ in found.rouge1] if found else []
    titles = found.systems if found and len(set(found.systems)) == len(names) else names
    return gr.update(choices=list(zip(titles, names, strict=True)), value=names[:MAX_SYSTEMS])


def read_columns(file: str | None) -> tuple[Update, ...]:
    """(references, outputs, the column choosers, a problem) of an uploaded file."""
    if file is None:
        return gr.update(choices=[], value=[]), gr.update(choices=[], value=[]), *hide_choosers(), ""
    try:
        names = list(next(iter(read_rows(Path(file), {}).values())))
    except DsumError as error:
        said = str(error).replace(file, Path(file).name)
        return gr.update(choices=[], value=[]), gr.update(choices=[], value=[]), *hide_choosers(), notice(said, "error")
    references, outputs = guess_outputs(names)
    choosers = fill_choosers(names, guess_columns(names, taken=[*references, *outputs]), hidden=("summary",))
    return (
        gr.update(choices=names, value=references),
        gr.update(choices=names, value=outputs[:MAX_SYSTEMS]),
        *choosers,
        "",
    )


def wanted_review(
    services: Services,
    source: str,
    evaluation: str | None,
    systems: Sequence[str] | None,
    file: str | None,
    references: Sequence[str] | None,
    outputs: Sequence[str] | None,
    name: str,
    items: float | None,
    verdicts: float | None,
    reveal: str,
    judges: bool,
    shares: bool,
    reviewer: str,
    *columns: str | None,
) -> ReviewDraft:
    """The review in the form. Raises InputError or DataError for invalid values."""
    limit = int(items) if items else None
    if limit is not None and limit < 1:
        raise InputError(f"The number of items is {limit}; give 1 or more, or 0 for all.")
    if services.settings.public:
        limit = min(limit or MOST_PUBLIC_ITEMS, MOST_PUBLIC_ITEMS)
    settings = ReviewSettings(
        verdicts_per_item=int(verdicts or 1),
        reveal=reveal,
        repeat_share=REPEATED if reveal == "end" else 0.0,
        owner_reviews=bool(judges),
        share_results=bool(shares),
    )
    if source == FILE:
        if not file:
            raise InputError("No file is uploaded; upload one first.")
        given = {role: column for role, column in zip(ROLES, columns, strict=True) if column and role != "summary"}
        try:
            return draft_from_file(
                Path(file), tuple(references or ()), tuple(outputs or ()), name or "", columns=given, limit=limit,
                settings=settings,
            )  # fmt: skip
        except DsumError as error:
            raise type(error)(str(error).replace(file, Path(file).name)) from None
    if not evaluation:
        raise InputError("No evaluation is chosen; choose one, or evaluate in the Evaluate tab first.")
    found, title = evaluation_with_texts(services, evaluation)
    return draft_from_evaluation(
        found, name or f"Review of {title}", systems=tuple(systems or ()), limit=limit, settings=settings, source=title
    )


def samples_draft(services: Services) -> ReviewDraft:
    """A review of the evaluation that comes with the app. Raises InputError if none is there."""
    shipped = shipped_samples(services)
    if shipped is None:
        raise InputError("This app has no evaluation of the samples; evaluate them in the Evaluate tab first.")
    evaluation, title = evaluation_with_texts(services, shipped.name)
    names = tuple(system.name for system in evaluation.systems[:MAX_SYSTEMS])
    settings = ReviewSettings(repeat_share=REPEATED)
    return draft_from_evaluation(
        evaluation, f"Review of {title}", systems=names, limit=DEFAULT_ITEMS, settings=settings, source=title
    )


def shipped_samples(services: Services) -> SavedEvaluation | None:
    """The newest evaluation of the samples, the shipped one if there is one."""
    of_samples = [one for one in services.evaluations.saved.list() if one.data == SAMPLES and len(one.systems) > 1]
    return next((one for one in of_samples if one.shipped), of_samples[0] if of_samples else None)


def evaluation_with_texts(services: Services, name: str) -> tuple[Evaluation, str]:
    """The evaluation with dialogues, if they are on this machine, and its title. Building its report is not needed."""
    evaluation = services.evaluations.saved.open(name)
    if any(example.dialogue is None for example in evaluation.examples):
        opened = services.evaluations.get(name)
        evaluation = services.evaluations.with_texts(opened).evaluation if opened else evaluation
    return evaluation, describe(evaluation.data)


def review_list(services: Services, visitor: Visitor) -> str:
    """The reviews that the visitor may see, each with its progress and a button that opens it."""
    rows = []
    for review in visitor.reviews(services.reviews):
        reviewer = visitor.reviewer(review)
        own = services.reviews.progress(review.id, reviewer) if reviewer else None
        state = f"{own.answered} of {own.total}" if own else "–"
        verdict = "Continue" if own and own.remaining else "Review" if not own and visitor.may_judge(review) else "Open"
        token = escape(review.token)
        rows.append(
            [
                escape(review.name),
                str(review.items),
                ", ".join(escape(system.title or system.name) for system in review.systems),
                str(len(services.reviews.reviewers(review.id))),
                state,
                escape(day(review.created)),
                _row_buttons(services, visitor, review, token, verdict),
            ]
        )
    if not rows:
        return '<p class="empty">No reviews yet.</p>'
    heads = [
        "Review",
        "Items",
        "Systems",
        "Reviewers",
        "Your verdicts",
        "Started",
        '<span class="hidden">Actions</span>',
    ]
    return f'<div data-view="list">{html_table(heads, rows, "reviews")}</div>'


def _row_buttons(services: Services, visitor: Visitor, review: Review, token: str, verdict: str) -> str:
    name = escape(review.name)
    buttons = [("view", verdict)]
    if visitor.may_see_results(services.reviews, review):
        buttons.append(("results", "Results"))
    buttons.append(("link", "Copy link"))
    if visitor.owns(review):
        buttons.append(("delete", "Delete…"))
    shown = "".join(
        f'<button type="button" data-do="{action}" data-token="{token}" aria-label="{text.rstrip("…")}: {name}">'
        f"{text}</button>"
        for action, text in buttons
    )
    return f'<span class="review-links">{shown}</span>'
