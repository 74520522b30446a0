"""The queue of training runs, with real `dsum train` child processes on the tiny models."""

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

from dsum_demo.composition import make_run_queue
from dsum_demo.errors import InputError, Stopped, TrainingError
from dsum_demo.runs import queue as jobs_module
from dsum_demo.runs.limits import PUBLIC
from dsum_demo.runs.queue import RunQueue, default_name, source_title
from dsum_demo.runs.store import Run, RunState
from dsum_demo.runs.worker import ended_because, last_error, probe
from dsum_demo.settings import Settings
from dsum_demo.training.config import DataConfig, RunConfig, TrainingConfig
from dsum_demo.utils.files import tail

PATIENCE = 120.0  # seconds; a child process imports torch first


@pytest.fixture(autouse=True)
def quick_children(forked_python, monkeypatch) -> None:
    monkeypatch.setattr("sys.executable", forked_python)


@pytest.fixture
def jobs(settings) -> Iterator[RunQueue]:
    """A queue without its polling thread: tests call `poll`, or `until`, which polls."""
    app = make_run_queue(settings)
    yield app
    end_all(app)


def end_all(app: RunQueue) -> None:
    for run in app.runs.all():
        if pid := run.status().pid:
            psutil.Process(pid).kill()
    for child in app._children.values():
        child.wait(timeout=PATIENCE)


def config(max_steps: int = 2, **training: Any) -> RunConfig:
    training = {"batch_size": 2, "evaluations": 1, "validation_sample": 2, "max_target_tokens": 8, **training}
    return RunConfig(
        "dsum-t5-base", TrainingConfig("lora", {"r": 2}, max_steps=max_steps, **training), DataConfig(limit=6)
    )


def until(app: RunQueue, true: Callable[[], Any]) -> Any:
    """Poll the queue until `true` returns a true value."""
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, [(run.name, run.status(), tail(run.output_file, 5)) for run in app.runs.all()]
        app.poll()
        time.sleep(0.1)
    return found


def state(run: Run) -> RunState:
    return run.status().state


