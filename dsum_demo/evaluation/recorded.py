"""Reads recorded outputs from a file and evaluates them."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dsum_demo.data.columns import GivenColumns, find_column, guess_columns
from dsum_demo.data.examples import Example, draw, fingerprint, unique_ids
from dsum_demo.data.sources import ROW_OF_SEVERAL
from dsum_demo.data.tables import Broken, leave_out, name_rows, read_rows
from dsum_demo.data.values import describe_value, read_dialogue_value, read_label_value, read_texts_value
from dsum_demo.errors import DataError, InputError
from dsum_demo.evaluation.records import BrokenRow, Evaluation, EvaluationProgress, ExampleRecord, SystemInfo
from dsum_demo.evaluation.scoring import check_reading, new_record, score_output
from dsum_demo.evaluation.warnings import warnings_of
from dsum_demo.metrics.rouge import too_long
from dsum_demo.metrics.scores import Score, Signature, f1_of, mean_scores, signature

# Patterns of column names by kind of system; the first match counts ("flan-t5-base-lora" is an adapter).
KINDS = (
    ("adapter", r"lora|peft|adapter|ia3|prompt.?tun|prefix"),
    ("full", r"full|instruct|fine.?tun|sft"),
    ("base", r"orig|zero.?shot|base|pretrained"),
)


@dataclass(frozen=True)
class RecordedRow:
    """A valid row, or the merged rows of one dialogue. group: equal for rows of the same dialogue."""

    row: int
    group: str
    example: Example
    outputs: Mapping[str, str]


def read_recorded(
    file: Path,
    references: Sequence[str],
    systems: Sequence[str],
    broken: Broken | None = None,
    columns: GivenColumns | None = None,
    notes: list[str] | None = None,
) -> list[RecordedRow]:
    """The rows of a file (see `tables.read_rows`). In addition to the named columns, those of the id, the dialogue and
    the topics are used if present (see `map_columns`; `columns` gives them by role). Column names are case-insensitive.
    A row is compared with its references that are not empty; an empty output scores 0.

    Rows belong to one dialogue if the dialogue is equal; without that column, if their ids are numbered like test_0_2;
    without ids, if they are consecutive and all outputs are equal.

    Raises InputError for invalid columns, and DataError for an invalid file or rows. If `broken` is given, invalid rows
    are skipped and added to it instead. notes: gets messages about a guessed encoding and repeated ids.
    """
    _check_columns(references, systems)
    if "summary" in (columns or {}):
        raise InputError("Recorded outputs are compared with the columns that --references names; leave summary out.")
    rows = read_rows(file, broken, notes)
    names = list(next(iter(rows.values())))
    spelled = {name: find_column(names, name) for name in (*references, *systems)}
    if missing := [name for name in (*references, *systems) if not spelled[name]]:
        raise DataError(f"{file} has no column {', '.join(missing)}; its columns are: {', '.join(names)}.")
    as_named = {name: column for name, column in spelled.items() if column}
    _check_columns(*([as_named[name] for name in named] for named in (references, systems)))
    own = guess_columns(names, columns, taken=as_named.values())
    texts = {n: {name: read_texts_value(row[column]) for name, column in as_named.items()} for n, row in rows.items()}
    other = {
        n: f"It has {describe_value(rows[n][as_named[name]])} instead of text in column {name}."
        for n, found in texts.items()
        for name, values in found.items()
        if values is None
    }
    leave_out(other, rows, broken, lambda wrong: f"{file}, {name_rows(wrong)}: {other[wrong[0]]}")
    examples = {
        number: Example(
            id="".join(read_label_value(row[column]) for column in own["id"]),
            dialogue="".join(read_dialogue_value(row[column]) or "" for column in own["dialogue"]),
            references=tuple(text for name in references for text in texts[number][name] or ()),
            topics=tuple(text for column in own["topic"] for text in read_texts_value(row[column]) or ()),
        )
        for number, row in rows.items()
    }
    outputs = {
        number: {name: _output(row[as_named[name]], texts[number][name] or ()) for name in systems}
        for number, row in rows.items()
    }
    leave_out(
        {n: "It has no reference." for n, example in examples.items() if not example.references}, examples, broken,
        lambda wrong: f"{file} has no reference in {name_rows(wrong)}; fill one in or remove the row.",
    )  # fmt: skip
    long = {
        n: next(filter(None, (too_long(output, text) for output in outputs[n].values() for text in e.references)), "")
        for n, e in examples.items()
    }
    leave_out(
        {n: reason for n, reason in long.items() if reason}, examples, broken,
        lambda wrong: f"{file}, {name_rows(wrong)}: {long[wrong[0]]}",
    )  # fmt: skip
    if not examples:
        raise DataError(f"{file} has no valid rows.")
    groups = _groups(examples, outputs)
    ids = unique_ids(examples, notes, shared=False)
    return [
        RecordedRow(number, groups[number], replace(example, id=ids[number]), outputs[number])
        for number, example in examples.items()
    ]


def together(rows: Sequence[RecordedRow]) -> list[RecordedRow]:
    """The reading "dialogues": the rows of a dialogue merged into one example with all their references.

    Raises InputError if no rows share a dialogue, and DataError if a system has different outputs for one dialogue.
    """
    groups: dict[str, list[RecordedRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    if len(groups) == len(rows):
        raise InputError('No two rows share a dialogue; choose the reading "rows".')
    for same in groups.values():
        for name, text in same[0].outputs.items():
            if any(row.outputs[name] != text for row in same):
                numbers = [row.row for row in same]
                raise DataError(
                    f"Outputs of {name} differ in {name_rows(numbers)}, which share a dialogue; "
                    'choose the reading "rows", or keep one output per dialogue.',
                    numbers,
                )
    return [
        replace(
            same[0],
            example=replace(
                same[0].example,
                references=tuple(text for row in same for text in row.example.references),
                topics=tuple(dict.fromkeys(topic for row in same for topic in row.example.topics)),
            ),
        )
        for same in groups.values()
    ]


def recorded_system(column: str) -> SystemInfo:
    """A column as a system, with its kind inferred from the name."""
    kind = next((kind for kind, words in KINDS if re.search(words, column, re.IGNORECASE)), "recorded")
    return SystemInfo(column, column, kind)


def _check_columns(references: Sequence[str], systems: Sequence[str]) -> None:
    if not references or not systems:
        raise InputError("Scoring needs at least one column of references and one of outputs; name both.")
    twice = [name for name, times in Counter((*references, *systems)).items() if times > 1]
    if twice:
        raise InputError(
            f"The column {twice[0]!r} is named twice; use each column once, as a reference or as an output."
        )


def _output(value: Any, texts: tuple[str, ...]) -> str:
    """A system's text: as it is, the lines of a list, or "" for an empty one. texts: those that the value contains."""
    return value if isinstance(value, str) and texts == (value.strip(),) else "\n".join(texts)


