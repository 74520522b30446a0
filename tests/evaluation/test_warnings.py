"""Warnings: each where it belongs, none where all is well, and with the examples that it is about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dsum_demo.evaluation.records import BrokenRow
from dsum_demo.evaluation.warnings import SMALL, warnings_of
from dsum_demo.metrics.bootstrap import MIN_EXAMPLES


def found(evaluation, dialogues: int = SMALL):
    return {warning.kind: warning for warning in warnings_of(evaluation, evaluation.examples, dialogues)}


def changed(recorded, place: int, **facts):
    """One output of the full fine-tune with other facts."""
    example = recorded.examples[place]
    output = replace(example.outputs["full"], **facts)
    examples = list(recorded.examples)
    examples[place] = replace(example, outputs={**example.outputs, "full": output})
    return replace(recorded, examples=tuple(examples))


def test_a_sound_evaluation_has_no_warning(recorded):
    assert found(recorded) == {}


@pytest.mark.parametrize(
    ("facts", "kind", "sentence"),
    [
        ({"hit_length_limit": True}, "length_limit", "full: 1 of 29 summaries were cut by the limit of 80 tokens."),
        ({"text": " \n"}, "empty", "full: 1 of 29 summaries are empty and score 0."),
        ({"turns_left_out": 2}, "cut_source", "full: 1 of 29 dialogues were too long for the model"),
    ],
)
def test_outputs_to_look_at(recorded, facts, kind, sentence):
    warning = found(replace(changed(recorded, 4, **facts), decode={"max_new_tokens": 80}))[kind]
    assert warning.text.startswith(sentence) and warning.system == "full"
    assert warning.examples == (recorded.examples[4].id,)


def test_dialogues_that_were_trained_on(recorded):
    warning = found(replace(recorded, trained_on={"lora": ("sample_01", "sample_02")}))["trained_on"]
    assert warning.text.startswith("lora: 2 of 29 dialogues were in its training data")
    assert warning.examples == ("sample_01", "sample_02")


@pytest.mark.parametrize(
    ("dialogues", "sentence"),
    [(1, "1 dialogue: too few to tell"), (MIN_EXAMPLES - 1, "too few to tell"), (SMALL - 1, "may be chance")],
)
def test_too_few_dialogues(recorded, dialogues, sentence):
    assert sentence in found(recorded, dialogues)["few"].text


def test_what_was_left_out_failed_or_was_not_reached(recorded):
    broken = tuple(BrokenRow(row, "It has no reference.") for row in range(1, 14))
    failed = replace(recorded.systems[2], error="The disk is full.")
    warnings = found(
        replace(recorded, skipped=broken, finished=False, total=99, systems=(*recorded.systems[:2], failed))
    )
    assert warnings["skipped"].text == "13 broken rows left out: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 3 more."
    assert warnings["failed"].text == "lora failed: The disk is full." and warnings["failed"].system == "lora"
    assert warnings["incomplete"].text == (
        "Incomplete: of 99 examples original has done 29, full has done 29, lora has done 29."
    )
