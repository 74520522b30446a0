"""Evaluation of tiny real models: outputs, cache, stops, failures, readings and invalid input."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace

import pytest

from dsum_demo.composition import make_registry, make_store
from dsum_demo.data.examples import Example, fingerprint
from dsum_demo.errors import DataError, InputError
from dsum_demo.evaluation import run_state as evaluation_run
from dsum_demo.evaluation.output_cache import OutputCache
from dsum_demo.evaluation.report import build_report
from dsum_demo.evaluation.runner import evaluate
from dsum_demo.generation.streaming import generate
from dsum_demo.models.catalog import Catalog
from dsum_demo.models.decoding import DecodingConfig

DECODE = DecodingConfig(max_new_tokens=8)
EXAMPLES = [
    Example(
        f"d{i}",
        f"#Person1#: Hello, Tom! I have {i} dollars.\n#Person2#: Hi, are you free on Friday?\n" * (1 + i % 3),
        (f"#Person1# has {i} dollars.", "#Person2# asks about Friday.")[: 1 + i % 2],
        ("money",),
    )
    for i in range(14)
]


@pytest.fixture(scope="module")
def specs(any_store):
    return list(any_store.registry.default_family.default_trio())


@pytest.fixture
def cache(tmp_path):
    return OutputCache(tmp_path / "outputs.sqlite")


def run(store, specs, examples=EXAMPLES, **options):
    *_, last = evaluate(store, specs, examples, **{"decode": DECODE, **options})
    return last


@pytest.fixture(scope="module")
def whole(any_store, specs):
    return run(any_store, specs, data="somewhere", seed=3)


def test_every_system_has_one_output_per_dialogue(whole, specs):
    evaluation = whole.evaluation
    assert (whole.done, whole.total, whole.seconds_left, evaluation.finished) == (42, 42, 0.0, True)
    assert [example.id for example in evaluation.examples] == [example.id for example in EXAMPLES]
    assert [example.row for example in evaluation.examples] == list(range(1, 15))
    for example in evaluation.examples:
        assert list(example.outputs) == [spec.name for spec in specs]
    assert [system.kind for system in evaluation.systems] == ["base", "full", "adapter"]
    assert evaluation.systems[0].trained_parameters == 0 and evaluation.systems[2].parameters
    assert {system.dtype for system in evaluation.systems} == {"float32"}
    assert evaluation.decode["max_new_tokens"] == 8 and evaluation.data == "somewhere"


def test_outputs_equal_those_of_single_generation(whole, any_store, specs):
    for spec in specs:
        loaded = any_store.load(spec)
        for example, record in zip(EXAMPLES[:4], whole.evaluation.examples, strict=False):
            prompt = any_store.registry.default_family.prompt
            alone = generate(loaded, prompt.encode(loaded.tokenizer, example.dialogue.strip()), DECODE)
            output = record.outputs[spec.name]
            assert (output.text, output.tokens) == (alone.text, alone.new_tokens)
            assert output.hit_length_limit == alone.hit_length_limit and output.seconds > 0


def test_partial_evaluations_are_paired_random_samples(any_store, specs, monkeypatch):
    monkeypatch.setattr("dsum_demo.evaluation.runner.CHUNK", 4)

    def first_four(seed: int) -> set[str]:
        for state in evaluate(any_store, specs, EXAMPLES, decode=DECODE, seed=seed):
            if state.done == 12:
                assert all(len(example.outputs) == 3 for example in state.evaluation.examples)
                assert state.seconds_left > 0 and not state.evaluation.finished
                return {example.id for example in state.evaluation.examples}
        raise AssertionError("no state with four dialogues done")

    assert first_four(1) == first_four(1) != first_four(2)
    assert first_four(1) != {"d0", "d1", "d2", "d3"}


def test_a_rerun_uses_the_cache_and_loads_no_model(checkout, cache):
    store = checkout.store()
    specs = list(store.registry.default_family.default_trio())
    first = run(store, specs, cache=cache)
    fresh = checkout.store()
    again = run(fresh, specs, cache=OutputCache(cache.file))
    assert fresh.loaded() == [] and again.done == 42
    for one, other in zip(first.evaluation.examples, again.evaluation.examples, strict=True):
        for name, output in one.outputs.items():
            assert not output.cached and other.outputs[name] == replace(output, cached=True)
    # Another decoding config is not cached.
    other = run(fresh, specs[:1], cache=cache, decode=DecodingConfig(max_new_tokens=5))
    assert not any(example.outputs[checkout.base].cached for example in other.evaluation.examples)


def test_outputs_of_another_prompt_are_not_cached(causal_store, causal_settings, cache):
    family = causal_store.registry.default_family
    run(causal_store, [family.base], EXAMPLES[:2], cache=cache)
    other = replace(family, prompt=replace(family.prompt, template="{dialogue}\n\nWhat happens here?"))
    store = make_store(causal_settings, make_registry(causal_settings, Catalog("causal", (other,))))
    examples = run(store, [other.base], EXAMPLES[:2], cache=cache).evaluation.examples
    assert not any(example.outputs[other.base.name].cached for example in examples)


def test_a_stop_keeps_outputs_and_a_rerun_resumes_from_them(any_store, specs, cache):
    seen = []
    for state in evaluate(
        any_store, specs, EXAMPLES, decode=DECODE, cache=cache, should_stop=lambda: bool(seen) and seen[-1].done >= 14
    ):
        seen.append(state)
    last = seen[-1]
    assert last.note == "Stopped" and last.done == 14 and not last.evaluation.finished
    again = run(any_store, specs, cache=cache)
    cached = Counter(name for e in again.evaluation.examples for name, output in e.outputs.items() if output.cached)
    assert cached == {specs[0].name: 14} and again.evaluation.finished


def test_a_stop_before_the_first_output_yields_an_empty_evaluation(any_store, specs):
    last = run(any_store, specs, should_stop=lambda: True)
    assert last.done == 0 and last.evaluation.examples == () and last.note == "Stopped"


def test_a_failed_system_has_an_error_and_the_others_continue(settings, root):
    file = root / "models" / "dsum-t5-full" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    store = make_store(settings)
    last = run(store, list(store.registry.default_family.default_trio()))
    base, full, lora = last.evaluation.systems
    assert full.error and not base.error and not lora.error
    assert last.done == 28 and all(list(e.outputs) == [base.name, lora.name] for e in last.evaluation.examples)
    report = build_report(last.evaluation, 200)
    assert [warning.system for warning in report.warnings if warning.kind == "failed"] == [full.name]


def test_reading_rows_has_one_example_per_reference_and_one_generation_per_dialogue(any_store, specs, monkeypatch):
    written = []
    real = evaluation_run.generate_many

    def counting(loaded, sources, *rest):
        written.extend(sources)
        return real(loaded, sources, *rest)

    monkeypatch.setattr(evaluation_run, "generate_many", counting)
    last = run(any_store, specs[:1], reading="rows")
    references = sum(len(example.references) for example in EXAMPLES)
    assert len(last.evaluation.examples) == last.done == references and len(written) == len(EXAMPLES)
    assert last.evaluation.examples[1].id == "d1_1" and last.evaluation.examples[1].human is not None
    report = build_report(last.evaluation, 200)
    assert (report.n, report.dialogues, report.signature.scores.references) == (references, 14, 1)


def test_a_limit_takes_a_random_sample_and_keeps_row_numbers(any_store, specs):
    drawn = run(any_store, specs[:1], limit=4, seed=2).evaluation.examples
    assert len(drawn) == 4 and [EXAMPLES[e.row - 1].id for e in drawn] == [e.id for e in drawn]
    assert [e.id for e in run(any_store, specs[:1], limit=4, seed=2).evaluation.examples] == [e.id for e in drawn]


def test_evaluated_dialogues_in_the_training_data_are_reported(settings, root):
    folder = root / "models" / "dsum-t5-full"
    (folder / "train_fingerprints.txt").write_text("\n".join(fingerprint(e.dialogue) for e in EXAMPLES[3:5]))
    store = make_store(settings)
    last = run(store, list(store.registry.default_family.default_trio())[:2])
    assert last.evaluation.trained_on == {"dsum-t5-full": ("d3", "d4")}


def test_published_scores_are_included_for_dialogsum_only(tiny_store):
    specs = [tiny_store.registry.default_family.base]
    published = run(tiny_store, specs, EXAMPLES[:2], data="dialogsum:validation").evaluation.published
    assert published.title.startswith("FLAN-T5 base") and published.scores["base"] == (23.34, 7.60, 20.15)
    assert run(tiny_store, specs, EXAMPLES[:2], data="samples").evaluation.published is None


def test_repeated_ids_get_a_number(any_store, specs):
    twice = [EXAMPLES[0], replace(EXAMPLES[1], id="d0")]
    assert [e.id for e in run(any_store, specs[:1], twice).evaluation.examples] == ["d0", "d0 (2)"]


def test_truncated_turns_are_counted(any_store, specs):
    long = replace(EXAMPLES[0], dialogue=EXAMPLES[0].dialogue * 60)
    output = run(any_store, specs[:1], [long]).evaluation.examples[0].outputs[specs[0].name]
    assert output.turns_left_out > 0


def test_invalid_dialogues_are_rejected_or_skipped(any_store, specs):
    broken = [EXAMPLES[0], replace(EXAMPLES[1], dialogue="?!"), replace(EXAMPLES[2], references=(" ",)), EXAMPLES[3]]
    with pytest.raises(DataError, match="Rows 2, 3 cannot be used: There is no dialogue") as caught:
        run(any_store, specs, broken)
    assert caught.value.rows == (2, 3)
    last = run(any_store, specs[:1], broken, skipped={9: "It has no id."})
    assert [row.row for row in last.evaluation.skipped] == [2, 3, 9]
    assert [example.row for example in last.evaluation.examples] == [1, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reading": "columns"}, "choose one of: rows, dialogues"),
        ({"policy": "median"}, "choose one of: mean, best, first"),
        ({"decode": DecodingConfig(do_sample=True)}, "Sampling"),
        ({"limit": 0}, "limit is 0"),
    ],
)
def test_invalid_arguments_are_rejected_before_a_model_is_loaded(settings, options, message):
    store = make_store(settings)
    specs = list(store.registry.default_family.default_trio())
    with pytest.raises(InputError, match=message):
        run(store, specs, **options)
    with pytest.raises(InputError, match="each one once"):
        run(store, [specs[0], specs[0]])
    with pytest.raises(InputError, match="no valid examples"):
        run(store, specs, [])
    assert store.loaded() == []


def test_systems_with_equal_titles_are_listed_by_name(settings, root):
    shutil.copytree(root / "adapters" / "dsum-t5-lora", root / "adapters" / "mine")
    registry = make_registry(settings)
    specs = [registry.spec("dsum-t5-lora"), replace(registry.spec("mine"), title="LoRA")]
    last = run(make_store(settings, registry), specs, EXAMPLES[:2])
    assert [system.title for system in last.evaluation.systems] == ["dsum-t5-lora", "mine"]


def test_bf16_uses_a_copy_and_its_own_cache_keys(any_store, specs, cache):
    in_fp32 = run(any_store, specs, EXAMPLES[:3], cache=cache)
    last = run(any_store, specs, EXAMPLES[:3], cache=cache, bf16=True)
    assert {system.dtype for system in last.evaluation.systems} == {"bfloat16"} and last.evaluation.finished
    assert not any(output.cached for e in last.evaluation.examples for output in e.outputs.values())
    assert any_store.load(specs[0]).dtype == "float32"
    again = run(any_store, specs, EXAMPLES[:3])
    for one, other in zip(in_fp32.evaluation.examples, again.evaluation.examples, strict=True):
        assert {n: o.text for n, o in one.outputs.items()} == {n: o.text for n, o in other.outputs.items()}
