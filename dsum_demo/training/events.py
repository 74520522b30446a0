"""The event log of a training run (events.jsonl, one JSON object per line) and the curves read from it.

Every event has "event" (its kind) and "time" (seconds since 1970). The kinds and their keys:

    start       step, steps, resumed (bool), batch_size, accumulation, processes, precision, device, parameters,
                trained_parameters, train_dialogues, validation_dialogues, general_loss (before training, on a general
                text, see `forgetting`; null for an encoder-decoder model)
    first_batch step, steps, batch_size, width, trained_tokens, padding_tokens, end, pad (their texts), architecture,
                rows: [{"number" (in the training data, from 1), "truncated" (sentences or ""),
                parts: [{"kind" (read, trained or padding), "count", "tokens" (texts; one of padding)}, …]}, …]
    step        step, steps, epoch, loss, learning_rate, grad_norm, samples_per_second, memory_bytes,
                peak_memory_bytes, seconds, seconds_left
                in a learning-rate sweep also rate, and rate_step: the step with this learning rate
                in preference training also accuracy: the share of pairs whose chosen text gained more
    diverged    rate, text: why training with this learning rate of a sweep ended early
    evaluation  step, steps, epoch, loss, rouge1, rouge2, rougeL, rougeLsum, best (bool), seconds, general_loss,
                summaries: [{"number", "dialogue", "reference", "summary", "rouge1"}, …] (the same dialogues each time),
                best_rows, worst_rows: the same of the rows with the highest and the lowest ROUGE-1
                preference training has accuracy and margin (of the rewards) instead of ROUGE, and of these texts the
                summaries, whose reference is the chosen text of a held-out pair
    checkpoint  step, steps, bytes
    batch       batch_size, accumulation, reason (memory ran out: the batch was halved)
    note        text
    end         state, reason, step, steps

`seconds` counts from the start of training in this process, and `seconds_left` is an estimate until the end of the run;
neither includes earlier processes. A resumed run repeats the steps after its last checkpoint: the later event of a step
replaces the earlier one.
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
    """Appends events to a file, one complete line each."""

    def __init__(self, file: Path):
        self.file = file
        self._end_partial_line()

    def append(self, event: Mapping[str, Any]) -> None:
        """Append one event; adds "time" if missing. Raises OSError if the disk is full."""
        line = json.dumps({"time": time.time(), **event}, ensure_ascii=False, allow_nan=False) + "\n"
        # A single write in append mode: a concurrent reader sees at worst an incomplete last line.
        with self.file.open("ab", buffering=0) as stream:
            stream.write(line.encode())

    def _end_partial_line(self) -> None:
        """Without this, the next event would be appended to a line that a crash left incomplete."""
        if self.file.exists() and self.file.stat().st_size:
            with self.file.open("rb+") as stream:
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    stream.write(b"\n")


def read_events(file: Path, offset: int = 0) -> tuple[list[Event], int]:
    """Return the events after byte `offset` and the next offset; invalid lines are skipped.

    An incomplete last line is left for the next call.
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
    """The steps and evaluations of a run, at most one per step; steps repeated after a resume are kept once."""

    steps: list[Event] = field(default_factory=list)
    evaluations: list[Event] = field(default_factory=list)
    start: Event | None = None
    end: Event | None = None
    first_batch: Event | None = None
    diverged: list[Event] = field(default_factory=list)

    def add(self, events: Iterable[Event]) -> Curve:
        """Add new events and return self."""
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
            elif kind == "diverged":
                self.diverged.append(event)
            elif kind == "first_batch":
                self.first_batch = event
            elif kind == "end":
                self.end = event
        return self

    @property
    def latest(self) -> Event | None:
        """The last step, None before the first."""
        return self.steps[-1] if self.steps else None

    @property
    def forgetting(self) -> tuple[float, float] | None:
        """The loss on a general text before training and with the best weights; None if it is not defined."""
        before, after = ((event or {}).get("general_loss") for event in (self.start, self.best))
        return None if before is None or after is None else (before, after)

    @property
    def best(self) -> Event | None:
        """The last evaluation that was the best so far."""
        return next((event for event in reversed(self.evaluations) if event.get("best")), None)


def read_curve(file: Path) -> Curve:
    return Curve().add(read_events(file)[0])
