"""Run folders: names, states, stop requests, concurrent processes and crashes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dsum_demo.data.examples import read_fingerprints
from dsum_demo.errors import InputError, TrainingError
from dsum_demo.runs.store import Run, Runs, RunState, differences
from dsum_demo.utils.files import safe_name, write_atomically

CONFIG = {"base": "dsum-t5-base", "training": {"method": "lora", "options": {"r": 4}}}


@pytest.fixture
def runs(tmp_path) -> Runs:
    return Runs(tmp_path / "runs")


@pytest.fixture
def run(runs) -> Run:
    return runs.create(CONFIG, "first")


def gone() -> int:
    """Return the PID of a process that has exited."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("my run", "my-run"),
        ("../../etc/passwd", "etc-passwd"),
        ("..", ""),
        ("", ""),
        (".hidden", "hidden"),
        ("Läufe & Co", "L-ufe-Co"),
        ("a" * 200, "a" * 80),
        ("<script>", "script"),
        ("r16_all.v2-", "r16_all.v2"),
    ],
)
def test_names_are_converted_to_safe_file_names(typed, name):
    assert safe_name(typed) == name


def test_names_are_made_unique_and_default_to_run(runs):
    assert [runs.create(CONFIG, name).name for name in ("x", "x", "x/", "")] == ["x", "x-2", "x-3", "run"]


def test_concurrently_created_runs_get_separate_folders(runs):
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: runs.create(CONFIG, "x").name, range(24)))
    assert len(set(names)) == 24 and len(runs.all()) == 24


@pytest.mark.parametrize("name", ["nowhere", "../first", "", ".", "first/../first"])
def test_an_unknown_or_unsafe_name_raises(runs, run, name):
    with pytest.raises(InputError, match=r"There is no run .* the latest are: first"):
        runs.get(name)


def test_all_lists_the_newest_first_and_skips_other_files(runs, tmp_path):
    first, second = runs.create(CONFIG, "b"), runs.create(CONFIG, "a")
    (runs.folder / "empty").mkdir()
    (runs.folder / "note.txt").write_text("")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "config.json").write_text("{}")
    (runs.folder / "link").symlink_to(tmp_path / "outside")
    assert [run.name for run in runs.all()] == [second.name, first.name]
    assert Runs(tmp_path / "nowhere").all() == []


def test_a_new_run_is_queued_with_its_config(run):
    assert run.status().state is RunState.QUEUED and run.status().pid is None
    config = run.config()
    assert config["training"] == CONFIG["training"] and config["name"] == "first"
    assert (run.result(), run.environment(), read_fingerprints(run.folder)) == (None, {}, frozenset())


def test_a_running_run_with_a_stop_request_is_stopping(run):
    run.write_status(RunState.RUNNING, pid=os.getpid())
    assert (run.status().state, run.status().pid) == (RunState.RUNNING, os.getpid())
    run.request_stop()
    assert run.status().state is RunState.STOPPING and run.stop_request() == "keep"
    run.request_stop(keep=False)
    assert run.stop_request() == "discard"
    run.clear_stop()
    assert run.status().state is RunState.RUNNING and run.stop_request() is None


def test_a_running_run_whose_process_has_exited_is_crashed(run):
    record = {"state": "running", "reason": "", "pid": gone(), "process_started": time.time(), "updated": 0}
    run.write_json("status", record)
    assert (
        run.status().state is RunState.CRASHED
        and "it can be resumed" in run.status().reason
        and run.status().pid is None
    )


def test_a_reused_pid_is_not_mistaken_for_the_runs_process(run):
    record = {"state": "running", "pid": os.getpid(), "process_started": 12.0, "updated": 0}
    run.write_json("status", record)
    assert run.status().state is RunState.CRASHED


