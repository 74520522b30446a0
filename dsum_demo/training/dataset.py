"""Reads training and validation data: column mapping, problems by row, a seeded split, duplicate and overlap checks."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from dsum_demo.data.columns import Columns, describe_guess, map_columns
from dsum_demo.data.examples import Example, fingerprint, rows_by_reason, unique_ids, usable_examples
from dsum_demo.data.sources import DIALOGSUM, Sources, source_names
from dsum_demo.data.tables import PACKED_ENDINGS, Row, find_table, name_rows, read_rows
from dsum_demo.data.values import read_label_value
from dsum_demo.errors import DataError
from dsum_demo.training.config import DataConfig
from dsum_demo.utils.formatting import csv_line

_PREVIEW_ROWS = 5


@dataclass(frozen=True)
class Problem:
    """A problem in one row, counted from 1. `fatal` rows are skipped."""

    row: int
    text: str
    fatal: bool = False


@dataclass(frozen=True)
class Lengths:
    """Token counts of the dialogues' prompts; `too_long` of them exceed `limit` and are truncated."""

    median: int
    longest: int
    limit: int
    too_long: int

    @property
    def note(self) -> str:
        if not self.too_long:
            return f"Dialogues have {self.median} tokens at the median and {self.longest} at most; all fit."
        longer = (
            "1 dialogue is longer and loses its" if self.too_long == 1 else f"{self.too_long} are longer and lose their"
        )
        return f"Dialogues have {self.median} tokens at the median; the model reads {self.limit}: {longer} last turns."


@dataclass(frozen=True)
class Preview:
    """A preview of a data file. mapping: from "dialogue", "summary" and "id" to columns. notes: on its encoding."""

    columns: tuple[str, ...]
    mapping: Mapping[str, str]
    rows: tuple[Mapping[str, str], ...]
    count: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    lengths: Lengths | None = None


@dataclass(frozen=True)
class TrainingData:
    """Both parts of the data. notes: messages about skipped, split and shared dialogues. fingerprint: 16 hex digits."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    fingerprint: str = field(default="")


def preview(
    file: Path,
    columns: Mapping[str, str] | None = None,
    length: Callable[[str], int] | None = None,
    limit: int = 512,
) -> Preview:
    """Preview a data file. length: returns the prompt length in tokens of a dialogue; None skips the length statistics.

    Raises DataError for a file that cannot be read or whose columns are not detected.
    """
    notes: list[str] = []
    rows = read_rows(file, notes=notes)
    names = tuple(next(iter(rows.values())))
    mapping = map_columns(names, str(file), columns)
    examples, problems = _examples(rows, mapping)
    lengths = None
    if length and examples:
        counts = sorted(length(example.dialogue) for example in examples.values())
        lengths = Lengths(counts[len(counts) // 2], counts[-1], limit, sum(count > limit for count in counts))
    used = {role: mapping[role][0] for role in ("dialogue", "summary", "id") if mapping[role]}
    shown = []
    for number, row in list(rows.items())[:_PREVIEW_ROWS]:
        texts = {role: read_label_value(row[column]) for role, column in used.items()}
        if example := examples.get(number):
            texts |= {"dialogue": example.dialogue, "summary": example.references[0]}
        shown.append(texts)
    return Preview(names, used, tuple(shown), len(rows), tuple(problems), tuple(notes), lengths)


def read_training_data(config: DataConfig, sources: Sources) -> TrainingData:
    """Read, check and split the data. Raises DataError, with row numbers, if a part would be empty."""
    notes: list[str] = []
    train, validation = _read(config.source, config.columns, sources, notes)
    if config.validation_source:
        validation, _ = _read(config.validation_source, config.columns, sources, notes)
    train = _without_duplicates(train, notes)
    if not validation:
        train, validation = split(train, config.validation_share, config.split_seed)
        notes.append(f"The data has no validation part: {len(validation)} of {len(train) + len(validation)} dialogues "
                     f"were split off (seed {config.split_seed}).")  # fmt: skip
    train = _without_overlap(train, validation, "validation", notes)
    if config.limit and len(train) > config.limit:
        train = random.Random(config.split_seed).sample(train, config.limit)
        notes.append(f"{config.limit} training dialogues were sampled (seed {config.split_seed}).")
    if not train or not validation:
        raise DataError(
            f"{config.source} has {len(train)} dialogues for training and {len(validation)} for validation; at least "
            f"one of each is needed. {' '.join(notes)}"
        )
    return TrainingData(tuple(train), tuple(validation), tuple(notes), _fingerprint(train, validation))


def split(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Return (train, validation). A dialogue's part depends on `seed` and its text, not on the order of rows.

    With two or more dialogues, each part gets at least one.
    """
    drawn = sorted(examples, key=lambda example: sha256(f"{seed} {fingerprint(example.dialogue)}".encode()).digest())
    count = min(len(drawn) - 1, max(1, round(share * len(drawn)))) if len(drawn) > 1 else 0
    kept = {id(example) for example in drawn[:count]}
    return [e for e in examples if id(e) not in kept], [e for e in examples if id(e) in kept]


