"""An evaluation as a self-contained HTML page: headline, charts, tables, examples, plotly.js and CSS."""

from __future__ import annotations

from html import escape

from dsum_demo.evaluation.records import Evaluation
from dsum_demo.evaluation.report import Report
from dsum_demo.metrics.scores import HEADLINE
from dsum_demo.ui.assets import html_page
from dsum_demo.ui.evaluate import tables
from dsum_demo.ui.evaluate.charts import differences_chart, length_chart, means_chart, slices_chart
from dsum_demo.ui.evaluate.example_detail import example_view
from dsum_demo.ui.evaluate.example_table import Selection, columns, select
from dsum_demo.ui.html import SHARED
from dsum_demo.ui.sortable_table import headings

MOST_EXAMPLES = 2_000  # browsers are slow on a page with more
NO_TEXTS = "The dialogue is not in this report: it was not recorded, or the dataset is not distributed with the app."


def html_report(evaluation: Evaluation, report: Report) -> str:
    """The whole page, with the first MOST_EXAMPLES examples; a note states if there are more."""
    sections = {
        "Scores": _scores(evaluation, report),
        "Differences": _differences(evaluation, report),
        "Slices": "".join(
            slices_chart(evaluation, report, by, HEADLINE).html(f"by-{by}")
            + tables.slices_table(evaluation, report, by, HEADLINE)
            for by in ("topic", "length", "speakers")
        ),
        "Checks": tables.checks_table(evaluation, report),
        "Examples": _examples(evaluation, report),
    }
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections.items())
    return html_page(
        f"dsum: evaluation of {report.data}",
        f"<h1>Evaluation of {escape(report.data)}</h1>{tables.facts(evaluation, report, report.data)}"
        f"{tables.headline(report)}{tables.warnings(report)}{tables.signature(report)}{body}",
        ("shared.css", "evaluate.css", "report.css"),
        ("report.js",),
    )


def _scores(evaluation: Evaluation, report: Report) -> str:
    parts = f"<details><summary>Precision, recall and F1</summary>{tables.parts_table(evaluation, report)}</details>"
    return means_chart(evaluation, report).html("means") + tables.means_table(evaluation, report) + parts


def _differences(evaluation: Evaluation, report: Report) -> str:
    charts = "".join(
        differences_chart(evaluation, one.system, one.baseline, HEADLINE).html(f"pair-{number}")
        for number, one in enumerate(report.differences)
        if one.f1
    )
    length = length_chart(evaluation, HEADLINE).html("length")
    return charts + tables.differences_table(evaluation, report) + length


def _examples(evaluation: Evaluation, report: Report) -> str:
    selection = Selection(rouge=HEADLINE)
    rows = select(evaluation, report, selection)
    shown = columns(evaluation, selection)
    bodies = []
    for row in rows[:MOST_EXAMPLES]:
        cells = "".join(f'<td data-value="{_value(c.value(row))}"{c.css}>{c.shown(row)}</td>' for c in shown)
        folded = example_view(evaluation, row.example, SHARED, "", NO_TEXTS)
        bodies.append(
            f'<tbody><tr tabindex="0" data-example="{escape(row.example.id)}" aria-expanded="false">{cells}</tr>'
            f'<tr class="unfolded" hidden><td colspan="{len(shown)}">{folded}</td></tr></tbody>'
        )
    said = "Click a row to expand it, a heading to sort."
    if len(rows) > MOST_EXAMPLES:
        said += (
            f" Showing the first {MOST_EXAMPLES:,} of {len(rows):,} examples; the CSV and JSON Lines files have all."
        )
    return (
        f'<p class="hint">{said}</p>'
        '<div class="scroll"><table class="scores sortable examples"><thead>'
        f"<tr>{headings(shown)}</tr></thead>{''.join(bodies)}</table></div>"
    )


def _value(value: str | float | None) -> str:
    if value is None:
        return ""
    return escape(value[:200]) if isinstance(value, str) else f"{value:.6g}"
