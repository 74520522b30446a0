"""Krippendorff's alpha against a published example and a second implementation; self-consistency."""

from __future__ import annotations

import krippendorff
import numpy as np
import pytest

from dsum_demo.review.agreement import agreement, coincidences_of, ordinal_alpha, self_consistency
from dsum_demo.review.preferences import midranks
from tests.review.conftest import verdict

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", part C: four observers, twelve units.
OBSERVERS = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")
NAMES = ("original", "full", "lora")


def alpha_of(rows):
    units = [[value for value in column if value is not None] for column in zip(*rows, strict=True)]
    scale = sorted({value for unit in units for value in unit})
    return float(ordinal_alpha(sum(coincidences_of(unit, scale) for unit in units)))


def test_alpha_is_the_published_value():
    rows = [[None if value == "." else float(value) for value in line.split()] for line in OBSERVERS]
    assert alpha_of(rows) == pytest.approx(0.815, abs=5e-4)


@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_that_of_the_krippendorff_package(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 5, 40)
    rows = np.where(rng.random((3, 40)) < 0.6, truth, rng.integers(1, 5, (3, 40))).astype(float)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    expected = krippendorff.alpha(reliability_data=rows, level_of_measurement="ordinal")
    assert alpha_of([[None if np.isnan(v) else v for v in row] for row in rows]) == pytest.approx(expected)


def judge(votes, items=12):
    """Verdicts of reviewers on items: votes(reviewer, number) is a ranking of the three systems."""
    return [
        verdict(f"item{number}", reviewer, votes(reviewer, number)) for number in range(items) for reviewer in "ABC"
    ]


DIALOGUES = {f"item{number}": number for number in range(50)}


def test_reviewers_who_agree_have_alpha_one_and_the_sentence_reads_it():
    orders = ([1, 2, 3], [3, 1, 2], [2, 3, 1])
    found = agreement(judge(lambda _, n: orders[n % 3]), NAMES, DIALOGUES, seed=0, resamples=100)
    assert found.alpha.mean == pytest.approx(1) and found.alpha.low == pytest.approx(1)
    assert "1.00 [1.00, 1.00] on 12 dialogues" in found.sentence and "agree reliably" in found.sentence


def test_random_reviewers_have_an_alpha_near_zero_in_the_interval():
    rng = np.random.default_rng(3)
    found = agreement(
        judge(lambda *_: rng.permutation([1, 2, 3]).tolist(), 50), NAMES, DIALOGUES, seed=0, resamples=300
    )
    assert found.alpha.low < 0 < found.alpha.high and abs(found.alpha.mean) < 0.15
    assert "too little" in found.sentence or "no more than by chance" in found.sentence


def test_alpha_of_verdicts_is_that_of_the_package_on_their_midranks():
    rng = np.random.default_rng(5)
    verdicts = judge(lambda *_: rng.integers(1, 4, 3).tolist())
    data = [[midranks(v)[name] for v in verdicts if v.reviewer == reviewer for name in NAMES] for reviewer in "ABC"]
    found = agreement(verdicts, NAMES, DIALOGUES, seed=0, resamples=50)
    expected = krippendorff.alpha(reliability_data=np.array(data), level_of_measurement="ordinal")
    assert found.alpha.mean == pytest.approx(expected)


def test_with_one_reviewer_per_item_agreement_is_undefined_with_the_reason():
    verdicts = [verdict(f"item{n}", "A", [1, 2, 3]) for n in range(12)]
    found = agreement(verdicts, NAMES, DIALOGUES, seed=0, resamples=50)
    assert found.alpha is None and "no dialogue has rankings of two reviewers" in found.sentence
    assert agreement([], NAMES, DIALOGUES, seed=0, resamples=50) == found


def test_if_everything_is_tied_agreement_is_undefined_with_the_reason():
    found = agreement(judge(lambda *_: [1, 1, 1]), NAMES, DIALOGUES, seed=0, resamples=50)
    assert found.alpha is None and "all ranks are equal" in found.sentence


def test_below_ten_dialogues_the_sentence_has_no_interval():
    found = agreement(judge(lambda _, n: [1, 2, 3] if n else [3, 2, 1], 3), NAMES, DIALOGUES, seed=0, resamples=50)
    assert found.alpha.low is None and "[" not in found.sentence


def test_self_consistency_is_the_share_of_pairs_that_are_judged_the_same_again():
    first = [verdict(f"item{n}", "A", [1, 2, 3]) for n in range(12)]
    again = [verdict(f"item{n}", "A", [1, 2, 3] if n < 6 else [2, 1, 3], round=1) for n in range(12)]
    found = self_consistency([*first, *again], NAMES, DIALOGUES, seed=0, resamples=200)
    assert found.mean == pytest.approx((6 * 3 + 6 * 2) / 36) and found.low < found.mean < found.high


def test_self_consistency_counts_only_repetitions_by_the_same_reviewer_that_were_not_skipped():
    one = verdict("item0", "A", [1, 2, 3])
    other = verdict("item0", "B", [3, 2, 1], round=1)
    skipped = verdict("item0", "A", [], round=1, skipped="tired")
    assert self_consistency([one, other, skipped], NAMES, DIALOGUES, seed=0, resamples=50) is None
