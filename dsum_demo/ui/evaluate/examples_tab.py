"""The Examples view of an evaluation: highlights, search, table, and one open example."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.evaluation.background import WITH_TRAINING_DATA, Open
from dsum_demo.evaluation.notable_examples import ReadyList
from dsum_demo.ui import html
from dsum_demo.ui.assets import call
from dsum_demo.ui.compare import cards
from dsum_demo.ui.evaluate.example_detail import example_view
from dsum_demo.ui.evaluate.example_table import (
    LIST_ORDER,
    PAGE_ROWS,
    Selection,
    columns,
    neighbour,
    parts,
    select,
    table,
)
from dsum_demo.ui.events import clicked
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import CHOICE, QUIET, Update

ALL = [("All examples", "")]
LISTS_OF_SUMMARIES = ("invented", "swapped")
FILLED = 8  # the number of updates that `fill` returns
HOW = (
    "Click a row to read its dialogue and all summaries. Keys: ↑ ↓ and Enter in the table, ← → for the previous and "
    "next example."
)


@dataclass(frozen=True)
class Examples:
    """outputs: the components that `fill` updates, in its order."""

    outputs: list[Any]


def build_examples(services: Services, key: gr.State, selection: gr.State, rouge: gr.Dropdown) -> Examples:
    """The Examples tab, inside the caller's gr.Tabs."""
    with gr.Tab("Examples", id="examples"):
        ready = gr.Radio(ALL, value="", label="Highlights", elem_id="example-lists")
        how = gr.HTML(elem_classes="hint", elem_id="example-how")
        with gr.Row():
            query = gr.Textbox(
                label="Search", placeholder="words in a dialogue, summary, topic or id",
                elem_id="example-search", scale=3, min_width=220,
            )  # fmt: skip
            part = gr.Dropdown(ALL, value="", label="Filter", elem_id="example-part", scale=2, min_width=220)
        shown = gr.HTML(js_on_load="dsum.listenToExamples(element, trigger)", elem_id="example-table")
        gr.HTML(f"<p>{HOW}</p>", elem_classes="hint")
        with gr.Column(visible=False, elem_id="example-open") as one:
            with gr.Row():
                previous = gr.Button("‹ Previous", size="sm", elem_id="example-previous", scale=0, min_width=110)
                following = gr.Button("Next ›", size="sm", elem_id="example-next", scale=0, min_width=110)
                close = gr.Button("Close", size="sm", elem_id="example-close", scale=0, min_width=80)
            highlight = gr.Radio(cards.HIGHLIGHTS, value=html.SHARED, label="Highlight", elem_id="example-highlight")
            legend = gr.HTML(cards.LEGENDS[html.SHARED], elem_classes="hint")
            example = gr.HTML(elem_id="example")

    state = [key, selection, highlight]
    drawn = [selection, shown, one, example]
    # One after the other, because each changes the selection that the one before left.
    in_order: dict[str, Any] = {"concurrency_id": "examples", "concurrency_limit": 1}
    choice: dict[str, Any] = {**CHOICE, **in_order}
    shown.click(MethodType(handle_click, services), state, drawn, **QUIET, **in_order).then(
        None, None, None, js=call("showExample"), **QUIET
    )
    ready.input(MethodType(choose_list, services), [*state, ready], [*drawn, how], **choice)
    query.change(MethodType(search, services), [*state, query], drawn, **choice)
    part.input(MethodType(filter_by, services), [*state, part], drawn, **choice)
    rouge.input(MethodType(choose_rouge, services), [*state, rouge], drawn, **choice)
    previous.click(MethodType(step_back, services), state, drawn, **choice)
    following.click(MethodType(step_forward, services), state, drawn, **choice)
    close.click(MethodType(close_example, services), state, drawn, **choice)
    highlight.input(MethodType(change_highlight, services), state, [example, legend], **choice)
    return Examples([selection, ready, how, query, part, shown, one, example])


def fill(services: Services, opened: Open, rouge: str, example: str = "") -> list[Update]:
    """Updates for a newly opened evaluation, in the order of Examples.outputs. example: the id of one to open."""
    evaluation, report = opened.evaluation, opened.report
    selection, shown, *one = _draw(services, opened.key, Selection(rouge=rouge, example=example), html.SHARED)
    lists = [(list_label(ready), ready.name) for ready in report.lists]
    return [
        selection,
        gr.update(choices=[*ALL, *lists], value=""),
        "",
        "",
        gr.update(choices=parts(evaluation, report), value=""),
        shown,
        *one,
    ]


