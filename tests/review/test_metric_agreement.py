"""Metrics and checks against people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dsum_demo.metrics.scores import METRICS
from dsum_demo.review.metric_agreement import PEOPLE, metric_agreement, values_of
from dsum_demo.review.preferences import preferences
from tests.review.conftest import item, verdict

NAMES = ("original", "full", "lora")
ITEMS = {f"item{number}": item(number) for number in range(20)}
DIALOGUES = {name: place for place, name in enumerate(ITEMS)}


def found(verdicts, items=ITEMS):
    rows = metric_agreement(preferences(verdicts, NAMES), items, DIALOGUES, seed=0, resamples=200)
    return {row.name: row for row in rows}


def by_metric(item_id, name, sign=1):
    """The ranking that a metric gives."""
    values = [sign * values_of(ITEMS[item_id])[name][system] for system in NAMES]
    return [1 + sum(other > value for other in values) for value in values]


def test_a_metric_agrees_with_people_who_vote_like_it():
    rows = found([verdict(name, "A", by_metric(name, "rouge1")) for name in ITEMS])
    assert rows["rouge1"].share.mean == 1 and rows["rouge1"].against == ()
    assert set(METRICS) <= set(rows) and rows["rouge1"].sentence.startswith("ROUGE-1 agrees with people in 100 % [100")


def test_a_metric_disagrees_with_people_who_vote_against_it():
    rows = found([verdict(name, "A", by_metric(name, "rouge1", -1)) for name in ITEMS])
    assert rows["rouge1"].share.mean == 0 and rows["rouge1"].against == tuple(f"{one}-A-0" for one in ITEMS)


def test_equal_values_count_half_and_ties_of_people_not_at_all():
    rows = found([verdict(name, "A", [1, 2, 2]) for name in ITEMS])
    repetition = rows["repetition"]
    assert repetition.share.mean == 0.5 and repetition.equal == repetition.pairs == 40


def test_metrics_without_references_have_no_row_and_checks_of_the_dialogue_have_one():
    items = {name: replace(one, references=()) for name, one in ITEMS.items()}
    rows = found([verdict(name, "A", [1, 2, 3]) for name in items], items)
    assert not set(METRICS) & set(rows) and {"copied", "ungrounded"} <= set(rows) and "swapped" not in rows


def test_people_are_compared_with_each_other():
    verdicts = [verdict(name, who, ranks) for name in ITEMS for who, ranks in (("A", [1, 2, 3]), ("B", [1, 3, 2]))]
    people = found(verdicts)[PEOPLE]
    assert people.share.mean == pytest.approx(2 / 3) and people.pairs == 60
    assert people.sentence.startswith("Another reviewer agrees with people in 67 %")
    assert PEOPLE not in found(verdicts[::2])


def test_without_preferences_there_is_nothing():
    assert found([]) == {} == found([verdict("item0", "A", [1, 1, 1])])
