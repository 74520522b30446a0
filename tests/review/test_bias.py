"""The position test, the preference for longer texts, and verdicts without reading."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import pytest

from dsum_demo.review.bias import hasty, longer_wins, position_test, reading_seconds
from dsum_demo.review.preferences import preferences
from tests.review.conftest import item, verdict

NAMES = ("original", "full", "lora")
ITEMS = {f"item{number}": item(number) for number in range(40)}
DIALOGUES = {name: place for place, name in enumerate(ITEMS)}


def test_a_first_card_that_always_wins_is_found():
    test = position_test([verdict(name, "A", [1, 2, 3]) for name in ITEMS])
    assert (
        (test.first, test.n) == (40, 40) and test.p < 1e-6 and "more often than the summaries explain" in test.sentence
    )


def test_a_first_card_that_never_wins_is_found():
    test = position_test([verdict(name, "A", [2, 1, 3]) for name in ITEMS])
    assert test.first == 0 and "less often than" in test.sentence


def test_the_p_value_is_exact_for_two_cards():
    order = (("original", "lora"), ("full",))
    verdicts = [
        replace(verdict(name, "A", [1, 2, 1] if n < 8 else [2, 1, 2]), order=order)
        for n, name in enumerate(list(ITEMS)[:10])
    ]
    test = position_test(verdicts)
    assert test.expected == 5 and test.p == pytest.approx(2 * sum(comb(10, i) for i in range(3)) / 2**10)
    assert "no sign of position bias" in test.sentence


def test_a_tie_for_the_best_card_does_not_count():
    assert position_test([verdict("item0", "A", [1, 1, 2])]) is None and position_test([]) is None


def test_the_share_of_longer_texts_that_win():
    verdicts = [verdict(name, "A", [3, 1, 2] if n < 30 else [1, 3, 2]) for n, name in enumerate(ITEMS)]
    found = longer_wins(preferences(verdicts, NAMES), ITEMS, DIALOGUES, seed=0, resamples=200)
    # By words the order is full, lora, original: all three pairs prefer the longer text, or none of the pairs does.
    assert found.mean == pytest.approx(0.75) and found.low < 0.75 < found.high
    assert longer_wins([], ITEMS, DIALOGUES, seed=0, resamples=50) is None


def test_a_verdict_that_took_less_time_than_reading_is_flagged():
    seconds = reading_seconds(ITEMS["item0"])
    assert seconds == pytest.approx(60 / 400 * (14 + 6 + 11 + 10), abs=1.0)
    fast, slow = (verdict("item0", who, [1, 2, 3], seconds=seconds + more) for who, more in (("A", -0.1), ("B", 0.1)))
    again = verdict("item0", "A", [1, 2, 3], seconds=0.5, round=1)
    skipped = verdict("item0", "C", [], seconds=0.5, skipped="other language")
    assert hasty([fast, slow, again, skipped], ITEMS) == [fast]
