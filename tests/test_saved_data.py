"""Data saved by an earlier version opens unchanged: runs, evaluations, a study, cached summaries and adapters.

tests/fixtures/saved holds it; expected.json has the values that the earlier version read. If a value changes, users'
own data would change too: fix the reader, not the fixture.
"""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from dsum_demo.composition import make_registry, make_run_queue, make_sources, make_store, saved_evaluations
from dsum_demo.data.examples import read_fingerprints
from dsum_demo.errors import InputError
from dsum_demo.evaluation.export import write_exports
from dsum_demo.evaluation.output_cache import OutputCache
from dsum_demo.evaluation.report import build_report
from dsum_demo.evaluation.runner import evaluate
from dsum_demo.evaluation.storage import SavedEvaluations, compare_saved
from dsum_demo.generation.streaming import generate
from dsum_demo.models.adapters import check_adapter
from dsum_demo.models.architectures import ENCODER_DECODER
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import DEFAULT_PROMPT
from dsum_demo.runs.runner import execute
from dsum_demo.runs.store import Run, Runs, RunState
from dsum_demo.settings import Settings
from dsum_demo.study.report import COSTS, finding, method_rows, original_means, pareto_front, read_study
from dsum_demo.study.runner import StudyPlan, run_study
from dsum_demo.training.config import RunConfig
from dsum_demo.training.events import read_curve, read_events

SAVED = Path(__file__).parent / "fixtures" / "saved"
RUNS = ("full", "lora", "stopped", "failed", "waiting")
EVALUATIONS = ("models", "recorded", "stopped")
ADAPTERS = ("mine-lora", "mine-ia3", "mine-dora")
MODELS = ("dsum-t5-base", "dsum-t5-full", "dsum-t5-lora", *ADAPTERS, *RUNS[:4])
SECRET = "a secret"
EXPLANATIONS = ("how", "misses", "note", "finding", "sentence")


# what is read, as plain values; fixtures/saved/make.py writes it to expected.json


def expected_of(settings: Settings, more: dict[str, Any]) -> dict[str, Any]:
    saved = saved_evaluations(settings)
    return {
        "runs": {name: run_facts(Runs(settings.runs_dir).get(name)) for name in RUNS},
        "models": model_facts(settings),
        "texts": texts(settings, MODELS),
        "evaluations": {name: evaluation_facts(saved, name) for name in EVALUATIONS},
        "study": study_facts(settings),
        "outputs": output_facts(settings),
        **more,
    }


def run_facts(run: Run) -> dict[str, Any]:
    status, curve = run.status(), read_curve(run.events_file)
    return plain(
        {
            "state": status.state,
            "reason": status.reason,
            "updated": status.updated,
            "command": RunConfig.from_record(run.config()).command(run.name),
            "base": run.environment().get("base"),
            "data": run.environment().get("data"),
            "learned_from": sorted(read_fingerprints(run.folder)),
            "events": [event["event"] for event in read_events(run.events_file)[0]],
            "trained": curve.start["trained_parameters"] if curve.start else None,
            "steps": steps_of(run),
            "evaluations": [[e["step"], e["loss"], e["rouge1"], e["best"]] for e in curve.evaluations],
            "summaries": curve.best["summaries"] if curve.best else None,
            "end": [curve.end["state"], curve.end["reason"], curve.end["step"]] if curve.end else None,
            "result": run.result(),
        }
    )


def steps_of(run: Run) -> list[list[float]]:
    return [[e["step"], e["loss"], e["learning_rate"]] for e in read_curve(run.events_file).steps]


def model_facts(settings: Settings) -> dict[str, Any]:
    registry = make_registry(settings)
    assert not registry.misfits
    keys = ("kind", "state", "base", "parameters", "trained_parameters", "size_bytes", "note")
    return plain({row["name"]: {k: row[k] for k in keys} for row in registry.as_rows() if row["name"] in MODELS})


def texts(settings: Settings, names: tuple[str, ...], strength: float = 1.0) -> dict[str, str]:
    """What models write about the first of the saved samples."""
    registry = make_registry(settings)
    store, dialogue, found = make_store(settings, registry), make_sources(settings).read("samples")[0].dialogue, {}
    for name in names:
        loaded = store.load(registry.spec(name))
        loaded = loaded if strength == 1.0 else loaded.at_strength(strength)
        ids = DEFAULT_PROMPT.fit(loaded.tokenizer, dialogue, 512).source_ids
        found[name] = generate(loaded, ids, DecodingConfig(max_new_tokens=16)).text
    return found


