"""Evaluates outputs that were recorded elsewhere. Knows recorded rows and scores; loads no model."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dsum_demo.data import Broken, draw
from dsum_demo.evaluation_records import BrokenRow, Evaluation, ExampleRecord, Progress
from dsum_demo.example_scores import check_reading, new_record, score_output
from dsum_demo.metrics import ROUGE_TYPES, Score, Signature, mean_scores, signature
from dsum_demo.recorded import RecordedRow, read_recorded, recorded_system, together

YIELD_SECONDS = 0.5


@dataclass(frozen=True)
class ScoreReport:
    """Mean scores over the rows, for each system column."""

    signature: Signature
    systems: Mapping[str, Mapping[str, Score]]

    def as_dict(self) -> dict[str, Any]:
        """What `dsum score --json` prints: mean F1, each from 0 to 1."""
        return {
            "signature": self.signature.as_dict(),
            "systems": {
                name: {rouge: scores[rouge].fmeasure for rouge in ROUGE_TYPES} for name, scores in self.systems.items()
            },
        }


def score_file(file: Path, references: Sequence[str], systems: Sequence[str], policy: str = "mean") -> ScoreReport:
    """Plain means over the rows of what `evaluate_recorded` gives. The signature counts the references of the row that
    has most. Raises what it raises.
    """
    *_, last = evaluate_recorded(file, references, systems, policy=policy)
    examples = last.evaluation.examples
    return ScoreReport(
        signature(n=len(examples), references=max(e.reference_count for e in examples), policy=policy),
        {name: mean_scores([example.outputs[name].scores for example in examples]) for name in systems},
    )


def evaluate_recorded(
    file: Path,
    references: Sequence[str],
    systems: Sequence[str],
    *,
    policy: str = "mean",
    reading: str = "rows",
    seed: int = 0,
    limit: int | None = None,
    skip_broken: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Score the columns `systems` against the columns `references` (see `recorded.read_recorded`), row by row in an
    order drawn by the seed; the last one yielded is complete, or as far as it was when `should_stop` said so.

    reading: "rows" scores every row, "dialogues" the rows of one dialogue as one example with several references.
    limit: so many examples, drawn by the seed. skip_broken: rows that cannot be used are left out and listed in the
    evaluation; else they are refused. Raises InputError for arguments, DataError for a file or rows that cannot.
    """
    check_reading(reading)
    signature(n=0, references=1, policy=policy)  # refuses an unknown policy before the file is read
    broken: Broken | None = {} if skip_broken else None
    rows = read_recorded(file, references, systems, broken)
    everything = rows
    if reading == "dialogues":
        rows = together(rows)
    rows = draw(rows, limit, seed)
    evaluation = Evaluation(
        data=file.name,
        systems=tuple(map(recorded_system, systems)),
        examples=(),
        total=len(rows),
        policy=policy,
        reading=reading,
        seed=seed,
        recorded=True,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        skipped=tuple(BrokenRow(number, reason) for number, reason in sorted((broken or {}).items())),
    )
    yield from _score_rows(evaluation, rows, _others(everything), should_stop)


def _score_rows(
    evaluation: Evaluation,
    rows: Sequence[RecordedRow],
    others: Mapping[str, Sequence[tuple[int, str]]],
    should_stop: Callable[[], bool],
) -> Iterator[Progress]:
    order = list(rows)
    random.Random(evaluation.seed).shuffle(order)
    records: list[ExampleRecord] = []
    systems, total = len(evaluation.systems), len(rows) * len(evaluation.systems)
    started = told = time.monotonic()

    def progress(note: str, finished: bool = False) -> Progress:
        now = replace(evaluation, examples=tuple(sorted(records, key=lambda r: r.row)), finished=finished)
        passed, done = time.monotonic() - started, len(records)
        left = passed / done * (len(rows) - done) if done else None
        return Progress(done * systems, total, left, note, now)

    yield progress("Scoring recorded outputs")
    for row in order:
        if should_stop():
            yield progress("Stopped")
            return
        records.append(_scored(row, evaluation.policy, others))
        if time.monotonic() - told >= YIELD_SECONDS:
            told = time.monotonic()
            yield progress("Scoring recorded outputs")
    yield progress("Done", finished=True)


def _scored(row: RecordedRow, policy: str, others: Mapping[str, Sequence[tuple[int, str]]]) -> ExampleRecord:
    rest = [text for number, text in others[row.group] if number != row.row]
    record = new_record(row.example, row.row, policy, group=row.group, other_references=rest)
    return replace(record, outputs={name: score_output(record, text, policy) for name, text in row.outputs.items()})


def _others(rows: Sequence[RecordedRow]) -> dict[str, list[tuple[int, str]]]:
    """For each dialogue the references of all its rows, with the row's number."""
    found: dict[str, list[tuple[int, str]]] = {}
    for row in rows:
        found.setdefault(row.group, []).extend((row.row, text) for text in row.example.references)
    return found
