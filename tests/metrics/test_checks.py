"""Checks on texts with values counted by hand, on missing and odd texts, and on the samples' references."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsum_demo.data.examples import read_samples
from dsum_demo.metrics.checks import (
    CHECKS,
    CHRF_SIGNATURE,
    check_summary,
    chrf,
    exchange,
    length_ratio,
    novel_bigrams,
    repetition,
    speakers_covered,
    swapped,
)
from dsum_demo.settings import Settings

DIALOGUE = "Maya: Are you free on Friday after six?\nTom: Yes, I am free on Friday."
seeded = settings(deadline=None, derandomize=True, database=None, max_examples=60)


def values(summary: str, dialogue: str | None = DIALOGUE, references=("Tom is free.",)) -> dict[str, float | None]:
    return check_summary(summary, dialogue, references).values


def test_every_check_has_a_description_and_a_value():
    assert list(values("Tom is free on Friday.")) == [check.name for check in CHECKS]
    for check in CHECKS:
        assert check.how.endswith(".") and check.misses.endswith(".") and check.title
        assert check.unit in {"ratio", "share", "yes/no", "count", "words", "times", "score", "bits"}
        assert check.needs in {"", "dialogue", "references", "judge"}


def test_values_counted_by_hand():
    found = values("Tom is free on Friday with Anna, Tom is free on Friday.")
    assert found["length"] == pytest.approx(12 / 3)
    # "free on Friday" twice, of 12 words.
    assert found["copied"] == pytest.approx(6 / 12)
    # tom is, is free, free on, on friday, friday with, with anna, anna tom: two of seven are in the dialogue.
    assert found["novel_bigrams"] == pytest.approx(5 / 7)
    # tom is free, is free on, free on friday are repeated: 3 of 10.
    assert found["repetition"] == pytest.approx(3 / 10)
    # "free on Friday" twice, and "Tom" twice, of 12 words; 15 words in the dialogue.
    assert found["coverage"] == pytest.approx(8 / 12) and found["density"] == pytest.approx((9 + 9 + 1 + 1) / 12)
    assert found["compression"] == pytest.approx(15 / 12)
    assert found["speakers"] == 0.5
    assert found["ungrounded"] == 1.0 and found["entity_recall"] == 1.0
    assert check_summary("They meet Anna.", DIALOGUE, ()).ungrounded == ("Anna",)


@pytest.mark.parametrize(
    ("summary", "references", "expected"),
    [
        ("Tom pays 1000 dollars.", ["Tom pays Anna 1,000 dollars."], 2 / 3),
        ("Tom's friend pays.", ["Tom pays.", "Anna and Ben wait.", "They wait."], 1 / 2),
        ("#Person1# waits.", ["#Person1# calls #Person2# at 9:00."], 1 / 3),
        ("Somebody waits.", ["They wait."], None),
        ("Tom waits.", [], None),
    ],
)
def test_names_and_numbers_of_the_references_found(summary, references, expected):
    assert values(summary, references=references)["entity_recall"] == (expected and pytest.approx(expected))


# Values of `sacrebleu -m chrf --sentence-level`, 2.6.0.
@pytest.mark.parametrize(
    ("summary", "references", "expected"),
    [
        ("Tom is free on Friday.", ["Tom is free."], 0.7203989),
        ("The cat is on the mat.", ["The cat sat on the mat."], 0.6458167),
        ("Tom is free on Friday.", ["Tom is free.", "  ", "Tom is free on Friday."], (0.7203989 + 1) / 2),
        ("Тогда в пять.", ["Тогда в пять."], 1.0),
        ("abc", ["xyz"], 0.0),
        ("abc", ["", " "], None),
    ],
)
def test_chrf_is_that_of_sacrebleu_averaged_over_references(summary, references, expected):
    assert chrf(summary, references) == (expected and pytest.approx(expected, abs=1e-6))


def test_the_signature_of_chrf_is_that_of_sacrebleu():
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF()
    scorer.sentence_score("a", ["a"])
    assert CHRF_SIGNATURE in str(scorer.get_signature())
    assert CHRF_SIGNATURE in next(check.how for check in CHECKS if check.name == "chrf")


def test_checks_that_need_a_missing_text_have_no_value():
    found = values("Tom is free on Friday.", dialogue=None, references=())
    assert {name for name, value in found.items() if value is None} == {check.name for check in CHECKS if check.needs}
    assert found["repetition"] == 0.0


@pytest.mark.parametrize("empty", ["", "  ", "?!", "…"])
def test_every_check_accepts_an_empty_summary(empty):
    assert values(empty) == {
        "length": 0.0, "copied": None, "novel_bigrams": None, "coverage": None, "density": None, "compression": None,
        "repetition": None, "speakers": 0.0, "swapped": None, "ungrounded": 0.0, "entity_recall": 0.0, "chrf": 0.0,
        "judge_faithfulness": None, "judge_speakers": None, "judge_coverage": None,
    }  # fmt: skip


@seeded
@given(st.text(max_size=60), st.text(max_size=60), st.lists(st.text(max_size=40), max_size=3))
def test_every_text_is_accepted_and_shares_are_between_0_and_1(summary, dialogue, references):
    found = check_summary(summary, dialogue, references).values
    for check in CHECKS:
        value = found[check.name]
        assert value is None or value >= 0
        if check.times_100:
            assert value is None or value <= 1


def test_length_is_the_mean_over_references_that_have_words():
    assert length_ratio("a b c d", ["a b", "a b c d", "…"]) == pytest.approx(1.5)
    assert length_ratio("a", ["…"]) is None


def test_bigrams_and_trigrams_ignore_case():
    assert novel_bigrams("FREE on friday", DIALOGUE) == 0.0
    assert novel_bigrams("Tom", DIALOGUE) is None
    assert repetition("No no no no") == 0.5 and repetition("No no") is None


def test_speakers_are_found_as_whole_words():
    assert speakers_covered("TOM's answer", "Tom: a\nTomas: b") == 0.5
    assert speakers_covered("#Person1# meets #Person12#.", "#Person1#: a\n#Person2#: b") == 0.5
    assert speakers_covered("Anybody", "no labels here") is None


REFERENCE = "#Person1# wants to buy a car and #Person2# sells bicycles only."


@pytest.mark.parametrize(
    ("summary", "references", "expected"),
    [
        ("#Person2# wants to buy a car. #Person1# sells only bicycles.", [REFERENCE], 1.0),
        ("#Person1# wants to buy a car. #Person2# sells only bicycles.", [REFERENCE], 0.0),
        ("#Person2# wants to buy a car.", [REFERENCE], 1.0),
        # The two references contradict each other.
        ("#Person2# wants to buy a car.", [REFERENCE, exchange(REFERENCE)], 0.0),
        ("#Person1# and #Person2# talk.", [REFERENCE], 0.0),
        ("Tom wants to buy a car.", [REFERENCE], None),
        ("#Person1# wants to buy a car.", ["Tom wants to buy a car."], None),
        ("#Person1# wants to buy a car.", [], None),
    ],
)
def test_swapped_speakers(summary, references, expected):
    assert swapped(summary, references) == expected


@seeded
@given(st.text(alphabet="#Person12 ,", max_size=60))
def test_exchanging_twice_gives_the_same_text(text):
    assert exchange(exchange(text)) == text
    assert exchange("#Person1#, #Person2#") == "#Person2#, #Person1#"


def test_detection_rates_on_the_samples_references_match_the_description():
    found, suspected = [], []
    for sample in read_samples(Settings().samples_file):
        for i, text in enumerate(sample.references):
            others = sample.references[:i] + sample.references[i + 1 :]
            if (verdict := swapped(text, others)) is not None:
                suspected.append(verdict)
                found.append(swapped(exchange(text), others))
    assert len(found) > 40
    assert 0.35 < sum(found) / len(found) < 0.5 and sum(suspected) / len(suspected) < 1 / 13
