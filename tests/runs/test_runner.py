"""Executing a run: the files it writes, queueing, stopping, resuming and failures."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dsum_demo.composition import make_registry, make_sources
from dsum_demo.data.examples import fingerprint, read_fingerprints
from dsum_demo.errors import DataError, InputError, ModelUnavailableError, TrainingError, UnknownModelError
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.runs import runner
from dsum_demo.runs.runner import DISCARDED, seconds_of
from dsum_demo.runs.store import Run, Runs, RunState, RunStatus
from dsum_demo.settings import Settings
from dsum_demo.training.config import DataConfig, RunConfig, TrainingConfig
from dsum_demo.training.dataset import sample_csv
from dsum_demo.training.events import Curve, read_curve, read_events
from dsum_demo.training.sweep import best_rate, sweep_rows, with_sweep

TRAINING = TrainingConfig("lora", {"r": 4}, max_steps=4, batch_size=1, evaluations=2, warmup_share=0,
                          max_source_tokens=64, max_target_tokens=16)  # fmt: skip


@pytest.fixture
def config(tmp_path) -> RunConfig:
    (tmp_path / "rows.csv").write_text(sample_csv())
    return RunConfig("dsum-t5-base", TRAINING, DataConfig(str(tmp_path / "rows.csv")))


def execute(run: Run, settings: Settings, **options) -> RunStatus:
    return runner.execute(run, make_registry(settings), make_sources(settings), **options)


@pytest.fixture
def runs(settings) -> Runs:
    return Runs(settings.runs_dir)


def stop_after(run: Run, step: int, keep: bool = True):
    def see(event: dict) -> None:
        if event["event"] == "step" and event["step"] == step:
            run.request_stop(keep)

    return see


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_finished_run_has_all_files_and_a_complete_result(runs, config, settings):
    run = runs.create(config.as_record(), "mine")
    status = execute(run, settings)
    assert (status.state, status.reason, status.pid) == (RunState.FINISHED, "", None)
    assert names(run.folder) == {
        "config.json", "environment.json", "train_fingerprints.txt", "status", "events.jsonl", "best", "result.json",
        "README.md",
    }  # fmt: skip
    record, curve = run.result(), read_curve(run.events_file)
    assert (record["base"], record["steps"], record["planned_steps"], record["stopped"]) == (
        "dsum-t5-base",
        4,
        4,
        False,
    )
    assert record["best"] == {name: curve.best[name] for name in (*ROUGE_TYPES, "loss", "step")}
    assert record["signature"]["n"] == 1 and "rouge_score" in record["signature"]["text"]
    assert [step for step, _ in record["curve"]["loss"]] == [1, 2, 3, 4]
    assert [step for step, _, _ in record["curve"]["validation"]] == [2, 4]
    assert record["peak_memory_bytes"] > 1e8 and record["memory"] == "RSS" and record["samples_per_second"] > 0
    assert 0 < record["seconds"] == pytest.approx(seconds_of(run), abs=1)
    assert RunConfig.from_record(run.config()) == config
    environment = run.environment()
    assert (environment["seed"], environment["torch"], environment["data"]["train"]) == (42, torch.__version__, 2)
    assert len(environment["data"]["fingerprint"]) == 16
    assert curve.end["state"] == "finished" and curve.end["step"] == 4
    assert json.loads(json.dumps(record)) == record


def test_the_card_has_training_settings_and_scores(runs, config, settings):
    run = runs.create(config.as_record(), "mine")
    execute(run, settings)
    card = (run.folder / "README.md").read_text()
    assert card == (run.best / "README.md").read_text(), "replaces PEFT's card"
    record = run.result()
    assert card.startswith("---\n") and 'base_model: "dsum-t5-base"' in card and "library_name: peft" in card
    assert f"{100 * record['best']['rouge1']:.2f}" in card and record["signature"]["text"] in card
    assert "| learning_rate | 0.003 |" in card and "| r | 4 |" in card
    assert "Data: rows.csv, 2 dialogues" in card and str(settings.root.parent) not in card, "no paths of this machine"


def test_fingerprints_are_those_of_the_training_dialogues(runs, config, settings):
    run = runs.create(config.as_record())
    execute(run, settings)
    marks = (run.folder / "train_fingerprints.txt").read_text().splitlines()
    assert len(marks) == 2 and frozenset(marks) == read_fingerprints(run.folder)
    dialogues = [line["dialogue"] for line in read_curve(run.events_file).best["summaries"]]
    assert not read_fingerprints(run.folder) & {fingerprint(text) for text in dialogues}, (
        "validation dialogues are not included"
    )


def test_a_run_stopped_with_keep_is_a_model_and_can_be_resumed(runs, config, settings):
    run = runs.create(config.as_record(), "mine")
    status = execute(run, settings, on_event=stop_after(run, 2))
    assert (status.state is RunState.STOPPED and "step 3 of 4" in status.reason) or "step 2 of 4" in status.reason
    assert run.result()["stopped"] and run.stop_request() is None
    assert make_registry(settings).spec("mine").trained_parameters == run.result()["trained_parameters"]
    assert execute(run, settings).state is RunState.FINISHED
    curve = read_curve(run.events_file)
    assert [point["step"] for point in curve.steps] == [1, 2, 3, 4]
    assert [point["step"] for point in curve.evaluations] == [2, 4]
    assert run.result()["steps"] == 4 and not run.result()["stopped"]


def test_a_run_stopped_with_discard_keeps_its_history_but_no_weights(runs, config, settings):
    run = runs.create(config.as_record(), "mine")
    status = execute(run, settings, on_event=stop_after(run, 2, keep=False))
    assert (status.state, status.reason) == (RunState.STOPPED, DISCARDED)
    assert not run.best.exists() and not run.checkpoints.exists() and run.result() is None
    with pytest.raises(UnknownModelError):
        make_registry(settings).spec("mine")
    assert [each.name for each in runs.all()] == ["mine"]
    assert len(read_curve(run.events_file).steps) >= 2


def test_a_queued_run_waits_for_the_running_one_and_can_be_stopped(runs, config, settings):
    run, messages = runs.create(config.as_record(), "second"), []
    with runs.turn():
        worker = threading.Thread(target=lambda: execute(run, settings, notify=messages.append))
        worker.start()
        while not messages:
            assert worker.is_alive()
            time.sleep(0.02)
        assert run.status().state is RunState.QUEUED and run.status().pid, "a queued run may have a process"
        assert "Another run is training" in messages[0]
        run.request_stop()
        worker.join(timeout=60)
        assert not worker.is_alive()
    assert run.status().state is RunState.STOPPED and not run.best.exists()
    assert execute(run, settings).state is RunState.FINISHED, "it can be resumed"


def test_two_concurrent_runs_train_one_after_the_other(runs, config, settings):
    first, second = (runs.create(config.as_record(), "x") for _ in range(2))
    workers = [threading.Thread(target=execute, args=(run, settings)) for run in (first, second)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    spans = []
    for run in (first, second):
        assert run.status().state is RunState.FINISHED
        events, _ = read_events(run.events_file)
        spans.append((events[0]["time"], next(e["time"] for e in events if e["event"] == "end")))
    (_, one_ended), (other_began, _) = sorted(spans)
    assert one_ended <= other_began


@pytest.mark.parametrize("state", [RunState.FINISHED, RunState.RUNNING])
def test_executing_a_finished_or_running_run_raises(runs, config, settings, state):
    import os

    run = runs.create(config.as_record(), "mine")
    run.write_status(state, pid=os.getpid())
    with pytest.raises(InputError, match=f"mine is {state}; only queued, stopped, failed or crashed runs"):
        execute(run, settings)


def test_a_sweep_trains_each_learning_rate_from_the_same_start_and_resumes_where_it_stopped(runs, config, settings):
    swept = with_sweep(replace(config, training=replace(TRAINING, learning_rate=1e-3)), steps=2)
    assert swept.sweep == (1e-4, 3.2e-4, 1e-3, 3.2e-3) and RunConfig.from_record(swept.as_record()) == swept
    run = runs.create(swept.as_record(), "sweep")
    stopped = execute(run, settings, on_event=stop_after(run, 2))
    assert stopped.state is RunState.STOPPED and "were complete are kept" in stopped.reason
    status = execute(run, settings)
    assert status.state is RunState.FINISHED and "lowest with a learning rate of" in status.reason
    curve = read_curve(run.events_file)
    assert [event["step"] for event in curve.steps] == list(range(1, 9)) and curve.start["step"] == 2
    rows = sweep_rows(swept, curve)
    assert [row.rate for row in rows] == list(swept.sweep) and all(len(row.losses) == 2 for row in rows)
    assert len({row.losses[0] for row in rows}) == 1 and len({row.losses[1] for row in rows}) == 4
    assert best_rate(rows).level == min(row.losses[1] for row in rows)
    assert run.result() is None and not run.best.exists() and not run.checkpoints.exists()


def test_a_learning_rate_that_diverged_is_not_the_best():
    swept = with_sweep(RunConfig("dsum-t5-base", replace(TRAINING, learning_rate=0.9)), steps=4)
    assert swept.sweep[-1] == 1.0, "the highest learning rate"
    step = {"event": "step", "rate": 0.9}
    curve = Curve().add([{**step, "step": n, "loss": 4.0} for n in range(4)])
    curve.add(
        [{**step, "rate": 1.0, "step": 5, "loss": 0.1}, {"event": "diverged", "rate": 1.0, "text": "It exploded."}]
    )
    rows = {row.rate: row for row in sweep_rows(swept, curve)}
    assert best_rate(list(rows.values())).rate == 0.9
    assert (rows[1.0].level, rows[1.0].problem, rows[0.09].level) == (None, "It exploded.", None)


def test_a_failed_run_has_the_reason_in_its_status_and_last_event(runs, config, settings):
    file = settings.root / "models" / "dsum-t5-base" / "model.safetensors"
    tensors = load_file(file)
    tensors["decoder.final_layer_norm.weight"][0] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    run = runs.create(config.as_record(), "mine")
    with pytest.raises(TrainingError, match="loss became nan"):
        execute(run, settings)
    assert run.status().state is RunState.FAILED and "loss became nan at step 1" in run.status().reason
    assert read_curve(run.events_file).end["state"] == "failed"
    assert run.result() is None and not run.best.exists()


def test_a_run_that_fails_after_an_evaluation_keeps_its_best_weights_as_a_model(runs, config, settings):
    run = runs.create(replace(config, training=replace(TRAINING, max_steps=8, evaluations=8)).as_record(), "mine")

    def see(event: dict) -> None:
        if event["event"] == "checkpoint" and event["step"] == 2:
            raise TrainingError("The training loss became nan at step 3.")

    with pytest.raises(TrainingError):
        execute(run, settings, on_event=see)
    assert run.status().state is RunState.FAILED
    record = run.result()
    assert record["reason"] == "The training loss became nan at step 3." and record["best"]["step"] <= 2
    assert make_registry(settings).spec("mine").size_bytes == record["checkpoint_bytes"]
    assert "became nan" in (run.folder / "README.md").read_text()
    assert execute(run, settings).state is RunState.FINISHED, "it can be resumed from its last checkpoint"
    assert run.result()["reason"] == ""


def test_an_unexpected_error_is_recorded_in_the_status(runs, config, settings):
    run = runs.create(config.as_record(), "mine")

    def see(event: dict) -> None:
        raise ZeroDivisionError("division by zero")

    with pytest.raises(ZeroDivisionError):
        execute(run, settings, on_event=see)
    assert (run.status().state, run.status().reason) == (RunState.FAILED, "ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"base": "flan-t5-base"}, ModelUnavailableError),
        ({"base": "nothing"}, UnknownModelError),
        ({"base": "dsum-t5-full"}, InputError),
        ({"data": DataConfig("nowhere.csv")}, InputError),
        ({"data": DataConfig("dialogsum")}, DataError),
    ],
    ids=["not downloaded", "unknown", "fine-tuned", "no file", "offline"],
)
def test_an_unavailable_base_or_data_source_fails_the_run_with_the_error(runs, config, settings, change, error):
    run = runs.create(replace(config, **change).as_record())
    with pytest.raises(error) as raised:
        execute(run, settings)
    assert run.status().state is RunState.FAILED and run.status().reason == str(raised.value)


def test_a_run_that_does_not_fit_in_memory_fails_before_training(runs, config, settings):
    run, asked = runs.create(config.as_record()), []
    with pytest.raises(TrainingError, match=r"takes 9\.9 GB"):
        execute(
            run,
            settings,
            check_memory=lambda setup: asked.append(setup.base.name) or "It takes 9.9 GB.",
        )
    assert asked == ["dsum-t5-base"] and run.status().state is RunState.FAILED and not run.checkpoints.exists()


def test_resuming_with_changed_data_raises(runs, config, settings, tmp_path):
    run = runs.create(config.as_record(), "mine")
    execute(run, settings, on_event=stop_after(run, 1))
    (tmp_path / "rows.csv").write_text(sample_csv().replace("ten dollars", "twenty dollars"))
    with pytest.raises(TrainingError, match="training data of mine has changed"):
        execute(run, settings)
    (tmp_path / "rows.csv").write_text(sample_csv())
    assert execute(run, settings).state is RunState.FINISHED
