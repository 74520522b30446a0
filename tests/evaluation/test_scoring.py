"""Records and scores: LEAD-3, human agreement, readings, and scores per reference."""

from __future__ import annotations

import pytest

from dsum_demo.data.dialogues import lead
from dsum_demo.data.examples import Example
from dsum_demo.errors import InputError
from dsum_demo.evaluation.scoring import check_reading, new_record, score_output, split_references
from dsum_demo.metrics.scores import score_summary

EXAMPLE = Example("d1", "Maya: hi\nTom: ho\nMaya: he\nTom: ha", ("Maya greets Tom.", "Tom greets Maya."), ("greeting",))


def test_a_record_has_the_counts_of_its_dialogue():
    record = new_record(EXAMPLE, 7)
    assert (record.row, record.words, record.turns, record.speakers, record.reference_count) == (7, 8, 4, 2, 2)
    assert record.group == record.fingerprint and record.topics == ("greeting",)


def test_lead_3_is_the_first_three_turns_scored_as_a_summary():
    assert lead(EXAMPLE.dialogue) == "Maya: hi\nTom: ho\nMaya: he" and lead("A: x") == "A: x"
    assert new_record(EXAMPLE, 1).lead3 == score_summary(lead(EXAMPLE.dialogue), EXAMPLE.references)


def test_human_agreement_scores_each_reference_against_the_others():
    one, other = EXAMPLE.references
    human = new_record(EXAMPLE, 1, "best").human
    mean = (score_summary(one, [other])["rouge2"].fmeasure + score_summary(other, [one])["rouge2"].fmeasure) / 2
    assert human["rouge2"].fmeasure == pytest.approx(mean)
    alone = Example("d1", EXAMPLE.dialogue, (one,), ())
    assert new_record(alone, 1).human is None
    assert new_record(alone, 1, other_references=[other]).human == score_summary(one, [other])


def test_a_record_without_a_dialogue_has_no_counts():
    record = new_record(Example("r", "", ("x",), ()), 3, group="g")
    assert record.dialogue is None and record.lead3 is None and record.words is None
    assert (record.fingerprint, record.group) == ("", "g")
    assert new_record(Example("r", "", ("x",), ()), 3).group == "r"


@pytest.mark.parametrize("policy", ["mean", "best", "first"])
def test_an_output_has_scores_per_reference_and_combined_scores(policy):
    output = score_output(new_record(EXAMPLE, 1, policy), "Maya greets", policy, tokens=3)
    assert output.by_reference == tuple(score_summary("Maya greets", [text]) for text in EXAMPLE.references)
    assert output.scores == score_summary("Maya greets", EXAMPLE.references, policy)
    assert output.tokens == 3 and output.checks["ungrounded"] == 0


def test_lead_3_of_very_long_turns_is_none():
    book = Example("b", "A: " + "so " * 4000, ("so " * 4000,), ())
    assert new_record(book, 1).lead3 is None


def test_split_references_makes_one_example_per_reference():
    split = split_references([EXAMPLE, Example("d2", "A: x", ("one",), ())])
    assert [(e.id, e.references) for e in split] == [
        ("d1_1", ("Maya greets Tom.",)), ("d1_2", ("Tom greets Maya.",)), ("d2", ("one",))
    ]  # fmt: skip


def test_unknown_readings_are_rejected():
    check_reading("rows")
    with pytest.raises(InputError, match="choose one of: rows, dialogues"):
        check_reading("columns")