def overlap(train: Sequence[Example], other: Sequence[Example]) -> frozenset[str]:
    """Return the fingerprints of the dialogues that are in both."""
    return frozenset(fingerprint(e.dialogue) for e in train) & {fingerprint(e.dialogue) for e in other}


def sample_csv() -> str:
    """Return a small example file in the format that training reads, as a template for users."""
    rows = [
        ("1", "Maya: Can you lend me ten dollars?\nTom: Sure, pay me back on Friday.", "Tom lends Maya ten dollars."),
        ("2", "#Person1#: A table for two, please.\n#Person2#: By the window?\n#Person1#: Yes.",
         "#Person1# takes a table for two by the window."),
        ("3", "Anna: The train is late again.\nBen: Then take the bus, it leaves at six.\nAnna: I will.",
         "Anna takes the six o'clock bus because the train is late."),
    ]  # fmt: skip
    return "".join(map(csv_line, [("id", "dialogue", "summary"), *rows]))


def _read(
    source: str, columns: Mapping[str, str], sources: Sources, notes: list[str]
) -> tuple[list[Example], list[Example]]:
    """Return (train, validation) of a source; validation is empty if the source has no such part."""
    if source == DIALOGSUM:
        return _from_source(f"{DIALOGSUM}:train", sources), _from_source(f"{DIALOGSUM}:validation", sources)
    path = Path(source).expanduser()
    if source in source_names():
        return _from_source(source, sources), []
    if path.is_dir():
        train, validation = find_table(path, "train"), find_table(path, "validation")
        if train is None:
            first, *others = PACKED_ENDINGS
            raise DataError(f"{path} has no train{first} or train file ending in {', '.join(others)}; add one.")
        return _read_file(train, columns, notes), _read_file(validation, columns, notes) if validation else []
    if path.is_file():
        return _read_file(path, columns, notes), []
    return _from_source(source, sources), []


def _from_source(source: str, sources: Sources) -> list[Example]:
    # Training and validation use one summary per dialogue even if the source has several.
    return [replace(example, references=example.references[:1]) for example in sources.read(source)]


def _read_file(file: Path, columns: Mapping[str, str], notes: list[str]) -> list[Example]:
    rows = read_rows(file, notes=notes)
    names = next(iter(rows.values()))
    examples, reasons = usable_examples(rows, map_columns(names, str(file), columns))
    told = [guess] if (guess := describe_guess(names, columns)) else []
    left_out = [f"{name_rows(numbers)} ({reason})" for reason, numbers in rows_by_reason(reasons).items()]
    if not examples:
        raise DataError(f"{file} has no row with both a dialogue and a summary: {', '.join(left_out)}.", list(reasons))
    if left_out:
        notes.append(f"{file.name}: skipped {', '.join(left_out)}.")
    ids = unique_ids(examples, told)
    notes += [f"{file.name}: {note}" for note in told]
    return [replace(example, id=ids[n], references=example.references[:1]) for n, example in examples.items()]


def _examples(rows: Mapping[int, Row], columns: Columns) -> tuple[dict[int, Example], list[Problem]]:
    """Return the usable rows as examples by number, and the problems of all rows in order."""
    examples, reasons = usable_examples(rows, columns)
    problems = [Problem(number, reason, fatal=True) for number, reason in reasons.items()]
    first = dict[str, int]()
    ids = unique_ids(examples)
    for number, example in examples.items():
        if example.id and ids[number] != example.id:
            problems.append(Problem(number, f"an id that another row has too; “{ids[number]}” is used"))
        mark = fingerprint(example.dialogue)
        if mark in first:
            problems.append(Problem(number, f"the same dialogue as row {first[mark]}"))
        elif len(example.references[0]) >= len(example.dialogue):
            problems.append(Problem(number, "a summary at least as long as its dialogue"))
        first.setdefault(mark, number)
    return examples, sorted(problems, key=lambda problem: problem.row)


def _without_duplicates(examples: list[Example], notes: list[str]) -> list[Example]:
    # A dialogue with a second summary is additional training data; a repeated pair is not.
    kept = list({(fingerprint(e.dialogue), e.references): e for e in reversed(examples)}.values())[::-1]
    if len(kept) < len(examples):
        count = len(examples) - len(kept)
        notes.append(f"{count:,} repeated dialogue{' was' if count == 1 else 's were'} removed.")
    return kept


def _without_overlap(train: list[Example], other: Sequence[Example], name: str, notes: list[str]) -> list[Example]:
    shared = overlap(train, other)
    if not shared:
        return train
    kept = [example for example in train if fingerprint(example.dialogue) not in shared]
    count = len(train) - len(kept)
    are = "dialogue is also in the {} part and was" if count == 1 else "dialogues are also in the {} part and were"
    notes.append(f"{count:,} {are.format(name)} removed from training.")
    return kept


def _fingerprint(train: Sequence[Example], validation: Sequence[Example]) -> str:
    digest = sha256()
    for part in (train, validation):
        for example in part:
            digest.update("\0".join((example.dialogue, *example.references)).encode() + b"\1")
        digest.update(b"\2")
    return digest.hexdigest()[:16]
