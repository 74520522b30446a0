"""Comparisons from saved evaluations, and comparisons as the browser keeps them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dsum_demo.comparison import Comparison, compare
from dsum_demo.composition import make_registry, saved_evaluations
from dsum_demo.data.examples import Example, read_samples
from dsum_demo.errors import InputError, UnknownModelError
from dsum_demo.evaluation.output_cache import OutputCache, identify
from dsum_demo.evaluation.recorded_comparison import recorded_comparison, recorded_samples
from dsum_demo.evaluation.runner import evaluate
from dsum_demo.evaluation.storage import SavedEvaluations, write_evaluation
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.settings import Settings

EXAMPLES = [
    Example(
        "one", "Ada: Can you lend me ten dollars?\nBo: Sure.", ("Bo lends Ada ten dollars.", "Ada borrows money."), ()
    ),
    Example("two", "Cem: I lost my red scarf.\nDora: It is on the chair.", ("Cem's scarf is on the chair.",), ()),
]


@pytest.fixture(scope="module")
def family(any_store):
    return any_store.registry.default_family


@pytest.fixture(scope="module")
def evaluation(any_store, family):
    specs = [spec for spec in family.default_trio() if spec]
    *_, last = evaluate(any_store, specs, EXAMPLES, data="samples", decode=DecodingConfig(max_new_tokens=8))
    return replace(last.evaluation, created="2026-03-04T05:06:07+00:00")


def test_a_recorded_comparison_has_the_texts_and_scores_of_a_new_one(any_store, family, evaluation):
    recorded = recorded_comparison(evaluation, evaluation.example("one"), any_store.registry)
    specs = [system.spec for system in recorded.systems]
    new = compare(any_store, family, specs, EXAMPLES[0].dialogue, EXAMPLES[0].references, recorded.decode)
    assert [system.summary for system in recorded.systems] == [system.summary for system in new.systems]
    assert [system.scores for system in recorded.systems] == [system.scores for system in new.systems]
    assert (recorded.recorded, new.recorded) == ("2026-03-04", "")
    assert recorded.signature == new.signature and recorded.reading == new.reading


def test_recorded_samples_are_found_by_family_and_dialogue(any_store, family, evaluation, tmp_path):
    write_evaluation(evaluation, tmp_path / "samples")
    write_evaluation(replace(evaluation, data="dialogsum"), tmp_path / "other")
    (tmp_path / "broken").mkdir()
    found = recorded_samples(SavedEvaluations(tmp_path.parent / "none", tmp_path), any_store.registry)
    assert list(found) == [(family.name, example.dialogue) for example in EXAMPLES]


def test_an_evaluation_without_texts_or_of_an_unknown_model_is_left_out(any_store, evaluation, tmp_path):
    write_evaluation(evaluation, tmp_path / "samples", texts=False)
    first, *others = evaluation.systems
    renamed = replace(evaluation, systems=(replace(first, name="gone"), *others))
    outputs = {"gone": evaluation.examples[0].outputs[first.name], **evaluation.examples[0].outputs}
    renamed = replace(renamed, examples=(replace(evaluation.examples[0], outputs=outputs),))
    write_evaluation(renamed, tmp_path / "renamed")
    assert not recorded_samples(SavedEvaluations(tmp_path.parent / "none", tmp_path), any_store.registry)
    with pytest.raises(UnknownModelError, match="gone"):
        recorded_comparison(renamed, renamed.examples[0], any_store.registry)
    with pytest.raises(InputError, match="without its texts"):
        recorded_comparison(evaluation, replace(evaluation.examples[0], dialogue=None), any_store.registry)


def test_the_shipped_samples_are_recorded_with_the_shipped_weights(tmp_path):
    settings = Settings(offline=True, data_dir=tmp_path)
    registry, cache, saved = make_registry(settings), OutputCache(), saved_evaluations(settings)
    found = recorded_samples(saved, registry)
    samples = {sample.dialogue for sample in read_samples(settings.samples_file)}
    assert {family for family, _ in found} == {"smollm2-135m", "dsum-t5"}
    for family in ("smollm2-135m", "dsum-t5"):
        assert {dialogue for of, dialogue in found if of == family} == samples
    for shipped in saved.list():
        for system in saved.open(shipped.name).systems:
            assert system.weights == identify(registry.spec(system.name), registry, cache).weights, shipped.name


def test_a_comparison_is_equal_after_json(any_store, evaluation):
    comparison = recorded_comparison(evaluation, evaluation.example("one"), any_store.registry)
    assert Comparison.from_dict(json.loads(comparison.as_json()), any_store.registry) == comparison


def test_a_stopped_and_a_failed_system_are_equal_after_json(any_store, evaluation):
    comparison = recorded_comparison(evaluation, evaluation.example("one"), any_store.registry)
    first, second, third = comparison.systems
    stopped = replace(
        first, phase="stopped", generation=replace(first.generation, finished=False, stopped=True), scores=None
    )
    failed = replace(second, phase="failed", generation=None, error="Out of memory.", scores=None)
    comparison = replace(comparison, systems=(stopped, failed, replace(third, strength=0.5)))
    assert Comparison.from_dict(json.loads(comparison.as_json()), any_store.registry) == comparison


@pytest.mark.parametrize(
    "change",
    [
        {"systems": [{"name": "gone"}]},
        {"family": "gone"},
        {"dialogue": None},
        {"references": "text"},
        {"decode": {"num_beams": "many"}},
        {"systems": [{"name": "dsum-t5-base", "turns_left_out": "x"}]},
        {"recorded": "yesterday"},
        {"systems": 5},
    ],
)
def test_a_changed_comparison_is_refused(any_store, evaluation, change):
    raw = recorded_comparison(evaluation, evaluation.example("one"), any_store.registry).as_dict()
    with pytest.raises((InputError, UnknownModelError, KeyError, TypeError, ValueError, AttributeError)):
        Comparison.from_dict({**raw, **change}, any_store.registry)
