"""Outputs that were recorded elsewhere: a file with columns of references and a column for each system's outputs.

Knows tables, and which of their rows are about one dialogue; nothing of scores, models or pages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dsum_demo.data import Broken, Example, fingerprint, name_rows, read_rows
from dsum_demo.errors import DataError, InputError
from dsum_demo.evaluation_records import SystemInfo
from dsum_demo.metrics import too_long
from dsum_demo.sources import ROW_OF_SEVERAL

# What a column's name says of how the system was trained; the first that fits ("flan-t5-base-lora" is an adapter).
KINDS = (
    ("adapter", r"lora|peft|adapter|ia3|prompt.?tun|prefix"),
    ("full", r"full|instruct|fine.?tun|sft"),
    ("base", r"orig|zero.?shot|base|pretrained"),
)


@dataclass(frozen=True)
class RecordedRow:
    """A row that can be scored, or the rows of one dialogue put together. group: what rows of one dialogue share."""

    row: int
    group: str
    example: Example
    outputs: Mapping[str, str]


def read_recorded(
    file: Path, references: Sequence[str], systems: Sequence[str], broken: Broken | None = None
) -> list[RecordedRow]:
    """The rows of a file that `data.read_rows` reads. Beside the named columns, `id`, `dialogue` and `topic` to
    `topic3` are used where they are there. A row is compared with the references that are not empty in it; an empty
    output scores 0.

    Rows are of one dialogue where the dialogue is the same; without that column, where ids are numbered like test_0_2;
    without ids too, where rows follow one another in which every system wrote the very same text.

    Raises InputError for columns that cannot be used, and DataError for a file or rows that cannot; where `broken` is
    given, such rows are put there and left out instead.
    """
    _check_columns(references, systems)
    rows = read_rows(file, broken)
    columns = next(iter(rows.values()))
    missing = [name for name in (*references, *systems) if name not in columns]
    if missing:
        raise DataError(f"{file} has no column {', '.join(missing)}; its columns are: {', '.join(columns)}.")
    used = {n: tuple(row[name] for name in references if row[name].strip()) for n, row in rows.items()}
    _leave_out(
        {n: "It has no reference." for n, texts in used.items() if not texts}, rows, broken,
        lambda wrong: f"{file} has no reference in {name_rows(wrong)}; fill one in, or leave the row out.",
    )  # fmt: skip
    long = {
        n: next(filter(None, (too_long(row[name], text) for name in systems for text in used[n])), "")
        for n, row in rows.items()
    }
    _leave_out(
        {n: reason for n, reason in long.items() if reason}, rows, broken,
        lambda wrong: f"{file}, {name_rows(wrong)}: {long[wrong[0]]}",
    )  # fmt: skip
    if not rows:
        raise DataError(f"{file} has no rows that can be used.")
    groups = _groups(rows, systems)
    ids = _unique_ids(rows)
    return [
        RecordedRow(
            number,
            groups[number],
            Example(ids[number], row.get("dialogue", "").strip(), used[number], _topics(row)),
            {name: row[name] for name in systems},
        )
        for number, row in rows.items()
    ]


def together(rows: Sequence[RecordedRow]) -> list[RecordedRow]:
    """The reading "dialogues": rows of one dialogue as one example with all their references.

    Raises DataError where the rows of a dialogue hold different outputs of one system: which one is its summary?
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
                    'choose the reading "rows", or keep one output for each dialogue.',
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
    """A column as a system, its kind told from its name."""
    kind = next((kind for kind, words in KINDS if re.search(words, column, re.IGNORECASE)), "recorded")
    return SystemInfo(column, column, kind)


def _check_columns(references: Sequence[str], systems: Sequence[str]) -> None:
    if not references or not systems:
        raise InputError("Scoring needs at least one column of references and one of system outputs; name them.")
    twice = [name for name, times in Counter((*references, *systems)).items() if times > 1]
    if twice:
        raise InputError(
            f"The column {twice[0]!r} is named twice; a column is a reference or a system's output, and counts once."
        )


def _leave_out(
    reasons: Mapping[int, str],
    rows: dict[int, dict[str, str]],
    broken: Broken | None,
    sentence: Callable[[list[int]], str],
) -> None:
    if reasons and broken is None:
        raise DataError(sentence(list(reasons)), list(reasons))
    for number, reason in reasons.items():
        assert broken is not None
        broken[number] = reason
        del rows[number]


def _groups(rows: Mapping[int, Mapping[str, str]], systems: Sequence[str]) -> dict[int, str]:
    found, before, run = {}, None, 0
    for number, row in rows.items():
        several = ROW_OF_SEVERAL.fullmatch(row.get("id", "").strip())
        wrote = tuple(row[name] for name in systems)
        run = run if wrote == before and any(map(str.strip, wrote)) else number
        before = wrote
        if row.get("dialogue", "").strip():
            found[number] = fingerprint(row["dialogue"])
        elif several:
            found[number] = several[1]
        else:
            found[number] = f"row {number}" if row.get("id", "").strip() else f"row {run}"
    return found


def _unique_ids(rows: Mapping[int, Mapping[str, str]]) -> dict[int, str]:
    own = {number: row.get("id", "").strip() for number, row in rows.items()}
    times = Counter(own.values())
    return {
        number: id_ if id_ and times[id_] == 1 else f"{id_} (row {number})" if id_ else f"row {number}"
        for number, id_ in own.items()
    }


def _topics(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(filter(None, (row.get(name, "").strip() for name in ("topic", "topic1", "topic2", "topic3"))))
