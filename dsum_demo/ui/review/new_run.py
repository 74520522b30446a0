"""A review of new summaries: a run of the models in the background, whose texts become a review when it is done."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from dsum_demo.errors import InputError
from dsum_demo.evaluation.background import Wanted, describe
from dsum_demo.review.records import MAX_SYSTEMS, MIN_SYSTEMS, ReviewDraft, check_name
from dsum_demo.review.sources import draft_from_evaluation
from dsum_demo.ui.evaluate.tab import progress_bar
from dsum_demo.ui.review.form import FormValues
from dsum_demo.ui.review.visitor import check_reviewer
from dsum_demo.ui.services import ReviewRun, Services
from dsum_demo.ui.theme import Update

TICK_SECONDS = 1.0


def start_run(services: Services, secret: str, values: FormValues) -> ReviewRun:
    """Start the run of the form in the background. Raises InputError for values that no review can have, before any
    model runs, and while another evaluation runs.
    """
    name, settings = (values.name or "").strip() and check_name(values.name), values.settings()
    reviewer, models = check_reviewer(values.reviewer), tuple(values.models or ())
    if not MIN_SYSTEMS <= len(models) <= MAX_SYSTEMS:
        raise InputError(f"A review has {MIN_SYSTEMS} to {MAX_SYSTEMS} systems, not {len(models)}; choose others.")
    file = Path(values.file) if values.file else None
    wanted = Wanted(
        values.source, models, file, limit=values.limit(services.settings.public), columns=values.columns(),
        owner=secret,
    )  # fmt: skip
    started = ReviewRun(services.evaluations.start(wanted), name, settings, reviewer)
    services.review_runs[secret] = started
    return started


def draft_of_run(services: Services, started: ReviewRun) -> ReviewDraft:
    """The review of the finished run. Raises InputError if its summaries cannot be ranked."""
    opened = services.evaluations.get(started.run.key)
    if opened is None:
        raise InputError(started.run.error or "The run has no summaries; start the review again.")
    title = describe(opened.whole.data)
    return draft_from_evaluation(
        opened.whole, started.name or f"Review of {title}", settings=started.settings, source=title
    )


def run_parts(started: ReviewRun | None) -> dict[str, Update]:
    """Updates of the panel with the progress."""
    if started is None:
        return {"running": gr.update(visible=False), "bar": "", "timer": gr.update(active=False)}
    stopping = started.run.stopping
    return {
        "running": gr.update(visible=True),
        "bar": progress_bar(started.run),
        "stop": gr.update(value="Stopping…" if stopping else "Stop", interactive=not stopping),
        "timer": gr.update(active=True),
    }
