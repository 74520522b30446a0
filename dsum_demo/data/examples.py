"""Examples of dialogues with references, and fingerprints of training data."""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dsum_demo.data.columns import Columns, GivenColumns, describe_guess, map_columns
from dsum_demo.data.tables import Broken, Row, leave_out, name_rows, read_rows
from dsum_demo.data.values import describe_value, read_dialogue_value, read_label_value, read_texts_value
from dsum_demo.errors import InputError
from dsum_demo.utils.files import write_atomically

TRAINING_FINGERPRINTS = "train_fingerprints.txt"


T = TypeVar("T")


@dataclass(frozen=True)
class Example:
    """A dialogue (one turn per line, "Name: text") with human-written summaries and topics."""

    id: str
    dialogue: str
    references: tuple[str, ...]
    topics: tuple[str, ...]


def fingerprint(dialogue: str) -> str:
    """A key that is equal for equal dialogues: 16 hex digits of SHA-256 over the text in NFC and lower case, without
    white space, in which copies of a data set often differ.
    """
    text = "".join(unicodedata.normalize("NFC", dialogue).casefold().split())
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_fingerprints(folder: Path) -> frozenset[str]:
    """The fingerprints of the dialogues that the model in a folder was trained on; empty if unknown."""
    try:
        return frozenset((folder / TRAINING_FINGERPRINTS).read_text(encoding="ascii", errors="ignore").split())
    except OSError:
        return frozenset()


def write_fingerprints(folder: Path, dialogues: Iterable[str]) -> None:
    """Write the fingerprints of a model's training dialogues to its folder, one per line."""
    lines = sorted({fingerprint(dialogue) for dialogue in dialogues})
    write_atomically(folder / TRAINING_FINGERPRINTS, "".join(f"{line}\n" for line in lines))


def draw(examples: Sequence[T], limit: int | None, seed: int) -> list[T]:
    """A random sample of `limit` examples in their original order, or all for None. Raises InputError below 1."""
    if limit is not None and limit < 1:
        raise InputError(f"The limit is {limit}; give 1 or more examples.")
    if limit is None or limit >= len(examples):
        return list(examples)
    return [examples[i] for i in sorted(random.Random(seed).sample(range(len(examples)), limit))]


def read_samples(
    file: Path,
    broken: Broken | None = None,
    columns: GivenColumns | None = None,
    notes: list[str] | None = None,
) -> list[Example]:
    """The examples of a file. columns: column names by role, see `map_columns`. Empty summaries and topics are ignored;
    ids are those of `unique_ids`. notes: gets messages on a guessed encoding or columns, and repeated ids.

    Raises DataError like `read_rows`, for missing columns of dialogues or summaries, and for rows without dialogue or
    summary. If `broken` is given, invalid rows are skipped and added to it instead.
    """
    rows = read_rows(file, broken, notes)
    if notes is not None and (guess := describe_guess(next(iter(rows.values())), columns)):
        notes.append(guess)
    return to_examples(rows, str(file), broken, columns, notes)


def to_examples(
    rows: Sequence[Row] | Mapping[int, Row],
    name: str,
    broken: Broken | None = None,
    columns: GivenColumns | None = None,
    notes: list[str] | None = None,
) -> list[Example]:
    """Convert rows as in `read_samples`; error messages contain `name`. Raises DataError."""
    numbered = rows if isinstance(rows, Mapping) else dict(enumerate(rows, 1))
    found = map_columns(next(iter(numbered.values()), {}), name, columns)
    examples, reasons = usable_examples(numbered, found)
    for reason, numbers in rows_by_reason(reasons).items():
        leave_out(dict.fromkeys(numbers, f"It has {reason}."), examples, broken, partial(_refusal, name, reason))
    ids = unique_ids(examples, notes)
    return [replace(example, id=ids[number]) for number, example in examples.items()]


def unique_ids(
    examples: Mapping[int, Example], notes: list[str] | None = None, *, shared: bool = True
) -> dict[int, str]:
    """The id of each row: "row 3" if it has none, "a1 (row 3)" if another row has the same id.

    shared: rows of one dialogue, as in files with one row per summary, may share an id. notes: gets a message about ids
    that different dialogues have.
    """
    dialogues: dict[str, set[object]] = {}
    for number, example in examples.items():
        dialogues.setdefault(example.id, set()).add(fingerprint(example.dialogue) if example.dialogue else number)
    mixed = [n for n, example in examples.items() if example.id and len(dialogues[example.id]) > 1]
    times = Counter(example.id for example in examples.values())
    repeated = set(mixed) if shared else {n for n, example in examples.items() if example.id and times[example.id] > 1}
    if mixed and notes is not None:
        notes.append(f"Ids repeat in {name_rows(mixed)}; row numbers are added to them, as in "
                     f"“{examples[mixed[0]].id} (row {mixed[0]})”.")  # fmt: skip
    return {
        n: f"{example.id} (row {n})" if n in repeated else example.id or f"row {n}" for n, example in examples.items()
    }


def _refusal(name: str, reason: str, rows: list[int]) -> str:
    return f"{name} has {reason} in {name_rows(rows)}."


def usable_examples(rows: Mapping[int, Row], columns: Columns) -> tuple[dict[int, Example], dict[int, str]]:
    """The examples of the valid rows by row number, and the reasons why the other rows are invalid."""
    examples, reasons = {}, {}
    for number, row in rows.items():
        wrong = []
        dialogues = {column: read_dialogue_value(row.get(column)) for column in columns["dialogue"]}
        dialogue = "".join(text or "" for text in dialogues.values())
        if not dialogue:
            wrong.append(_missing("dialogue", row, dialogues))
        summaries = {column: read_texts_value(row.get(column)) for column in columns["summary"]}
        references = [text for texts in summaries.values() for text in texts or ()]
        if not references or None in summaries.values():
            wrong.append(_missing("summary", row, summaries))
        if wrong:
            reasons[number] = " and ".join(wrong)
            continue
        examples[number] = Example(
            id="".join(read_label_value(row.get(column)) for column in columns["id"]),
            dialogue=dialogue,
            references=tuple(references),
            topics=tuple(text for column in columns["topic"] for text in read_texts_value(row.get(column)) or ()),
        )
    return examples, reasons


def rows_by_reason(reasons: Mapping[int, str]) -> dict[str, list[int]]:
    """The row numbers of each reason."""
    found: dict[str, list[int]] = {}
    for number, reason in sorted(reasons.items()):
        found.setdefault(reason, []).append(number)
    return found


def _missing(role: str, row: Row, read: Mapping[str, Any]) -> str:
    """Why a row has no valid dialogue or summary. read: what its columns contain, None for a value of another type."""
    other = next((column for column, found in read.items() if found is None), None)
    return f"no {role}" if other is None else f"{describe_value(row.get(other))} instead of a {role}"
