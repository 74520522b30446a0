"""Slices of an evaluation: their examples and means."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from dsum_demo.evaluation.slices import MAX_TOPICS, MIN_SLICE, slice_examples

SYSTEMS = ["original", "full"]


def parts(examples, by: str):
    return {part.name: part for part in slice_examples(examples, SYSTEMS, resamples=200) if part.by == by}


def with_facts(recorded, **facts):
    """The samples with fields computed from the example's number."""
    return [
        replace(example, **{name: of(number) for name, of in facts.items()})
        for number, example in enumerate(recorded.examples)
    ]


def test_topics_are_case_insensitive(recorded):
    examples = with_facts(
        recorded, topics=lambda i: ("Food", "food ", "travel") if i < 12 else ("travel",) if i < 20 else ()
    )
    found = parts(examples, "topic")
    assert list(found) == ["travel", "food"] and found["travel"].n == 20
    assert found["food"].ids == tuple(example.id for example in examples[:12])
    mean = fmean(example.outputs["full"].scores["rouge2"].fmeasure for example in examples[:12])
    interval = found["food"].f1["full"]["rouge2"]
    assert abs(interval.mean - mean) < 1e-12 and interval.low <= interval.mean <= interval.high


def test_rare_topics_get_no_slice_and_the_number_of_topics_is_limited(recorded):
    rare = with_facts(recorded, topics=lambda i: ("rare",) if i < MIN_SLICE - 1 else ())
    assert parts(rare, "topic") == {}
    many = with_facts(recorded, topics=lambda i: tuple(f"topic {k}" for k in range(40)))
    assert len(parts(many, "topic")) == MAX_TOPICS


def test_lengths_are_thirds_with_every_example_once(recorded):
    examples = with_facts(recorded, words=lambda i: 10 + i)
    found = parts(examples, "length")
    assert list(found) == ["up to 19 words", "20 to 29 words", "over 29 words"]
    assert [part.n for part in found.values()] == [10, 10, 9]
    assert sorted(id_ for part in found.values() for id_ in part.ids) == sorted(e.id for e in examples)


def test_equal_and_unknown_lengths_are_accepted(recorded):
    assert list(parts(with_facts(recorded, words=lambda i: 50), "length")) == ["up to 50 words"]
    assert parts(with_facts(recorded, words=lambda i: None, speakers=lambda i: None), "length") == {}
    assert parts(with_facts(recorded, speakers=lambda i: 0), "speakers") == {}


def test_four_or_more_speakers_are_one_slice(recorded):
    found = parts(with_facts(recorded, speakers=lambda i: 1 + i % 6), "speakers")
    assert list(found) == ["1 speaker", "2 speakers", "3 speakers", "4 or more"]
    assert found["4 or more"].n == sum(1 + i % 6 >= 4 for i in range(len(recorded.examples)))


def test_a_small_slice_has_means_and_no_intervals(recorded):
    examples = with_facts(recorded, topics=lambda i: ("few",) if i < 4 else ())
    interval = parts(examples, "topic")["few"].f1["original"]["rouge1"]
    assert interval.n == 4 and interval.low is None
