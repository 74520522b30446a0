"""The judges in the Models tab: how far to trust each, and its own test on the samples or an uploaded file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from types import MethodType

import gradio as gr

from dsum_demo.data.examples import draw, read_samples
from dsum_demo.data.sources import regroup
from dsum_demo.errors import DsumError, Stopped
from dsum_demo.evaluation.background import PUBLIC_DIALOGUES
from dsum_demo.judge.corruptions import CORRUPTIONS
from dsum_demo.judge.judges import COVERAGE_UNTESTED
from dsum_demo.judge.own_test import BASELINES, VALUES, JudgeTest, kinds_of, run_test, title_of
from dsum_demo.ui.evaluate.form import FILE_TYPES, judge_choices
from dsum_demo.ui.html import html_table, notice
from dsum_demo.ui.long_task import StopFlag, connect_long_task
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import QUIET
from dsum_demo.ui.zero_gpu import ON_ZERO_GPU

ABOUT = (
    "A judge is a language model that scores a summary without references, by how much likelier the dialogue makes it. "
    "Its own test shows how far to trust it: each reference is compared with corrupted twins, and the share in which "
    "the true one is preferred is counted for each kind of error, next to measures that need no model."
)
REDRAW_SECONDS = 0.5
LIMIT = 200  # dialogues of an uploaded file


def build_judge_test(services: Services) -> None:
    """Build the section and its events."""
    gr.Markdown("### Judges\n\n" + ABOUT)
    choices = [(title, name) for title, name in judge_choices(services) if name]
    with gr.Row():
        judge = gr.Dropdown(
            choices, value=choices[0][1] if choices else None, label="Judge", elem_id="judge-name", min_width=220
        )
        file = gr.File(
            label="Your dialogues and references; without a file, the samples",
            file_types=FILE_TYPES,
            type="filepath",
            height=170,
            elem_id="judge-file",
            min_width=220,
        )
        with gr.Column(scale=0, min_width=170):
            testable = bool(choices) and not ON_ZERO_GPU  # it takes minutes
            start = gr.Button("Test this judge", variant="primary", interactive=testable, elem_id="judge-start")
            stop = gr.Button("Stop", interactive=False, elem_id="judge-stop")
    trust = gr.HTML(trust_of(services, choices[0][1]) if choices else "", elem_id="judge-trust")
    result = gr.HTML(elem_id="judge-result")
    judge.change(MethodType(trust_of, services), judge, trust, **QUIET)
    connect_long_task(start, stop, MethodType(run_judge_test, services), [judge, file], result, "Testing…")


def trust_of(services: Services, name: str | None) -> str:
    """The results of a judge's shipped tests and the value that they do not have, or that it is not tested."""
    judges, name = services.evaluations.judges, name or ""
    tables = "".join(map(result_table, judges.tests(name)))
    if not tables:
        return notice(" ".join(judges.trust(name)))
    return f'{tables}<p class="hint">{escape(COVERAGE_UNTESTED)}</p>'


def run_judge_test(services: Services, name: str, file: str | None, running: StopFlag | None) -> Iterator[str]:
    """Yield the results so far. A stop keeps them; an error is shown instead."""
    stop, drawn, last, notes = running or StopFlag(), 0.0, None, list[str]()
    judges = services.evaluations.judges
    yield notice(f"Loading {name}.")
    try:
        examples, data = services.samples, "samples"
        if file:
            data = Path(file).name
            limit = PUBLIC_DIALOGUES if services.settings.public else LIMIT
            examples = draw(regroup(read_samples(Path(file), notes=notes)), limit, 0)
        judge = judges.load(judges.find(name), stop.event.is_set)
        for last in run_test(judge, examples, data=data, should_stop=stop.event.is_set):
            if time.monotonic() - drawn >= REDRAW_SECONDS:
                drawn = time.monotonic()
                yield notice(f"{last.dialogues:,} of at most {len(examples):,} dialogues.") + result_table(last)
        if last is not None:
            yield notice(" ".join(notes)) + result_table(last)
    except Stopped:
        yield notice("Stopped.") + (result_table(last) if last else "")
    except DsumError as error:
        told = services.told(error)
        yield notice(told.replace(file, Path(file).name) if file else told, "error")


def result_table(result: JudgeTest) -> str:
    """Rows: the judge and the measures without a model; columns: kinds of errors. At chance in gray."""
    kinds = kinds_of(result)
    rows = []
    for measure in (*VALUES, *BASELINES):
        shares = result.shares.get(measure, {})
        cells = []
        for kind in kinds:
            share = shares.get(kind)
            text = "–" if share is None else escape(share.text)
            cells.append(text if share is None or share.above_chance else f'<span class="chance">{text}</span>')
        rows.append([escape(title_of(measure, result)), *cells])
    pairs = {kind: share.n for shares in result.shares.values() for kind, share in shares.items()}
    rows.append(["Pairs", *(f"{pairs.get(kind, 0):,}" for kind in kinds)])
    heads = ["Prefers the true summary to", *(escape(CORRUPTIONS[kind].title) for kind in kinds)]
    named = " with names instead of labels" if result.names else ""
    how = "".join(
        f"<dt>{escape(CORRUPTIONS[kind].title)}</dt><dd>{escape(CORRUPTIONS[kind].how)}</dd>" for kind in kinds
    )
    return (
        html_table(heads, rows)
        + '<p class="hint">Share of pairs with its 95 % Wilson interval; equal values count half. In gray: not shown '
        f"to be better than chance. Over {result.dialogues:,} dialogues of {escape(result.data)}{named}, seed "
        f"{result.seed}.</p>"
        f'<details class="how"><summary>How the errors are made</summary><dl>{how}</dl></details>'
    )
