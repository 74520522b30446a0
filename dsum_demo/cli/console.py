"""Exit codes, what the commands print on standard error, and options that several commands share."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dsum_demo.data.columns import parse_columns
from dsum_demo.data.sources import source_names
from dsum_demo.errors import InputError
from dsum_demo.utils.formatting import duration

if TYPE_CHECKING:
    from dsum_demo.evaluation.records import EvaluationProgress

PROGRESS_SECONDS = 5.0  # between progress lines if the output is not a terminal


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def say_in_handler(text: str) -> None:
    """Like `say`, for signal handlers: they may interrupt a `print`, which cannot be called again before it ends."""
    os.write(2, f"{text}\n".encode())


def split_names(text: str) -> list[str]:
    """The names in a comma-separated argument."""
    return [name.strip() for name in text.split(",") if name.strip()]


def add_column_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--column",
        metavar="ROLE=NAME,…",
        action="append",
        default=[],
        help="the columns of a file, by role: dialogue, summary, id and topic (default: guessed by their names)",
    )


def columns_of(options: argparse.Namespace, *sources: str) -> dict[str, str]:
    """The columns of --column, by role. sources: what is read. Raises InputError for --column if none is a file."""
    if options.column and all(source in source_names() for source in sources):
        raise InputError("--column names the columns of a file; give a file with --data, or remove --column.")
    return parse_columns(options.column)


def add_judge_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--judge",
        nargs="?",
        const="",
        metavar="NAME",
        help="also judge the outputs with a language model, without references; see `dsum judge list` "
        "(default: smollm2-135m)",
    )


@contextmanager
def handling_stops(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Call `handler` for SIGINT (Ctrl+C) and SIGTERM instead of what was called before."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def stopping(kept: str = "the results so far are kept") -> Iterator[threading.Event]:
    """An event that the first Ctrl+C or SIGTERM sets; the second one ends the command."""
    stop = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say_in_handler(f"\ndsum: stopping; {kept}. Press Ctrl+C again to exit immediately.")

    with handling_stops(ask):
        yield stop


def follow(progress: Iterator[EvaluationProgress]) -> EvaluationProgress:
    """Print the progress on standard error; return the last state."""
    live, printed, width = sys.stderr.isatty(), 0.0, 0
    for now in progress:
        if live or time.monotonic() - printed >= PROGRESS_SECONDS:
            printed = time.monotonic()
            left = f", {duration(now.seconds_left)} left" if now.seconds_left else ""
            line = f"dsum: {now.note}: {now.done:,} of {now.total:,}{left}"
            width = max(width, len(line))
            print(f"\r{line:<{width}}" if live else line, end="" if live else "\n", file=sys.stderr, flush=True)
    if live:
        say("")
    return now


DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
