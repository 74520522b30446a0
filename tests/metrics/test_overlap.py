"""Highlighting: which words are marked, and that segments join to the text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsum_demo.metrics.overlap import Segment, copied_from_dialogue, share_marked, shared_with_references


def marked(segments: list[Segment]) -> list[str]:
    return [segment.text for segment in segments if segment.marked]


def test_words_shared_with_a_reference_are_marked_by_their_stem():
    segments = shared_with_references("Tom borrows ten dollars.", ["Ten dollars were borrowed by Anna."])
    assert marked(segments) == ["borrows ten dollars"]
    assert "".join(segment.text for segment in segments) == "Tom borrows ten dollars."


def test_any_of_several_references_counts():
    assert marked(shared_with_references("Anna and Tom", ["Tom", "Anna"])) == ["Anna", "Tom"]


def test_speaker_labels_match_as_in_rouge_and_keep_their_hash_signs():
    segments = shared_with_references("#Person1# waits.", ["#Person1# is waiting."])
    assert marked(segments) == ["#Person1# waits"]


def test_runs_of_three_or_more_words_are_copies():
    dialogue = "Tom: I want to buy a red bicycle today.\nAnna: Why red?"
    assert marked(copied_from_dialogue("Tom will buy a red bicycle. Anna asks why.", dialogue)) == ["buy a red bicycle"]
    assert marked(copied_from_dialogue("A red car", dialogue)) == []
    assert marked(copied_from_dialogue("BUY A RED one", dialogue)) == ["BUY A RED"]


def test_curly_and_straight_apostrophes_are_equal():
    assert marked(copied_from_dialogue("I don’t know Tom", "A: I don't know.")) == ["I don’t know"]


def test_share_marked_counts_words():
    segments = copied_from_dialogue("Tom will buy a red bicycle", "Tom: I buy a red one")
    assert share_marked(segments) == pytest.approx(3 / 6)
    assert share_marked([]) == 0.0
    assert share_marked([Segment("…", True)]) == 0.0


@settings(deadline=None, derandomize=True, database=None, max_examples=150)
@given(st.text(), st.text())
def test_segments_join_to_the_text(summary, other):
    for segments in (shared_with_references(summary, [other]), copied_from_dialogue(summary, other)):
        assert "".join(segment.text for segment in segments) == summary


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@given(st.lists(st.sampled_from("a bee cold tea ran far".split()), min_size=3, max_size=20))
def test_a_text_is_a_copy_of_itself(words):
    text = " ".join(words)
    assert marked(copied_from_dialogue(text, text)) == [text]
    assert share_marked(shared_with_references(text, [text])) == 1.0
