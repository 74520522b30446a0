"""The queue of training runs: starts them as child processes, one at a time, and stops, resumes and deletes them.

The app and its child processes communicate only through files in the run folders, so a run continues after the app
exits, and the next app finds it. Several apps may share one data folder: a lock protects the queue, and any of them may
start the next run.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from dsum_demo.errors import DsumError, InputError, TrainingError
from dsum_demo.runs.limits import PUBLIC, check_allowed
from dsum_demo.runs.store import ACTIVE, DISCARD, RESUMABLE, Run, Runs, RunState, RunStatus
from dsum_demo.runs.worker import ended_because, last_error, send, start_child
from dsum_demo.training.config import RunConfig
from dsum_demo.training.events import Curve, read_events
from dsum_demo.utils.files import locked, tail
from dsum_demo.utils.ownership import is_owner, set_owner

log = logging.getLogger(__name__)

# From the request to SIGTERM: saving a large model to a slow disk takes time, discarding it does not.
KEEP_SECONDS, DISCARD_SECONDS = 60.0, 15.0
KILL_SECONDS = 10.0  # from SIGTERM to SIGKILL
BUSY_SECONDS, IDLE_SECONDS = 0.5, 5.0
LOCK_SECONDS = 20.0


@dataclass
class _Reading:
    """How far a run's events were read. `file`: device and inode, to notice a new run with the same name."""

    file: tuple[int, int] = (0, 0)
    offset: int = 0
    curve: Curve = field(default_factory=Curve)


