"""Training runs as folders: what a run is made of, which state it is in, and how it is asked to stop.

    DSUM_DATA_DIR/runs/<name>/
      config.json              everything that decides the run (training_config.RunConfig)
      environment.json         versions, hardware, seed, fingerprint of the data
      train_fingerprints.txt   one data.fingerprint a line, of every dialogue that it learns from
      status                   {"state", "reason", "pid", "process_started", "updated"}
      events.jsonl             what happened, an object a line (run_events)
      stop                     there while a stop is asked for: "keep" or "discard"
      checkpoints/             what a resume needs; the last complete one
      best/                    the best weights so far, with tokenizer: a model that loads
      result.json, README.md   written at the end; with result.json and best/ the run is a model in the registry
      output.txt               standard output and error of the child process, where something started one

The training process writes, everybody reads: no lock is needed to look. Knows nothing of models or of training.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from dsum_demo.data.examples import read_fingerprints
from dsum_demo.errors import InputError, TrainingError
from dsum_demo.utils.files import child_folders, delete_folder, locked, safe_name, write_atomically

KEEP, DISCARD = "keep", "discard"
# Claims of two processes at once are milliseconds apart; a training lasts longer.
_CLAIM_SECONDS = 2.0
_TEXTS = frozenset({"", ".json", ".jsonl", ".md", ".txt"})
_TOKENIZERS = frozenset({"tokenizer.json"})  # large, and made of words alone


class RunState(StrEnum):
    """queued: waits for its turn. stopping: runs, and a stop is asked for. stopped: ended on request. failed: ended
    with a reason. crashed: its process is gone without a word. The last three can be resumed.
    """

    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    CRASHED = "crashed"


ACTIVE = frozenset({RunState.RUNNING, RunState.STOPPING})
RESUMABLE = frozenset({RunState.QUEUED, RunState.STOPPED, RunState.FAILED, RunState.CRASHED})


@dataclass(frozen=True)
class RunStatus:
    """reason: a sentence, where there is one. pid: of the process that works on it or waits for its turn, None where
    none does. updated: seconds since 1970.
    """

    state: RunState
    reason: str = ""
    pid: int | None = None
    updated: float = 0.0


class Run:
    """One run's folder. Reading never raises for what is half-written or not there yet."""

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def best(self) -> Path:
        return self.folder / "best"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def events_file(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def output_file(self) -> Path:
        return self.folder / "output.txt"

    def config(self) -> dict[str, Any]:
        """Raises TrainingError where config.json is not there or cannot be read: without it there is no run."""
        found = self._read("config.json")
        if found is None:
            raise TrainingError(f"The run {self.name} has no config.json that can be read; delete the run.")
        return found

    def environment(self) -> dict[str, Any]:
        return self._read("environment.json") or {}

    def result(self) -> dict[str, Any] | None:
        """None until the run has ended with a model."""
        return self._read("result.json")

    def fingerprints(self) -> frozenset[str]:
        """Of every dialogue that the run learns from; empty until its data was read."""
        return read_fingerprints(self.folder)

    def status(self) -> RunStatus:
        """The state as it is now: a process that is gone makes a running run a crashed one."""
        record = self._read("status")
        if record is None:
            return RunStatus(RunState.CRASHED, "Its status cannot be read.")
        try:
            state = RunState(record.get("state", ""))
        except ValueError:
            return RunStatus(RunState.CRASHED, f"Its status is {record.get('state')!r}, which there is not.")
        reason, updated = str(record.get("reason", "")), float(record.get("updated") or 0.0)
        alive = _alive(record.get("pid"), record.get("process_started"))
        pid = record["pid"] if alive else None
        if state is RunState.RUNNING:
            if not alive:
                return RunStatus(RunState.CRASHED, "Its process ended without a word; resume it.", None, updated)
            if self.stop_request():
                state = RunState.STOPPING
        return RunStatus(state, reason, pid, updated)

    def write_status(self, state: RunState, reason: str = "", pid: int | None = None) -> None:
        """`pid` names the process that works on the run or waits with it; None where none does."""
        started = psutil.Process(pid).create_time() if pid is not None else None
        record = {"state": str(state), "reason": reason, "pid": pid, "process_started": started, "updated": time.time()}
        self.write_json("status", record)

    def request_stop(self, keep: bool = True) -> None:
        """Ask the training process to stop; it looks several times a second. Without `keep` its weights are deleted."""
        write_atomically(self.folder / "stop", KEEP if keep else DISCARD)

    def stop_request(self) -> str | None:
        """KEEP, DISCARD, or None where nobody asks for a stop."""
        try:
            return DISCARD if (self.folder / "stop").read_text().strip() == DISCARD else KEEP
        except (OSError, UnicodeDecodeError):
            return None

    def clear_stop(self) -> None:
        (self.folder / "stop").unlink(missing_ok=True)

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Lock this run for the process that trains it; the system releases the lock when the process ends.

        Raises TrainingError if another process holds the lock.
        """
        refusal = TrainingError(f"Another process is training {self.name} already; wait for it or stop it.")
        with locked(self.folder / ".lock", _CLAIM_SECONDS, refusal):
            yield

    def write_json(self, name: str, record: Mapping[str, Any]) -> None:
        write_atomically(self.folder / name, json.dumps(record, ensure_ascii=False, indent=2) + "\n")

    def drop_weights(self) -> None:
        """Delete checkpoints, best weights and result: the run stays in the history and leaves the registry."""
        (self.folder / "result.json").unlink(missing_ok=True)
        for folder in (self.best, self.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)

    def delete(self) -> None:
        """Delete the folder. Raises InputError while a process works on the run."""
        if self.status().state in ACTIVE:
            raise InputError(f"{self.name} is running; stop it before it is deleted.")
        delete_folder(self.folder)

    def write_zip(self, file: Path, hide: Callable[[str], str] = lambda text: text) -> None:
        """Everything but the checkpoints and what is hidden, as `<name>/…`; texts as `hide` returns them."""
        # Weights do not get smaller by compressing.
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(self.folder.rglob("*")):
                inside = path.relative_to(self.folder)
                if path.is_file() and inside.parts[0] != "checkpoints" and not inside.parts[0].startswith("."):
                    name = f"{self.name}/{inside.as_posix()}"
                    if path.suffix in _TEXTS and inside.name not in _TOKENIZERS:
                        archive.writestr(name, hide(path.read_text(encoding="utf-8", errors="replace")))
                    else:
                        archive.write(path, name)
            # A file server that names files by their hash must not serve this one to whoever guesses its content.
            archive.comment = secrets.token_bytes(16)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


class Runs:
    """All runs of one data folder; several processes may use it at once."""

    def __init__(self, folder: Path):
        self.folder = folder

    def all(self) -> list[Run]:
        """Newest first."""
        runs = (Run(child) for child in child_folders(self.folder) if (child / "config.json").is_file())
        return sorted(runs, key=_created, reverse=True)

    def get(self, name: str) -> Run:
        """Raises InputError for a name that no run has."""
        run = Run(self.folder / name)
        # A name from outside must not lead out of the folder.
        if name != safe_name(name) or not (run.folder / "config.json").is_file():
            known = ", ".join(run.name for run in self.all()[:5])
            raise InputError(f"There is no run {name!r} in {self.folder}; the latest are: {known or 'none'}.")
        return run

    def create(self, config: Mapping[str, Any], name: str = "") -> Run:
        """A new folder with its config, queued. `name` is made safe for files and, with a number, unique."""
        wanted = safe_name(name) or "run"
        self.folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            run = Run(self.folder / (wanted if number == 1 else f"{wanted}-{number}"))
            try:
                run.folder.mkdir()  # the one step that two processes cannot both succeed in
            except FileExistsError:
                continue
            run.write_status(RunState.QUEUED)
            run.write_json("config.json", {**config, "name": run.name, "created": time.time()})
            return run
        raise InputError(f"There are too many runs named {wanted!r}; choose another name.")

    @contextmanager
    def turn(self, wait: float = -1) -> Iterator[None]:
        """Lock training in this data folder: one run trains at a time, across all apps and commands.

        wait: seconds, -1 for no limit. Raises TrainingError if the lock is not free by then.
        """
        refusal = TrainingError("Another run is training in this data folder; wait for it or stop it.")
        with locked(self.folder / ".training.lock", wait, refusal, poll=0.2):
            yield


def differences(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What differs between runs: dotted setting -> run name -> value (None where a run has no such setting)."""
    flat = {name: dict(_flatten(config)) for name, config in configs.items()}
    settings = dict.fromkeys(key for values in flat.values() for key in values if key not in ("name", "created"))
    rows = {key: {name: values.get(key) for name, values in flat.items()} for key in settings}
    return {key: row for key, row in rows.items() if len({json.dumps(value) for value in row.values()}) > 1}


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _created(run: Run) -> tuple[float, str]:
    return float((run._read("config.json") or {}).get("created") or 0.0), run.name


def _alive(pid: Any, started: Any) -> bool:
    """Whether that very process lives: numbers are used again, so its start time has to be the same."""
    if not isinstance(pid, int):
        return False
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - float(started or 0)) < 1
    except (psutil.Error, ValueError, TypeError):
        return False
