"""Comparisons with real tiny models: order, isolation of failures, stops, scores and exports."""

from __future__ import annotations

import csv
import io
import json
import threading
from dataclasses import replace

import pytest

from dsum_demo.comparison import Choice, Comparison, RecordedSummary, clean_references, compare, stream_comparison
from dsum_demo.composition import make_registry
from dsum_demo.errors import InputError
from dsum_demo.generation.scheduler import Waiting
from dsum_demo.generation.streaming import stream
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.metrics.scores import METRICS, UNICODE_ROUGE, score_summary
from dsum_demo.models.architectures import DECODER_ONLY
from dsum_demo.models.catalog import Catalog
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.store import ModelStore
from tests.conftest import causal_family

DIALOGUE = "#Person1#: Can you lend me ten dollars?\n#Person2#: Sure, Tom. Pay me back on Friday."
REFERENCES = ["Tom borrows ten dollars.", "#Person2# lends Tom ten dollars until Friday."]


@pytest.fixture(scope="module")
def trio(any_store):
    family = any_store.registry.default_family
    return family, [spec for spec in family.default_trio() if spec]


def run(any_store, trio, dialogue: str = DIALOGUE, **kwargs) -> Comparison:
    family, specs = trio
    return compare(any_store, family, specs, dialogue, decode=DecodingConfig(max_new_tokens=12), **kwargs)


def test_three_systems_answer_in_their_order(any_store, trio):
    comparison = run(any_store, trio)
    assert [system.spec for system in comparison.systems] == trio[1]
    assert [system.phase for system in comparison.systems] == ["done"] * 3
    assert all(system.generation.new_tokens > 0 for system in comparison.systems)
    assert comparison.original is comparison.systems[0]
    assert comparison.systems[0].trained_parameters == 0
    assert comparison.systems[1].trained_parameters == comparison.systems[1].parameters
    assert 0 < comparison.systems[2].trained_parameters < comparison.systems[2].parameters


def test_without_reference_there_is_no_score_and_no_signature(any_store, trio):
    comparison = run(any_store, trio)
    assert comparison.signature is None
    assert [system.scores for system in comparison.systems] == [None] * 3
    assert [system["rouge"] for system in comparison.as_dict()["systems"]] == [None] * 3


def test_scores_are_those_of_the_metrics_module(any_store, trio):
    comparison = run(any_store, trio, references=[*REFERENCES, "  "])
    assert comparison.references == tuple(REFERENCES)
    for system in comparison.systems:
        if system.summary:
            assert system.scores == score_summary(system.summary, REFERENCES)


def test_a_long_dialogue_loses_its_last_turns(any_store, trio):
    comparison = run(any_store, trio, dialogue=f"{DIALOGUE}\n" * 200)
    fitted = comparison.systems[0].fitted
    assert len(fitted.source_ids) <= trio[0].max_source_tokens and fitted.turns_left_out
    assert [warning for warning in comparison.warnings if "left out" in warning] == [fitted.note]


def test_prompt_and_summary_share_the_window_of_a_decoder_only_model(any_store, trio):
    family, specs = trio
    loaded = any_store.load(specs[0])
    length = len(loaded.fit(family.prompt, f"{DIALOGUE}\n" * 200, 4_000, 48).source_ids)
    # A relative position has no limit; the decoder-only model was made for 2,048 tokens.
    assert 1_950 < length <= 2_000 if loaded.architecture is DECODER_ONLY else 3_900 < length <= 4_000


def test_text_grows_while_it_streams(any_store, trio):
    family, specs = trio
    texts = [
        state.systems[0].summary
        for state in stream_comparison(
            any_store, family, specs[:1], DIALOGUE, decode=DecodingConfig(max_new_tokens=12, seed=3)
        )
    ]
    assert len(set(texts)) > 2
    assert texts == sorted(texts, key=len)


def test_a_system_whose_request_waits_shows_its_position_and_then_the_text(any_store, trio):
    def waiting(*arguments):
        yield Waiting(3)
        yield from stream(*arguments)

    family, specs = trio
    states = list(stream_comparison(any_store, family, specs[:1], DIALOGUE, generate=waiting))
    phases = [(state.systems[0].phase, state.systems[0].note) for state in states]
    queued = phases.index(("waiting", "Waiting for the model: position 3 in the queue."))
    assert list(dict.fromkeys(phase for phase, _ in phases[:queued])) == ["waiting", "loading", "writing"]
    assert set(phases[queued + 1 : -1]) == {("writing", "")} and phases[-1] == ("done", "")


def test_best_of_n_waits_for_another_comparison_and_can_be_stopped(any_store, trio):
    family, specs = trio
    choice, stop = Choice(lambda: pytest.fail("the judge was loaded")), threading.Event()
    choice.turn.acquire()
    for state in stream_comparison(
        any_store, family, specs[:1], DIALOGUE, should_stop=stop.is_set, choice=choice
    ):  # fmt: skip
        if "another comparison" in state.systems[0].note:
            stop.set()
    assert (state.systems[0].phase, state.systems[0].summary) == ("stopped", "")
    assert stop.is_set() and choice.turn.locked()


