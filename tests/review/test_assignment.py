"""Which items are asked: fewest verdicts first, repetitions, displayed orders."""

from __future__ import annotations

from collections import Counter

import pytest

from dsum_demo.errors import InputError
from dsum_demo.review.assignment import displayed, next_item, remaining
from dsum_demo.review.records import ReviewSettings
from tests.review.conftest import answer, item, make_draft

IDS = [f"item{number}" for number in range(10)]


def ask_all(settings, counts=None, reviewer="Ana"):
    """Everything that a reviewer is asked, and the announced remaining number before each answer."""
    answered, left = [], []
    while (asked := next_item(IDS, counts or {}, answered, reviewer, settings)) is not None:
        left.append(remaining(IDS, counts or {}, answered, settings))
        answered.append(asked)
    return answered, left


def test_the_item_with_the_fewest_verdicts_is_asked_first():
    counts = dict.fromkeys(IDS, 2) | {"item7": 1}
    assert next_item(IDS, counts, [], "Ana", ReviewSettings(repeat_share=0)) == ("item7", 0)


def test_an_item_with_enough_verdicts_is_not_asked():
    answered, _ = ask_all(ReviewSettings(2, 0), dict.fromkeys(IDS[:8], 2))
    assert {asked for asked, _ in answered} == {"item8", "item9"}


def test_reviewers_get_the_items_in_different_orders_that_are_the_same_again():
    settings = ReviewSettings(repeat_share=0)
    orders = {reviewer: ask_all(settings, reviewer=reviewer)[0] for reviewer in ("Ana", "Ben")}
    assert orders["Ana"] != orders["Ben"] and orders["Ana"] == ask_all(settings)[0]


@pytest.mark.parametrize(("share", "repeats"), [(0, 0), (0.1, 1), (0.2, 2), (0.25, 2), (0.5, 5)])
def test_a_share_of_the_items_is_asked_a_second_time_and_the_rest_is_counted(share, repeats):
    answered, left = ask_all(ReviewSettings(repeat_share=share))
    again = [asked for asked, round in answered if round]
    assert len(again) == len(set(again)) == repeats and len(answered) == 10 + repeats
    assert left == list(range(len(answered), 0, -1))
    for asked in again:
        between = answered.index((asked, 1)) - answered.index((asked, 0)) - 1
        assert between >= 1


def test_one_of_two_items_is_repeated_and_a_single_one_is_not():
    settings = ReviewSettings(repeat_share=0.1)
    assert len(ask_all(settings, dict.fromkeys(IDS[2:], 3))[0]) == 3
    assert len(ask_all(settings, dict.fromkeys(IDS[1:], 3))[0]) == 1


def test_a_skipped_item_is_not_repeated(store):
    review = store.create(make_draft(2, repeat_share=0.5))
    for _ in range(2):
        task = store.next_task(review.id, "Ana")
        store.save_verdict(review.id, "Ana", task.item.id, skipped="unclear")
    assert store.next_task(review.id, "Ana") is None and store.progress(review.id, "Ana").remaining == 0


def test_every_card_is_displayed_first_equally_often():
    first = Counter(displayed(item(0), f"reviewer {number}", 0, 0)[0].systems for number in range(3_000))
    # Four standard deviations of a binomial with n = 3,000 and p = 1/3 are 103.
    assert len(first) == 3 and all(abs(count - 1_000) < 103 for count in first.values())


def test_the_order_depends_on_the_round_and_the_seed_and_is_the_same_again():
    orders = [displayed(item(n), "Ana", round, seed) for round, seed in ((0, 0), (1, 0), (0, 1)) for n in range(20)]
    assert orders == [
        displayed(item(n), "Ana", round, seed) for round, seed in ((0, 0), (1, 0), (0, 1)) for n in range(20)
    ]
    assert orders[:20] != orders[20:40] != orders[40:]


def test_the_progress_of_three_reviewers_ends_at_zero(store):
    review = store.create(make_draft(6, verdicts_per_item=2))
    assert [answer(store, review, name) for name in ("Ana", "Ben", "Cem")] == [6, 6, 0]
    assert store.progress(review.id, "Ana").finished and store.progress(review.id, "Ana").total == 6
    assert not store.progress(review.id, "Cem").finished  # nothing was left to ask


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"verdicts_per_item": 0}, "from 1 to 1000"),
        ({"repeat_share": 0.6}, "from 0 to 0.5"),
        ({"repeat_share": float("nan")}, "from 0 to 0.5"),
        ({"reveal": "never"}, "choose one of: end, item"),
        ({"reveal": "item", "repeat_share": 0.1}, "set repeat_share to 0"),
    ],
)
def test_invalid_settings_are_rejected(given, message):
    with pytest.raises(InputError, match=message):
        ReviewSettings(**given)
