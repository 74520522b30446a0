"""The Evaluate tab: its layout, and the handlers that open an evaluation or start, follow and stop one.

An evaluation runs in the app, not in the page, so it survives a reload.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from html import escape
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.errors import DsumError, InputError
from dsum_demo.evaluation.background import WITH_TRAINING_DATA, BackgroundEvaluation
from dsum_demo.metrics.scores import HEADLINE, METRICS
from dsum_demo.ui.assets import call
from dsum_demo.ui.best_of import CANDIDATES
from dsum_demo.ui.evaluate import tables
from dsum_demo.ui.evaluate.charts import means_chart
from dsum_demo.ui.evaluate.example_table import Selection
from dsum_demo.ui.evaluate.examples_tab import FILLED, build_examples, fill
from dsum_demo.ui.evaluate.form import build_evaluation_form, offer_families, offer_new_systems, wanted
from dsum_demo.ui.evaluate.people import agreement_with_people
from dsum_demo.ui.evaluate.results import PARTS, Results, build_summary, build_views, connect, draw
from dsum_demo.ui.evaluate.saved import build_downloads, build_saved, chooser_update
from dsum_demo.ui.html import notice
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import CHOICE, QUIET, Update
from dsum_demo.utils.formatting import duration

TICK_SECONDS = 1.0
REDRAWS = 20  # of the partial result, over a whole run
ABOUT = (
    "Run the models on a whole dataset. Every mean has a 95 % confidence interval, and the Examples tab shows the "
    "summaries behind it."
)
EMPTY = "No evaluations yet. Start with the samples: choose the systems below and press Evaluate."


def build_evaluate_tab(page: gr.Blocks, services: Services, tabs: gr.Tabs, tab: gr.Tab, owner: gr.BrowserState) -> None:
    """Build and connect the tab, which is one of `tabs`. owner: the visitor's secret."""
    token = gr.BrowserState("", storage_key="dsum-evaluation", secret="dsum")
    key, drawn, linked = gr.State(""), gr.State(-1), gr.State({})
    timer = gr.Timer(TICK_SECONDS, active=False)
    gr.HTML(f"<p>{ABOUT}</p>", elem_classes="hint")
    with gr.Row(equal_height=True):
        chooser = gr.Dropdown([], label="Evaluation", elem_id="evaluation-chooser", scale=6, min_width=260)
        rouge = gr.Dropdown(
            [(metric.heading, metric.name) for metric in METRICS.values()],
            value=HEADLINE,
            label="Score in Differences, Slices, Examples",
            filterable=False,
            elem_id="evaluation-rouge",
            scale=2,
            min_width=220,
        )
        new = gr.Button("New evaluation", elem_id="evaluation-new", scale=0, min_width=170)
    problem = gr.HTML(elem_id="evaluation-notice")
    with gr.Column(visible=False, elem_id="evaluation-form") as form_column:
        form = build_evaluation_form(services, owner)
    with gr.Column(visible=False, elem_id="evaluation-run") as panel:
        with gr.Row(equal_height=True):
            bar = gr.HTML(elem_id="evaluation-progress", scale=5, min_width=240)
            stop = gr.Button("Stop", variant="stop", elem_id="evaluation-stop", scale=0, min_width=110)
        so_far = gr.HTML(elem_id="evaluation-so-far")
        partial = gr.Plot(show_label=False, container=False, visible=False, elem_id="evaluation-partial")
    with gr.Column(visible=False, elem_id="evaluation") as shown:
        parts: dict[str, Any] = {}
        build_summary(parts)
        selection = gr.State(Selection())
        with gr.Tabs(elem_id="evaluation-views") as views:
            build_views(parts)
            examples = build_examples(services, key, selection, rouge)
            build_downloads(services, key)
            build_saved(services, key, chooser)
    results = Results(parts, rouge)
    connect(services, results, key)
    gr.on(
        [parts["checks_tab"].select, key.change],
        MethodType(agreement_with_people, services), [key, owner], parts["people"], **QUIET,
    )  # fmt: skip

    running = [panel, bar, stop, so_far, partial, timer, drawn, chooser, problem, form_column]
    opening = [key, shown, problem, *results.outputs, *examples.outputs]
    tab.select(MethodType(open_tab, services), [token, chooser, linked], running, **QUIET)
    tab.select(MethodType(offer_families, services), owner, form.family, **QUIET)
    tab.select(MethodType(offer_new_systems, services), [form.family, owner], form.systems, **QUIET)
    chooser.change(MethodType(open_evaluation, services), [chooser, rouge, linked], opening, **QUIET)
    chooser.input(lambda: (gr.update(selected="scores"), {}), None, [views, linked], **QUIET)
    ids = [gr.Textbox(visible=False), gr.Textbox(visible=False)]
    page.load(
        MethodType(follow_link, services),
        ids,
        [tabs, views, linked, problem],
        js=call("linkedIds", ["evaluation", "example"]),
        **QUIET,
    ).then(MethodType(open_linked, services), [linked, rouge], [chooser, *opening], **QUIET)
    parts["training"].input(MethodType(include, services), [chooser, parts["training"], rouge], opening, **CHOICE)
    new.click(lambda: gr.update(visible=True), None, form_column, **QUIET)
    form.close.click(lambda: gr.update(visible=False), None, form_column, **QUIET)
    form.start.click(
        MethodType(start_own, services),
        [owner, form.judge, form.best, *form.values],
        [token, form.problem, *running],
        **QUIET,
    )
    stop.click(MethodType(ask_to_stop, services), token, stop, queue=False, **QUIET)
    timer.tick(MethodType(tick, services), [token, drawn], running, **QUIET)


