"""An open evaluation: headline and warnings, then the views of scores, differences, slices and checks."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.evaluation.background import WITH_TRAINING_DATA, Open
from dsum_demo.evaluation.records import Evaluation
from dsum_demo.evaluation.report import Report
from dsum_demo.evaluation.training_data import without_training_data
from dsum_demo.metrics.scores import HEADLINE
from dsum_demo.ui.appearance import system_titles
from dsum_demo.ui.charts import Chart
from dsum_demo.ui.evaluate import tables
from dsum_demo.ui.evaluate.charts import differences_chart, length_chart, means_chart, slices_chart
from dsum_demo.ui.html import link_button
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import CHOICE, Update

SLICE_CHOICES = [("Length", "length"), ("Topic", "topic"), ("Speakers", "speakers")]
HOW_PAIRS = "One bar per dialogue: above zero the first system scores higher, below zero the second."
HOW_LENGTH = "One point per summary. Lines connect the means of ten groups of dialogues, from shortest to longest."
HOW_SLICES = "Means with 95 % confidence intervals; a slice with few examples has a wide interval."

PARTS = (
    "facts", "headline", "warnings", "training", "means_title", "means", "means_table", "parts_table", "checks", "by",
    "pair", "pairs_title", "pairs", "differences", "length_title", "length", "slices_title", "slices", "slices_table",
)  # fmt: skip


@dataclass(frozen=True)
class Results:
    """The components that show an evaluation, by the names in PARTS, and the chooser of the metric. parts also has
    "checks_tab", and "people", which is drawn when that tab is selected.
    """

    parts: dict[str, Any]
    rouge: gr.Dropdown

    @property
    def outputs(self) -> list[Any]:
        return [self.parts[name] for name in PARTS]


def build_summary(parts: dict[str, Any]) -> None:
    """The part above the views."""
    parts["facts"] = gr.HTML(elem_id="evaluation-facts")
    parts["headline"] = gr.HTML(elem_id="evaluation-headline")
    parts["warnings"] = gr.HTML(elem_id="evaluation-warnings")
    parts["training"] = gr.Checkbox(
        label="Include dialogues that a system was trained on", visible=False, elem_id="evaluation-training"
    )


def build_views(parts: dict[str, Any]) -> None:
    """The tabs of scores, differences, slices and checks, inside the caller's gr.Tabs."""
    with gr.Tab("Scores", id="scores"):
        _chart(parts, "means")
        parts["means_table"] = gr.HTML(elem_id="evaluation-means-table")
        with gr.Accordion("Precision, recall and F1", open=False):
            parts["parts_table"] = gr.HTML()
    with gr.Tab("Differences", id="differences"):
        parts["pair"] = gr.Dropdown([], label="Difference", filterable=False, elem_id="evaluation-pair")
        _chart(parts, "pairs", HOW_PAIRS)
        parts["differences"] = gr.HTML(elem_id="evaluation-differences-table")
        _chart(parts, "length", HOW_LENGTH)
    with gr.Tab("Slices", id="slices"):
        parts["by"] = gr.Radio(SLICE_CHOICES, value="length", label="By", elem_id="evaluation-by")
        _chart(parts, "slices", HOW_SLICES)
        parts["slices_table"] = gr.HTML(elem_id="evaluation-slices-table")
    with gr.Tab("Checks", id="checks") as parts["checks_tab"]:
        parts["checks"] = gr.HTML(elem_id="evaluation-checks")
        parts["people"] = gr.HTML(elem_id="evaluation-people")


def connect(services: Services, results: Results, key: gr.State) -> None:
    """Redraw if the metric, the pair or the kind of slices changes."""
    chosen = [key, results.rouge, results.parts["pair"], results.parts["by"]]
    names = ["pairs_title", "pairs", "length_title", "length", "slices_title", "slices", "slices_table"]
    outputs = [results.parts[name] for name in names]
    for chooser in (results.rouge, results.parts["pair"], results.parts["by"]):
        chooser.input(MethodType(redraw, services), chosen, outputs, **CHOICE)