class RunQueue:
    """Manages the runs of one folder. Thread-safe.

    environment: the settings of the child processes. public: apply the limits of a public Space, where runs may train
    on files in `uploads_dir`.
    """

    def __init__(self, runs_dir: Path, *, uploads_dir: Path, environment: Mapping[str, str], public: bool = False):
        self.runs = Runs(runs_dir)
        self._uploads_dir = uploads_dir
        self._environment = environment
        self._public = public
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._readings: dict[str, _Reading] = {}
        self._reading = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def submit(self, config: RunConfig, name: str = "", owner: str = "") -> Run:
        """Create a run and append it to the queue. `owner`: a secret of the visitor who starts it (see `may_see`).

        Raises InputError if the run is not allowed here or the queue is full.
        """
        if self._public:
            check_allowed(config, self._uploads_dir)
        with self._locked():
            self._apply_public_limits()
            run = self.runs.create(config.as_record(), name or default_name(config))
            if owner:
                set_owner(run.folder, owner)
        self._wake.set()
        return run

    def resume(self, name: str) -> Run:
        """Append a stopped, failed or crashed run to the queue. Raises InputError for any other run."""
        with self._locked():
            run = self.runs.get(name)
            state = run.status().state
            if state not in RESUMABLE or state is RunState.QUEUED:
                raise InputError(f"{name} is {state}; only stopped, failed or crashed runs can be resumed.")
            self._apply_public_limits()
            run.clear_stop()
            run.write_status(RunState.QUEUED)
        self._wake.set()
        return run

    def stop(self, name: str, keep: bool = True) -> None:
        """Ask a run to stop; without `keep` its weights are deleted. A queued run without a process leaves the queue.

        A process that does not stop in time is terminated. Raises InputError for a run that has ended.
        """
        with self._locked():
            run = self.runs.get(name)
            status = run.status()
            if status.state in ACTIVE or (status.state is RunState.QUEUED and status.pid):
                run.request_stop(keep)
            elif status.state is RunState.QUEUED:
                _remove_from_queue(run, keep)
            else:
                raise InputError(f"{name} is {status.state}; only queued and running runs can be stopped.")
        self._wake.set()

    def delete(self, name: str) -> None:
        """Delete a run's folder. Raises InputError while a process works on it."""
        with self._locked():
            run = self.runs.get(name)
            if run.status().pid:
                raise InputError(f"{name} is in use by a process; stop it before deleting it.")
            run.delete()
        with self._reading:
            self._readings.pop(name, None)

    def may_see(self, run: Run, owner: str) -> bool:
        """Whether `owner` may see, stop, resume, download and delete a run: on a public Space only who started it."""
        return not self._public or is_owner(run.folder, owner)

    def visible(self, owner: str) -> list[Run]:
        """Return the runs that `owner` may see, newest first."""
        return [run for run in self.runs.all() if self.may_see(run, owner)]

    def get(self, name: str, owner: str) -> Run:
        """Return a run. Raises the same InputError for an unknown name and for another visitor's run."""
        if not self._public:
            return self.runs.get(name)
        run = next((run for run in self.visible(owner) if run.name == name), None)
        if run is None:
            raise InputError(f"There is no run {name!r} among your runs.")
        return run

    def queued(self) -> list[Run]:
        """Return the queued runs in the order in which they will start."""
        return in_queue_order([(run, run.status()) for run in self.runs.all()])

    def current(self) -> Run | None:
        """Return the run that is training, or None."""
        return next((run for run in self.runs.all() if run.status().state in ACTIVE), None)

    def curve(self, run: Run) -> Curve:
        """Return the run's events so far; only new ones are read from disk. Callers must not modify it."""
        try:
            found = run.events_file.stat()
        except OSError:
            return Curve()
        file = (found.st_dev, found.st_ino)
        with self._reading:
            reading = self._readings.get(run.name)
            if reading is None or reading.file != file or found.st_size < reading.offset:
                reading = self._readings[run.name] = _Reading(file)
            events, reading.offset = read_events(run.events_file, reading.offset)
            return reading.curve.add(events)

    def start_polling(self) -> None:
        """Call `poll` regularly in a background thread until `close`."""
        self._thread = threading.Thread(target=self._poll_until_closed, name="training queue", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop polling. A running process continues."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def poll(self) -> bool:
        """Terminate processes that do not stop, record exits, and start the next run.

        Returns whether any run is running or queued. Does nothing while another app holds the lock.
        """
        try:
            with self._locked(wait=0):
                self._record_exits()
                for run in self.runs.all():
                    _enforce_stop(run, run.status())
                found = [(run, run.status()) for run in self.runs.all()]
                waiting = in_queue_order(found)
                busy = any(status.state in ACTIVE for _, status in found)
                # A queued run that has a process starts without this.
                if waiting and not busy and not any(status.pid for _, status in found):
                    self._launch(waiting[0])
                return busy or bool(waiting)
        except TrainingError:
            return True

    def _poll_until_closed(self) -> None:
        while not self._closed.is_set():
            try:
                busy = self.poll()
            except (OSError, DsumError, psutil.Error) as error:
                log.warning("Polling the queue of training runs failed: %s", error)
                busy = False
            self._wake.wait(BUSY_SECONDS if busy else IDLE_SECONDS)
            self._wake.clear()

    def _launch(self, run: Run) -> None:
        with run.output_file.open("ab") as output:
            child = start_child(["train", "--resume", run.name], self._environment, output, subprocess.STDOUT)
        self._children[run.name] = child
        # Written before the child has finished importing, so that no other app starts it in the meantime.
        run.write_status(RunState.QUEUED, "Its process is starting.", child.pid)

    def _record_exits(self) -> None:
        """Record why child processes exited if they did not do so themselves."""
        for name, child in list(self._children.items()):
            code = child.poll()
            if code is None:
                continue
            del self._children[name]
            run = Run(self.runs.folder / name)
            if not run.folder.is_dir():
                continue
            state = run.status().state
            if state is RunState.QUEUED and run.stop_request() is None:
                message = last_error(tail(run.output_file)) if code > 0 else ""
                run.write_status(RunState.FAILED, message or ended_because(code))
            elif state is RunState.CRASHED and code < 0:
                run.write_status(RunState.CRASHED, ended_because(code))

    def _apply_public_limits(self) -> None:
        """On a public Space: raise InputError if the queue is full, and delete the oldest runs."""
        if not self._public:
            return
        if len(self.queued()) >= PUBLIC["waiting_runs"]:
            raise InputError(f"The queue is full ({PUBLIC['waiting_runs']} runs); try again when a run has ended.")
        ended = [run for run in self.runs.all() if run.status().state not in (*ACTIVE, RunState.QUEUED)]
        for run in ended[PUBLIC["kept_runs"] :]:
            run.delete()

    def _locked(self, wait: float = LOCK_SECONDS) -> AbstractContextManager[None]:
        refusal = TrainingError("Another app is using the queue of this data folder; try again.")
        return locked(self.runs.folder / ".line.lock", wait, refusal)


def default_name(config: RunConfig) -> str:
    """Return the name of a run that was started without one, such as "lora-samples"."""
    if config.start_from:
        return f"dpo-{config.start_from}"
    kind = "sweep-" if config.sweep else ""
    return f"{kind}{config.training.method}-{source_title(config.data.source).split('.')[0]}"


def source_title(source: str) -> str:
    """Return a source's name without its folder and the prefix of uploaded files."""
    return Path(source).name.split("__", 1)[-1] or source


def in_queue_order(found: Iterable[tuple[Run, RunStatus]]) -> list[Run]:
    """Return the queued runs in the order in which they will start."""
    waiting = [(run, status) for run, status in found if status.state is RunState.QUEUED]
    # Runs that already have a process come first.
    return [run for run, _ in sorted(waiting, key=lambda pair: (pair[1].pid is None, pair[1].updated))]


def _remove_from_queue(run: Run, keep: bool) -> None:
    """Stop a queued run; a run that never started is deleted."""
    if not run.events_file.exists():
        run.delete()
        return
    if not keep:
        run.drop_weights()
    run.write_status(RunState.STOPPED, "Removed from the queue.")


def _enforce_stop(run: Run, status: RunStatus) -> None:
    """Terminate a process that did not stop in time, and record the stop of one that exited without doing so."""
    wanted = run.stop_request()
    if wanted is None:
        return
    if status.pid is not None:
        allowed = DISCARD_SECONDS if wanted == DISCARD else KEEP_SECONDS
        with suppress(OSError):
            over = time.time() - (run.folder / "stop").stat().st_mtime - allowed
            if over >= 0:
                send(status.pid, signal.SIGTERM if over < KILL_SECONDS else signal.SIGKILL)
    elif status.state is RunState.QUEUED:
        _remove_from_queue(run, wanted != DISCARD)
    elif status.state is RunState.CRASHED:
        if wanted == DISCARD:
            run.drop_weights()
            run.write_status(RunState.STOPPED, "Terminated; its weights were deleted.")
        else:
            run.write_status(RunState.STOPPED, "It did not stop in time and was terminated; it can be resumed.")
