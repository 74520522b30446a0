"""Training runs as folders: their files, their state, and requests to stop.

    DSUM_DATA_DIR/runs/<name>/
      config.json              the run's configuration (training.config.RunConfig)
      environment.json         versions, hardware, seed, fingerprint of the data
      train_fingerprints.txt   fingerprints of the training dialogues, one per line
      status                   {"state", "reason", "pid", "process_started", "updated"}
      events.jsonl             the event log, one object per line (training.events)
      stop                     exists while a stop is requested; contains "keep" or "discard"
      checkpoints/             the last complete checkpoint, to resume from
      best/                    the best weights so far, with tokenizer
      result.json, README.md   written at the end; with result.json and best/ the run is a model in the registry
      output.txt               standard output and error of a child process that the app started

Only the training process writes most of these files, so reading needs no lock.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from dsum_demo.errors import InputError, TrainingError
from dsum_demo.utils.files import child_folders, delete_folder, locked, safe_name, storing, write_atomically

KEEP, DISCARD = "keep", "discard"
# Longer than two simultaneous claims take to resolve, and shorter than any training.
_CLAIM_SECONDS = 2.0
_TEXTS = frozenset({"", ".json", ".jsonl", ".md", ".txt"})
_TOKENIZERS = frozenset({"tokenizer.json"})  # large, and contains only vocabulary


class RunState(StrEnum):
    """stopping: running, with a stop requested. stopped: ended on request. failed: ended with an error. crashed: the
    process exited without writing a status. The last three can be resumed.
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
    """reason: a message or "". pid: of the process that trains the run or waits to, or None. updated: seconds since
    1970.
    """

    state: RunState
    reason: str = ""
    pid: int | None = None
    updated: float = 0.0


class Run:
    """The folder of one run. Except for `config`, reading does not raise for missing or incomplete files."""

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
        """Raises TrainingError if config.json is missing or cannot be read."""
        found = self._read("config.json")
        if found is None:
            raise TrainingError(f"The run {self.name} has no readable config.json; delete the run.")
        return found

    def environment(self) -> dict[str, Any]:
        return self._read("environment.json") or {}

    def result(self) -> dict[str, Any] | None:
        """Return result.json, or None until the run has ended with a model."""
        return self._read("result.json")

    def status(self) -> RunStatus:
        """Return the current status; a running run whose process has exited is reported as crashed."""
        record = self._read("status")
        if record is None:
            return RunStatus(RunState.CRASHED, "Its status cannot be read.")
        try:
            state = RunState(record.get("state", ""))
        except ValueError:
            return RunStatus(RunState.CRASHED, f"Its status has the unknown state {record.get('state')!r}.")
        reason, updated = str(record.get("reason", "")), float(record.get("updated") or 0.0)
        alive = _alive(record.get("pid"), record.get("process_started"))
        pid = record["pid"] if alive else None
        if state is RunState.RUNNING:
            if not alive:
                return RunStatus(RunState.CRASHED, "Its process exited unexpectedly; it can be resumed.", None, updated)
            if self.stop_request():
                state = RunState.STOPPING
        return RunStatus(state, reason, pid, updated)

    def write_status(self, state: RunState, reason: str = "", pid: int | None = None) -> None:
        """pid: of the process that trains the run or waits to, or None."""
        started = _started(psutil.Process(pid)) if pid is not None else None
        record = {"state": str(state), "reason": reason, "pid": pid, "process_started": started, "updated": time.time()}
        self.write_json("status", record)

    def request_stop(self, keep: bool = True) -> None:
        """Ask the training process to stop, which it checks after every step and token. Without `keep` its weights are
        deleted.
        """
        write_atomically(self.folder / "stop", KEEP if keep else DISCARD)

    def stop_request(self) -> str | None:
        """Return KEEP, DISCARD, or None if no stop is requested."""
        try:
            return DISCARD if (self.folder / "stop").read_text().strip() == DISCARD else KEEP
        except (OSError, UnicodeDecodeError):
            return None

    def stop_requested(self) -> bool:
        return self.stop_request() is not None

    def clear_stop(self) -> None:
        (self.folder / "stop").unlink(missing_ok=True)

    def claim(self) -> AbstractContextManager[None]:
        """Lock this run for the process that trains it; the system releases the lock when the process ends.

        Raises TrainingError if another process holds the lock.
        """
        refusal = TrainingError(f"Another process is training {self.name} already; wait for it or stop it.")
        return locked(self.folder / ".lock", _CLAIM_SECONDS, refusal)

    def write_json(self, name: str, record: Mapping[str, Any]) -> None:
        write_atomically(self.folder / name, json.dumps(record, ensure_ascii=False, indent=2) + "\n")

    def drop_weights(self) -> None:
        """Delete checkpoints, best weights and result; the run remains in the history but is no longer a model."""
        (self.folder / "result.json").unlink(missing_ok=True)
        for folder in (self.best, self.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)

    def delete(self) -> None:
        """Delete the folder. Raises InputError while a process works on the run."""
        if self.status().state in ACTIVE:
            raise InputError(f"{self.name} is running; stop it before deleting it.")
        delete_folder(self.folder)

    def write_zip(self, file: Path, hide: Callable[[str], str] = lambda text: text) -> None:
        """Write all files except checkpoints and hidden ones, as `<name>/…`; text files are passed through `hide`."""
        # Weights hardly compress.
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(self.folder.rglob("*")):
                inside = path.relative_to(self.folder)
                if path.is_file() and inside.parts[0] != "checkpoints" and not inside.parts[0].startswith("."):
                    name = f"{self.name}/{inside.as_posix()}"
                    if path.suffix in _TEXTS and inside.name not in _TOKENIZERS:
                        archive.writestr(name, hide(path.read_text(encoding="utf-8", errors="replace")))
                    else:
                        archive.write(path, name)
            # A file server may name files by their hash; this makes the hash unpredictable.
            archive.comment = secrets.token_bytes(16)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


