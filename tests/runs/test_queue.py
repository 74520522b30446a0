"""The line of training runs with real child processes on the tiny models: `dsum train` is what runs here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from dsum_demo.errors import InputError, Stopped, TrainingError
from dsum_demo.runs import queue as jobs_module
from dsum_demo.runs.limits import PUBLIC
from dsum_demo.runs.queue import RunQueue, default_name, source_title
from dsum_demo.runs.store import Run, RunState
from dsum_demo.runs.worker import ended_because, last_error, probe
from dsum_demo.settings import Settings
from dsum_demo.training.config import DataConfig, RunConfig, TrainingConfig
from dsum_demo.utils.files import tail

PATIENCE = 120.0  # seconds; a child imports torch first, and machines are shared


@pytest.fixture
def jobs(settings) -> Iterator[RunQueue]:
    """Not watched: a test that wants the line tended calls `tend`, or `until`, which does."""
    app = RunQueue(settings)
    yield app
    end_all(app)


def end_all(app: RunQueue) -> None:
    for run in app.runs.all():
        if pid := run.status().pid:
            psutil.Process(pid).kill()
    for child in app._children.values():
        child.wait(timeout=10)


def config(max_steps: int = 2, **training: Any) -> RunConfig:
    training = {"batch_size": 2, "evaluations": 1, "validation_sample": 2, "max_target_tokens": 8, **training}
    return RunConfig(
        "dsum-t5-base", TrainingConfig("lora", {"r": 2}, max_steps=max_steps, **training), DataConfig(limit=6)
    )


def until(app: RunQueue, true: Callable[[], Any]) -> Any:
    """Tend the line until it is so."""
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, [(run.name, run.status(), tail(run.output_file, 5)) for run in app.runs.all()]
        app.tend()
        time.sleep(0.1)
    return found


def state(run: Run) -> RunState:
    return run.status().state


def write_script(monkeypatch, tmp_path: Path, text: str) -> None:
    """A `python` that does something else: what a child may do wrong cannot be asked of dsum itself."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))


def test_runs_are_trained_one_after_the_other_in_the_order_of_asking(jobs):
    first, second, third = jobs.submit(config(), "first"), jobs.submit(config(), "second"), jobs.submit(config())
    assert [run.name for run in jobs.line()] == ["first", "second", "lora-samples"]
    jobs.stop("second")
    assert [run.name for run in jobs.line()] == ["first", "lora-samples"]
    assert not second.folder.exists(), "a run that never began leaves nothing"
    until(jobs, lambda: state(first) is RunState.FINISHED)
    assert first.result()["steps"] == 2 and not third.events_file.exists()
    until(jobs, lambda: state(third) is RunState.FINISHED)
    assert third.events_file.stat().st_mtime > first.status().updated
    assert jobs.line() == [] and jobs.current() is None and jobs.tend() is False
    assert len(jobs.curve(third).steps) == 2
    # A name that another run's events were read under does not bring them back.
    jobs.delete("lora-samples")
    again = jobs.submit(config())
    assert again.name == "lora-samples" and jobs.curve(again).steps == []


def test_a_run_outlives_its_app_and_is_stopped_resumed_and_found_dead_by_the_next(jobs, settings):
    run, waiting = jobs.submit(config(max_steps=4000, evaluations=1000), "running"), jobs.submit(config(), "waiting")
    until(jobs, lambda: jobs.curve(run).evaluations)
    pid = run.status().pid
    assert psutil.Process(pid).nice() > psutil.Process().nice(), "Compare comes first"
    jobs.close()

    later = RunQueue(settings)
    assert later.current().name == "running" and later.curve(run).steps
    assert [other.name for other in later.line()] == ["waiting"]
    later.tend()
    assert run.status().pid == pid and waiting.status().pid is None, "one at a time"
    later.stop("waiting")

    later.stop("running")
    assert state(run) in (RunState.STOPPING, RunState.STOPPED)
    # The process is a child of the first app's, which is still here to reap it.
    until(later, lambda: jobs._children["running"].poll() is not None and state(run) is RunState.STOPPED)
    assert "best weights were kept" in run.status().reason, "it stopped by itself"
    assert run.result()["stopped"] and run.best.is_dir()
    reached = later.curve(run).latest["step"]
    with pytest.raises(InputError, match="nothing to stop"):
        later.stop("running")

    later.resume("running")
    assert [other.name for other in later.line()] == ["running"]
    until(later, lambda: later.curve(run).latest["step"] > reached)
    psutil.Process(run.status().pid).kill()
    until(later, lambda: state(run) is RunState.CRASHED and "SIGKILL" in run.status().reason)
    later.resume("running")
    later.stop("running", keep=False)
    assert state(run) is RunState.STOPPED and not run.best.exists() and run.events_file.exists()


