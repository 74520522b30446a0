"""Exit codes, what the commands print on standard error, and options that several commands share."""

from __future__ import annotations

import argparse
import os
import sys


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


DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