def test_a_killed_process_is_a_crash_and_releases_its_claim(run, tmp_path):
    code = (
        "import os, sys, time; from dsum_demo.runs.store import Run, RunState; from pathlib import Path\n"
        "run = Run(Path(sys.argv[1]))\n"
        "with run.claim():\n"
        "    run.write_status(RunState.RUNNING, pid=os.getpid()); print('on', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(run.folder)], stdout=subprocess.PIPE, text=True,
                             cwd=Path(__file__).resolve().parents[2])  # fmt: skip
    assert child.stdout.readline() == "on\n"
    assert run.status().state is RunState.RUNNING
    with pytest.raises(TrainingError, match="Another process is training first already"), run.claim():
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert run.status().state is RunState.CRASHED
    with run.claim():
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "null", '{"state": "dancing"}', "\x00\xff"])
def test_an_unreadable_status_is_reported_as_crashed(run, text):
    (run.folder / "status").write_text(text)
    assert run.status().state is RunState.CRASHED and run.status().reason


@pytest.mark.parametrize("name", ["result.json", "environment.json"])
def test_incomplete_records_are_read_as_missing(run, name):
    (run.folder / name).write_text('{"a": ')
    assert run.result() is None and run.environment() == {}


def test_a_run_without_a_readable_config_raises(run):
    (run.folder / "config.json").write_text("{")
    with pytest.raises(TrainingError, match=r"first has no readable config\.json"):
        run.config()


def test_one_training_at_a_time_in_a_data_folder(runs):
    with runs.turn():
        with pytest.raises(TrainingError, match="Another run is training"), Runs(runs.folder).turn(wait=0):
            pass
        taken = []
        waiting = threading.Thread(target=lambda: [taken.append(1) for _ in [0] if wait_and_leave(runs)])
        waiting.start()
    waiting.join(timeout=30)
    assert taken == [1]


def wait_and_leave(runs: Runs) -> bool:
    with Runs(runs.folder).turn():
        return True


def test_deleting_a_running_run_raises(runs, run):
    run.write_status(RunState.RUNNING, pid=os.getpid())
    with pytest.raises(InputError, match="first is running; stop it"):
        run.delete()
    run.write_status(RunState.FINISHED)
    run.delete()
    assert runs.all() == [] and not run.folder.exists() and list(runs.folder.iterdir()) == []


def test_dropping_the_weights_keeps_the_run_in_the_history(runs, run):
    run.best.mkdir()
    run.checkpoints.mkdir()
    run.write_json("result.json", {"family": "x"})
    run.drop_weights()
    assert not run.best.exists() and not run.checkpoints.exists() and run.result() is None
    assert [each.name for each in runs.all()] == ["first"]


def test_the_zip_contains_all_files_except_checkpoints_and_locks(run, tmp_path):
    for name in ("best/model.safetensors", "checkpoints/checkpoint-1/optimizer.pt", "events.jsonl", ".lock"):
        (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / name).write_text(name)
    run.write_zip(tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        assert sorted(archive.namelist()) == [
            "first/best/model.safetensors", "first/config.json", "first/events.jsonl", "first/status",
        ]  # fmt: skip
        assert archive.read("first/best/model.safetensors") == b"best/model.safetensors"


def test_differences_contains_only_settings_that_differ():
    one = {"base": "x", "training": {"method": "lora", "options": {"r": 4, "target_modules": ["q"]}}, "name": "one"}
    two = {"base": "x", "training": {"method": "ia3", "options": {"target_modules": ["q"]}}, "name": "two"}
    assert differences({"one": one, "two": two}) == {
        "training.method": {"one": "lora", "two": "ia3"},
        "training.options.r": {"one": 4, "two": None},
    }
    assert differences({"one": one}) == {} == differences({})


def test_readers_never_see_a_partly_written_file(tmp_path):
    file, stop = tmp_path / "status", threading.Event()
    write_atomically(file, json.dumps({"n": 0, "text": "x" * 5000}))

    def write() -> None:
        for n in range(300):
            write_atomically(file, json.dumps({"n": n, "text": "x" * 5000}))
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not stop.is_set():
        assert len(json.loads(file.read_text())["text"]) == 5000
    writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["status"]
