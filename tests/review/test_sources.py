"""Reviews from evaluations, recorded outputs and a comparison."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dsum_demo.comparison import compare
from dsum_demo.composition import saved_evaluations
from dsum_demo.errors import InputError
from dsum_demo.review.records import ReviewSettings
from dsum_demo.review.sources import draft_from_comparison, draft_from_evaluation, draft_from_file
from dsum_demo.settings import Settings
from tests.review.conftest import item, make_draft


def test_an_evaluation_becomes_a_review_with_its_texts_and_references(recorded):
    draft = draft_from_evaluation(recorded, "Mine")
    assert (draft.name, draft.source, len(draft.items)) == ("Mine", "outputs.csv", 29)
    assert [system.name for system in draft.systems] == ["original", "full", "lora"]
    for example, made in zip(recorded.examples, draft.items, strict=True):
        assert (made.id, made.dialogue, made.references) == (example.id, example.dialogue, example.references)
        assert {name: text.text for name, text in made.texts.items()} == {
            name: output.text for name, output in example.outputs.items()
        }


def test_two_systems_and_a_sample_can_be_chosen(recorded):
    draft = draft_from_evaluation(recorded, systems=["lora", "full"], limit=5, settings=ReviewSettings(seed=3))
    assert [system.name for system in draft.systems] == ["lora", "full"] and len(draft.items) == 5
    assert draft == draft_from_evaluation(recorded, systems=["lora", "full"], limit=5, settings=ReviewSettings(seed=3))
    assert draft.items != draft_from_evaluation(recorded, systems=["lora", "full"], limit=5).items


def test_examples_of_one_dialogue_become_one_item_with_all_references(recorded):
    first = recorded.examples[0]
    rows = [replace(first, id=f"row {n}", references=(f"Reference {n}.",)) for n in range(3)]
    other = replace(first, id="other", outputs=first.outputs | {"full": recorded.examples[1].outputs["full"]})
    draft = draft_from_evaluation(replace(recorded, examples=(*rows, other)))
    assert [(made.id, len(made.references)) for made in draft.items] == [("row 0", 3), ("other", len(first.references))]


def test_items_that_cannot_be_ranked_are_left_out_and_counted(recorded):
    first, second, third, *rest = recorded.examples
    examples = (
        replace(first, outputs=dict.fromkeys(first.outputs, first.outputs["full"])),
        replace(second, dialogue=None),
        replace(third, outputs={"full": third.outputs["full"]}),
        *rest,
    )
    draft = draft_from_evaluation(replace(recorded, examples=examples))
    assert (len(draft.items), draft.identical, draft.without_dialogue) == (26, 1, 1)


def test_without_dialogues_there_is_no_review(recorded):
    examples = tuple(replace(example, dialogue=None) for example in recorded.examples)
    with pytest.raises(InputError, match=r"dialogues of outputs\.csv are not available"):
        draft_from_evaluation(replace(recorded, examples=examples))


def test_an_unknown_system_and_a_single_one_are_rejected(recorded):
    with pytest.raises(InputError, match="no system 'gpt'; its systems are: original, full, lora"):
        draft_from_evaluation(recorded, systems=["full", "gpt"])
    with pytest.raises(InputError, match="needs 2 to 4"):
        draft_from_evaluation(recorded, systems=["full"])


def test_recorded_outputs_become_a_review(recorded_file):
    draft = draft_from_file(recorded_file, ["human1", "human2", "human3"], ["original", "full", "lora"], limit=4)
    assert len(draft.items) == 4 and {len(made.references) for made in draft.items} == {3}
    assert draft.source == recorded_file.name


def test_the_shipped_evaluation_becomes_a_review():
    saved = saved_evaluations(Settings(offline=True))
    draft = draft_from_evaluation(saved.open("samples"), limit=10)
    assert len(draft.items) == 10 and all(system.weights for system in draft.systems)
    assert draft.decode and all(text.tokens for made in draft.items for text in made.texts.values())


def test_a_comparison_becomes_a_review_of_one_item(tiny_store):
    family = tiny_store.registry.default_family
    specs = [spec for spec in family.default_trio() if spec]
    comparison = compare(
        tiny_store, family, specs, "Anna: Are you free on Friday?\nBen: Yes, after six.", ["They meet."]
    )
    draft = draft_from_comparison(comparison, weights={specs[0].name: "f" * 16})
    (made,) = draft.items
    assert made.references == ("They meet.",) and made.dialogue == comparison.dialogue
    assert {name: text.text for name, text in made.texts.items()} == {
        result.spec.name: result.summary for result in comparison.systems
    }
    assert draft.systems[0].weights == "f" * 16 and draft.decode == comparison.decode.as_dict()


def test_a_comparison_with_one_summary_is_not_a_review(tiny_store):
    family = tiny_store.registry.default_family
    comparison = compare(tiny_store, family, [family.base], "Anna: Hello!\nBen: Hi.")
    with pytest.raises(InputError, match="nothing to rank"):
        draft_from_comparison(comparison)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": " "}, "The name is"),
        ({"items": ()}, "no items"),
        ({"items": (item(0), item(0))}, "'item0' is repeated"),
        ({"items": (replace(item(0), dialogue=" "),)}, "no dialogue"),
        ({"items": (replace(item(0), texts={}),)}, "texts of no system"),
        ({"systems": ()}, "needs 2 to 4"),
    ],
)
def test_an_invalid_draft_is_rejected(change, message):
    with pytest.raises(InputError, match=message):
        replace(make_draft(), **change)


def test_recorded_outputs_equal_the_review_of_their_evaluation(recorded_file, recorded):
    columns, systems = ["human1", "human2", "human3"], ["original", "full", "lora"]
    assert draft_from_file(recorded_file, columns, systems) == draft_from_evaluation(recorded)


def test_a_sample_of_a_large_file_has_its_size_and_is_not_scored(tmp_path, monkeypatch):
    def score(*_):
        raise AssertionError("a review needs no scores")

    monkeypatch.setattr("dsum_demo.evaluation.recorded.score_output", score)
    file = tmp_path / "large.csv"
    rows = [f"{n},Ana: Day {n}?,They meet.,Yes {n}.,{'Yes' if n % 2 else 'No'} {n}." for n in range(3_000)]
    file.write_text("\n".join(["id,dialogue,reference,one,two", *rows]), encoding="utf-8")
    draft = draft_from_file(file, ["reference"], ["one", "two"], limit=20)
    assert (len(draft.items), draft.identical) == (20, 1_500)


def test_a_recorded_file_without_dialogues_is_not_a_review(tmp_path):
    file = tmp_path / "outputs.csv"
    file.write_text("id,reference,one,two\na,They meet.,Yes.,No.\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"dialogues of outputs\.csv are not available"):
        draft_from_file(file, ["reference"], ["one", "two"])
