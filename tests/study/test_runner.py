"""A study of one method on the tiny models, with real child processes: stopped, resumed and read."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dsum_demo.cli.main import main
from dsum_demo.errors import InputError, Stopped
from dsum_demo.judge.judges import Judges
from dsum_demo.metrics.checks import CHECKS
from dsum_demo.metrics.scores import METRICS
from dsum_demo.runs.store import Runs, RunState
from dsum_demo.study import runner
from dsum_demo.study.report import STUDY_FILE, Study, method_rows, read_study, recorded_qualities
from dsum_demo.study.runner import StudyPlan, run_study
from dsum_demo.training.methods import METHODS, method

PLAN = StudyPlan(
    "dsum-t5-base", methods=("lora",), source="samples", validation="samples", validation_share=0.2,
    validation_limit=3, dialogues=8, batch_size=4, steps=2, search_steps=1, seeds=(1,), factors=(0.3, 1.0), beyond=1,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def quick_children(forked_python) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.executable", forked_python)
        yield


@pytest.fixture(scope="module")
def out(tiny_settings, tmp_path_factory) -> Path:
    """A study that was stopped during the learning rate search and then resumed."""
    folder = tmp_path_factory.mktemp("study")

    def searched() -> bool:
        return (folder / STUDY_FILE).is_file() and bool(read_study(folder).search)

    with pytest.raises(Stopped, match="resume it"):
        list(run_study(PLAN, tiny_settings, folder, should_stop=searched))
    half = read_study(folder)
    assert half.original and not half.finals
    *_, last = run_study(PLAN, tiny_settings, folder)
    assert (last.done, last.seconds_left) == (last.total, 0.0)
    whole = read_study(folder)
    assert whole.search["lora"][: len(half.search["lora"])] == half.search["lora"] and whole.original == half.original
    return folder


def test_a_finished_study_has_quality_and_costs(out):
    study = read_study(out)
    (row,) = method_rows(study)
    tried = {rate: loss for rate, loss, _ in study.search["lora"]}
    assert len(tried) == 3, "two, either of which is the lowest or highest, and one beyond"
    assert row.method == "lora" and row.learning_rate == min(tried, key=tried.__getitem__)
    assert set(row.f1) == set(METRICS) and all(0 <= interval.mean <= 1 for interval in row.f1.values())
    assert {"length", "copied", "ungrounded", "chrf"} <= set(row.checks), "of the dialogue and of the references"
    assert study.judge is None and not [name for name in row.checks if name.startswith("judge_")]
    for record in (study.original, *study.finals):
        assert {len(values) for part in ("f1", "checks") for values in record[part].values()} == {3}
    assert row.trained_parameters and row.peak_memory_bytes and row.samples_per_second
    assert study.signature["n"] == 3 and study.signature["references"] == 3
    assert study.environment["torch"]


def test_runs_are_stored_in_a_regular_data_folder(out):
    tried = [rate for rate, *_ in read_study(out).search["lora"]]
    assert tried == [9e-4, 3e-3, 1e-2] or tried == [9e-4, 3e-3, 2.7e-4]
    assert {run.name for run in Runs(out / "runs").all()} == {
        *(f"search-lora-{rate:g}" for rate in tried),
        "lora-seed1",
    }
    assert not (out / "runs" / "search-lora-0.003" / "best").exists(), "a search keeps no weights"
    assert (out / "runs" / "lora-seed1" / "best" / "adapter_config.json").is_file()


def test_completed_units_are_skipped_on_resume(out, tiny_settings):
    before = (out / STUDY_FILE).read_bytes()
    assert len(list(run_study(PLAN, tiny_settings, out))) == 7
    assert (out / STUDY_FILE).read_bytes() == before


@pytest.fixture
def judged(out, tiny_settings, causal_store, tmp_path, monkeypatch) -> Path:
    """The study's runs and search, whose summaries are evaluated again, with a judge."""
    monkeypatch.setattr(runner, "make_judges", lambda *_: Judges(causal_store, tmp_path / "judges"))
    folder = Path(shutil.copytree(out, tmp_path / "judged"))
    study = read_study(out)
    plan = {**study.plan, "judge": "causal-base"}
    replace(study, plan=plan, original=None, finals=()).write(folder)
    list(run_study(replace(PLAN, judge="causal-base"), tiny_settings, folder, parts=("quality",)))
    return folder