def _groups(examples: Mapping[int, Example], outputs: Mapping[int, Mapping[str, str]]) -> dict[int, str]:
    found, before, run = {}, None, 0
    for number, example in examples.items():
        several = ROW_OF_SEVERAL.fullmatch(example.id)
        wrote = tuple(outputs[number].values())
        run = run if wrote == before and any(map(str.strip, wrote)) else number
        before = wrote
        if example.dialogue:
            found[number] = fingerprint(example.dialogue)
        elif several:
            found[number] = several[1]
        else:
            found[number] = f"row {number}" if example.id else f"row {run}"
    return found


YIELD_SECONDS = 0.5
SCORE_WARNINGS = ("no_tokens", "unread", "empty")  # those that `score_file` reports; it has no intervals and dialogues


@dataclass(frozen=True)
class ScoreReport:
    """Mean scores of each system column over all rows."""

    signature: Signature
    systems: Mapping[str, Mapping[str, Score]]
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """What `dsum score --json` prints: mean F1, each from 0 to 1, None if no reference can be read."""
        return {
            "signature": self.signature.as_dict(),
            "systems": {name: f1_of(scores) for name, scores in self.systems.items()},
            "warnings": list(self.warnings),
        }


def score_file(
    file: Path,
    references: Sequence[str],
    systems: Sequence[str],
    policy: str = "mean",
    columns: GivenColumns | None = None,
) -> ScoreReport:
    """Mean scores of `evaluate_recorded` over all rows. The signature has the largest number of references of a row.
    Raises the same errors.
    """
    notes: list[str] = []
    *_, last = evaluate_recorded(file, references, systems, policy=policy, columns=columns, notes=notes)
    examples = last.evaluation.examples
    return ScoreReport(
        signature(n=len(examples), references=max(e.reference_count for e in examples), policy=policy),
        {name: mean_scores([example.outputs[name].scores for example in examples]) for name in systems},
        (*notes, *(w.text for w in warnings_of(last.evaluation, examples, 0) if w.kind in SCORE_WARNINGS)),
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
    columns: GivenColumns | None = None,
    notes: list[str] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[EvaluationProgress]:
    """Score the columns `systems` against the columns `references` (see `read_recorded`), row by row in random order.
    The last evaluation yielded is complete, unless `should_stop` stopped it.

    reading: "rows" scores every row, "dialogues" merges the rows of a dialogue into one example with several
    references. limit: size of a random sample. skip_broken: skip invalid rows and list them in the evaluation. notes:
    see `read_recorded`. Raises InputError for invalid arguments, and DataError for an invalid file or invalid rows.
    """
    check_reading(reading)
    signature(n=0, references=1, policy=policy)  # raises for an unknown policy before the file is read
    broken: Broken | None = {} if skip_broken else None
    rows = read_recorded(file, references, systems, broken, columns, notes)
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
) -> Iterator[EvaluationProgress]:
    order = list(rows)
    random.Random(evaluation.seed).shuffle(order)
    records: list[ExampleRecord] = []
    systems, total = len(evaluation.systems), len(rows) * len(evaluation.systems)
    started = yielded = time.monotonic()

    def progress(note: str, finished: bool = False) -> EvaluationProgress:
        now = replace(evaluation, examples=tuple(sorted(records, key=lambda r: r.row)), finished=finished)
        passed, done = time.monotonic() - started, len(records)
        left = passed / done * (len(rows) - done) if done else None
        return EvaluationProgress(done * systems, total, left, note, now)

    yield progress("Scoring recorded outputs")
    for row in order:
        if should_stop():
            yield progress("Stopped")
            return
        records.append(_scored(row, evaluation.policy, others))
        if time.monotonic() - yielded >= YIELD_SECONDS:
            yielded = time.monotonic()
            yield progress("Scoring recorded outputs")
    yield progress("Done", finished=True)


def _scored(row: RecordedRow, policy: str, others: Mapping[str, Sequence[tuple[int, str]]]) -> ExampleRecord:
    rest = [text for number, text in others[row.group] if number != row.row]
    record = new_record(row.example, row.row, policy, group=row.group, other_references=rest)
    return replace(record, outputs={name: score_output(record, text, policy) for name, text in row.outputs.items()})


def _others(rows: Sequence[RecordedRow]) -> dict[str, list[tuple[int, str]]]:
    """The row numbers and references of each dialogue."""
    found: dict[str, list[tuple[int, str]]] = {}
    for row in rows:
        found.setdefault(row.group, []).extend((row.row, text) for text in row.example.references)
    return found
