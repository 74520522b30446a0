"""The report of a review as a self-contained HTML page: charts, tables, and every item with its verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from html import escape, unescape

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
    RANKED_FIRST,
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
from dsum_demo.utils.formatting import quantity

Draw = Callable[[Chart, str], str]

HOW_METRICS = (
    "The share of pairs with a preference in which the metric prefers the same summary; equal values count half. Half "
    "is chance."
)


def review_html(review: Review, items: Sequence[ReviewItem], verdicts: Sequence[Verdict], report: ReviewReport) -> str:
    """The whole page. verdicts: the last revisions (`ReviewStore.verdicts`)."""
    sections = review_sections(review, items, verdicts, report, Chart.html)
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections.items() if content)
    notes = "".join(notice(note, "warning") for note in report.notes)
    return html_page(
        f"dsum: review {review.name}",
        f"<h1>Review: {escape(review.name)}</h1><p>{summary_number(report, verdicts)}</p>{notes}{body}",
        ("shared.css", "evaluate.css", "report.css"),
        ("report.js", "drilldown.js"),
    )


def summary_number(report: ReviewReport, verdicts: Sequence[Verdict]) -> str:
    """The line that counts the verdicts, as a button that shows them."""
    return _Numbers(verdicts).button(escape(summary_line(report)), "All verdicts", _ids(counted(verdicts)))


def review_sections(
    review: Review, items: Sequence[ReviewItem], verdicts: Sequence[Verdict], report: ReviewReport, draw: Draw
) -> dict[str, str]:
    """The sections by title, empty ones included. draw: shows a chart with a name as HTML."""
    numbers = _Numbers(verdicts)
    return {
        "Systems": _systems(review, verdicts, report, numbers, draw),
        "Pairs": _pairs(review, report, numbers, draw),
        "Reviewers": _reviewers(review, items, verdicts, report, numbers),
        "Metrics against people": _metrics(report, numbers, draw),
        "Marked errors": _errors(report, numbers),
        "Items": _items(review, items, verdicts, numbers),
    }


class _Numbers:
    """Numbers and sentences as buttons. drilldown.js then leaves only the verdicts behind the pressed one, and their
    items, in the list of items. A share leads to the verdicts that it counts, another number to those that it is
    computed from.
    """

    def __init__(self, verdicts: Sequence[Verdict]):
        self.places = {verdict.id: place for place, verdict in enumerate(verdicts)}

    def button(self, shown: str, what: str, ids: Iterable[str]) -> str:
        """`shown` is HTML, `what` the plain title of the list; without verdicts there is no button."""
        places = " ".join(str(self.places[one]) for one in dict.fromkeys(ids))
        if not places:
            return shown
        return (
            f'<button type="button" class="number" data-verdicts="{places}" data-what="{escape(what)}">{shown}</button>'
        )


def _systems(review: Review, verdicts: Sequence[Verdict], report: ReviewReport, numbers: _Numbers, draw: Draw) -> str:
    chart = draw(worths_chart(review, report), "worths")
    if not report.systems:
        return chart
    ranked = [verdict for verdict in counted(verdicts) if verdict.ranks]
    rows = _escaped(system_rows(report))
    for cells, system in zip(rows, report.systems, strict=True):
        for place, head in enumerate(SYSTEM_HEADS[1:], 1):
            behind = [v for v in ranked if head != RANKED_FIRST or v.ranks[system.name] == 1]
            cells[place] = numbers.button(cells[place], f"{system.title}, {head}", _ids(behind))
    return chart + html_table(SYSTEM_HEADS, rows) + _hint(f"{HOW_WORTH} {HOW_INTERVALS}")


def _pairs(review: Review, report: ReviewReport, numbers: _Numbers, draw: Draw) -> str:
    if not report.pairs:
        return ""
    titles = system_titles(review.systems)
    rows, sentences = [], ""
    for pair in report.pairs:
        title = f"{titles[pair.first]} against {titles[pair.second]}"
        won, tied, lost = (pair.verdicts[what] for what in ("won", "tied", "lost"))
        shown = (str(pair.won), str(pair.tied), str(pair.lost), escape(percent(pair.preferred)))
        cells = zip(shown, PAIR_HEADS[1:], (won, tied, lost, won), strict=True)
        rows.append([escape(title), *(numbers.button(text, f"{title}, {head}", ids) for text, head, ids in cells)])
        sentences += f"<li>{numbers.button(escape(pair.sentence), title, (*won, *tied, *lost))}</li>"
    table = html_table(PAIR_HEADS, rows)
    return draw(pairs_chart(review, report), "pairs") + table + f"<ul>{sentences}</ul>" + _hint(HOW_DECIDED)


def _reviewers(
    review: Review, items: Sequence[ReviewItem], verdicts: Sequence[Verdict], report: ReviewReport, numbers: _Numbers
) -> str:
    behind = _behind_quality(review, items, verdicts, report)
    rows: list[tuple[str, str, Sequence[str]]] = [
        (sentence, what, behind[what]) for what, sentence in quality_sentences(report).items()
    ]
    rows += [
        (sentence, name, _ids(verdict for verdict in verdicts if verdict.reviewer == name))
        for name, sentence in reviewer_sentences(report).items()
    ]
    hasty = [(f"{one.name}, faster than reading", one.hasty) for one in report.reviewers if one.hasty]
    rows += [(what, what, ids) for what, ids in hasty]
    return f"<ul>{''.join(f'<li>{numbers.button(escape(text), what, ids)}</li>' for text, what, ids in rows)}</ul>"


def _behind_quality(
    review: Review, items: Sequence[ReviewItem], verdicts: Sequence[Verdict], report: ReviewReport
) -> dict[str, list[str]]:
    """Ids of the verdicts behind each sentence about their quality."""
    ranked = [verdict for verdict in counted(verdicts) if verdict.ranks]
    judged = Counter(verdict.item for verdict in ranked)
    repeated = {(verdict.reviewer, verdict.item) for verdict in verdicts if verdict.round and not verdict.skipped}
    lengths = {item.id: {name: len(words(text.text)) for name, text in item.texts.items()} for item in items}
    pairs = preferences(ranked, [system.name for system in review.systems])
    longer = [
        one.verdict
        for one in pairs
        if one.outcome * (lengths[one.verdict.item][one.pair[0]] - lengths[one.verdict.item][one.pair[1]]) > 0
    ]
    return {
        AGREEMENT: _ids(verdict for verdict in ranked if judged[verdict.item] > 1),
        CONSISTENCY: _ids(v for v in verdicts if (v.reviewer, v.item) in repeated and not v.skipped),
        POSITION: _ids(v for v in ranked if [v.ranks[names[0]] for names in v.order].index(1) == 0),
        LENGTH: _ids(longer),
        BAD: list(report.all_bad_verdicts),
        SKIPPED: _ids(report.skipped),
    }


def _metrics(report: ReviewReport, numbers: _Numbers, draw: Draw) -> str:
    chart = draw(metrics_chart(report), "metrics")
    if not report.metrics:
        return chart
    heads = ("Metric or check", "Agrees with people", "Pairs", "Equal values", "Direction", "Verdicts against it")
    rows = []
    for row in report.metrics:
        agrees, pairs, equal, against = (
            numbers.button(escape(text), f"{row.title}, {head}", ids)
            for text, head, ids in (
                (percent(row.share), heads[1], (*row.agreeing, *row.undecided)),
                (str(row.pairs), heads[2], row.verdicts),
                (str(row.equal), heads[3], row.undecided),
                (str(len(row.against)), heads[5], row.against),
            )
        )
        rows.append([escape(row.title), agrees, pairs, equal, escape(row.direction), against])
    return chart + html_table(heads, rows) + _hint(HOW_METRICS)


def _errors(report: ReviewReport, numbers: _Numbers) -> str:
    if not report.errors:
        return ""
    shown = [rate for rate in report.errors if rate.marked or rate.kind == ALL_KINDS]
    rows = [
        [
            title,
            kind,
            *(
                numbers.button(text, f"{unescape(title)}, {kind}: {head}", rate.verdicts)
                for text, head in zip(values, ERROR_HEADS[2:], strict=True)
            ),
        ]
        for (title, kind, *values), rate in zip(_escaped(error_rows(report)), shown, strict=True)
    ]
    return html_table(ERROR_HEADS, rows)


def _items(review: Review, items: Sequence[ReviewItem], verdicts: Sequence[Verdict], numbers: _Numbers) -> str:
    """Each item with its texts and verdicts, folded, below what the list shows."""
    names, looks = system_titles(review.systems), system_looks(review.systems)
    by_item: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_item.setdefault(verdict.item, []).append(verdict)
    folded = []
    for item in items:
        own = by_item.get(item.id, [])
        cards = "".join(
            card(
                looks[name].css_class, names[name], quantity(len(counted(own)), "verdict"),
                f'<p class="summary" dir="auto">{escape(text.text)}</p>', _marks(own, name), copyable=False,
            )
            for name, text in item.texts.items()
        )  # fmt: skip
        lines = "".join(f'<p dir="auto">{escape(line)}</p>' for line in item.dialogue.splitlines())
        references = "".join(f'<p class="hint" dir="auto">Reference: {escape(text)}</p>' for text in item.references)
        answers = "".join(
            f'<li data-verdict="{numbers.places[verdict.id]}">{_answer(verdict, names)}</li>' for verdict in own
        )
        folded.append(
            f"<details><summary>{escape(item.id)} ({quantity(len(own), 'answer')})</summary>"
            f'<section class="example"><ul>{answers}</ul><div class="example-grid"><div class="example-text">'
            f'<div class="turns" tabindex="0" aria-label="Dialogue">{lines}</div>{references}</div>'
            f'<div class="example-cards">{cards}</div></div></section></details>'
        )
    shown = (
        '<div class="items-shown" role="group" aria-label="Shown items" tabindex="-1" hidden><b></b>'
        '<button type="button" class="all-items">Show all items</button>'
        '<button type="button" class="to-number">Back to the number</button></div>'
    )
    return f'<div class="review-items">{shown}{"".join(folded)}</div>'


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


def _ids(verdicts: Iterable[Verdict]) -> list[str]:
    return [verdict.id for verdict in verdicts]


def _escaped(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    return [[escape(cell) for cell in row] for row in rows]


def _hint(text: str) -> str:
    return f'<p class="hint">{escape(text)}</p>'