def open_tab(
    services: Services, token: str | None, chosen: str | None, linked: Mapping[str, str] | None = None
) -> tuple[Update, ...]:
    """The tab was opened: the saved evaluations, the current run, and the evaluation to open first."""
    chosen = next(iter(linked or ()), "") or chosen
    run = services.evaluations.run_for(token)
    chooser = chooser_update(
        services, chosen or (run.key if run else None), run.key if run else "", run.title if run else ""
    )
    empty = not chooser["choices"]
    if run is None or run.over:
        quiet = (gr.update(visible=False), "", gr.skip(), "", gr.update(visible=False), gr.update(active=False), -1)
        problem = notice(EMPTY) if empty else gr.skip()
        return (*quiet, chooser, problem, gr.update(visible=True) if empty else gr.skip())
    panel, bar, stop, so_far, partial, timer, drawn, _, problem, form = _follow(services, run, -1)
    return panel, bar, stop, so_far, partial, timer, drawn, chooser, problem, form


def start_own(services: Services, owner: str, judge: str, best: bool, *values: Any) -> tuple[Update, ...]:
    return start(services, *values, owner=owner, judge=judge, best_of=best * CANDIDATES)


def start(services: Services, *values: Any, owner: str = "", judge: str = "", best_of: int = 0) -> tuple[Update, ...]:
    """Start the evaluation in the form. An error is shown under the form, which keeps its values."""
    try:
        run = services.evaluations.start(replace(wanted(*values), owner=owner, judge=judge, best_of=best_of))
    except DsumError as error:
        return (gr.skip(), notice(str(error), "error"), *[gr.skip()] * 10)
    *followed, form = _follow(services, run, -1)
    return (run.token, "", *followed, form if run.over and not run.key else gr.update(visible=False))


def ask_to_stop(services: Services, token: str | None) -> Update:
    run = services.evaluations.run_for(token)
    if run:
        run.stop()
    return gr.update(interactive=False, value="Stopping…")


def tick(services: Services, token: str | None, drawn: int) -> tuple[Update, ...]:
    """The progress of the run; its result opens when it ends."""
    run = services.evaluations.run_for(token)
    if run is None:
        return (gr.update(visible=False), *[gr.skip()] * 4, gr.update(active=False), *[gr.skip()] * 4)
    return _follow(services, run, drawn)


def follow_link(services: Services, evaluation: str, example: str) -> tuple[Update, ...]:
    """(tabs, views, linked, a problem) for the evaluation and the example of the page's address. linked: the example to
    open with the evaluation, or "", by the evaluation's key, which is "" if the link cannot be opened.
    """
    if not evaluation:
        return (gr.skip(),) * 4
    here = gr.update(selected="evaluate")
    try:
        opened = services.evaluations.get(evaluation)
        if opened is None or opened.key != evaluation:
            raise InputError(f"There is no evaluation {evaluation!r}.")
    except DsumError as error:
        said = f"The link cannot be opened: {services.told(error)}"
        return here, gr.skip(), {"": ""}, notice(said, "error")
    if example and all(record.id != example for record in opened.evaluation.examples):
        said = f"The evaluation has no example {example!r}; it opens without one."
        return here, gr.skip(), {evaluation: ""}, notice(said, "warning")
    view = gr.update(selected="examples") if example else gr.skip()
    return here, view, {evaluation: example}, gr.skip()


def open_linked(services: Services, linked: Mapping[str, str], rouge: str) -> Iterator[tuple[Update, ...]]:
    """(chooser, the outputs of `open_evaluation`) of the evaluation in the page's address."""
    key = next(iter(linked), "")
    if not key:
        yield (gr.skip(),) * (4 + len(PARTS) + FILLED)
        return
    opened = services.evaluations.get(key)
    chooser = chooser_update(services, key, key, opened.title if opened else "")
    for opening, shown, _, *rest in open_evaluation(services, key, rouge, linked):
        yield chooser, opening, shown, gr.skip(), *rest


