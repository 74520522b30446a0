"""The report of a review as Markdown and JSON, and all exports of a review in one folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.review.export import preference_jsonl, review_jsonl, verdicts_csv
from dsum_demo.review.marked_errors import ALL_KINDS
from dsum_demo.review.records import Review, ReviewItem, Verdict
from dsum_demo.review.report import HOW_DECIDED, HOW_INTERVALS, HOW_WORTH, ReviewReport
from dsum_demo.utils.files import write_texts
from dsum_demo.utils.formatting import duration, markdown_cell, markdown_table


def review_markdown(report: ReviewReport) -> str:
    """Tables and sentences for a README or a pull request."""
    titles = {system.name: markdown_cell(system.title) for system in report.systems}
    lines = [f"# Review: {markdown_cell(report.name)}", "", summary_line(report), ""]
    if report.notes:
        lines += [*(f"- {note}" for note in report.notes), ""]
    if report.systems:
        lines += ["## Systems", ""]
        lines += markdown_table(SYSTEM_HEADS, _cells(system_rows(report)))
        lines += ["", f"{HOW_WORTH} {HOW_INTERVALS}", "", "## Pairs", ""]
        lines += markdown_table(
            PAIR_HEADS,
            (
                [
                    f"{titles[pair.first]} against {titles[pair.second]}", str(pair.won), str(pair.tied),
                    str(pair.lost), percent(pair.preferred),
                ]
                for pair in report.pairs
            ),
        )  # fmt: skip
        lines += ["", *(f"- {markdown_cell(pair.sentence)}" for pair in report.pairs), "", HOW_DECIDED, ""]
    lines += ["## Reviewers", "", *(f"- {sentence}" for sentence in quality_sentences(report).values())]
    lines += [*(f"- {sentence}" for sentence in reviewer_sentences(report).values()), ""]
    if report.metrics:
        lines += ["## Metrics against people", "", *(f"- {row.sentence}" for row in report.metrics), ""]
    if report.errors:
        lines += ["## Marked errors", ""]
        lines += markdown_table(ERROR_HEADS, _cells(error_rows(report)))
        lines += [""]
    return "\n".join(lines)


RANKED_FIRST = "Ranked first"
SYSTEM_HEADS = ("System", "Worth", "At equal length", "P(best)", RANKED_FIRST, "Mean rank", "Words")
PAIR_HEADS = ("Pair", "Won", "Tied", "Lost", "Preferred, without ties")
ERROR_HEADS = ("System", "Kind", "Marked", "Per summary", "Per 100 words")


def system_rows(report: ReviewReport) -> list[list[str]]:
    """The cells below SYSTEM_HEADS."""
    return [
        [
            system.title, decimal(system.worth), decimal(system.adjusted_worth),
            f"{100 * system.p_best:.0f} %", percent(system.first), decimal(system.mean_rank),
            f"{system.mean_words:.0f}",
        ]
        for system in report.systems
    ]  # fmt: skip


def error_rows(report: ReviewReport) -> list[list[str]]:
    """The cells below ERROR_HEADS, without kinds that were never marked."""
    titles = {system.name: system.title for system in report.systems}
    return [
        [
            titles.get(rate.system, rate.system), "all" if rate.kind == ALL_KINDS else rate.kind, str(rate.marked),
            decimal(rate.per_summary), decimal(rate.per_100_words),
        ]
        for rate in report.errors
        if rate.marked or rate.kind == ALL_KINDS
    ]  # fmt: skip


def summary_line(report: ReviewReport) -> str:
    """How many verdicts there are, of how many reviewers, and what they are on."""
    reviewers = len(report.reviewers)
    return (
        f"{report.verdicts:,} verdict{'' if report.verdicts == 1 else 's'} of {reviewers} "
        f"reviewer{'' if reviewers == 1 else 's'} on {report.dialogues:,} of {report.items:,} "
        f"dialogue{'' if report.items == 1 else 's'} of {report.source}."
    )


AGREEMENT, CONSISTENCY, POSITION = "agreement", "consistency", "position"
LENGTH, BAD, SKIPPED = "length", "bad", "skipped"


def quality_sentences(report: ReviewReport) -> dict[str, str]:
    """Agreement, self-consistency, signs of bias, all bad and skipped items, one sentence each."""
    found = {AGREEMENT: report.agreement.sentence}
    if report.self_consistency:
        found[CONSISTENCY] = (
            f"Repeated items: reviewers judged {percent(report.self_consistency)} of pairs the same way again."
        )
    if report.position:
        found[POSITION] = report.position.sentence
    if report.longer_wins:
        found[LENGTH] = f"The longer text is preferred in {percent(report.longer_wins)} of pairs with a preference."
    if report.all_bad_verdicts and report.all_bad:
        found[BAD] = f"All summaries are bad in {percent(report.all_bad)} of verdicts."
    if report.skipped:
        reasons = dict.fromkeys(markdown_cell(verdict.skipped) for verdict in report.skipped)
        found[SKIPPED] = f"{len(report.skipped)} skipped: {', '.join(reasons)}."
    return found


def reviewer_sentences(report: ReviewReport) -> dict[str, str]:
    """The number of answers and the time per item of each reviewer, by name."""
    return {
        one.name: f"{one.name}: {one.verdicts} answer{'' if one.verdicts == 1 else 's'}, median "
        f"{duration(one.median_seconds)}" + (f", {len(one.hasty)} faster than reading." if one.hasty else ".")
        for one in report.reviewers
        if one.median_seconds is not None
    }


def decimal(interval: Interval | None) -> str:
    """ "0.52 [0.44, 0.60]"; – without a value."""
    return "–" if interval is None else interval.text(1, 2)


def percent(interval: Interval | None) -> str:
    """ "61 % [52, 70]"; – without a value."""
    return "–" if interval is None else interval.text(digits=0, unit=" %")


def review_json(report: ReviewReport) -> str:
    return json.dumps(report.as_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def write_review_exports(
    review: Review, items: Sequence[ReviewItem], history: Sequence[Verdict], report: ReviewReport, folder: Path
) -> list[Path]:
    """Write verdicts.csv, review.jsonl, preferences.jsonl, report.json and report.md to `folder`, which is created if
    necessary. history: all revisions (`ReviewStore.verdicts`).
    """
    last = {(verdict.item, verdict.reviewer, verdict.round): verdict for verdict in history}
    contents: dict[str, Iterable[str]] = {
        "verdicts.csv": verdicts_csv(review, history),
        "review.jsonl": review_jsonl(review, items, history),
        "preferences.jsonl": preference_jsonl(review, items, list(last.values())),
        "report.json": [review_json(report)],
        "report.md": [review_markdown(report)],
    }
    return write_texts(folder, contents)


def _cells(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    return [[markdown_cell(cell) for cell in row] for row in rows]
