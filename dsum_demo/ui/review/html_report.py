"""The report of a review as a self-contained HTML page: charts, tables, and every item with its verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from dsum_demo.metrics.words import words
from dsum_demo.review.marked_errors import ALL_KINDS
from dsum_demo.review.preferences import counted, preferences
from dsum_demo.review.records import Review, ReviewItem, Verdict
from dsum_demo.review.report import HOW_DECIDED, HOW_INTERVALS, HOW_WORTH, ReviewReport
from dsum_demo.review.report_text import (
    AGREEMENT,
    BAD,
    CONSISTENCY,
    ERROR_HEADS,
    LENGTH,
    PAIR_HEADS,
    POSITION,
    SKIPPED,
    SYSTEM_HEADS,
    error_rows,
    percent,
    quality_sentences,
    reviewer_sentences,
    summary_line,
    system_rows,
)
from dsum_demo.ui.appearance import system_looks, system_titles
from dsum_demo.ui.assets import html_page
from dsum_demo.ui.charts import Chart
from dsum_demo.ui.html import card, html_table, notice
from dsum_demo.ui.review.charts import metrics_chart, pairs_chart, worths_chart

Draw = Callable[[Chart, str], str]

HOW_METRICS = (
    "The share of pairs with a preference in which the metric prefers the same summary; equal values count half. Half "
    "is chance."
)


def review_html(review: Review, items: Sequence[ReviewItem], verdicts: Sequence[Verdict], report: ReviewReport) -> str:
    """The whole page. verdicts: the last revisions (`ReviewStore.verdicts`). Numbers link to their items below."""
    sections = review_sections(review, items, verdicts, report, Chart.html)
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections.items() if content)
    notes = "".join(notice(note, "warning") for note in report.notes)
    return html_page(
        f"dsum: review {review.name}",
        f"<h1>Review: {escape(review.name)}</h1><p>{escape(summary_line(report))}</p>{notes}{body}",
        ("shared.css", "evaluate.css", "report.css"),
        "report.js",
    )


def review_sections(
    review: Review, items: Sequence[ReviewItem], verdicts: Sequence[Verdict], report: ReviewReport, draw: Draw
) -> dict[str, str]:
    """The sections by title, empty ones included. draw: shows a chart with a name as HTML."""
    places = {item.id: number for number, item in enumerate(items, 1)}
    return {
        "Systems": _systems(review, verdicts, report, places, draw),
        "Pairs": _pairs(review, report, places, draw),
        "Reviewers": _reviewers(review, items, verdicts, report, places),
        "Metrics against people": _metrics(report, places, draw),
        "Marked errors": _errors(report, places),
        "Items": _items(review, items, verdicts),
    }


def _systems(
    review: Review, verdicts: Sequence[Verdict], report: ReviewReport, places: dict[str, int], draw: Draw
) -> str:
    chart = draw(worths_chart(review, report), "worths")
    if not report.systems:
        return chart
    rows = _escaped(system_rows(report))
    for cells, system in zip(rows, report.systems, strict=True):
        best = [verdict.item for verdict in counted(verdicts) if verdict.ranks.get(system.name) == 1]
        place = SYSTEM_HEADS.index("Ranked first")
        cells[place] = _linked(cells[place], best, places)
    return chart + html_table(SYSTEM_HEADS, rows) + _hint(f"{HOW_WORTH} {HOW_INTERVALS}")


def _pairs(review: Review, report: ReviewReport, places: dict[str, int], draw: Draw) -> str:
    if not report.pairs:
        return ""
    titles = system_titles(review.systems)
    rows = [
        [
            escape(f"{titles[pair.first]} against {titles[pair.second]}"),
            *(_linked(str(getattr(pair, what)), pair.items[what], places) for what in ("won", "tied", "lost")),
            escape(percent(pair.preferred)),
        ]
        for pair in report.pairs
    ]
    sentences = "".join(f"<li>{escape(pair.sentence)}</li>" for pair in report.pairs)
    table = html_table(PAIR_HEADS, rows)
    return draw(pairs_chart(review, report), "pairs") + table + f"<ul>{sentences}</ul>" + _hint(HOW_DECIDED)


def _reviewers(
    review: Review,
    items: Sequence[ReviewItem],
    verdicts: Sequence[Verdict],
    report: ReviewReport,
    places: dict[str, int],
) -> str:
    behind = _items_behind(review, items, verdicts, report)
    rows: list[tuple[str, Sequence[str]]] = [
        (sentence, behind[what]) for what, sentence in quality_sentences(report).items()
    ]
    rows += [
        (sentence, [verdict.item for verdict in verdicts if verdict.reviewer == name])
        for name, sentence in reviewer_sentences(report).items()
    ]
    rows += [(f"{one.name}, faster than reading", one.hasty) for one in report.reviewers if one.hasty]
    sentences = "".join(f"<li>{_linked(escape(sentence), ids, places)}</li>" for sentence, ids in rows)
    return f"<ul>{sentences}</ul>"


def _items_behind(
    review: Review, items: Sequence[ReviewItem], verdicts: Sequence[Verdict], report: ReviewReport
) -> dict[str, list[str]]:
    """The items of each sentence about the quality of the verdicts."""
    ranked = [verdict for verdict in counted(verdicts) if verdict.ranks]
    judged = [verdict.item for verdict in ranked]
    lengths = {item.id: {name: len(words(text.text)) for name, text in item.texts.items()} for item in items}
    pairs = preferences(ranked, [system.name for system in review.systems])
    longer = [
        one.verdict.item
        for one in pairs
        if one.outcome * (lengths[one.verdict.item][one.pair[0]] - lengths[one.verdict.item][one.pair[1]]) > 0
    ]
    return {
        AGREEMENT: [item for item in judged if judged.count(item) > 1],
        CONSISTENCY: [verdict.item for verdict in verdicts if verdict.round],
        POSITION: [v.item for v in ranked if [v.ranks[names[0]] for names in v.order].index(1) == 0],
        LENGTH: longer,
        BAD: list(report.all_bad_items),
        SKIPPED: [verdict.item for verdict in report.skipped],
    }


def _metrics(report: ReviewReport, places: dict[str, int], draw: Draw) -> str:
    chart = draw(metrics_chart(report), "metrics")
    if not report.metrics:
        return chart
    rows = [
        [
            escape(row.title), escape(percent(row.share)), _linked(str(row.pairs), row.items, places),
            _linked(str(row.equal), row.equal_items, places), escape(row.direction),
            _linked(str(len(row.against)), row.against, places),
        ]
        for row in report.metrics
    ]  # fmt: skip
    heads = ("Metric or check", "Agrees with people", "Pairs", "Equal values", "Direction", "Items against it")
    return chart + html_table(heads, rows) + _hint(HOW_METRICS)


def _errors(report: ReviewReport, places: dict[str, int]) -> str:
    if not report.errors:
        return ""
    shown = [rate for rate in report.errors if rate.marked or rate.kind == ALL_KINDS]
    rows = [
        [title, kind, _linked(marked, rate.items, places), *rates]
        for (title, kind, marked, *rates), rate in zip(_escaped(error_rows(report)), shown, strict=True)
    ]
    return html_table(ERROR_HEADS, rows)


def _items(review: Review, items: Sequence[ReviewItem], verdicts: Sequence[Verdict]) -> str:
    """Each item with its texts and verdicts, folded."""
    names, looks = system_titles(review.systems), system_looks(review.systems)
    by_item: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_item.setdefault(verdict.item, []).append(verdict)
    folded = []
    for number, item in enumerate(items, 1):
        own = by_item.get(item.id, [])
        cards = "".join(
            card(
                looks[name].css_class, names[name], _count(len(counted(own)), "verdict"),
                f'<p class="summary" dir="auto">{escape(text.text)}</p>', _marks(own, name), copyable=False,
            )
            for name, text in item.texts.items()
        )  # fmt: skip
        lines = "".join(f'<p dir="auto">{escape(line)}</p>' for line in item.dialogue.splitlines())
        references = "".join(f'<p class="hint" dir="auto">Reference: {escape(text)}</p>' for text in item.references)
        answers = "".join(f"<li>{_answer(verdict, names)}</li>" for verdict in own)
        folded.append(
            f"<details><summary>{escape(item.id)} ({_count(len(own), 'answer')})</summary>"
            # A link to it opens the folded element around it.
            f'<section class="example" id="item-{number}"><div class="example-grid"><div class="example-text">'
            f'<div class="turns" tabindex="0" aria-label="Dialogue">{lines}</div>{references}</div>'
            f'<div class="example-cards">{cards}</div></div><ul>{answers}</ul></section></details>'
        )
    return "".join(folded)


def _marks(verdicts: Iterable[Verdict], name: str) -> str:
    kinds = [span.kind for verdict in verdicts for span in verdict.spans if span.system == name]
    return escape(", ".join(f"{kind} ({kinds.count(kind)})" for kind in dict.fromkeys(kinds)))


def _answer(verdict: Verdict, names: dict[str, str]) -> str:
    again = " (again)" if verdict.round else ""
    if verdict.skipped:
        what = f"skipped: {verdict.skipped}"
    elif verdict.all_bad:
        what = "all bad"
    else:
        places = sorted(set(verdict.ranks.values()))
        what = " > ".join(
            " = ".join(names[name] for name, rank in verdict.ranks.items() if rank == place) for place in places
        )
    comment = f" – “{verdict.comment}”" if verdict.comment else ""
    return escape(f"{verdict.reviewer}{again}: {what} ({verdict.seconds:.0f} s){comment}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _linked(shown: str, ids: Iterable[str], places: dict[str, int]) -> str:
    """A number or a sentence with links to its items, folded."""
    links = ", ".join(f'<a href="#item-{places[one]}">{escape(one)}</a>' for one in dict.fromkeys(ids))
    return f"<details><summary>{shown}</summary>{links}</details>" if links else shown


def _escaped(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    return [[escape(cell) for cell in row] for row in rows]


def _hint(text: str) -> str:
    return f'<p class="hint">{escape(text)}</p>'
