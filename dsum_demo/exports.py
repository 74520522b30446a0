"""An evaluation as files: CSV and JSON Lines of every example, JSON and Markdown of the report.

Knows records and reports; nothing of models or pages. A cell that a spreadsheet would run as a formula is made text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dsum_demo.evaluation_records import Evaluation
from dsum_demo.evaluation_report import Report

DEFUSED = ("=", "+", "-", "@", "\t", "\r")


def defuse(text: str) -> str:
    """A cell that a spreadsheet shows instead of running."""
    return "'" + text if text.startswith(DEFUSED) else text


def examples_csv(evaluation: Evaluation, report: Report) -> Iterator[str]:
    """Lines, the header first: a row an example and system. The signature stands in every row."""
    raise NotImplementedError


def examples_jsonl(evaluation: Evaluation, report: Report) -> Iterator[str]:
    """Lines: an object an example, with texts, outputs, scores and the signature."""
    raise NotImplementedError


def report_json(evaluation: Evaluation, report: Report) -> str:
    raise NotImplementedError


def report_markdown(evaluation: Evaluation, report: Report) -> str:
    """Tables for a README or a pull request, with the signature."""
    raise NotImplementedError


def write_exports(evaluation: Evaluation, report: Report, folder: Path) -> list[Path]:
    """examples.csv, examples.jsonl, report.json, report.md in `folder`, which is made; returned in this order."""
    raise NotImplementedError
