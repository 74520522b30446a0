"""Training runs as child processes: started one at a time, the others wait in line; stopped, resumed, found again.

The run's folder is all there is between the two sides: the child writes into it, and this looks. So a run outlives the
app that started it, and the next app goes on where it was. Several apps may use one data folder; whoever finds that a
run's turn has come starts it, under a lock. Knows nothing of pages, models or how training works.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from dsum_demo.errors import DsumError, InputError, TrainingError
from dsum_demo.runs.limits import PUBLIC, check_allowed
from dsum_demo.runs.store import ACTIVE, DISCARD, RESUMABLE, Run, Runs, RunState, RunStatus
from dsum_demo.runs.worker import ended_because, last_error, send, start_child
from dsum_demo.settings import Settings
from dsum_demo.training.config import RunConfig
from dsum_demo.training.events import Curve, read_events
from dsum_demo.utils.files import locked, tail
from dsum_demo.utils.ownership import is_owner, set_owner

log = logging.getLogger(__name__)

# From asking to SIGTERM: writing a large model to a slow disk takes a while, throwing it away does not.
KEEP_SECONDS, DISCARD_SECONDS = 60.0, 15.0
KILL_SECONDS = 10.0  # from SIGTERM to SIGKILL
BUSY_SECONDS, IDLE_SECONDS = 0.5, 5.0
LOCK_SECONDS = 20.0


@dataclass
class _Reading:
    """How far a run's events were read. `file`: device and number, which a later run of the same name does not have."""

    file: tuple[int, int] = (0, 0)
    offset: int = 0
    curve: Curve = field(default_factory=Curve)