def evaluation_facts(saved: SavedEvaluations, name: str) -> dict[str, Any]:
    listed, evaluation = saved.find(name), saved.open(name)
    report = build_report(evaluation, 500)
    return plain(
        {
            "listed": {k: v for k, v in asdict(listed).items() if k != "folder"},
            "evaluation": evaluation.facts(),
            "examples": [(e.id, e.row, e.fingerprint, e.words, e.turns, e.topics) for e in evaluation.examples],
            "dialogue": evaluation.examples[0].dialogue,
            "references": evaluation.examples[0].references,
            "texts": {s.name: [e.outputs[s.name].text for e in evaluation.examples if s.name in e.outputs]
                      for s in evaluation.systems},
            "first": {s: asdict(output) for s, output in evaluation.examples[0].outputs.items()},
            "report": report.as_dict(),
        }
    )  # fmt: skip


def study_facts(settings: Settings) -> dict[str, Any]:
    study = read_study(settings.data_dir / "studies" / "small")
    rows = method_rows(study)
    return plain(
        {
            "finding": finding(study, rows),
            "rows": [asdict(row) for row in rows],
            "original": {rouge: asdict(interval) for rouge, interval in original_means(study).items()},
            "fronts": {cost.key: [row.method for row in pareto_front(rows, cost.key)] for cost in COSTS},
            "search": study.search,
            "signature": study.signature,
        }
    )


def output_facts(settings: Settings) -> dict[str, Any]:

    with sqlite3.connect(settings.outputs_file) as database:
        keys = [key for (key,) in database.execute("SELECT key FROM outputs ORDER BY key")]
    database.close()
    return {key: asdict(output) for key, output in OutputCache(settings.outputs_file).get(keys).items()}


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def same(found: Any, saved: Any, where: str = "") -> None:
    """All that was saved is found, to the sixth digit; more may be found, and explanations are this version's own."""
    if isinstance(saved, dict):
        assert isinstance(found, dict) and found.keys() >= saved.keys(), where
        for key, value in saved.items():
            if key in EXPLANATIONS or ("/warnings/" in where and key == "text"):
                continue
            same(found[key], value, f"{where}/{key}")
    elif isinstance(saved, list):
        assert isinstance(found, list) and len(found) == len(saved), where
        for place, value in enumerate(saved):
            same(found[place], value, f"{where}/{place}")
    elif isinstance(saved, float):
        assert found == pytest.approx(saved, rel=1e-6), where
    else:
        assert (found, type(found)) == (saved, type(saved)), where


