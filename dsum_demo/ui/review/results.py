"""The results of a review on the page, and its downloads."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from dsum_demo.errors import DsumError, InputError
from dsum_demo.review.records import Review, ReviewItem, Verdict
from dsum_demo.review.report import ReviewReport, build_review_report
from dsum_demo.review.report_text import write_review_exports
from dsum_demo.ui.html import notice
from dsum_demo.ui.review.charts import metrics_chart, pairs_chart, worths_chart
from dsum_demo.ui.review.html_report import review_html, review_sections, summary_number
from dsum_demo.ui.review.visitor import Visitor
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import Update

# Each chart is below the section of its name.
CHARTS = ("Systems", "Pairs", "Metrics against people")
RESULT_PARTS = (
    "results", "facts", "systems", "systems_chart", "pairs", "pairs_chart", "metrics", "metrics_chart", "others",
)  # fmt: skip
TYPES = {".csv": "text/csv", ".jsonl": "application/jsonl", ".json": "application/json", ".md": "text/markdown"}


def build_results() -> dict[str, Any]:
    """The components of RESULT_PARTS, hidden."""
    built: dict[str, Any] = {}
    with gr.Column(visible=False, elem_id="review-results") as built["results"]:
        built["facts"] = gr.HTML(js_on_load="dsum.listenToReview(element, trigger)", elem_id="review-facts")
        for name in ("systems", "pairs", "metrics"):
            built[name] = gr.HTML(elem_id=f"review-{name}")
            built[f"{name}_chart"] = gr.Plot(show_label=False, container=False, elem_id=f"review-{name}-chart")
        built["others"] = gr.HTML(elem_id="review-others")
        # A link of the facts presses the button; a script presses the other one when the file is there.
        built["page"] = gr.Button("report.html", visible="hidden", elem_id="review-page")
        built["page_file"] = gr.DownloadButton("report.html", visible="hidden", elem_id="review-page-file")
    return built


def check_access(services: Services, visitor: Visitor, review: Review) -> None:
    """Raises InputError if the visitor may not see the results, or not yet."""
    if visitor.may_see_results(services.reviews, review):
        return
    if not review.settings.share_results and not visitor.owns(review):
        raise InputError("The results of this review are only for the browser that started it.")
    raise InputError("The results open when you have answered every item and revealed the systems.")


def draw_results(services: Services, review: Review) -> dict[str, Update]:
    """Updates of RESULT_PARTS."""
    store = services.reviews
    items, verdicts = store.items(review.id), store.verdicts(review.id)
    report = build_review_report(review, items, verdicts)
    sections = review_sections(review, items, verdicts, report, lambda chart, name: f"<h4>{escape(chart.title)}</h4>")
    charts = {
        "systems": worths_chart(review, report),
        "pairs": pairs_chart(review, report),
        "metrics": metrics_chart(report),
    }
    titles = dict(zip(charts, CHARTS, strict=True))
    drawn: dict[str, Update] = {name: _section(title, sections[title]) for name, title in titles.items()}
    drawn |= {
        f"{name}_chart": gr.update(value=chart.figure, visible=chart.figure is not None)
        for name, chart in charts.items()
    }
    drawn["others"] = "".join(_section(title, sections[title]) for title in sections if title not in CHARTS)
    notes = "".join(notice(note, "warning") for note in report.notes)
    drawn["facts"] = (
        f'<div data-view="facts" data-token="{escape(review.token)}"><header class="review-head">'
        f'<h2>Results of {escape(review.name)}</h2><span class="review-links">'
        '<button type="button" data-do="view">Back to the review</button>'
        '<button type="button" data-do="leave">All reviews</button></span></header>'
        f"<p>{summary_number(report, verdicts)}</p>{notes}</div>"
    )
    drawn["facts"] += _downloads(review, items, store.verdicts(review.id, history=True), report)
    return {**drawn, "results": gr.update(visible=True)}


def write_page(services: Services, secret: str, names: Any, token: str) -> Iterator[Update]:
    """The report of the shown review as one HTML page. It is written when it is downloaded, because it contains plotly.
    gradio keeps a copy for an hour, so ours is deleted immediately.
    """
    try:
        review = services.reviews.by_token(token if isinstance(token, str) else "")
        check_access(services, Visitor.read(secret, names), review)
        items, verdicts = services.reviews.items(review.id), services.reviews.verdicts(review.id)
        page = review_html(review, items, verdicts, build_review_report(review, items, verdicts))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "report.html")
            file.write_text(page, encoding="utf-8", errors="replace")
            yield gr.update(value=str(file))
    except DsumError as error:
        raise gr.Error(services.told(error), print_exception=False) from error


def _section(title: str, content: str) -> str:
    return f"<section><h3>{title}</h3>{content}</section>" if content else ""


def _downloads(review: Review, items: Sequence[ReviewItem], history: Sequence[Verdict], report: ReviewReport) -> str:
    """Links that contain the files, so that no temporary files remain."""
    links = []
    with tempfile.TemporaryDirectory() as folder:
        for file in write_review_exports(review, items, history, report, Path(folder)):
            data = base64.b64encode(file.read_bytes()).decode()
            links.append(
                f'<a class="download" download="{file.name}" '
                f'href="data:{TYPES[file.suffix]};charset=utf-8;base64,{data}">{file.name}</a>'
            )
    links.append('<button type="button" data-do="page">report.html</button>')
    return (
        f'<div class="downloads" data-view="downloads" data-token="{escape(review.token)}"><span>Download</span>'
        f"{''.join(links)}</div>"
    )
