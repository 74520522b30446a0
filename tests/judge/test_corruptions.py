"""Corrupted twins: each kind of error on small texts, nothing to corrupt, and the samples."""

from __future__ import annotations

import random

import pytest

from dsum_demo.data.examples import Example, read_samples
from dsum_demo.judge.corruptions import CORRUPTIONS, Pair, exchange_names, twins
from dsum_demo.settings import Settings

DIALOGUE = "Tom: Can you pay me 30 dollars by 9:30?\nAnn: I paid 20 in Paris. Not again."
OTHER = Pair("Ben: We moved.\nEve: Where to?", "Ben tells Eve that they moved.")


def corrupted(kind: str, summary: str, dialogue: str = DIALOGUE, seed: int = 0) -> str | None:
    return CORRUPTIONS[kind].corrupt(Pair(dialogue, summary), OTHER, random.Random(seed))


@pytest.mark.parametrize(
    ("kind", "summary", "expected"),
    [
        ("speakers", "Tom asks Ann for money; Ann refuses.", "Ann asks Tom for money; Tom refuses."),
        ("speakers", "Tom wants money.", "Ann wants money."),
        ("speakers", "Tommy pays Tom's friend.", "Tommy pays Ann's friend."),
        ("speakers", "Ann and Tom argue.", None),
        ("speakers", "Tom and Ann argue, and Tom leaves.", "Ann and Tom argue, and Ann leaves."),
        ("speakers", "They argue.", None),
        ("mention", "Tom wants money.", None),
        ("mention", "Tom and Ann argue.", None),
        ("mention", "Tom and Ann argue, then Tom leaves.", "Tom and Ann argue, then Ann leaves."),
        ("number", "Tom asks for 30 dollars.", {"Tom asks for 20 dollars.", "Tom asks for 9:30 dollars."}),
        ("number", "Two friends argue.", {f"{word} friends argue." for word in
            "Three Four Five Six Seven Eight Nine Ten Eleven Twelve".split()}),
        ("number", "Friends argue about #Person1#.", None),
        ("name", "They met in London.", None),
        ("negation", "Ann does not pay.", "Ann pays."),
        ("negation", "Ann doesn't carry it.", "Ann carries it."),
        ("negation", "Ann didn't pay.", "Ann did pay."),
        ("negation", "Ann can't pay.", "Ann can pay."),
        ("negation", "They don't pay.", "They do pay."),
        ("negation", "Tom wants money.", "Tom does not want money."),
        ("negation", "Ann can pay.", "Ann cannot pay."),
        ("negation", "Ann is angry.", "Ann is not angry."),
        ("negation", "Ann pays.", None),
        ("other", "Ann pays.", "Tom tells Ann that they moved."),
    ],
)  # fmt: skip
def test_errors(kind, summary, expected):
    for seed in range(8):
        found = corrupted(kind, summary, seed=seed)
        assert found in expected if isinstance(expected, set) else found == expected


def test_a_replaced_name_is_not_in_the_dialogue():
    found = corrupted("name", "Ann paid in Paris.")
    assert found is not None and found != "Ann paid in Paris."
    new = (set(found.split()) - set("Ann paid in Paris.".split())).pop().rstrip(".")
    assert new not in DIALOGUE and new[0].isupper()


def test_without_another_number_in_the_dialogue_a_digit_is_changed():
    found = {corrupted("number", "They pay 1,250 at 9:30.", "Tom: Hi.\nAnn: Hi.", seed) for seed in range(30)}
    assert all(text is not None and len(text) == len("They pay 1,250 at 9:30.") for text in found) and len(found) > 8
    assert all(text.count(",250") == 1 and text.count(":30") == 1 for text in found if text)


def test_names_are_exchanged_at_once():
    assert exchange_names("A B A", {"A": "B", "B": "A"}) == "B A B" and exchange_names("A", {}) == "A"


def test_twins_of_the_samples_differ_and_depend_on_the_seed_only():
    samples = read_samples(Settings().samples_file)
    found = twins(samples, seed=1)
    assert found == twins(samples, seed=1) != twins(samples, seed=2)
    assert {twin.kind for twin in found} == set(CORRUPTIONS)
    assert all(twin.corrupted != twin.summary for twin in found) and len(found) > 3 * len(samples)
    assert {twin.kind for twin in twins(samples, kinds=["speakers"])} == {"speakers"}


def test_examples_without_references_or_company_have_fewer_twins():
    alone = Example("a", DIALOGUE, ("Tom wants money.",), ())
    assert "other" not in {twin.kind for twin in twins([alone])}
    assert twins([Example("a", DIALOGUE, (), ())]) == [] == twins([])
