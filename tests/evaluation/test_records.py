"""Records are equal after writing and reading JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from dsum_demo.evaluation.records import BrokenRow, Evaluation, ExampleRecord, Published, f1_table


def again(raw):
    return json.loads(json.dumps(raw))


def test_examples_are_equal_after_json(recorded):
    for example in recorded.examples:
        assert ExampleRecord.from_dict(again(example.as_dict())) == example


def test_texts_false_omits_only_dialogue_and_references(recorded):
    example = recorded.examples[0]
    bare = ExampleRecord.from_dict(again(example.as_dict(texts=False)))
    assert bare == replace(example, dialogue=None, references=()) and bare.reference_count == 3


def test_all_other_fields_are_equal_after_json(recorded):
    full = replace(
        recorded,
        decode={"max_new_tokens": 80},
        skipped=(BrokenRow(3, "It has no reference."),),
        trained_on={"full": ("sample_01",)},
        published=Published("FLAN-T5 base", "a paper", {"base": (23.3, 7.6, 20.2)}),
    )
    assert Evaluation.from_facts(again(full.facts()), full.examples) == full


def test_systems_and_examples_are_found_by_name(recorded):
    assert recorded.system("lora").kind == "adapter" and recorded.of_kind("full").name == "full"
    assert recorded.of_kind("recorded") is None
    assert recorded.example(recorded.examples[3].id) is recorded.examples[3]


def test_the_f1_of_a_missing_output_is_nan(recorded):
    first = recorded.examples[0]
    outputs = {"full": first.outputs["full"]}
    (row,) = f1_table([replace(first, outputs=outputs)], ["original", "full"])
    assert all(map(math.isnan, row[:4])) and row[4] == first.outputs["full"].scores["rouge1"].fmeasure


@pytest.mark.parametrize(
    "spoil", [lambda raw: raw.pop("id"), lambda raw: raw.update(outputs=[]), lambda raw: raw.clear()]
)
def test_from_dict_rejects_other_data(recorded, spoil):
    raw = again(recorded.examples[0].as_dict())
    spoil(raw)
    with pytest.raises((KeyError, TypeError, AttributeError, ValueError)):
        ExampleRecord.from_dict(raw)
