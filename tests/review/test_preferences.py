"""Preferences of verdicts, ranks with ties, and majorities per dialogue."""

from __future__ import annotations

from dataclasses import replace

from dsum_demo.review.preferences import by_dialogue, counted, majority, midranks, preferences
from tests.review.conftest import item, verdict

NAMES = ("original", "full", "lora")


def test_a_ranking_is_a_preference_per_pair():
    found = {one.pair: one.outcome for one in preferences([verdict("item0", "A", [2, 1, 2])], NAMES)}
    assert found == {("original", "full"): -1, ("original", "lora"): 0, ("full", "lora"): 1}


def test_all_bad_and_skipped_verdicts_have_no_preference():
    bad, skipped = verdict("item0", "A", [], all_bad=True), verdict("item0", "B", [], skipped="no")
    assert preferences([bad, skipped], NAMES) == [] and counted([bad, skipped]) == [bad]


def test_repetitions_do_not_count():
    assert counted([verdict("item0", "A", [1, 2, 3], round=1)]) == []


def test_the_same_text_is_marked():
    shared = replace(verdict("item0", "A", [1, 2, 2]), order=(("full", "lora"), ("original",)))
    assert {one.pair: one.same_text for one in preferences([shared], NAMES)}["full", "lora"]


def test_tied_systems_share_the_mean_of_their_places():
    assert midranks(verdict("item0", "A", [1, 1, 2])) == {"original": 1.5, "full": 1.5, "lora": 3}
    assert midranks(verdict("item0", "A", [1, 1, 1])) == dict.fromkeys(NAMES, 2)


def test_a_dialogue_has_the_outcome_of_most_reviewers():
    items = [item(0), replace(item(0), id="same dialogue"), item(1)]
    dialogues, count = by_dialogue(items)
    assert (dialogues, count) == ({"item0": 0, "same dialogue": 0, "item1": 1}, 2)
    votes = [([1, 2, 3], "item0"), ([1, 2, 3], "same dialogue"), ([2, 1, 3], "item0"), ([2, 1, 3], "item1")]
    found = preferences([verdict(name, str(n), ranks) for n, (ranks, name) in enumerate(votes)], NAMES)
    assert majority(found, dialogues)["original", "full"] == {0: 1, 1: -1}
