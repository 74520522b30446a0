"""Words and n-grams, and that checks and highlights use the same definition."""

from __future__ import annotations

import pytest

from dsum_demo.data.examples import Example
from dsum_demo.evaluation.scoring import new_record
from dsum_demo.generation.streaming import Generation
from dsum_demo.metrics.checks import check_summary
from dsum_demo.metrics.grounding import names_and_numbers
from dsum_demo.metrics.overlap import copied_from_dialogue, share_marked
from dsum_demo.metrics.words import ngrams, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tom DOESN’T know.", ["tom", "doesn't", "know"]),
        ("#Person1#'s car, #Person2#: yes", ["#person1#'s", "car", "#person2#", "yes"]),
        ("1,000 at 9:30, or 3.5.", ["1,000", "at", "9:30", "or", "3.5"]),
        ("well-known, at 10am in K2", ["well", "known", "at", "10", "am", "in", "k2"]),
        ("Straße Ärzte snake_case", ["strasse", "ärzte", "snake", "case"]),
        ("…?! '' ##", []),
    ],
)
def test_words_of_a_text(text, expected):
    assert words(text) == expected


def test_ngrams_of_a_text():
    assert ngrams("A b, C", 2) == [("a", "b"), ("b", "c")]
    assert ngrams("A b", 3) == []


def test_checks_word_counts_and_names_use_the_same_words():
    text = "#Person1# pays $1,000 at 9:30."  # five words
    assert len(words(text)) == Generation(text, 0, 0.0).words == 5
    assert new_record(Example("1", text, ("x",), ()), 1).words == 5
    assert check_summary(text, None, ["one two three four five"]).values["length"] == 1.0
    assert names_and_numbers(text) == ["#Person1#", "1,000", "9:30"]
    # Three words of five are copied, so two of four bigrams are not new.
    found = check_summary(text, "Yes, 1,000 at 9:30!", ()).values
    assert found["copied"] == share_marked(copied_from_dialogue(text, "Yes, 1,000 at 9:30!")) == 3 / 5
    assert found["novel_bigrams"] == 2 / 4


def test_a_speaker_label_does_not_match_the_word_inside_it():
    assert share_marked(copied_from_dialogue("#Person1# is here", "person1 is here")) == 0.0