# the tests


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((SAVED / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def saved(tmp_path) -> Settings:
    """Settings over a copy of what was saved."""
    for name in ("root", "data"):
        shutil.copytree(SAVED / name, tmp_path / name)
    return Settings(root=tmp_path / "root", data_dir=tmp_path / "data", offline=True, family="dsum-t5")


def test_the_runs_are_listed_newest_first_with_their_states(saved):
    listed = [(run.name, run.status().state) for run in Runs(saved.runs_dir).all()]
    assert listed == [
        ("waiting", RunState.QUEUED), ("failed", RunState.FAILED), ("stopped", RunState.STOPPED),
        ("lora", RunState.FINISHED), ("full", RunState.FINISHED),
    ]  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_a_run_reads_as_it_did(name, saved, expected):
    same(run_facts(Runs(saved.runs_dir).get(name)), expected["runs"][name], name)


def test_a_failed_run_has_its_reason_and_keeps_its_best_weights_as_a_model(saved):
    run = Runs(saved.runs_dir).get("failed")
    assert run.status().reason == "The training loss became nan at step 3." == run.result()["reason"]
    assert run.result()["best"]["step"] == 2 and make_registry(saved).spec("failed").kind == "adapter"


def test_a_waiting_run_keeps_its_place_and_its_owner(saved):
    jobs = make_run_queue(replace(saved, public=True))
    (run,) = jobs.queued()
    assert run.name == "waiting" and jobs.may_see(run, SECRET) and not jobs.may_see(run, "another")


def test_a_stopped_run_resumes_and_equals_an_uninterrupted_one(saved, expected):
    run = Runs(saved.runs_dir).get("stopped")
    before = steps_of(run)
    assert execute(run, make_registry(saved), make_sources(saved)).state is RunState.FINISHED
    after = steps_of(run)
    assert before == after[:4] and read_curve(run.events_file).start["step"] == 4, "not from the beginning again"
    # Losses hang a little on the processor.
    assert [step for step, *_ in after] == [1, 2, 3, 4, 5, 6]
    for (_, loss, rate), (_, wanted, wanted_rate) in zip(after, expected["uninterrupted"], strict=True):
        assert (loss, rate) == (pytest.approx(wanted, rel=1e-3), pytest.approx(wanted_rate))
    result = run.result()
    assert (result["steps"], result["stopped"], result["reason"]) == (6, False, "") and not run.checkpoints.exists()


def test_models_adapters_and_runs_are_found_as_they_were(saved, expected):
    assert set(expected["models"]) == set(MODELS)
    same(model_facts(saved), expected["models"])


def test_models_adapters_and_runs_write_what_they_wrote(saved, expected):
    assert texts(saved, MODELS) == expected["texts"]


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_passes_its_checks(name, saved):
    registry = make_registry(saved)
    base = registry.default_family.base
    check_adapter(saved.adapters_dir / name, ENCODER_DECODER, registry.folder_of(base), registry.names_of(base))


def test_adapters_at_no_strength_write_what_the_original_wrote(saved, expected):
    adding = ("mine-lora", "mine-dora", "lora")
    assert texts(saved, adding, strength=0.0) == dict.fromkeys(adding, expected["texts"]["dsum-t5-base"])
    with pytest.raises(InputError, match="mine-ia3 has no strength"):
        texts(saved, ("mine-ia3",), strength=0.0)


def test_evaluations_are_listed_newest_first(saved):
    listed = [(each.name, each.n, each.finished, each.reason) for each in saved_evaluations(saved).list()]
    assert listed[0][0] == "recorded" and sorted(listed) == [
        ("models", 6, True, ""), ("recorded", 29, True, ""), ("stopped", 6, False, ""),
    ]  # fmt: skip


@pytest.mark.parametrize("name", EVALUATIONS)
def test_an_evaluation_opens_with_the_same_figures_texts_and_headline(name, saved, expected):
    same(evaluation_facts(saved_evaluations(saved), name), expected["evaluations"][name], name)


def test_recorded_outputs_keep_their_headline(saved):
    report = build_report(saved_evaluations(saved).open("recorded"))
    assert report.recovery.sentence == (
        "LoRA recovers 92 % [88, 97] of the full fine-tune's gain over the original in ROUGE-1 (29 dialogues)."
    )


@pytest.mark.parametrize(("name", "rows"), [("models", 18), ("recorded", 87), ("stopped", 12)])
def test_an_evaluation_is_exported(name, rows, saved, tmp_path, expected):
    evaluation = saved_evaluations(saved).open(name)
    report = build_report(evaluation, 500)
    table, lines, _, markdown = write_exports(evaluation, report, tmp_path / "out")
    with table.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == rows
    first = json.loads(lines.read_text(encoding="utf-8").split("\n")[0])
    assert first["id"] == expected["evaluations"][name]["examples"][0][0]
    assert report.signature.text in markdown.read_text(encoding="utf-8")


def test_a_stopped_evaluation_compares_with_the_whole_one(saved):
    evaluations = saved_evaluations(saved)
    found = compare_saved(evaluations.open("stopped"), evaluations.open("models"), resamples=50)
    assert [(each.first, each.n) for each in found] == [("dsum-t5-base", 6), ("dsum-t5-full", 6)]
    assert all(interval.mean == 0 for each in found for interval in each.f1.values())


def test_written_texts_are_found_under_the_same_keys(saved, expected):
    assert len(expected["outputs"]) == 18
    assert output_facts(saved) == expected["outputs"]


def test_the_same_evaluation_again_reads_all_outputs_from_the_cache(saved, expected):
    registry, cache = make_registry(saved), OutputCache(saved.outputs_file)
    specs = [registry.spec(name) for name in MODELS[:3]]
    *_, last = evaluate(
        make_store(saved, registry), specs, make_sources(saved).read("samples"), cache=cache, data="samples", limit=6,
        decode=DecodingConfig(max_new_tokens=12),
    )  # fmt: skip
    outputs = {s.name: [e.outputs[s.name] for e in last.evaluation.examples] for s in specs}
    assert not cache.problem and all(output.cached for each in outputs.values() for output in each)
    texts = {name: [output.text for output in each] for name, each in outputs.items()}
    assert texts == expected["evaluations"]["models"]["texts"]


def test_a_study_has_the_same_figures(saved, expected):
    same(study_facts(saved), expected["study"])


def test_a_finished_study_is_not_run_again(saved):
    folder = saved.data_dir / "studies" / "small"
    before = (folder / "study.json").read_bytes()
    plan = read_study(folder).plan
    plan = StudyPlan(**{key: tuple(value) if isinstance(value, list) else value for key, value in plan.items()})
    *_, last = run_study(plan, saved, folder)
    assert last.done == last.total and (folder / "study.json").read_bytes() == before
    assert not (folder / "runs").exists()
