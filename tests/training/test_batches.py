"""Length-grouped order of training rows: complete, grouped by length, and determined by seed and epoch."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsum_demo.training.batches import LengthGroupedOrder

LENGTHS = [random.Random(n).randrange(10, 500) for n in range(1000)]


def order(lengths=LENGTHS, batch=8, seed=42, epoch=0) -> list[int]:
    rows = LengthGroupedOrder(lengths, batch, seed)
    rows.set_epoch(epoch)
    return list(rows)


@settings(deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(1, 99), min_size=1, max_size=130), st.integers(1, 17), st.integers(0, 3))
def test_every_row_is_yielded_once_per_epoch_and_the_longest_first(lengths, batch, epoch):
    rows = order(lengths, batch, epoch=epoch)
    assert sorted(rows) == list(range(len(lengths)))
    if epoch == 0 and len(lengths) >= batch:
        assert lengths[rows[0]] == max(lengths[row] for row in rows[: len(rows) // batch * batch])


def test_the_order_depends_on_seed_and_epoch_but_not_on_the_global_random_state():
    random.seed(1)
    first = order()
    random.seed(2)
    assert order() == first
    assert order(epoch=1) != first and order(seed=43) != first
    again = LengthGroupedOrder(LENGTHS, 8, 42)
    assert list(again) == list(again) == first, "repeated iteration in one epoch gives the same order"


def test_batches_have_little_padding():
    def padded(rows: list[int]) -> int:
        batches = [[LENGTHS[row] for row in rows[start : start + 8]] for start in range(0, len(rows), 8)]
        return sum(len(batch) * max(batch) for batch in batches)

    shuffled = list(range(1000))
    random.Random(0).shuffle(shuffled)
    assert padded(order()) < 1.05 * sum(LENGTHS) < 1.5 * sum(LENGTHS) < padded(shuffled)


def test_long_batches_are_spread_over_the_epoch():
    firsts = [LENGTHS[row] for row in order()[::8]]
    assert firsts != sorted(firsts, reverse=True)
    half = len(firsts) // 2
    assert abs(sum(firsts[:half]) / half - sum(firsts[half:]) / (len(firsts) - half)) < 100


@pytest.mark.parametrize("parts", [1, 2, 4, 8])
def test_a_step_has_the_same_dialogues_for_every_split_into_batches(parts):
    """After an out-of-memory error the batch is halved, and the rows of an optimizer step must not change."""
    whole = order(batch=8)
    pieces = [order(batch=8)[start : start + 8 // parts] for start in range(0, 1000, 8 // parts)]
    assert [row for piece in pieces for row in piece] == whole