class RunQueue:
    """The runs of one data folder, seen from one app. Safe to use from several threads."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.runs = Runs(settings.runs_dir)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._readings: dict[str, _Reading] = {}
        self._reading = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def submit(self, config: RunConfig, name: str = "", owner: str = "") -> Run:
        """A new run at the end of the line. `owner`: a secret of whoever starts it (`may_see`).

        Raises InputError where this app does not take such a run, or the line is full.
        """
        check_allowed(config, self.settings)
        with self._locked():
            self._make_room()
            run = self.runs.create(config.as_record(), name or default_name(config))
            if owner:
                set_owner(run.folder, owner)
        self._wake.set()
        return run

    def resume(self, name: str) -> Run:
        """Put a run that has stopped, failed or crashed at the end of the line. Raises InputError for any other."""
        with self._locked():
            run = self.runs.get(name)
            state = run.status().state
            if state not in RESUMABLE or state is RunState.QUEUED:
                raise InputError(f"{name} is {state}; a run that has stopped, failed or crashed can be resumed.")
            self._make_room()
            run.clear_stop()
            run.write_status(RunState.QUEUED)
        self._wake.set()
        return run

    def stop(self, name: str, keep: bool = True) -> None:
        """Ask a run to stop; without `keep` its weights are deleted. One that waits without a process leaves the line.

        The process obeys within seconds; one that does not is ended when its time is over. Raises InputError for a run
        that has ended.
        """
        with self._locked():
            run = self.runs.get(name)
            status = run.status()
            if status.state in ACTIVE or (status.state is RunState.QUEUED and status.pid):
                run.request_stop(keep)
            elif status.state is RunState.QUEUED:
                _leave_line(run, keep)
            else:
                raise InputError(f"{name} is {status.state}; there is nothing to stop.")
        self._wake.set()

    def delete(self, name: str) -> None:
        """Delete an ended run's folder. Raises InputError while it runs or has its turn next."""
        with self._locked():
            run = self.runs.get(name)
            if run.status().pid:
                raise InputError(f"{name} has a process of its own; stop it before it is deleted.")
            run.delete()
        with self._reading:
            self._readings.pop(name, None)

    def may_see(self, run: Run, owner: str) -> bool:
        """On a public Space a run is seen, stopped, resumed, downloaded and deleted by whoever started it alone."""
        return not self.settings.public or is_owner(run.folder, owner)

    def may_change(self, run: Run, owner: str) -> bool:
        """Whoever sees a run may change it."""
        return self.may_see(run, owner)

    def visible(self, owner: str) -> list[Run]:
        """The runs that `owner` may see, newest first."""
        return [run for run in self.runs.all() if self.may_see(run, owner)]

    def get(self, name: str, owner: str) -> Run:
        """The run of that name. Raises InputError for one that is not there and, just the same, for somebody else's."""
        if not self.settings.public:
            return self.runs.get(name)
        run = next((run for run in self.visible(owner) if run.name == name), None)
        if run is None:
            raise InputError(f"There is no run {name!r} of yours.")
        return run

    def line(self) -> list[Run]:
        """The runs that wait, in the order in which they get their turn."""
        return in_line([(run, run.status()) for run in self.runs.all()])

    def current(self) -> Run | None:
        """The run that trains now, None where none does."""
        return next((run for run in self.runs.all() if run.status().state in ACTIVE), None)

    def curve(self, run: Run) -> Curve:
        """The run's events so far, of which only the new ones are read. Not to be changed."""
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

    def watch(self) -> None:
        """Tend the line in a thread of its own until `close`."""
        self._thread = threading.Thread(target=self._tend_until_closed, name="training line", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tend the line no longer. A run that trains goes on: it is a process of its own."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def tend(self) -> bool:
        """One look at the line: end what does not stop, tell what has died, start whose turn it is.

        Says whether anything runs or waits. Leaves it to another app that is at it just now.
        """
        try:
            with self._locked(wait=0):
                self._bury()
                for run in self.runs.all():
                    _see_to_stop(run, run.status())
                found = [(run, run.status()) for run in self.runs.all()]
                waiting = in_line(found)
                busy = any(status.state in ACTIVE for _, status in found)
                # One that has a process waits for its turn by itself.
                if waiting and not busy and not any(status.pid for _, status in found):
                    self._launch(waiting[0])
                return busy or bool(waiting)
        except TrainingError:
            return True

    def _tend_until_closed(self) -> None:
        while not self._closed.is_set():
            try:
                busy = self.tend()
            except (OSError, DsumError, psutil.Error) as error:
                log.warning("The line of training runs could not be looked at: %s", error)
                busy = False
            self._wake.wait(BUSY_SECONDS if busy else IDLE_SECONDS)
            self._wake.clear()

    def _launch(self, run: Run) -> None:
        with run.output_file.open("ab") as output:
            child = start_child(["train", "--resume", run.name], self.settings, output, subprocess.STDOUT)
        self._children[run.name] = child
        # Long before it has imported anything: no other app starts it in the meantime.
        run.write_status(RunState.QUEUED, "Its process is starting.", child.pid)

    def _bury(self) -> None:
        """Tell what became of children that ended without a word."""
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
                said = last_error(tail(run.output_file)) if code > 0 else ""
                run.write_status(RunState.FAILED, said or ended_because(code))
            elif state is RunState.CRASHED and code < 0:
                run.write_status(RunState.CRASHED, ended_because(code))

    def _make_room(self) -> None:
        """On a public Space: refuse a line that gets too long, and forget the oldest runs."""
        if not self.settings.public:
            return
        if len(self.line()) >= PUBLIC["waiting_runs"]:
            raise InputError(f"{PUBLIC['waiting_runs']} runs wait already; try again when one has ended.")
        ended = [run for run in self.runs.all() if run.status().state not in (*ACTIVE, RunState.QUEUED)]
        for run in ended[PUBLIC["kept_runs"] :]:
            run.delete()

    @contextmanager
    def _locked(self, wait: float = LOCK_SECONDS) -> Iterator[None]:
        refusal = TrainingError("Another app is using the queue of this data folder; try again.")
        with locked(self.runs.folder / ".line.lock", wait, refusal):
            yield


def default_name(config: RunConfig) -> str:
    """What a run is called that nobody has named: "lora-samples"."""
    return f"{config.training.method}-{source_title(config.data.source).split('.')[0]}"


def source_title(source: str) -> str:
    """A source without its folder and without the prefix that an uploaded file got."""
    return Path(source).name.split("__", 1)[-1] or source


def in_line(found: Iterable[tuple[Run, RunStatus]]) -> list[Run]:
    """Those of the runs that wait, in the order in which they get their turn."""
    waiting = [(run, status) for run, status in found if status.state is RunState.QUEUED]
    # One with a process is at the door already.
    return [run for run, _ in sorted(waiting, key=lambda pair: (pair[1].pid is None, pair[1].updated))]


def _leave_line(run: Run, keep: bool) -> None:
    """A run that never began leaves nothing worth keeping."""
    if not run.events_file.exists():
        run.delete()
        return
    if not keep:
        run.drop_weights()
    run.write_status(RunState.STOPPED, "It was taken out of the line.")


def _see_to_stop(run: Run, status: RunStatus) -> None:
    """End a process that was asked to stop and is over its time; say so of one that is gone without having said it."""
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
        _leave_line(run, wanted != DISCARD)
    elif status.state is RunState.CRASHED:
        if wanted == DISCARD:
            run.drop_weights()
            run.write_status(RunState.STOPPED, "It was ended, and its weights were deleted.")
        else:
            run.write_status(RunState.STOPPED, "It did not stop in time and was ended; resume it to go on.")