def test_two_apps_start_a_run_once(jobs, settings, monkeypatch, tmp_path):
    write_script(monkeypatch, tmp_path, "echo started; exec sleep 60")
    other = RunQueue(settings)
    run = jobs.submit(config(), "once")
    for app in (jobs, other) * 5:
        app.tend()
    assert len(jobs._children) + len(other._children) == 1
    until(other, lambda: tail(run.output_file))
    assert tail(run.output_file) == "started"
    end_all(other)


def test_a_watched_line_moves_by_itself(jobs, monkeypatch, tmp_path):
    write_script(monkeypatch, tmp_path, "echo 'dsum: not today'; exit 2")
    first, second = jobs.submit(config(), "first"), jobs.submit(config(), "second")
    jobs.watch()
    end = time.monotonic() + PATIENCE
    while not (state(first) is state(second) is RunState.FAILED):
        assert time.monotonic() < end, (first.status(), second.status())
        time.sleep(0.1)
    jobs.close()
    assert first.status().updated < second.status().updated


def test_a_child_that_dies_at_once_is_a_failure_with_its_last_words(jobs, monkeypatch, tmp_path):
    write_script(monkeypatch, tmp_path, "echo 'something odd'; echo 'dsum: it did not work' >&2; exit 1")
    run = jobs.submit(config(), "broken")
    until(jobs, lambda: state(run) is RunState.FAILED)
    assert run.status().reason == "it did not work"
    assert tail(run.output_file) == "something odd\ndsum: it did not work"
    write_script(monkeypatch, tmp_path, "kill -9 $$")
    jobs.resume("broken")
    until(jobs, lambda: state(run) is RunState.FAILED)
    assert "memory runs out" in run.status().reason


def test_a_config_that_cannot_be_run_fails_with_the_reason(jobs):
    run = jobs.submit(replace(config(), data=DataConfig("/nowhere/at/all.csv")), "lost")
    until(jobs, lambda: state(run) is RunState.FAILED)
    assert "/nowhere/at/all.csv" in run.status().reason
    assert jobs.tend() is False, "it is not started again"


def test_a_process_that_does_not_stop_is_ended_from_outside(jobs, monkeypatch, tmp_path):
    write_script(monkeypatch, tmp_path, "trap '' TERM; while :; do sleep 0.1; done")
    monkeypatch.setattr(jobs_module, "KEEP_SECONDS", 0.3)
    monkeypatch.setattr(jobs_module, "KILL_SECONDS", 0.3)
    run = jobs.submit(config(), "deaf")
    until(jobs, lambda: run.status().pid)
    run.write_status(RunState.RUNNING, pid=run.status().pid)
    with pytest.raises(InputError, match="stop it before"):
        jobs.delete("deaf")
    jobs.stop("deaf")
    until(jobs, lambda: state(run) is RunState.STOPPED)
    assert "did not stop in time" in run.status().reason and run.stop_request() is not None
    jobs.delete("deaf")
    assert jobs.runs.all() == []


def test_a_stop_without_keeping_drops_the_weights_of_a_process_that_is_gone(jobs):
    run = jobs.submit(config(), "gone")
    run.best.mkdir()
    run.write_json("status", {"state": "running", "pid": 2**22 - 1, "process_started": 0})
    run.request_stop(keep=False)
    jobs.tend()
    assert state(run) is RunState.STOPPED and not run.best.exists()