def open_evaluation(
    services: Services, chosen: str | None, rouge: str, linked: Mapping[str, str] | None = None
) -> Iterator[tuple[Update, ...]]:
    """(key, the column that shows it, a problem, its parts, its examples). linked: see `follow_link`."""
    nothing = [gr.skip()] * (len(PARTS) + FILLED)
    hidden = gr.update(visible=False)
    try:
        if long := services.evaluations.takes_long(chosen):
            yield (gr.skip(), gr.skip(), notice("Opening a large evaluation; this takes a few seconds."), *nothing)
        opened = services.evaluations.get(chosen)
    except DsumError as error:
        yield ("", hidden, notice(str(error), "error"), *nothing)
        return
    if opened is None:
        yield ("", hidden, gr.skip(), *nothing)
        return
    # The notice of the run that produced this evaluation stays, and that of a link.
    run = services.evaluations.run
    said = gr.skip() if linked or (run and run.key == chosen and not long) else ""
    example = (linked or {}).get(opened.key, "")
    yield (opened.key, gr.update(visible=True), said, *draw(opened, rouge), *fill(services, opened, rouge, example))


def include(services: Services, chosen: str, training_data: bool, rouge: str) -> Iterator[tuple[Update, ...]]:
    """Open the evaluation with or without the dialogues that a system was trained on."""
    yield from open_evaluation(services, chosen + WITH_TRAINING_DATA * training_data, rouge)


def _follow(services: Services, run: BackgroundEvaluation, drawn: int) -> tuple[Update, ...]:
    """(panel, bar, stop, so far, partial chart, timer, summaries drawn, chooser, problem, form). The form reopens if
    the run has no result, for corrections.
    """
    if run.over:
        said = notice(stopped(run, "Evaluate the same data and systems"), "") if run.stopping else ""
        if run.error:
            said = notice(services.told(run.error), "error")
        chooser = chooser_update(services, run.key, run.key, run.title) if run.key else gr.skip()
        hidden = gr.update(visible=False)
        idle = gr.update(value="Stop", interactive=True)
        form = gr.update(visible=True) if run.error and not run.key else gr.skip()
        return hidden, "", idle, "", hidden, gr.update(active=False), -1, chooser, said, form
    stop = (
        gr.update(value="Stopping…", interactive=False) if run.stopping else gr.update(value="Stop", interactive=True)
    )
    on = (gr.update(visible=True), progress_bar(run), stop)
    done, total = (run.progress.done, run.progress.total) if run.progress else (0, 0)
    so_far: tuple[Update, ...] = (gr.skip(), gr.skip())
    if (drawn < 0 or done - drawn >= max(1, total // REDRAWS)) and (there := run.partial()):
        evaluation, report = there
        chart = means_chart(evaluation, report)
        said = f"<h3>So far: {escape(chart.title)}</h3>{tables.signature(report)}"
        so_far, drawn = (said, gr.update(value=chart.figure, visible=chart.figure is not None)), done
    elif drawn < 0:
        so_far = ("", gr.update(visible=False))
    return (*on, *so_far, gr.update(active=True), drawn, gr.skip(), "", gr.skip())


def progress_bar(run: BackgroundEvaluation) -> str:
    """Summaries done and time left."""
    progress = run.progress
    if progress is None or not progress.total:
        said, share = run.note or "Starting…", 0.0
    else:
        share = progress.done / progress.total
        said = f"{progress.done:,} of {progress.total:,} summaries"
        if progress.seconds_left is not None and not run.stopping and progress.done < progress.total:
            said += f" · about {duration(progress.seconds_left)} left"
        finished = progress.done >= progress.total
        if finished or progress.note:
            said += f" · {'computing intervals and saving' if finished else progress.note}"
    return (
        f'<div class="progress" role="progressbar" aria-label="Evaluation of {escape(run.title)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{100 * share:.0f}"><div style="width:{100 * share:.1f}%"></div></div>'
        f'<p class="progress-text"><b>{escape(run.title)}</b> · {escape(said)}</p>'
    )


def stopped(run: BackgroundEvaluation, how: str) -> str:
    """What a stopped run leaves. how: what to do again to resume it."""
    progress = run.progress
    if progress is None or not progress.evaluation.examples:
        return "Stopped before the first summary."
    return f"Stopped after {progress.done:,} of {progress.total:,} summaries, which are kept. {how} again to resume."
