"""Exit codes, what the commands print on standard error, and options that several commands share."""

from __future__ import annotations

import argparse
import sys


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def add_column_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--column",
        metavar="ROLE=NAME,…",
        action="append",
        default=[],
        help="the columns of a file, by role: dialogue, summary, id and topic (default: guessed by their names)",
    )


DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