def test_a_judge_of_the_plan_judges_every_summary(out, judged):
    study, before = read_study(judged), read_study(out)
    assert (study.judge["name"], study.judge["can_rank"]) == ("causal-base", False)
    judge_names = {check.name for check in CHECKS if check.needs == "judge"}
    assert judge_names & set(recorded_qualities(study)) >= {"judge_faithfulness", "judge_coverage"}
    (row,), (unjudged,) = method_rows(study), method_rows(before)
    assert row.f1 == unjudged.f1 and row.checks["judge_coverage"].n == 3
    assert {name: mean for name, mean in row.checks.items() if name not in judge_names} == unjudged.checks


def test_a_record_of_an_older_version_without_some_dialogues_is_evaluated_again(out, tiny_settings, tmp_path):
    folder, study = Path(shutil.copytree(out, tmp_path / "short")), read_study(out)
    f1 = {name: values[:2] for name, values in study.original["f1"].items()}
    replace(study, original={"model": PLAN.base, "f1": f1}).write(folder)
    list(run_study(PLAN, tiny_settings, folder))
    assert read_study(folder) is not study and vars(read_study(folder)) == vars(study)


def test_an_unknown_judge_raises_before_anything_is_written(tiny_settings, tmp_path):
    with pytest.raises(InputError, match="There is no judge 'nobody'"):
        next(run_study(replace(PLAN, judge="nobody"), tiny_settings, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_changed_default_learning_rates_do_not_repeat_the_search(out, tiny_settings, monkeypatch):
    before = (out / STUDY_FILE).read_bytes()
    monkeypatch.setattr(StudyPlan, "learning_rates", lambda plan, name: [0.1, 0.2])
    list(run_study(PLAN, tiny_settings, out))
    assert (out / STUDY_FILE).read_bytes() == before


def test_a_folder_with_another_plan_raises(out, tiny_settings):
    with pytest.raises(InputError, match=r"another plan \(different: methods\)"):
        list(run_study(StudyPlan(**{**vars(PLAN), "methods": ("ia3",)}), tiny_settings, out))


@pytest.fixture
def tiny_command(tiny_environment, monkeypatch):
    for name in ("DSUM_ROOT", "DSUM_DATA_DIR", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, tiny_environment[name])


def test_the_command_prints_a_table_and_again_as_json_without_training(tiny_command, tmp_path, capsys):
    command = ["study", "--out", str(tmp_path / "out"), "--methods", "ln_tuning", "--data", "samples",
               "--validation", "samples", "--limit", "3", "--dialogues", "8", "--batch-size", "4", "--steps", "2",
               "--search-steps", "0", "--seeds", "1", "--only", "quality"]  # fmt: skip
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "\nLayerNorm tuning " in printed.out and "\nLength against the reference " in printed.out
    assert "dsum: 1 of 2: ln_tuning: seed 1" in printed.err
    before = (tmp_path / "out" / STUDY_FILE).read_bytes()
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in found["methods"]] == ["ln_tuning"] and found["original"]["rouge1"]["n"] == 3
    assert (tmp_path / "out" / STUDY_FILE).read_bytes() == before


def test_the_command_refuses_another_plan_and_invalid_arguments(out, tiny_command, capsys):
    plan = json.loads((out / STUDY_FILE).read_text())["plan"]
    # The command has no flags for the split and the factors, and their defaults differ from PLAN.
    code = main(["study", "--out", str(out), "--methods", "lora", "--data", "samples", "--validation", "samples",
                 "--limit", "3", "--dialogues", "8", "--batch-size", "4", "--steps", "2", "--search-steps", "1",
                 "--seeds", "1"])  # fmt: skip
    assert code == 2 and "another plan (different: validation_share, factors, beyond)" in capsys.readouterr().err
    assert (plan["factors"], plan["beyond"]) == ([0.3, 1.0], 1)
    assert main(["study", "--out", str(out), "--judge", "nobody"]) == 2
    assert "There is no judge 'nobody'; choose one of:" in capsys.readouterr().err
    assert main(["study", "--out", str(out), "--seeds", "one"]) == 2
    assert "--seeds is 'one'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": ("magic",)}, "magic"),
        ({"methods": ("lora:r=0",)}, "r is 0; give a whole number from 1 to 512"),
        ({"steps": 0}, "steps is 0"),
        ({"seeds": ()}, "at least one"),
        ({"factors": (3.0, 1.0)}, "ascending"),
    ],
)
def test_an_invalid_plan_raises(changes, said):
    with pytest.raises(InputError, match=said):
        StudyPlan("dsum-t5-base", **changes)


