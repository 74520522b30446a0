"""The Davidson model: values of a published implementation, invariances, and the coverage of its intervals."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from benchmarks.review_coverage import coverage
from dsum_demo.review.ranking import davidson_model, fit_davidson, fit_davidson_with_length

# Davidson (1970), example 2: brands of chocolate pudding, by pair the preferences for the first, for the second, ties.
PUDDING = {
    (1, 2): (19, 22, 16), (1, 3): (16, 19, 12), (2, 3): (19, 19, 10), (1, 4): (18, 23, 13), (2, 4): (23, 19, 9),
    (3, 4): (19, 20, 15), (1, 5): (13, 19, 18), (2, 5): (16, 20, 12), (3, 5): (16, 15, 17), (4, 5): (17, 14, 16),
    (1, 6): (18, 21, 12), (2, 6): (22, 20, 12), (3, 6): (13, 18, 10), (4, 6): (14, 19, 18), (5, 6): (11, 21, 12),
}  # fmt: skip
# Davidson's estimates, which R's PlackettLuce reproduces in its vignette "Introduction to PlackettLuce", section 2.1.1.
WORTHS = [0.1388005, 0.1729985, 0.1617420, 0.1653930, 0.1586805, 0.2023855]
TIES = 0.7468147


def table(outcomes):
    pairs = list(combinations(sorted({name for pair in outcomes for name in pair}), 2))
    return np.array([[outcomes[pair][0], outcomes[pair][2], outcomes[pair][1]] for pair in pairs], dtype=float)


def test_the_estimates_are_those_that_davidson_and_plackettluce_published():
    worths, ties = fit_davidson(table(PUDDING), 0.0)
    # The published values are those after seven steps of an iteration that had not converged.
    assert worths == pytest.approx(WORTHS, abs=5e-5) and ties == pytest.approx(TIES, abs=5e-5)


def test_at_the_estimates_expected_and_observed_wins_and_ties_are_equal():
    counts = table(PUDDING)
    worths, ties = fit_davidson(counts, 0.0)
    expected_wins, wins, expected_ties = np.zeros(6), np.zeros(6), 0.0
    for (i, j), (first, tied, second) in zip(combinations(range(6), 2), counts, strict=True):
        odds = np.array([worths[i], ties * np.sqrt(worths[i] * worths[j]), worths[j]])
        expected = (first + tied + second) * odds / odds.sum()
        expected_wins[i] += expected[0] + expected[1] / 2
        expected_wins[j] += expected[2] + expected[1] / 2
        wins[i] += first + tied / 2
        wins[j] += second + tied / 2
        expected_ties += expected[1]
    assert expected_wins == pytest.approx(wins, abs=1e-6) and expected_ties == pytest.approx(counts[:, 1].sum())


def test_two_systems_without_ties_are_the_share_of_wins():
    worths, ties = fit_davidson(np.array([[30.0, 0.0, 10.0]]), 1e-9)
    assert worths == pytest.approx([0.75, 0.25], abs=1e-6) and ties < 1e-6


def test_a_system_that_always_wins_has_a_finite_worth_below_one():
    worths, ties = fit_davidson(np.array([[50.0, 0, 0], [50, 0, 0], [25, 0, 25]]))
    assert 0.9 < worths[0] < 1 and worths[1] == pytest.approx(worths[2]) and np.isfinite(ties)


def test_without_verdicts_all_worths_are_equal():
    assert fit_davidson(np.zeros((6, 3)))[0] == pytest.approx([0.25] * 4)


def test_resamples_are_fitted_like_single_tables():
    rng = np.random.default_rng(0)
    tables = rng.poisson(4, (20, 3, 3)).astype(float)
    worths, ties = fit_davidson(tables)
    for one, expected, tie in zip(tables, worths, ties, strict=True):
        assert fit_davidson(one)[0] == pytest.approx(expected) and fit_davidson(one)[1] == pytest.approx(tie)


def test_the_length_explains_a_preference_for_longer_texts():
    # Equally good systems; the second is always twice as long, and the longer text has twice the odds.
    rng = np.random.default_rng(1)
    lengths = np.log(rng.uniform(0.5, 2, 400))
    lengths[:200] = np.log(0.5)
    odds = np.exp(lengths)
    counts = np.stack([10 * odds / (1 + odds), np.zeros(400), 10 / (1 + odds)], axis=1)
    worths, effect = fit_davidson_with_length(counts, [0] * 400, lengths, 2)
    assert worths == pytest.approx([0.5, 0.5], abs=0.005) and effect == pytest.approx(1, abs=0.02)
    assert fit_davidson(counts.sum(axis=0)[None])[0][1] > 0.55


def test_without_differences_in_length_the_worths_are_unchanged():
    counts = table(PUDDING)
    worths, effect = fit_davidson_with_length(counts, range(15), np.zeros(15), 6)
    assert worths == pytest.approx(fit_davidson(counts)[0], abs=1e-6) and effect == pytest.approx(0, abs=1e-6)


def test_intervals_contain_the_estimate_and_are_the_same_for_the_same_seed():
    counts = np.random.default_rng(2).poisson(1, (30, 3, 3)).astype(float)
    model = davidson_model(counts, seed=4, resamples=200)
    assert all(one.low < one.mean < one.high and one.n == 30 for one in model.worths)
    assert sum(one.mean for one in model.worths) == pytest.approx(1) and sum(model.p_best) == pytest.approx(1)
    assert model == davidson_model(counts, seed=4, resamples=200)
    assert model != davidson_model(counts, seed=5, resamples=200)


def test_below_ten_dialogues_there_is_no_interval():
    assert davidson_model(np.ones((9, 1, 3)), resamples=50).worths[0].low is None


def test_95_percent_intervals_contain_the_true_worths_of_simulated_reviews_as_often_as_they_should():
    assert 0.92 <= coverage(150, 40, 3, resamples=400, seed=7) <= 0.98