def write_script(monkeypatch, tmp_path: Path, text: str) -> None:
    """Replace `python` by a shell script, for child processes that fail in ways that dsum does not."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))


def test_runs_are_trained_one_at_a_time_in_order_of_submission(jobs):
    first, second, third = jobs.submit(config(), "first"), jobs.submit(config(), "second"), jobs.submit(config())
    assert [run.name for run in jobs.queued()] == ["first", "second", "lora-samples"]
    jobs.stop("second")
    assert [run.name for run in jobs.queued()] == ["first", "lora-samples"]
    assert not second.folder.exists(), "a run that never started is deleted"
    until(jobs, lambda: state(first) is RunState.FINISHED)
    assert first.result()["steps"] == 2 and not third.events_file.exists()
    until(jobs, lambda: state(third) is RunState.FINISHED)
    assert third.events_file.stat().st_mtime > first.status().updated
    assert jobs.queued() == [] and jobs.current() is None and jobs.poll() is False
    assert len(jobs.curve(third).steps) == 2
    # A new run with the name of a deleted one does not get its events.
    jobs.delete("lora-samples")
    again = jobs.submit(config())
    assert again.name == "lora-samples" and jobs.curve(again).steps == []


def test_a_run_survives_its_app_and_the_next_app_stops_resumes_and_detects_its_crash(jobs, settings):
    run, waiting = jobs.submit(config(max_steps=4000, evaluations=1000), "running"), jobs.submit(config(), "waiting")
    until(jobs, lambda: jobs.curve(run).evaluations)
    pid = run.status().pid
    assert psutil.Process(pid).nice() > psutil.Process().nice(), "the app has priority"
    jobs.close()

    later = make_run_queue(settings)
    assert later.current().name == "running" and later.curve(run).steps
    assert [other.name for other in later.queued()] == ["waiting"]
    later.poll()
    assert run.status().pid == pid and waiting.status().pid is None, "one at a time"
    later.stop("waiting")

    later.stop("running")
    assert state(run) in (RunState.STOPPING, RunState.STOPPED)
    # The process is a child of the first app, which must reap it.
    until(later, lambda: jobs._children["running"].poll() is not None and state(run) is RunState.STOPPED)
    assert "best weights were kept" in run.status().reason, "the process stopped on request"
    assert run.result()["stopped"] and run.best.is_dir()
    reached = later.curve(run).latest["step"]
    with pytest.raises(InputError, match="only queued and running runs can be stopped"):
        later.stop("running")

    later.resume("running")
    assert [other.name for other in later.queued()] == ["running"]
    until(later, lambda: later.curve(run).latest["step"] > reached)
    psutil.Process(run.status().pid).kill()
    until(later, lambda: state(run) is RunState.CRASHED and "SIGKILL" in run.status().reason)
    later.resume("running")
    later.stop("running", keep=False)
    assert state(run) is RunState.STOPPED and not run.best.exists() and run.events_file.exists()


def test_two_apps_start_a_run_once(jobs, settings, monkeypatch, tmp_path):
    write_script(monkeypatch, tmp_path, "echo started; exec sleep 60")
    other = make_run_queue(settings)
    run = jobs.submit(config(), "once")
    for app in (jobs, other) * 5:
        app.poll()
    assert len(jobs._children) + len(other._children) == 1
    until(other, lambda: tail(run.output_file))
    assert tail(run.output_file) == "started"
    end_all(other)


def test_polling_starts_queued_runs(jobs, monkeypatch, tmp_path):
    write_script(monkeypatch, tmp_path, "echo 'dsum: not today'; exit 2")
    first, second = jobs.submit(config(), "first"), jobs.submit(config(), "second")
    jobs.start_polling()
    end = time.monotonic() + PATIENCE
    while not (state(first) is state(second) is RunState.FAILED):
        assert time.monotonic() < end, (first.status(), second.status())
        time.sleep(0.1)
    jobs.close()
    assert first.status().updated < second.status().updated


def test_a_child_process_that_exits_at_once_fails_the_run_with_its_last_error(jobs, monkeypatch, tmp_path):
    write_script(monkeypatch, tmp_path, "echo 'something odd'; echo 'dsum: it did not work' >&2; exit 1")
    run = jobs.submit(config(), "broken")
    until(jobs, lambda: state(run) is RunState.FAILED)
    assert run.status().reason == "it did not work"
    assert tail(run.output_file) == "something odd\ndsum: it did not work"
    write_script(monkeypatch, tmp_path, "kill -9 $$")
    jobs.resume("broken")
    until(jobs, lambda: state(run) is RunState.FAILED)
    assert "memory runs out" in run.status().reason


def test_a_run_with_a_missing_data_file_fails_with_the_reason(jobs):
    run = jobs.submit(replace(config(), data=DataConfig("/nowhere/at/all.csv")), "lost")
    until(jobs, lambda: state(run) is RunState.FAILED)
    assert "/nowhere/at/all.csv" in run.status().reason
    assert jobs.poll() is False, "it is not started again"


def test_a_process_that_ignores_the_stop_request_is_killed(jobs, monkeypatch, tmp_path):
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
    assert "did not stop in time and was terminated" in run.status().reason and run.stop_request() is not None
    jobs.delete("deaf")
    assert jobs.runs.all() == []


def test_discarding_a_crashed_run_deletes_its_weights(jobs):
    run = jobs.submit(config(), "gone")
    run.best.mkdir()
    run.write_json("status", {"state": "running", "pid": 2**22 - 1, "process_started": 0})
    run.request_stop(keep=False)
    jobs.poll()
    assert state(run) is RunState.STOPPED and not run.best.exists()


def test_a_resumed_run_removed_from_the_queue_keeps_its_history(jobs):
    run = jobs.submit(config(), "again")
    run.events_file.write_text("")
    jobs.stop("again")
    assert state(run) is RunState.STOPPED and run.status().reason == "Removed from the queue."


def test_resuming_a_queued_or_finished_run_raises(jobs):
    run = jobs.submit(config(), "done")
    with pytest.raises(InputError, match="done is queued"):
        jobs.resume("done")
    run.write_status(RunState.FINISHED)
    with pytest.raises(InputError, match="done is finished"):
        jobs.resume("done")
    with pytest.raises(InputError, match=r"There is no run '\.\./done'"):
        jobs.stop("../done")


def test_poll_does_nothing_while_another_app_holds_the_lock(jobs, settings):
    other = make_run_queue(settings)
    jobs.submit(config(), "mine")
    with other._locked():
        assert jobs.poll() is True
        assert jobs._children == {}


def test_a_public_space_limits_queued_and_kept_runs_and_separates_visitors(settings: Settings):
    public = make_run_queue(replace(settings, public=True))
    mine = public.submit(config(), "mine", owner="secret")
    assert public.may_see(mine, "secret") and not public.may_see(mine, "other") and not public.may_see(mine, "")
    assert not public.may_see(public.submit(config(), "without-owner"), "")
    for number in range(PUBLIC["waiting_runs"] - 2):
        public.submit(config(), f"run{number}")
    with pytest.raises(InputError, match="The queue is full"):
        public.submit(config())
    with pytest.raises(InputError, match="samples or an uploaded file"):
        public.submit(replace(config(), data=DataConfig("/etc/passwd")))
    for run in public.runs.all():
        run.write_status(RunState.FINISHED)
    for number in range(PUBLIC["kept_runs"] + 2):
        public.submit(config(), f"later{number}").write_status(RunState.FINISHED)
    assert len(public.runs.all()) == PUBLIC["kept_runs"] + 1
    assert make_run_queue(settings).may_see(mine, ""), "without public mode every run may be changed"


def test_probe_returns_the_cost_and_raises_for_invalid_configs(settings):
    cost = probe(config(max_steps=7), settings.as_environment())
    assert cost["steps"] == 7 and 0 < cost["share"] < 1 and cost["refusal"] == "" and cost["seconds"] > 0
    with pytest.raises(InputError, match="nowhere"):
        probe(replace(config(), data=DataConfig("/nowhere.csv")), settings.as_environment())
    with pytest.raises(Stopped):
        probe(config(), settings.as_environment(), lambda: True)


def test_a_failed_probe_raises_with_the_reason(settings, monkeypatch, tmp_path):
    for script, message in (
        ("echo 'dsum: no room' >&2; exit 1", "no room"),
        ("kill -9 $$", "memory runs out"),
        ("echo hello", "valid JSON"),
    ):
        write_script(monkeypatch, tmp_path, script)
        with pytest.raises(TrainingError, match=message):
            probe(config(), settings.as_environment())
    monkeypatch.setattr("dsum_demo.runs.worker.PROBE_SECONDS", 0.2)
    write_script(monkeypatch, tmp_path, "sleep 60")
    with pytest.raises(TrainingError, match="more than"):
        probe(config(), settings.as_environment())


def test_default_names_exit_codes_and_last_errors(tmp_path):
    assert default_name(config()) == "lora-samples"
    assert source_title("/data/uploads/0123456789abcdef__my chats.csv") == "my chats.csv"
    assert last_error("one\ndsum: two\n\n") == "two" and last_error("") == ""
    assert ended_because(-signal.SIGTERM) == "Its process was terminated by SIGTERM; it can be resumed."
    assert "exit code 3" in ended_because(3)
    assert tail(tmp_path / "nothing") == ""
    file = tmp_path / "output"
    file.write_bytes(b"\xff" + os.linesep.join(map(str, range(9000))).encode())
    assert tail(file, 2) == "8998\n8999"
