"""Extractive fragments, with values of the authors' code (lil-lab/newsroom, 77b42ee) on the same words."""

from __future__ import annotations

import random

import pytest

from dsum_demo.data.examples import read_samples
from dsum_demo.metrics.fragments import compression, coverage, density, fragment_lengths
from dsum_demo.settings import Settings


@pytest.mark.parametrize(
    ("summary", "dialogue", "lengths"),
    [
        ("the cat sat on the mat with a dog", "a dog and the cat sat down on the mat", [3, 3, 2]),
        # After "a b a b" the search continues behind it, where it finds "a b c" only.
        ("a b a b c", "a b a b a b c", [4, 1]),
        ("c c", "c", [1, 1]),
        ("new words", "a b", []),
        ("", "a b", []),
    ],
)
def test_fragments(summary, dialogue, lengths):
    assert fragment_lengths(summary.split(), dialogue.split()) == lengths


@pytest.mark.parametrize(
    ("sample", "covered", "dense", "compressed"),
    [("sample_01", 22 / 30, 34 / 30, 166 / 30), ("sample_02", 23 / 31, 67 / 31, 177 / 31)],
)
def test_values_of_samples_are_those_of_the_authors_code(sample, covered, dense, compressed):
    example = next(e for e in read_samples(Settings().samples_file) if e.id == sample)
    summary = example.references[0]
    assert coverage(summary, example.dialogue) == pytest.approx(covered)
    assert density(summary, example.dialogue) == pytest.approx(dense)
    assert compression(summary, example.dialogue) == pytest.approx(compressed)


def test_a_summary_that_is_the_dialogue_is_one_fragment_and_words_are_needed():
    dialogue = "Maya: Are you free? Tom: Yes, on Friday."
    assert (coverage(dialogue, dialogue), density(dialogue, dialogue), compression(dialogue, dialogue)) == (
        1.0,
        8.0,
        1.0,
    )
    assert coverage("?!", dialogue) is density("", dialogue) is compression("…", dialogue) is None
    assert coverage("Anna", "…") == density("Anna", "…") == compression("Anna", "…") == 0.0


def test_fragments_cover_only_words_that_both_texts_have():
    rng = random.Random(0)
    for _ in range(200):
        summary, dialogue = (rng.choices("abcdef", k=rng.randrange(n)) for n in (12, 30))
        shared = sum(word in dialogue for word in summary)
        assert sum(fragment_lengths(summary, dialogue)) == shared