def test_a_failing_system_leaves_the_others_alone(any_store, trio):
    family, specs = trio
    missing = replace(specs[1], name="missing", source=None, note="Fine-tune one.")
    comparison = compare(any_store, family, [specs[0], missing, specs[2]], DIALOGUE)
    assert [system.phase for system in comparison.systems] == ["done", "failed", "done"]
    assert "missing" in comparison.systems[1].error
    assert [system.fitted is None for system in comparison.systems] == [False, True, False]


def test_a_comparison_in_which_every_system_fails_has_a_failure(any_store, trio):
    family, specs = trio
    missing = [replace(spec, source=None, note="It has to be trained first.") for spec in specs]
    done = compare(any_store, family, missing, DIALOGUE)
    assert f"{specs[0].name} does not exist yet" in done.failure and specs[2].name in done.failure
    assert compare(any_store, family, [*missing[:1], specs[1]], DIALOGUE).failure == ""


def test_a_stop_keeps_what_is_there(any_store, trio):
    family, specs = trio
    stop = threading.Event()
    for state in stream_comparison(any_store, family, specs, DIALOGUE, should_stop=stop.is_set):
        last = state
        if state.systems[0].phase == "done":
            stop.set()
    assert [system.phase for system in last.systems] == ["done", "stopped", "stopped"]
    assert last.systems[0].summary


def test_a_summary_that_was_stopped_is_not_scored(any_store, trio):
    family, specs = trio
    stop = threading.Event()
    decode = DecodingConfig(max_new_tokens=64)
    for last in stream_comparison(any_store, family, specs, DIALOGUE, REFERENCES, decode, should_stop=stop.is_set):
        if last.systems[0].summary:
            stop.set()
    assert [system.phase for system in last.systems] == ["stopped"] * 3
    assert last.systems[0].summary and last.systems[0].scores is None


@pytest.mark.parametrize(
    ("dialogue", "expected"),
    [(DIALOGUE, False), ("hello there", True), ("Ana: Rice?", True), ("مايا: هل؟\nتوم: نعم", False)],
)
def test_a_text_with_fewer_than_two_turns_has_a_warning(any_store, trio, dialogue, expected):
    comparison = run(any_store, trio, dialogue=dialogue)
    assert any("does not look like a dialogue" in warning for warning in comparison.warnings) is expected
    assert comparison.as_dict()["warnings"] == list(comparison.warnings)


@pytest.mark.parametrize("dialogue", ["", "   \n\t", "😀😀", "!!! ???"])
def test_unusable_dialogues_are_refused_before_a_model_loads(any_store, trio, dialogue):
    with pytest.raises(InputError, match="no dialogue"):
        compare(any_store, trio[0], trio[1], dialogue)


def test_loading_reports_its_progress(any_store, trio):
    family, specs = trio
    fresh = ModelStore(any_store.registry)
    notes = [state.systems[0].note for state in stream_comparison(fresh, family, specs[:1], DIALOGUE)]
    assert f"Loading {specs[0].name}" in notes
    assert notes[-1] == ""


@pytest.fixture(scope="module")
def both(tiny_settings, causal_root) -> ModelStore:
    """A store with two families of different architectures: tiny T5 models and tiny decoder-only ones."""
    t5 = make_registry(tiny_settings).default_family
    return ModelStore(make_registry(tiny_settings, Catalog(t5.name, (t5, causal_family(causal_root)))))


def test_systems_of_two_families_use_their_own_prompts_and_run_family_by_family(both):
    names = ["dsum-t5-base", "causal-base", "dsum-t5-lora", "causal-lora"]
    specs = [both.registry.spec(name) for name in names]
    family, decode = both.registry.family("dsum-t5"), DecodingConfig(max_new_tokens=12)
    order: list[str] = []
    for comparison in stream_comparison(both, family, specs, DIALOGUE, REFERENCES, decode):
        order += [s.spec.name for s in comparison.systems if s.phase == "writing" and s.spec.name not in order]
    assert order == ["dsum-t5-base", "dsum-t5-lora", "causal-base", "causal-lora"]
    assert [system.spec.name for system in comparison.systems] == names and not comparison.failure
    for system in comparison.systems:
        alone = compare(both, both.registry.family(system.spec.family), [system.spec], DIALOGUE, REFERENCES, decode)
        assert alone.systems[0].summary == system.summary and alone.systems[0].scores == system.scores
    kept = Comparison.from_dict(json.loads(comparison.as_json()), both.registry)
    assert [system.summary for system in kept.systems] == [system.summary for system in comparison.systems]


def test_a_family_that_does_not_fit_beside_the_next_one_is_evicted(both):
    specs = [both.registry.spec(name) for name in ("dsum-t5-base", "causal-base", "dsum-t5-full")]
    small = ModelStore(both.registry, memory_budget_bytes=1)
    comparison = compare(small, both.registry.family("dsum-t5"), specs, DIALOGUE)
    assert [system.phase for system in comparison.systems] == ["done"] * 3
    assert small.loaded() == ["causal-base"]


