"""Runs work in a separate thread, so that the caller can report progress, stop or time out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from typing import TypeVar

from dsum_demo.errors import Stopped

POLL_SECONDS = 0.1

Result = TypeVar("Result")


class ThreadTimeoutError(TimeoutError):
    """The work took longer than the caller's timeout."""


def run_in_thread(
    work: Callable[[threading.Event], Result], name: str, every: float = POLL_SECONDS
) -> Generator[float, None, Result]:
    """Run `work` in a thread, yield the seconds so far every `every` seconds, and return its result.

    Exceptions of `work` are raised here. Closing the generator sets the event that `work` gets and does not wait,
    because the thread may be blocked by the network.
    """
    stop = threading.Event()
    outcome: list[tuple[Result | None, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((work(stop), None))
        except BaseException as error:
            outcome.append((None, error))

    worker = threading.Thread(target=run, name=name, daemon=True)
    started = time.monotonic()
    worker.start()
    try:
        worker.join(every)
        while worker.is_alive():
            yield time.monotonic() - started
            worker.join(every)
    finally:
        stop.set()
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def run_stoppable(
    work: Callable[[threading.Event], Result],
    should_stop: Callable[[], bool] = lambda: False,
    *,
    name: str,
    stopped: str = "Stopped.",
    timeout: float | None = None,
) -> Result:
    """The result of `work`, run in a thread.

    Raises Stopped with the message `stopped` if should_stop() becomes true, ThreadTimeoutError if `timeout` seconds
    pass first. The thread then continues until it notices the stop.
    """
    every = POLL_SECONDS if timeout is None else min(POLL_SECONDS, timeout)
    running = run_in_thread(work, name, every)
    while True:
        try:
            seconds = next(running)
        except StopIteration as end:
            result: Result = end.value
            return result
        if should_stop():
            running.close()
            raise Stopped(stopped)
        if timeout is not None and seconds >= timeout:
            running.close()
            raise ThreadTimeoutError(f"{name} took more than {timeout:g} s.")
