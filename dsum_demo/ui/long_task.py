"""A long task of the page: one button starts it and another one stops it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
from gradio.events import Dependency

from dsum_demo.ui.theme import QUIET, Update


class StopFlag:
    """Whether the task was asked to stop. gradio copies a plain state for each session, but not this object."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __deepcopy__(self, memo: dict[int, Any]) -> StopFlag:
        return self


def connect_long_task(
    start: gr.Button,
    stop: gr.Button,
    run: Callable[..., Iterator[Any]],
    inputs: Sequence[gr.components.Component],
    result: gr.components.Component | Sequence[gr.components.Component],
    doing: str,
) -> Dependency:
    """Let `start` yield what `result` shows from `run(*inputs, flag)`, one at a time on the page, until `stop` sets the
    StopFlag. doing: the label of `start` meanwhile. Returns the event that ends with the task.
    """
    label, running = start.value, gr.State(None)

    def begin() -> tuple[StopFlag, Update, Update]:
        return StopFlag(), gr.update(interactive=False, value=doing), gr.update(interactive=True, value="Stop")

    def end() -> tuple[Update, Update]:
        return gr.update(interactive=True, value=label), gr.update(interactive=False, value="Stop")

    begun = start.click(begin, None, [running, start, stop], queue=False, **QUIET)
    ran = begun.then(run, [*inputs, running], result, concurrency_limit=1, **QUIET)
    ran.then(end, None, [start, stop], queue=False, **QUIET)
    stop.click(ask_to_stop, running, stop, queue=False, **QUIET)
    return ran


def ask_to_stop(running: StopFlag | None) -> Update:
    if running is not None:
        running.event.set()
    return gr.update(interactive=False, value="Stopping…")
