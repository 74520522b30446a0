"""The exact sign test and how many votes it needs."""

from __future__ import annotations

import pytest

from dsum_demo.review.decision import decide, power, sign_test, votes_needed


@pytest.mark.parametrize(
    ("won", "lost", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (6, 0, 0.03125), (5, 0, 0.0625), (9, 1, 0.021484375), (1, 9, 0.021484375)],
)
def test_the_sign_test_is_exact(won, lost, p):
    assert sign_test(won, lost) == pytest.approx(p)


@pytest.mark.parametrize(("rate", "votes"), [(0.6, 199), (0.4, 199), (0.7, 49), (1.0, 6)])
def test_the_number_of_votes_for_80_percent_power(rate, votes):
    assert votes_needed(rate) == votes
    if rate < 1:
        assert power(votes, max(rate, 1 - rate)) >= 0.8 > power(votes - 1, max(rate, 1 - rate))


@pytest.mark.parametrize("rate", [0.5, 0.501])
def test_a_rate_near_half_needs_no_useful_number(rate):
    assert votes_needed(rate) is None


def test_a_decided_difference_needs_no_more_dialogues():
    decision = decide(20, 3, 5)
    assert decision.decided and decision.more == 0 and decision.p < 0.001


def test_an_open_difference_needs_more_dialogues_with_ties_at_the_seen_rate():
    assert decide(6, 4, 0).more == 189
    assert decide(6, 4, 10).more == 378
    assert not decide(6, 4, 10).decided


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (5, 5)])
def test_without_a_difference_the_number_is_unknown(won, lost):
    decision = decide(won, lost, 7)
    assert not decision.decided and decision.more is None and decision.needed is None
