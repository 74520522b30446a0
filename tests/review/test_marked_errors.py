"""Rates of marked errors per summary and per 100 words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dsum_demo.metrics.words import words
from dsum_demo.review.marked_errors import ALL_KINDS, error_rates
from dsum_demo.review.records import SPAN_KINDS, ErrorSpan
from tests.review.conftest import item, verdict

NAMES = ("original", "full", "lora")
ITEMS = {f"item{number}": item(number) for number in range(20)}
DIALOGUES = {name: place for place, name in enumerate(ITEMS)}


def rates(verdicts):
    found = error_rates(verdicts, ITEMS, NAMES, DIALOGUES, seed=0, resamples=200)
    return {(rate.system, rate.kind): rate for rate in found}


def test_errors_are_counted_per_summary_and_per_100_words():
    marks = (ErrorSpan("invented", 0, 3, "full"), ErrorSpan("wrong number", 4, 6, "full"))
    verdicts = [verdict(name, "A", [1, 2, 3], spans=marks if n < 5 else ()) for n, name in enumerate(ITEMS)]
    found = rates(verdicts)
    assert set(found) == {(name, kind) for name in NAMES for kind in (ALL_KINDS, *SPAN_KINDS)}
    everything = found["full", ALL_KINDS]
    assert everything.marked == 10 and everything.per_summary.mean == pytest.approx(0.5)
    total = sum(len(words(one.texts["full"].text)) for one in ITEMS.values())
    assert everything.per_100_words.mean == pytest.approx(100 * 10 / total)
    assert everything.per_summary.low < 0.5 < everything.per_summary.high
    assert found["full", "invented"].marked == 5 and found["full", "invented"].verdicts == tuple(
        f"{one}-A-0" for one in list(ITEMS)[:5]
    )
    assert found["lora", ALL_KINDS].marked == 0 and found["lora", ALL_KINDS].verdicts == ()


def test_a_mark_on_a_shared_card_counts_for_each_of_its_systems():
    shared = replace(
        verdict("item0", "A", [2, 1, 1], spans=(ErrorSpan("unclear", 0, 3, "lora"),)),
        order=(("full", "lora"), ("original",)),
    )
    found = rates([shared])
    assert [found[name, "unclear"].marked for name in NAMES] == [0, 1, 1]


def test_a_missing_point_without_a_system_counts_for_all():
    found = rates([verdict("item0", "A", [1, 2, 3], spans=(ErrorSpan("missing", 0, 3),))])
    assert [found[name, "missing"].marked for name in NAMES] == [1, 1, 1]


def test_without_marks_there_are_no_rates():
    assert rates([verdict("item0", "A", [1, 2, 3])]) == {} == rates([])
