"""An evaluation as a self-contained HTML page: headline, charts, tables, examples, plotly.js and CSS."""

from __future__ import annotations

from html import escape

import plotly.offline

from dsum_demo.evaluation.records import Evaluation
from dsum_demo.evaluation.report import Report
from dsum_demo.metrics.scores import HEADLINE
from dsum_demo.ui.assets import read
from dsum_demo.ui.evaluate import tables
from dsum_demo.ui.evaluate.charts import Chart, differences_chart, length_chart, means_chart, slices_chart
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
            _chart(slices_chart(evaluation, report, by, HEADLINE), f"by-{by}")
            + tables.slices_table(evaluation, report, by, HEADLINE)
            for by in ("topic", "length", "speakers")
        ),
        "Checks": tables.checks_table(evaluation, report),
        "Examples": _examples(evaluation, report),
    }
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>dsum: evaluation of {escape(report.data)}</title>"
        f"<style>{read('shared.css', 'evaluate.css', 'report.css')}</style>"
        f"<script>{plotly.offline.get_plotlyjs()}</script></head><body>"
        f"<h1>Evaluation of {escape(report.data)}</h1>{tables.facts(evaluation, report, report.data)}"
        f"{tables.headline(report)}{tables.warnings(report)}{tables.signature(report)}{body}"
        f"<script>{read('report.js')}</script></body></html>\n"
    )


def _scores(evaluation: Evaluation, report: Report) -> str:
    parts = f"<details><summary>Precision, recall and F1</summary>{tables.parts_table(evaluation, report)}</details>"
    return _chart(means_chart(evaluation, report), "means") + tables.means_table(evaluation, report) + parts


def _differences(evaluation: Evaluation, report: Report) -> str:
    charts = "".join(
        _chart(differences_chart(evaluation, one.system, one.baseline, HEADLINE), f"pair-{number}")
        for number, one in enumerate(report.differences)
        if one.f1
    )
    length = _chart(length_chart(evaluation, HEADLINE), "length")
    return charts + tables.differences_table(evaluation, report) + length


def _chart(chart: Chart, name: str) -> str:
    heading = f"<h3>{escape(chart.title)}</h3>"
    if chart.figure is None:
        return heading
    config = {"displayModeBar": False, "responsive": True}
    drawn = chart.figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"chart-{name}", config=config)
    return f'{heading}<div class="chart">{drawn}</div>'


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
