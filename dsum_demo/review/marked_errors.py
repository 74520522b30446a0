"""Rates of the errors that reviewers marked, per summary and per 100 words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dsum_demo.metrics.bootstrap import Bootstrap, Interval
from dsum_demo.metrics.words import words
from dsum_demo.review.records import SPAN_KINDS, ErrorSpan, ReviewItem, Verdict

ALL_KINDS = "any"


@dataclass(frozen=True)
class ErrorRate:
    """Errors of one kind (or ALL_KINDS) that reviewers marked for one system. verdicts: ids of those with
    such a mark.
    """

    system: str
    kind: str
    marked: int
    per_summary: Interval
    per_100_words: Interval
    verdicts: tuple[str, ...]


def error_rates(
    verdicts: Sequence[Verdict],
    items: Mapping[str, ReviewItem],
    systems: Sequence[str],
    dialogues: Mapping[str, int],
    *,
    seed: int,
    resamples: int,
) -> list[ErrorRate]:
    """By system and kind, ALL_KINDS first; empty if no verdict has a marked error. A mark on a card counts for each
    system that wrote its text, and a missing point without a system for all.
    """
    if not any(verdict.spans for verdict in verdicts):
        return []
    kinds = (ALL_KINDS, *SPAN_KINDS)
    columns = [(name, kind) for name in systems for kind in kinds]
    places = sorted({dialogues[verdict.item] for verdict in verdicts})
    rows = {place: [0.0] * (len(columns) + len(systems) + 1) for place in places}
    where: dict[tuple[str, str], dict[str, None]] = {column: {} for column in columns}
    for verdict in verdicts:
        row = rows[dialogues[verdict.item]]
        row[-1] += 1
        for place, name in enumerate(systems):
            row[len(columns) + place] += len(words(items[verdict.item].texts[name].text))
        for span in verdict.spans:
            for name in concerned(span, verdict):
                for kind in (ALL_KINDS, span.kind):
                    row[columns.index((name, kind))] += 1
                    where[name, kind][verdict.id] = None
    table = list(rows.values())
    bootstrap = Bootstrap(table, seed=seed, resamples=resamples)
    found = []
    for place, (name, kind) in enumerate(columns):
        length = len(columns) + list(systems).index(name)

        def per(column: int, factor: float = 1.0, place: int = place) -> Interval:
            return bootstrap.statistic(lambda means: factor * means[..., place] / means[..., column], len(table))

        marked = int(sum(row[place] for row in table))
        found.append(ErrorRate(name, kind, marked, per(-1), per(length, 100.0), tuple(where[name, kind])))
    return found


def concerned(span: ErrorSpan, verdict: Verdict) -> tuple[str, ...]:
    """The systems that a marked error counts for."""
    if not span.system:
        return tuple(name for names in verdict.order for name in names)
    return next(names for names in verdict.order if span.system in names)