def test_a_run_that_waited_again_keeps_its_history_when_it_leaves_the_line(jobs):
    run = jobs.submit(config(), "again")
    run.events_file.write_text("")
    jobs.stop("again")
    assert state(run) is RunState.STOPPED and "taken out" in run.status().reason


def test_only_a_run_that_has_ended_early_can_be_resumed(jobs):
    run = jobs.submit(config(), "done")
    with pytest.raises(InputError, match="done is queued"):
        jobs.resume("done")
    run.write_status(RunState.FINISHED)
    with pytest.raises(InputError, match="done is finished"):
        jobs.resume("done")
    with pytest.raises(InputError, match=r"There is no run '\.\./done'"):
        jobs.stop("../done")


def test_another_app_at_work_is_left_alone(jobs, settings):
    other = RunQueue(settings)
    jobs.submit(config(), "mine")
    with other._locked():
        assert jobs.tend() is True
        assert jobs._children == {}


def test_a_public_space_takes_few_runs_and_lets_others_alone(settings: Settings):
    public = RunQueue(replace(settings, public=True))
    mine = public.submit(config(), "mine", owner="secret")
    assert (
        public.may_change(mine, "secret") and not public.may_change(mine, "other") and not public.may_change(mine, "")
    )
    assert not public.may_change(public.submit(config(), "nobody's"), "")
    for number in range(PUBLIC["waiting_runs"] - 2):
        public.submit(config(), f"run{number}")
    with pytest.raises(InputError, match="wait already"):
        public.submit(config())
    with pytest.raises(InputError, match="samples or on a file"):
        public.submit(replace(config(), data=DataConfig("/etc/passwd")))
    for run in public.runs.all():
        run.write_status(RunState.FINISHED)
    for number in range(PUBLIC["kept_runs"] + 2):
        public.submit(config(), f"later{number}").write_status(RunState.FINISHED)
    assert len(public.runs.all()) == PUBLIC["kept_runs"] + 1
    assert RunQueue(settings).may_change(mine, ""), "on one's own machine everything is one's own"


def test_the_probe_says_what_a_run_costs_and_what_is_wrong_with_it(settings):
    cost = probe(config(max_steps=7), settings)
    assert cost["steps"] == 7 and 0 < cost["share"] < 1 and cost["refusal"] == "" and cost["seconds"] > 0
    with pytest.raises(InputError, match="nowhere"):
        probe(replace(config(), data=DataConfig("/nowhere.csv")), settings)
    with pytest.raises(Stopped):
        probe(config(), settings, lambda: True)


def test_a_probe_that_breaks_says_why(settings, monkeypatch, tmp_path):
    for script, said in (
        ("echo 'dsum: no room' >&2; exit 1", "no room"),
        ("kill -9 $$", "memory runs out"),
        ("echo hello", "valid JSON"),
    ):
        write_script(monkeypatch, tmp_path, script)
        with pytest.raises(TrainingError, match=said):
            probe(config(), settings)
    monkeypatch.setattr("dsum_demo.runs.worker.PROBE_SECONDS", 0.2)
    write_script(monkeypatch, tmp_path, "sleep 60")
    with pytest.raises(TrainingError, match="more than"):
        probe(config(), settings)


def test_names_and_last_words(tmp_path):
    assert default_name(config()) == "lora-samples"
    assert source_title("/data/uploads/0123456789abcdef__my chats.csv") == "my chats.csv"
    assert last_error("one\ndsum: two\n\n") == "two" and last_error("") == ""
    assert ended_because(-signal.SIGTERM) == "Its process was ended by SIGTERM; resume it."
    assert "exit code 3" in ended_because(3)
    assert tail(tmp_path / "nothing") == ""
    file = tmp_path / "output"
    file.write_bytes(b"\xff" + os.linesep.join(map(str, range(9000))).encode())
    assert tail(file, 2) == "8998\n8999"
