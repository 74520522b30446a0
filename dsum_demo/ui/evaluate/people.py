"""How often each metric and check of an open evaluation agrees with people, from the visitor's reviews of its texts."""

from __future__ import annotations

from html import escape

from dsum_demo.review.metric_agreement import MetricAgreement, agreement_in
from dsum_demo.review.records import Review
from dsum_demo.review.report import RESAMPLES
from dsum_demo.review.report_text import percent
from dsum_demo.ui.html import html_table
from dsum_demo.ui.review.visitor import Visitor
from dsum_demo.ui.services import Services

HOW = (
    "Of the pairs of summaries of which a reviewer prefers one, the share in which the metric prefers the same one; "
    "equal values count half. 50 % is chance. The Review tab has the verdicts."
)


def agreement_with_people(services: Services, key: str, owner: str) -> str:
    """A table for each review of the evaluation's texts that the visitor started and may see the results of, or ""."""
    opened = services.evaluations.get(key)
    if opened is None:
        return ""
    shown = []
    for review in Visitor.read(owner, {}).reviews_with_results(services.reviews):
        rows = agreement_in(opened.evaluation, review, services.reviews, seed=0, resamples=RESAMPLES)
        if rows:
            shown.append(_table(review, rows))
    return f'<h3>Agreement with people</h3>{"".join(shown)}<p class="hint">{HOW}</p>' if shown else ""


def _table(review: Review, rows: list[MetricAgreement]) -> str:
    cells = [[escape(row.title), percent(row.share), str(row.pairs), escape(row.direction)] for row in rows]
    simulated = " (simulated verdicts)" if review.simulated else ""
    heads = [f"{escape(review.name)}{simulated}", "Agrees with people", "Pairs", "Direction"]
    return html_table(heads, cells)
