"""What a training run said while it ran: events.jsonl, an object a line, and the curves in it.

Every event has "event" (its kind) and "time" (seconds since 1970). The kinds and their keys:

    start       step, steps, resumed (bool), batch_size, accumulation, processes, precision, device, parameters,
                trained_parameters, train_dialogues, validation_dialogues
    step        step, steps, epoch, loss, learning_rate, grad_norm, samples_per_second, memory_bytes,
                peak_memory_bytes, seconds, seconds_left
    evaluation  step, steps, epoch, loss, rouge1, rouge2, rougeL, rougeLsum, best (bool), seconds,
                summaries: [{"dialogue", "reference", "summary"}, …] (the same dialogues each time)
    checkpoint  step, steps, bytes
    batch       batch_size, accumulation, reason (memory ran out: the batch was halved)
    note        text
    end         state, reason, step, steps

`seconds` counts from the start of the process's training, `seconds_left` is an estimate to the end of the run, both
without what an earlier process took. A resumed run takes its steps after the last checkpoint again: of two events of
one step the later counts. Knows nothing of how events come about. Standard library only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class EventLog:
    """Appends events to a file, whole lines only."""

    def __init__(self, file: Path):
        self.file = file
        self._mend()

    def append(self, event: Mapping[str, Any]) -> None:
        """Write one event, with the time if it has none. Raises OSError where the disk is full."""
        line = json.dumps({"time": time.time(), **event}, ensure_ascii=False, allow_nan=False) + "\n"
        # One write to a file opened for appending: a reader sees at most the end of it missing.
        with self.file.open("ab", buffering=0) as stream:
            stream.write(line.encode())

    def _mend(self) -> None:
        """A line that a crash cut off would swallow the next one."""
        if self.file.exists() and self.file.stat().st_size:
            with self.file.open("rb+") as stream:
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    stream.write(b"\n")


def read_events(file: Path, offset: int = 0) -> tuple[list[Event], int]:
    """The events behind byte `offset`, and the offset to go on from; what is not a whole event is left out.

    A line that is still being written is read the next time.
    """
    try:
        with file.open("rb") as stream:
            stream.seek(offset)
            data = stream.read()
    except OSError:
        return [], offset
    whole = data.rfind(b"\n") + 1
    events = []
    for line in data[:whole].split(b"\n"):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            events.append(event)
    return events, offset + whole


@dataclass
class Curve:
    """A run's events put in order: at most one point a step, what a resume took again counted once."""

    steps: list[Event] = field(default_factory=list)
    evaluations: list[Event] = field(default_factory=list)
    start: Event | None = None
    end: Event | None = None

    def add(self, events: Iterable[Event]) -> Curve:
        """Take in what `read_events` brought; returns itself."""
        for event in events:
            kind = event["event"]
            if kind == "start":
                self.start, self.end = event, None
                at = event.get("step", 0)
                self.steps = [point for point in self.steps if point["step"] <= at]
                self.evaluations = [point for point in self.evaluations if point["step"] <= at]
            elif kind == "step" and "step" in event:
                self.steps.append(event)
            elif kind == "evaluation" and "step" in event:
                self.evaluations.append(event)
            elif kind == "end":
                self.end = event
        return self

    @property
    def latest(self) -> Event | None:
        """The last step, None before the first."""
        return self.steps[-1] if self.steps else None

    @property
    def best(self) -> Event | None:
        """The last evaluation that was the best so far."""
        return next((event for event in reversed(self.evaluations) if event.get("best")), None)


def read_curve(file: Path) -> Curve:
    return Curve().add(read_events(file)[0])