def redraw(services: Services, key: str, rouge: str, pair: str | None, by: str) -> tuple[Update, ...]:
    opened = services.evaluations.get(key)
    if opened is None:
        return (gr.skip(),) * 7
    evaluation, report = opened.evaluation, opened.report
    return (*_pairs(evaluation, pair, rouge), *_slices(evaluation, report, by, rouge))


def draw(opened: Open, rouge: str) -> list[Update]:
    """Everything about an evaluation, in the order of PARTS."""
    evaluation, report = opened.evaluation, opened.report
    by = first_slices(report)
    pairs = pair_choices(evaluation, report)
    first = pairs[0][1] if pairs else None
    drawn = dict(
        zip(
            ["pairs_title", "pairs", "length_title", "length", "slices_title", "slices", "slices_table"],
            (*_pairs(evaluation, first, rouge), *_slices(evaluation, report, by, rouge)),
            strict=True,
        )
    )
    title, figure = shown(means_chart(evaluation, report))
    drawn |= {
        "facts": tables.facts(evaluation, report, opened.title)
        + tables.signature(report)
        + link_button(evaluation=opened.key.removesuffix(WITH_TRAINING_DATA)),
        "headline": tables.headline(report),
        "warnings": tables.warnings(report),
        "training": gr.update(
            visible=without_training_data(opened.whole) is not opened.whole,
            value=opened.key.endswith(WITH_TRAINING_DATA),
        ),
        "means_title": title,
        "means": figure,
        "means_table": tables.means_table(evaluation, report),
        "parts_table": tables.parts_table(evaluation, report),
        "checks": tables.checks_table(evaluation, report),
        "by": by,
        "pair": gr.update(choices=pairs, value=first, visible=bool(pairs)),
        "differences": tables.differences_table(evaluation, report),
    }
    return [drawn[name] for name in PARTS]


def shown(chart: Chart) -> tuple[str, Update]:
    """(heading, plot): the heading states the finding, or why there is no plot."""
    heading = f"<h3>{escape(chart.title)}</h3>"
    return heading, gr.update(value=chart.figure, visible=chart.figure is not None)


def first_slices(report: Report) -> str:
    """The first kind of slices with at least two confidence intervals to compare."""
    for _, by in SLICE_CHOICES:
        parts = [part for part in report.slices if part.by == by]
        with_interval = [
            p for p in parts if any(f1[HEADLINE].low is not None for f1 in p.f1.values() if HEADLINE in f1)
        ]
        if len(with_interval) > 1:
            return by
    return "length"


def pair_choices(evaluation: Evaluation, report: Report) -> list[tuple[str, str]]:
    """(label, "system|baseline" as indices) of every difference in the report."""
    names = system_titles(evaluation.systems)
    places = {system.name: place for place, system in enumerate(evaluation.systems)}
    return [
        (f"{names[d.system]} − {names[d.baseline]}", f"{places[d.system]}|{places[d.baseline]}")
        for d in report.differences
        if d.f1
    ]


def _pairs(evaluation: Evaluation, pair: str | None, rouge: str) -> tuple[Update, ...]:
    length = shown(length_chart(evaluation, rouge))
    if pair is None:
        return ("", gr.update(value=None, visible=False), *length)
    system, baseline = (evaluation.systems[int(place)].name for place in pair.split("|"))
    return (*shown(differences_chart(evaluation, system, baseline, rouge)), *length)


def _slices(evaluation: Evaluation, report: Report, by: str, rouge: str) -> tuple[Update, ...]:
    return (
        *shown(slices_chart(evaluation, report, by, rouge)),
        tables.slices_table(evaluation, report, by, rouge),
    )


def _chart(parts: dict[str, Any], name: str, how: str = "") -> None:
    parts[f"{name}_title"] = gr.HTML(elem_id=f"evaluation-{name}-title", elem_classes="chart-title")
    parts[name] = gr.Plot(show_label=False, container=False, elem_id=f"evaluation-{name}")
    if how:
        gr.HTML(f"<p>{how}</p>", elem_classes="hint")
