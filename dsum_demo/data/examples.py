"""Examples: a dialogue with its references, and the fingerprints of training data."""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dsum_demo.data.tables import Broken, _leave_out, find_column, read_rows
from dsum_demo.errors import DataError, InputError
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


def read_samples(file: Path, broken: Broken | None = None) -> list[Example]:
    """Examples of a file with the columns that `find_example_columns` finds; empty summaries and topics are left out,
    and a row without an id is called "row 3".

    Raises DataError for what `read_rows` refuses, for a file without a column of dialogues or of summaries, and for
    rows without dialogue or summary or with a repeated id; where `broken` is given, such rows are put there and left
    out instead.
    """
    return to_examples(read_rows(file, broken), str(file), broken)


def to_examples(
    rows: Sequence[dict[str, str]] | Mapping[int, dict[str, str]], name: str, broken: Broken | None = None
) -> list[Example]:
    """Rows as `read_samples` reads them; `name` says in a refusal where they come from. Raises DataError."""
    numbered = rows if isinstance(rows, Mapping) else dict(enumerate(rows, 1))
    columns = find_example_columns(next(iter(numbered.values()), {}), name)
    examples = {
        number: Example(
            id="".join(_texts(row, columns["id"])) or f"row {number}",
            dialogue="".join(_texts(row, columns["dialogue"])),
            references=_texts(row, columns["summary"]),
            topics=_texts(row, columns["topic"]),
        )
        for number, row in numbered.items()
    }
    for what, of in (
        ("no dialogue", lambda example: example.dialogue),
        ("no summary", lambda example: example.references),
    ):
        _leave_out(name, what, [number for number, e in examples.items() if not of(e)], examples, broken)
    times = Counter(example.id for example in examples.values())
    _leave_out(name, "an id that is used twice", [n for n, e in examples.items() if times[e.id] > 1], examples, broken)
    return list(examples.values())


# What people call the columns, the likeliest name first.
USUAL_COLUMNS = {
    "dialogue": ("dialogue", "dialog", "conversation", "source", "input", "text", "transcript", "chat"),
    "summary": ("summary", "summary1", "reference", "target", "output", "highlights", "abstract"),
    "id": ("id", "fname", "dialogue_id", "idx"),
}
EXPECTED_COLUMNS = "dialogue and summary (or summary1 to summary3), and optionally id and topic (or topic1 to topic3)"


def find_example_columns(columns: Iterable[str], name: str) -> dict[str, tuple[str, ...]]:
    """The columns of each part of an example, by "dialogue", "summary", "id" and "topic", without regard to case: one
    of USUAL_COLUMNS, or the numbered summaries and topics of DialogSum; empty for a missing id or topic.

    Raises DataError for a file without dialogue or summary, naming the columns found and those expected.
    """
    there = tuple(columns)
    found: dict[str, tuple[str, ...]] = {}
    for role in ("dialogue", "summary", "id", "topic"):
        numbered = () if role in ("dialogue", "id") else (role, *(f"{role}{number}" for number in (1, 2, 3)))
        several = tuple(column for each in numbered if (column := find_column(there, each)))
        one = find_column(there, *USUAL_COLUMNS.get(role, ()))
        found[role] = several or ((one,) if one else ())
    if missing := [role for role in ("dialogue", "summary") if not found[role]]:
        raise DataError(
            f"{name} has no column {' and no column '.join(missing)}; its columns are: {', '.join(there)}. Name them "
            f"{EXPECTED_COLUMNS}."
        )
    return found


def _texts(row: dict[str, str], columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(filter(None, (row.get(column, "").strip() for column in columns)))
