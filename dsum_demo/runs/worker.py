"""Runs dsum in a child process: start, signal, explain its exit, and probe a run's cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import psutil  # type: ignore[import-untyped]

from dsum_demo.errors import InputError, Stopped, TrainingError
from dsum_demo.training.config import RunConfig

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
NICENESS = 10
PROBE_SECONDS = 600.0
WRONG_INPUT = 2  # exit code for invalid arguments


def start_child(
    arguments: list[str], environment: Mapping[str, str], stdout: int | IO[bytes], stderr: int | IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start `dsum` with `arguments` under the current interpreter; `environment` has its settings."""
    child = subprocess.Popen(
        [sys.executable, "-m", "dsum_demo", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=child_environment(environment),
        start_new_session=True,
    )
    with suppress(psutil.Error):
        psutil.Process(child.pid).nice(NICENESS)
    return child


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The current environment, changed by `environment` and by what a child process needs."""
    return {
        **os.environ,
        **environment,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")])),
        "PYTHONUNBUFFERED": "1",
        # Threads that spin while waiting would take CPU time from the app and slow its generation down tenfold.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive"),
    }


def probe(
    config: RunConfig, environment: Mapping[str, str], should_stop: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Measure a run's cost in a child process that takes three steps, as `dsum_demo.runs.cost_probe.Probe.as_dict()`.

    Raises InputError if the config cannot be run, TrainingError if the child fails, and Stopped on request.
    """
    began = time.monotonic()
    with start_child([*config.command(), "--probe"], environment, subprocess.PIPE, subprocess.PIPE) as child:
        while True:
            try:
                output, errors = child.communicate(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                if should_stop():
                    send(child.pid, signal.SIGKILL)
                    raise Stopped("The measurement was stopped.") from None
                if time.monotonic() - began > PROBE_SECONDS:
                    send(child.pid, signal.SIGKILL)
                    raise TrainingError(
                        f"The three measured steps took more than {PROBE_SECONDS / 60:.0f} minutes; "
                        "choose a smaller base model or batch."
                    ) from None
    message = last_error(errors.decode("utf-8", "replace"))
    if child.returncode == WRONG_INPUT:
        raise InputError(message or "The run's settings are invalid.")
    if child.returncode == -signal.SIGKILL:
        raise TrainingError(
            "The measurement was killed (SIGKILL), as happens when memory runs out; "
            "choose LoRA, a smaller batch_size or a smaller base model."
        )
    if child.returncode:
        raise TrainingError(message if message and child.returncode > 0 else ended_because(child.returncode))
    try:
        return dict(json.loads(output))
    except ValueError:
        raise TrainingError("The measurement did not return valid JSON.") from None


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process and its descendants; do nothing if it has exited."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (*process.children(recursive=True), process):
            with suppress(psutil.Error):
                each.send_signal(number)


def ended_because(code: int) -> str:
    """Describe an exit code; negative codes are signals, as in `subprocess`."""
    if code >= 0:
        return f"Its process ended with exit code {code}."
    if -code == signal.SIGKILL:
        return (
            "Its process was killed (SIGKILL), as happens when memory runs out. Resume it from its last checkpoint, or "
            "start a new run with a smaller batch."
        )
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"Its process was terminated by {name}; it can be resumed."


def last_error(text: str) -> str:
    """Return the last line of a command's error output without the command's name, or "" if it is empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("dsum: ").removeprefix("dsum: error: ") if lines else ""
