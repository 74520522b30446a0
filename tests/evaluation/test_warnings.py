"""Warnings: the text, system and examples of each, and none for a sound evaluation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dsum_demo.evaluation.records import BrokenRow
from dsum_demo.evaluation.warnings import SMALL, warnings_of
from dsum_demo.metrics.bootstrap import MIN_EXAMPLES


def found(evaluation, dialogues: int = SMALL):
    return {warning.kind: warning for warning in warnings_of(evaluation, evaluation.examples, dialogues)}


def changed(recorded, place: int, **facts):
    """The evaluation with other fields in one output of the full fine-tune."""
    example = recorded.examples[place]
    output = replace(example.outputs["full"], **facts)
    examples = list(recorded.examples)
    examples[place] = replace(example, outputs={**example.outputs, "full": output})
    return replace(recorded, examples=tuple(examples))


def test_a_sound_evaluation_has_no_warning(recorded):
    assert found(recorded) == {}


@pytest.mark.parametrize(
    ("facts", "kind", "text"),
    [
        ({"hit_length_limit": True}, "length_limit", "full: 1 of 29 summaries were truncated at 80 tokens."),
        ({"text": " \n"}, "empty", "full: 1 of 29 summaries are empty and score 0."),
        ({"turns_left_out": 2}, "cut_source", "full: 1 of 29 dialogues were too long for the model"),
    ],
)
def test_unusual_outputs_are_counted_and_listed(recorded, facts, kind, text):
    warning = found(replace(changed(recorded, 4, **facts), decode={"max_new_tokens": 80}))[kind]
    assert warning.text.startswith(text) and warning.system == "full"
    assert warning.examples == (recorded.examples[4].id,)


def test_evaluated_dialogues_in_the_training_data_are_counted_and_listed(recorded):
    warning = found(replace(recorded, trained_on={"lora": ("sample_01", "sample_02")}))["trained_on"]
    assert warning.text.startswith("lora: 2 of 29 dialogues were in its training data")
    assert warning.examples == ("sample_01", "sample_02")


@pytest.mark.parametrize(
    ("dialogues", "text"),
    [(1, "Only 1 dialogue;"), (MIN_EXAMPLES - 1, "intervals need at least 10"), (SMALL - 1, "may be chance")],
)
def test_few_dialogues_are_reported(recorded, dialogues, text):
    assert text in found(recorded, dialogues)["few"].text


def test_dialogues_in_the_format_of_a_chat_export_are_counted_and_listed(recorded):
    chat = "[12/03/24, 18:04] Leila: who's coming tonight\n[12/03/24, 18:05] Matteo: me and Joon\n"
    first, *others = recorded.examples
    warning = found(replace(recorded, examples=(replace(first, dialogue=chat), *others)))["chat_format"]
    assert warning.text.startswith("1 of 29 dialogues have the format of an export or transcript (WhatsApp")
    assert warning.examples == (first.id,)


def test_skipped_rows_failures_and_missing_outputs_are_reported(recorded):
    broken = tuple(BrokenRow(row, "It has no reference.") for row in range(1, 14))
    failed = replace(recorded.systems[2], error="The disk is full.")
    warnings = found(
        replace(recorded, skipped=broken, finished=False, total=99, systems=(*recorded.systems[:2], failed))
    )
    assert warnings["skipped"].text == "13 invalid rows skipped: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 3 more."
    assert warnings["failed"].text == "lora failed: The disk is full." and warnings["failed"].system == "lora"
    assert warnings["incomplete"].text == "Incomplete: 29 by original, 29 by full, 29 by lora, of 99 examples."