def test_without_search_steps_a_variant_is_trained_with_its_options_at_the_default_rate(tiny_settings, tmp_path):
    variant = "lora:r=2:target_modules=q+v"
    plan = replace(PLAN, methods=(variant,), search_steps=0)
    list(run_study(plan, tiny_settings, tmp_path, parts=("quality",)))
    study = read_study(tmp_path)
    assert study.search == {}
    (run,) = Runs(tmp_path / "runs").all()
    options = run.config()["training"]["options"]
    assert (options["r"], options["target_modules"]) == (2, ["q", "v"])
    (row,) = method_rows(study)
    assert (row.method, row.learning_rate) == (variant, method("lora").learning_rate)


def test_learning_rates_are_rounded_multiples_of_the_methods_default():
    plan = StudyPlan("dsum-t5-base")
    assert plan.methods == tuple(METHODS)
    assert plan.learning_rates("lora") == [9e-4, 3e-3, 9e-3]
    assert plan.learning_rates("prompt")[-1] <= 1


def test_a_plan_for_a_decoder_only_base_uses_its_default_learning_rates():
    plan = StudyPlan("smollm2-135m-instruct", task_type="CAUSAL_LM")
    assert plan.learning_rates("lora") == [3e-4, 1e-3, 3e-3]
    training = plan.config("ia3", 0.02, 5, seed=1).training
    assert training.task_type == "CAUSAL_LM" and training.options["target_modules"] == ("k_proj", "v_proj", "down_proj")
    with pytest.raises(InputError, match="task_type is 'x'"):
        StudyPlan("dsum-t5-base", task_type="x")


def test_a_study_without_task_type_is_read_as_encoder_decoder(out, tiny_settings, tmp_path):
    study = read_study(out)
    Study(**{**vars(study), "plan": {key: v for key, v in study.plan.items() if key != "task_type"}}).write(tmp_path)
    *_, last = run_study(PLAN, tiny_settings, tmp_path, parts=())
    assert last.note == "done"
    with pytest.raises(InputError, match=r"another plan \(different: task_type\)"):
        next(run_study(replace(PLAN, task_type="CAUSAL_LM"), tiny_settings, tmp_path, parts=()))


def test_search_continues_if_the_best_rate_is_the_lowest_or_highest():
    plan = StudyPlan("dsum-t5-base")
    tried = plan.learning_rates("lora")
    assert plan.further(tried, 3e-3) is None
    assert plan.further(tried, 9e-3) == 2.7e-2 and plan.further(tried, 9e-4) == 3e-4
    assert plan.further([*tried, 2.7e-2], 9e-3) is None, "bracketed now"
    assert plan.further([0.1, 0.3, 1.0], 1.0) is None, "no rate is above 1"
    assert plan.further([*tried, 2.7e-2, 8.1e-2, 0.24], 0.24) is None, "at most three more, also after a resume"


def test_sigterm_stops_the_study_and_the_run_that_it_trains(tiny_environment, forked_python, tmp_path):
    words = "study --base dsum-t5 --methods lora --data samples --validation samples --limit 3 --dialogues 8"
    command = [forked_python, "-m", "dsum_demo", *words.split(), "--search-steps", "100000", "--out", str(tmp_path)]
    study = subprocess.Popen(command, env=tiny_environment, stderr=subprocess.PIPE, text=True)
    runs, deadline = Runs(tmp_path / "runs"), time.monotonic() + 120
    while time.monotonic() < deadline and not any(run.status().state is RunState.RUNNING for run in runs.all()):
        time.sleep(0.05)
    study.send_signal(signal.SIGTERM)
    _, said = study.communicate(timeout=120)
    assert study.returncode == 130 and "run the same command again to resume it" in said
    (run,) = runs.all()
    assert run.status().state is RunState.STOPPED