def test_a_truncated_dialogue_names_the_systems_of_the_family_that_truncated_it(both, tiny_settings):
    wide = replace(both.registry.family("dsum-t5"), max_source_tokens=4_000)
    narrow = replace(both.registry.family("causal"), max_source_tokens=200)
    store = ModelStore(make_registry(tiny_settings, Catalog("dsum-t5", (wide, narrow))))
    decode = DecodingConfig(max_new_tokens=4)
    (warning,) = compare(store, wide, [wide.base, narrow.base], f"{DIALOGUE}\n" * 9, decode=decode).warnings
    assert warning.startswith("causal-base: ") and "left out" in warning


def test_a_recorded_summary_is_scored_and_exported_like_a_models(tiny_store):
    family = tiny_store.registry.default_family
    pasted = RecordedSummary("Another program", REFERENCES[0])
    comparison = compare(tiny_store, family, [family.base, pasted], DIALOGUE, REFERENCES)
    result = comparison.systems[1]
    assert result.scores == score_summary(REFERENCES[0], REFERENCES) and result.phase == "done"
    assert f"**Another program** (`Another program`): {REFERENCES[0]}" in comparison.as_markdown()
    row = list(csv.DictReader(io.StringIO(comparison.as_csv())))[1]
    assert row["summary"] == REFERENCES[0] and row["kind"] == "recorded"
    kept = Comparison.from_dict(json.loads(comparison.as_json()), tiny_store.registry)
    assert kept.systems[1] == result


@pytest.mark.parametrize(
    ("systems", "message"),
    [
        ([], "0 systems"),
        ([RecordedSummary(str(number), "Tom pays.") for number in range(7)], "7 systems; compare 1 to 6"),
        ([RecordedSummary("a", "Tom pays."), RecordedSummary("a", "He does.")], "a was chosen twice"),
        ([RecordedSummary("a", " …\n")], "a has no words"),
        ([RecordedSummary("a", "word " * 1_001)], "a has 5,005 characters; the limit is 5,000"),
    ],
)
def test_unusable_systems_are_refused(tiny_store, systems, message):
    with pytest.raises(InputError, match=message):
        compare(tiny_store, tiny_store.registry.default_family, systems, DIALOGUE)


def test_human_agreement_is_each_reference_against_the_others(any_store, trio):
    assert run(any_store, trio, references=REFERENCES[:1]).human_agreement is None
    agreement = run(any_store, trio, references=REFERENCES).human_agreement
    one, other = score_summary(REFERENCES[0], REFERENCES[1:]), score_summary(REFERENCES[1], REFERENCES[:1])
    for rouge in ROUGE_TYPES:
        assert agreement[rouge].fmeasure == pytest.approx((one[rouge].fmeasure + other[rouge].fmeasure) / 2)


def test_more_than_three_references_are_refused():
    with pytest.raises(InputError, match="4 reference"):
        clean_references(["a", "b", "c", "d"])


def test_a_reference_as_long_as_a_book_is_refused():
    with pytest.raises(InputError, match="Reference 2 has 5,001"):
        clean_references(["a", "b" * 5_001])


@pytest.mark.parametrize("references", ["one text", [1], [["a"]]])
def test_references_are_a_list_of_texts(references):
    with pytest.raises(InputError, match="list of texts"):
        clean_references(references)


def test_a_metric_that_reads_nothing_in_the_reference_is_missing_in_the_exports(any_store, trio, monkeypatch):
    for metric in UNICODE_ROUGE:
        monkeypatch.setitem(METRICS, metric.name, metric)
    comparison = run(any_store, trio, references=["Том берёт деньги."])
    for system in comparison.as_dict()["systems"]:
        assert system["rouge"]["rouge1"] is None and system["rouge"]["unicode_rouge1"] == 0
    assert "| – | – | – | – | 0.00 | 0.00 |" in comparison.as_markdown()
    assert next(csv.DictReader(io.StringIO(comparison.as_csv())))["rouge1_f1"] == ""


def test_exports_hold_every_system_and_the_signature(any_store, trio):
    comparison = run(any_store, trio, references=REFERENCES)
    loaded = json.loads(comparison.as_json())
    assert loaded["signature"] and [s["name"] for s in loaded["systems"]] == [spec.name for spec in trio[1]]
    assert set(loaded["systems"][0]["rouge"]) == set(ROUGE_TYPES)
    rows = list(csv.DictReader(io.StringIO(comparison.as_csv())))
    assert [row["name"] for row in rows] == [spec.name for spec in trio[1]]
    assert float(rows[0]["rouge1_f1"]) == loaded["systems"][0]["rouge"]["rouge1"]
    markdown = comparison.as_markdown()
    assert all(system.summary in markdown for system in comparison.systems)
    assert comparison.signature.text in markdown
