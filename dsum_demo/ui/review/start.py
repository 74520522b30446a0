"""The texts of a review that is started, the list of reviews, and the notice about their storage."""

from __future__ import annotations

from html import escape
from pathlib import Path

from dsum_demo.errors import DsumError, InputError
from dsum_demo.evaluation.background import describe
from dsum_demo.evaluation.records import Evaluation
from dsum_demo.review.backup import ReviewBackup
from dsum_demo.review.records import MAX_SYSTEMS, Review, ReviewDraft, ReviewSettings
from dsum_demo.review.sources import draft_from_evaluation, draft_from_file
from dsum_demo.settings import Settings
from dsum_demo.ui.evaluate.tables import day
from dsum_demo.ui.html import html_table, notice
from dsum_demo.ui.review.form import DEFAULT_ITEMS, FILE, REPEATED, FormValues, shipped_samples
from dsum_demo.ui.review.visitor import Visitor
from dsum_demo.ui.services import Services


def wanted_review(services: Services, values: FormValues) -> ReviewDraft:
    """The review in the form, of texts that are there. Raises InputError or DataError for invalid values."""
    limit, settings = values.limit(services.settings.public), values.settings()
    if values.source == FILE:
        file = values.file
        if not file:
            raise InputError("No file is uploaded; upload one first.")
        try:
            return draft_from_file(
                Path(file), tuple(values.references or ()), tuple(values.outputs or ()), values.name or "",
                columns=values.columns(), limit=limit, settings=settings,
            )  # fmt: skip
        except DsumError as error:
            raise type(error)(str(error).replace(file, Path(file).name)) from None
    if not values.evaluation:
        raise InputError("No evaluation is chosen; choose one, or evaluate in the Evaluate tab first.")
    found, title = evaluation_with_texts(services, values.evaluation)
    return draft_from_evaluation(
        found, values.name or f"Review of {title}", systems=tuple(values.systems or ()), limit=limit,
        settings=settings, source=title,
    )  # fmt: skip


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


def evaluation_with_texts(services: Services, name: str) -> tuple[Evaluation, str]:
    """The evaluation with dialogues, if they are on this machine, and its title. Building its report is not needed."""
    evaluation = services.evaluations.saved.open(name)
    if any(example.dialogue is None for example in evaluation.examples):
        opened = services.evaluations.get(name)
        evaluation = services.evaluations.with_texts(opened).evaluation if opened else evaluation
    return evaluation, describe(evaluation.data)


def storage_notice(settings: Settings, backup: ReviewBackup | None) -> str:
    """What happens to the reviews of an app that loses its disk, or whose copies fail; "" for others."""
    if backup and backup.problem:
        said = (
            "The last copy of the reviews to the owner's dataset repository failed, and is retried. The verdicts are "
        )
        return notice(said + "on the disk of this app.", "warning")
    if settings.loses_data and backup:
        return notice(
            "This Space has no persistent storage. Its reviews are copied to a dataset repository of its owner after "
            f"every {backup.every} verdicts."
        )
    if settings.loses_data:
        return notice(
            "This Space has no persistent storage: its reviews are lost when it restarts. Download the results of a "
            "review, or, as the owner of the Space, attach storage, or set DSUM_REVIEWS_REPO and HF_TOKEN to copy the "
            "reviews to a dataset repository.",
            "warning",
        )
    return ""


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