class Runs:
    """All runs of one data folder. Several processes may use it concurrently."""

    def __init__(self, folder: Path):
        self.folder = folder

    def all(self) -> list[Run]:
        """Return all runs, newest first."""
        runs = (Run(child) for child in child_folders(self.folder) if (child / "config.json").is_file())
        return sorted(runs, key=_created, reverse=True)

    def get(self, name: str) -> Run:
        """Return a run by name. Raises InputError for an unknown name."""
        run = Run(self.folder / name)
        # The name may come from a request and must not lead out of the folder.
        if name != safe_name(name) or not (run.folder / "config.json").is_file():
            known = ", ".join(run.name for run in self.all()[:5])
            raise InputError(f"There is no run {name!r} in {self.folder}; the latest are: {known or 'none'}.")
        return run

    def create(self, config: Mapping[str, Any], name: str = "") -> Run:
        """Create a queued run. `name` is converted to a safe file name and made unique with a number.

        Raises StorageError if the folder cannot be written.
        """
        with storing(self.folder):
            return self._create(config, safe_name(name) or "run")

    def _create(self, config: Mapping[str, Any], wanted: str) -> Run:
        self.folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            run = Run(self.folder / (wanted if number == 1 else f"{wanted}-{number}"))
            try:
                run.folder.mkdir()  # atomic: only one process can succeed
            except FileExistsError:
                continue
            run.write_status(RunState.QUEUED)
            run.write_json("config.json", {**config, "name": run.name, "created": time.time()})
            return run
        raise InputError(f"There are too many runs named {wanted!r}; choose another name.")

    def turn(self, wait: float = -1) -> AbstractContextManager[None]:
        """Lock training in this data folder: one run trains at a time, across all apps and commands.

        wait: seconds, -1 for no limit. Raises TrainingError if the lock is not free by then.
        """
        refusal = TrainingError("Another run is training in this data folder; wait for it or stop it.")
        return locked(self.folder / ".training.lock", wait, refusal, poll=0.2)


def differences(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the settings that differ between runs: dotted setting -> run name -> value (None if it is missing)."""
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


def _started(process: psutil.Process) -> float:
    """Seconds from the boot to the start of a process. The time of day of both changes if the clock is set."""
    return process.create_time() - psutil.boot_time()


def _alive(pid: Any, started: Any) -> bool:
    """Whether the process is alive. PIDs are reused, so its start time must also match."""
    if not isinstance(pid, int):
        return False
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(_started(process) - float(started or 0)) < 2
    except (psutil.Error, ValueError, TypeError):
        return False
