"""Bootstrap intervals: coverage in simulated studies, pairing, groups, missing values and small samples."""

from __future__ import annotations

import numpy as np
import pytest

from dsum_demo.errors import InputError
from dsum_demo.metrics import bootstrap
from dsum_demo.metrics.bootstrap import MIN_EXAMPLES, Bootstrap, Interval

STUDIES = 500


def study(n: int, seed: int) -> np.ndarray:
    """F1 of original, full fine-tune and LoRA on `n` dialogues: skewed, bounded and correlated, as ROUGE is."""
    rng = np.random.default_rng(seed)
    base = rng.beta(1.5, 5, n)
    full = 0.5 * base + 0.35 * rng.beta(2, 2, n) + 0.1
    return np.stack([base, full, full - 0.02 + rng.normal(0, 0.08, n)], axis=1)


@pytest.mark.parametrize("n", [29, 100])
def test_a_95_percent_interval_covers_the_truth_in_92_to_98_percent_of_simulated_studies(n):
    base, full, lora = 1.5 / 6.5, 0.5 * 1.5 / 6.5 + 0.35 / 2 + 0.1, 0.5 * 1.5 / 6.5 + 0.35 / 2 + 0.08
    truth = (base, lora - full, (lora - base) / (full - base))
    hits = np.zeros(3)
    for seed in range(STUDIES):
        resampled = Bootstrap(study(n, seed), seed=seed, resamples=1000)
        found = (resampled.mean(0), resampled.difference(2, 1), resampled.ratio_of_gains(2, 1, 0))
        hits += [interval.low <= true <= interval.high for interval, true in zip(found, truth, strict=True)]
    assert (hits >= 0.92 * STUDIES).all() and (hits <= 0.98 * STUDIES).all(), hits / STUDIES


def test_an_interval_of_many_values_equals_the_normal_approximation():
    values = np.random.default_rng(1).normal(0.4, 0.2, 1500)
    found = Bootstrap(values[:, None]).mean(0)
    half = 1.96 * values.std(ddof=1) / 1500**0.5
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 20)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = study(50, 0)
    assert Bootstrap(values, seed=1).mean(0) == Bootstrap(values, seed=1).mean(0) != Bootstrap(values, seed=2).mean(0)


def test_resamples_do_not_depend_on_the_chunk_size(monkeypatch):
    values = study(40, 0)
    whole = Bootstrap(values, resamples=500).resampled
    monkeypatch.setattr(bootstrap, "CHUNK_CELLS", 1000)
    assert np.allclose(Bootstrap(values, resamples=500).resampled, whole)


def test_differences_are_paired():
    rng = np.random.default_rng(0)
    base = rng.uniform(0, 1, 60)
    resampled = Bootstrap(np.stack([base, base + 0.01 + rng.normal(0, 0.005, 60)], axis=1))
    assert resampled.difference(1, 0).excludes_zero
    # Unpaired, the two intervals overlap.
    assert resampled.mean(0).high > resampled.mean(1).low
    assert not resampled.difference(0, 0).excludes_zero


def test_rows_of_one_dialogue_are_drawn_together():
    values = np.random.default_rng(0).uniform(0, 1, 40)
    thrice, groups = np.repeat(values, 3)[:, None], np.repeat(np.arange(40), 3).tolist()
    grouped, alone = Bootstrap(thrice, groups).mean(0), Bootstrap(thrice).mean(0)
    once = Bootstrap(values[:, None]).mean(0)
    assert grouped.n == 40
    assert (grouped.low, grouped.high) == pytest.approx((once.low, once.high))
    assert alone.high - alone.low < 0.7 * (grouped.high - grouped.low)


def test_a_group_is_weighted_by_its_number_of_rows():
    rows = [[1.0]] * 30 + [[0.0]] * 10
    assert Bootstrap(rows, ["large"] * 30 + list("abcdefghij")).mean(0).mean == 0.75


def test_missing_values_are_ignored_in_their_column_only():
    values = np.random.default_rng(0).uniform(0, 1, (30, 2))
    values[:12, 1] = np.nan
    resampled = Bootstrap(values)
    assert (resampled.mean(0).n, resampled.mean(1).n) == (30, 18)
    assert resampled.mean(1).mean == pytest.approx(values[12:, 1].mean())
    assert resampled.mean(1).low < resampled.mean(1).mean < resampled.mean(1).high


def test_fewer_than_ten_examples_have_a_mean_and_no_interval():
    few = Bootstrap([[0.5]] * (MIN_EXAMPLES - 1)).mean(0)
    assert few == Interval(0.5, None, None, MIN_EXAMPLES - 1) and not few.excludes_zero
    assert Bootstrap([[0.5]] * MIN_EXAMPLES).mean(0).low == 0.5


def test_a_ratio_of_gains_without_a_gain_is_nan():
    values = np.tile(np.linspace(0, 1, 20)[:, None], (1, 3))
    assert np.isnan(Bootstrap(values).ratio_of_gains(2, 1, 0).mean)


@pytest.mark.parametrize("values", [[], np.empty((0, 3)), [1.0, 2.0]])
def test_values_without_rows_or_columns_are_rejected(values):
    with pytest.raises(InputError, match="no values"):
        Bootstrap(values)


def test_quantiles_of_students_t_match_published_tables():
    table = {9: 2.262157, 14: 2.144787, 28: 2.048407, 99: 1.984217}
    for freedom, quantile in table.items():
        assert bootstrap._student_t(0.975, freedom) == pytest.approx(quantile, abs=1e-4)
