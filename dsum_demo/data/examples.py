"""Examples: a dialogue with its references, and the fingerprints of training data."""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dsum_demo.data.columns import Columns, map_columns
from dsum_demo.data.tables import Broken, Row, leave_out, read_rows
from dsum_demo.data.values import describe_value, read_dialogue_value, read_label_value, read_texts_value
from dsum_demo.errors import InputError
from dsum_demo.utils.files import write_atomically

TRAINING_FINGERPRINTS = "train_fingerprints.txt"


T = TypeVar("T")


@dataclass(frozen=True)
class Example:
    """A dialogue ("Name: text", a turn a line) with the summaries and topics that people wrote for it."""

    id: str
    dialogue: str
    references: tuple[str, ...]
    topics: tuple[str, ...]


def fingerprint(dialogue: str) -> str:
    """What tells whether two dialogues are the same: 16 hex digits of SHA-256 over the text, in NFC and lower case,
    without white space. Spaces are what copies of a data set differ in most.
    """
    text = "".join(unicodedata.normalize("NFC", dialogue).casefold().split())
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_fingerprints(folder: Path) -> frozenset[str]:
    """Of the dialogues that the model in this folder was trained on; empty where the folder does not say."""
    try:
        return frozenset((folder / TRAINING_FINGERPRINTS).read_text(encoding="ascii", errors="ignore").split())
    except OSError:
        return frozenset()


def write_fingerprints(folder: Path, dialogues: Iterable[str]) -> None:
    """Say in a model's folder which dialogues it was trained on, a fingerprint a line; their texts stay out."""
    marks = sorted({fingerprint(dialogue) for dialogue in dialogues})
    write_atomically(folder / TRAINING_FINGERPRINTS, "".join(f"{mark}\n" for mark in marks))


def draw(examples: Sequence[T], limit: int | None, seed: int) -> list[T]:
    """`limit` examples drawn by `seed`, in the order that they had; all of them for None. Raises InputError below 1."""
    if limit is not None and limit < 1:
        raise InputError(f"The limit is {limit}; give 1 or more examples.")
    if limit is None or limit >= len(examples):
        return list(examples)
    return [examples[i] for i in sorted(random.Random(seed).sample(range(len(examples)), limit))]


def read_samples(file: Path, broken: Broken | None = None, columns: Mapping[str, str] | None = None) -> list[Example]:
    """Examples of a file with the columns that `map_columns` finds, or that `columns` gives by role; empty summaries
    and topics are left out, and a row without an id is called "row 3".

    Raises DataError for what `read_rows` refuses, for a file without a column of dialogues or of summaries, and for
    rows without dialogue or summary or with a repeated id; where `broken` is given, such rows are put there and left
    out instead.
    """
    return to_examples(read_rows(file, broken), str(file), broken, columns)


def to_examples(
    rows: Sequence[Row] | Mapping[int, Row],
    name: str,
    broken: Broken | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[Example]:
    """Rows as `read_samples` reads them; `name` says in a refusal where they come from. Raises DataError."""
    numbered = rows if isinstance(rows, Mapping) else dict(enumerate(rows, 1))
    found = map_columns(next(iter(numbered.values()), {}), name, columns)
    examples, reasons = usable_examples(numbered, found)
    times = Counter(example.id for example in examples.values())
    twice = {number: "an id that is used twice" for number, e in examples.items() if times[e.id] > 1}
    for reason, numbers in rows_by_reason({**reasons, **twice}).items():
        leave_out(name, reason, numbers, examples, broken)
    return list(examples.values())


def usable_examples(rows: Mapping[int, Row], columns: Columns) -> tuple[dict[int, Example], dict[int, str]]:
    """The rows with a dialogue and a summary as examples, by their numbers, and what is wrong with each other row."""
    examples, reasons = {}, {}
    for number, row in rows.items():
        wrong = []
        dialogues = [row.get(column) for column in columns["dialogue"]]
        dialogue = "".join(read_dialogue_value(value) or "" for value in dialogues)
        if not dialogue:
            wrong.append(_lack("dialogue", dialogues, read_dialogue_value))
        summaries = [row.get(column) for column in columns["summary"]]
        references = [text for value in summaries for text in read_texts_value(value) or ()]
        if not references or any(read_texts_value(value) is None for value in summaries):
            wrong.append(_lack("summary", summaries, read_texts_value))
        if wrong:
            reasons[number] = " and ".join(wrong)
            continue
        examples[number] = Example(
            id="".join(read_label_value(row.get(column)) for column in columns["id"]) or f"row {number}",
            dialogue=dialogue,
            references=tuple(references),
            topics=tuple(text for column in columns["topic"] for text in read_texts_value(row.get(column)) or ()),
        )
    return examples, reasons


def rows_by_reason(reasons: Mapping[int, str]) -> dict[str, list[int]]:
    """The numbers of the rows that each reason holds for."""
    found: dict[str, list[int]] = {}
    for number, reason in sorted(reasons.items()):
        found.setdefault(reason, []).append(number)
    return found


def _lack(role: str, values: Sequence[Any], read: Callable[[Any], Any]) -> str:
    """What there is in place of a dialogue or summary."""
    other = next((value for value in values if read(value) is None), None)
    return f"no {role}" if other is None else f"{describe_value(other)} instead of a {role}"