def list_label(ready: ReadyList) -> str:
    """The title, and the share of what was examined: summaries if an example can be listed once per system, else
    examples.
    """
    what = "summaries" if ready.name in LISTS_OF_SUMMARIES else "examples"
    if not ready.of:
        return f"{ready.title} (no {what} to check)"
    share = 100 * ready.total / ready.of
    return f"{ready.title} ({ready.total:,} of {ready.of:,} {what}, {share:.{0 if share >= 10 or not share else 1}f} %)"


def handle_click(
    services: Services, key: str, selection: Selection, highlight: str, event: gr.EventData
) -> tuple[Update, ...]:
    """A click on a heading, a row or a page link. The data comes from the browser and is not trusted."""
    data = clicked(event)
    if isinstance(key_of_column := data.get("sort"), str):
        opened = services.evaluations.get(key)
        for column in columns(opened.evaluation, selection) if opened else ():
            if column.key == key_of_column:
                selection = replace(selection.click(column), page=0)
    elif isinstance(page := data.get("page"), int):
        selection = replace(selection, page=page)
    elif isinstance(example := data.get("example"), str):
        selection = replace(selection, example=example)
    return _draw(services, key, selection, highlight)


def choose_list(services: Services, key: str, selection: Selection, highlight: str, ready: str) -> tuple[Update, ...]:
    """Show a list of highlights in its own order, with its description."""
    opened = services.evaluations.get(key)
    how = next((one.how for one in opened.report.lists if one.name == ready), "") if opened else ""
    selection = replace(selection, ready=ready, sort=LIST_ORDER if ready else "row", descending=False, page=0)
    return (*_draw(services, key, selection, highlight), f"<p>{escape(how)}</p>" if how else "")


def search(services: Services, key: str, selection: Selection, highlight: str, query: str) -> tuple[Update, ...]:
    return _draw(services, key, replace(selection, query=query, page=0), highlight)


def filter_by(services: Services, key: str, selection: Selection, highlight: str, part: str) -> tuple[Update, ...]:
    page = selection.page if selection.part == (part or "") else 0
    return _draw(services, key, replace(selection, part=part or "", page=page), highlight)


def choose_rouge(services: Services, key: str, selection: Selection, highlight: str, rouge: str) -> tuple[Update, ...]:
    return _draw(services, key, replace(selection, rouge=rouge), highlight)


def step_back(services: Services, key: str, selection: Selection, highlight: str) -> tuple[Update, ...]:
    return _step(services, key, selection, highlight, -1)


def step_forward(services: Services, key: str, selection: Selection, highlight: str) -> tuple[Update, ...]:
    return _step(services, key, selection, highlight, 1)


def close_example(services: Services, key: str, selection: Selection, highlight: str) -> tuple[Update, ...]:
    return _draw(services, key, replace(selection, example=""), highlight)


def change_highlight(services: Services, key: str, selection: Selection, highlight: str) -> tuple[Update, ...]:
    """Change the highlighting of the open example and its legend."""
    *_, example = _draw(services, key, selection, highlight)
    return example, cards.LEGENDS[highlight]


def _step(services: Services, key: str, selection: Selection, highlight: str, step: int) -> tuple[Update, ...]:
    """Open the previous or next example and the page of the table that contains it."""
    opened = services.evaluations.get(key)
    if opened is None:
        return (gr.skip(),) * 4
    rows = select(opened.evaluation, opened.report, selection)
    found = neighbour(rows, selection.example, step)
    place = next((i for i, row in enumerate(rows) if row.example.id == found), 0)
    return _draw(services, key, replace(selection, example=found, page=place // PAGE_ROWS), highlight)


def _draw(services: Services, key: str, selection: Selection, highlight: str) -> tuple[Update, ...]:
    """(selection, table, visibility of the open example, the example)."""
    opened = services.evaluations.get(key)
    if opened is None:
        return (gr.skip(),) * 4
    if selection.example:
        opened = services.evaluations.with_texts(opened)
    evaluation, report = opened.evaluation, opened.report
    shown = table(evaluation, report, selection)
    record = next((example for example in evaluation.examples if example.id == selection.example), None)
    if record is None:
        return selection, shown, gr.update(visible=False), ""
    rows = [row.example.id for row in select(evaluation, report, selection)]
    place = f"{rows.index(record.id) + 1:,} of {len(rows):,}" if record.id in rows else "not in this selection"
    link = html.link_button(evaluation=key.removesuffix(WITH_TRAINING_DATA), example=record.id)
    view = link + example_view(evaluation, record, highlight, place, opened.texts)
    return selection, shown, gr.update(visible=True), view
