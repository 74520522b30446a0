"""Dialogues to learn from and to validate on: columns mapped, problems named by row, a seeded split, overlap told.

Tokenizers come in as a function that tells a text's length. Knows nothing of models or of training.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from dsum_demo.data.examples import USUAL_COLUMNS, Example, fingerprint
from dsum_demo.data.sources import DIALOGSUM, ENDINGS, read_source, source_names
from dsum_demo.data.tables import name_rows, read_table
from dsum_demo.errors import DataError
from dsum_demo.settings import Settings
from dsum_demo.training.config import DataConfig

_PREVIEW_ROWS = 5


@dataclass(frozen=True)
class Problem:
    """Something about one row, counted from 1. A `fatal` row cannot be learned from and is left out."""

    row: int
    text: str
    fatal: bool = False


@dataclass(frozen=True)
class Lengths:
    """Tokens of the dialogues, and how many are longer than the model reads."""

    median: int
    longest: int
    limit: int
    too_long: int

    @property
    def note(self) -> str:
        if not self.too_long:
            return f"Dialogues have {self.median} tokens at the median and {self.longest} at most; all fit."
        lose = (
            "1 dialogue is longer and loses its" if self.too_long == 1 else f"{self.too_long} are longer and lose their"
        )
        return f"Dialogues have {self.median} tokens at the median; the model reads {self.limit}: {lose} last turns."


@dataclass(frozen=True)
class Preview:
    """What a file holds, before anything is trained on it. mapping: "dialogue", "summary" and "id" to column names."""

    columns: tuple[str, ...]
    mapping: Mapping[str, str]
    rows: tuple[Mapping[str, str], ...]
    count: int
    problems: tuple[Problem, ...]
    lengths: Lengths | None = None


@dataclass(frozen=True)
class TrainingData:
    """notes: sentences about what was left out, split or shared. fingerprint: 16 hexadecimal digits of both parts."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    fingerprint: str = field(default="")


def map_columns(columns: Sequence[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Which column holds the dialogue, the summary and, where there is one, the id; `given` comes before guessing.

    Raises DataError, naming the columns there are, where a column is missing or cannot be guessed.
    """
    by_lower = {name.lower(): name for name in reversed(columns)}
    mapping: dict[str, str] = {}
    for role, usual in USUAL_COLUMNS.items():
        if given and given.get(role):
            if given[role] not in columns:
                raise DataError(f"There is no column {given[role]!r}; the columns are: {', '.join(columns)}.")
            mapping[role] = given[role]
            continue
        found = next((by_lower[name] for name in usual if name in by_lower), None)
        if found and found not in mapping.values():
            mapping[role] = found
        elif role != "id":
            raise DataError(f"Which column holds the {role}? Name it; the columns are: {', '.join(columns)}.")
    return mapping


def preview(
    file: Path,
    columns: Mapping[str, str] | None = None,
    length: Callable[[str], int] | None = None,
    limit: int = 512,
) -> Preview:
    """Look at a file of rows. length: tokens of a dialogue's prompt; without it lengths are not told.

    Raises DataError for a file that cannot be read or whose columns are unclear.
    """
    rows = read_table(file)
    names = tuple(rows[0])
    mapping = map_columns(names, columns)
    examples, problems = _examples(rows, mapping)
    lengths = None
    if length and examples:
        counts = sorted(length(example.dialogue) for example in examples)
        lengths = Lengths(counts[len(counts) // 2], counts[-1], limit, sum(count > limit for count in counts))
    shown = tuple({role: row[column] for role, column in mapping.items()} for row in rows[:_PREVIEW_ROWS])
    return Preview(names, mapping, shown, len(rows), tuple(problems), lengths)


def read_training_data(config: DataConfig, settings: Settings) -> TrainingData:
    """Both parts, read, checked and split. Raises DataError, with row numbers, where nothing usable is left."""
    notes: list[str] = []
    train, validation = _read(config.source, config.columns, settings, notes)
    if config.validation_source:
        validation, _ = _read(config.validation_source, config.columns, settings, notes)
    train = _without_duplicates(train, notes)
    if not validation:
        train, validation = split(train, config.validation_share, config.split_seed)
        notes.append(f"No validation dialogues were given: {len(validation)} of {len(train) + len(validation)} were "
                     f"split off (seed {config.split_seed}).")  # fmt: skip
    train = _without_overlap(train, validation, "validation", notes)
    if config.limit and len(train) > config.limit:
        train = random.Random(config.split_seed).sample(train, config.limit)
        notes.append(f"{config.limit} dialogues to learn from were drawn (seed {config.split_seed}).")
    if not train or not validation:
        raise DataError(f"{config.source} leaves {len(train)} dialogues to learn from and {len(validation)} to "
                        "validate on; give at least one of each.")  # fmt: skip
    return TrainingData(tuple(train), tuple(validation), tuple(notes), _fingerprint(train, validation))


def split(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """(train, validation): a dialogue's part is drawn from `seed`, and does not depend on the rows' order.

    At least one dialogue goes to each part where there are two.
    """
    drawn = sorted(examples, key=lambda example: sha256(f"{seed} {fingerprint(example.dialogue)}".encode()).digest())
    count = min(len(drawn) - 1, max(1, round(share * len(drawn)))) if len(drawn) > 1 else 0
    kept = {id(example) for example in drawn[:count]}
    return [e for e in examples if id(e) not in kept], [e for e in examples if id(e) in kept]


def overlap(train: Sequence[Example], other: Sequence[Example]) -> frozenset[str]:
    """Fingerprints of the dialogues that stand in both."""
    return frozenset(fingerprint(e.dialogue) for e in train) & {fingerprint(e.dialogue) for e in other}


def sample_csv() -> str:
    """A small file in the form that training takes, to download and fill."""
    rows = [
        ("1", "Maya: Can you lend me ten dollars?\nTom: Sure, pay me back on Friday.", "Tom lends Maya ten dollars."),
        ("2", "#Person1#: A table for two, please.\n#Person2#: By the window?\n#Person1#: Yes.",
         "#Person1# takes a table for two by the window."),
        ("3", "Anna: The train is late again.\nBen: Then take the bus, it leaves at six.\nAnna: I will.",
         "Anna takes the six o'clock bus because the train is late."),
    ]  # fmt: skip
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([("id", "dialogue", "summary"), *rows])
    return file.getvalue()


def _read(
    source: str, columns: Mapping[str, str], settings: Settings, notes: list[str]
) -> tuple[list[Example], list[Example]]:
    """(train, validation) of a source; validation is empty where the source has no such part."""
    if source == DIALOGSUM:
        return _from_source(f"{DIALOGSUM}:train", settings), _from_source(f"{DIALOGSUM}:validation", settings)
    path = Path(source).expanduser()
    if source in source_names():
        return _from_source(source, settings), []
    if path.is_dir():
        train, validation = _part(path, "train"), _part(path, "validation")
        if train is None:
            raise DataError(f"{path} holds no train{ENDINGS[0]} (nor with {', '.join(ENDINGS[1:])}); name it so.")
        return _read_file(train, columns, notes), _read_file(validation, columns, notes) if validation else []
    if path.is_file():
        return _read_file(path, columns, notes), []
    return _from_source(source, settings), []


def _from_source(source: str, settings: Settings) -> list[Example]:
    # Trained and scored by one summary a dialogue, whatever the source has.
    return [replace(example, references=example.references[:1]) for example in read_source(source, settings)]


def _part(folder: Path, name: str) -> Path | None:
    return next((folder / f"{name}{kind}" for kind in ENDINGS if (folder / f"{name}{kind}").is_file()), None)


def _read_file(file: Path, columns: Mapping[str, str], notes: list[str]) -> list[Example]:
    rows = read_table(file)
    examples, problems = _examples(rows, map_columns(tuple(rows[0]), columns))
    left_out = [problem.row for problem in problems if problem.fatal]
    if left_out:
        notes.append(f"{file.name}: {name_rows(left_out)} left out, without dialogue or summary.")
    if not examples:
        raise DataError(f"{file} has no row with both a dialogue and a summary.", left_out)
    return examples


def _examples(rows: Sequence[Mapping[str, str]], mapping: Mapping[str, str]) -> tuple[list[Example], list[Problem]]:
    """What can be used, and the problems of every row in order."""
    examples, problems, first = [], [], dict[str, int]()
    for number, row in enumerate(rows, 1):
        dialogue, summary = row[mapping["dialogue"]].strip(), row[mapping["summary"]].strip()
        empty = [role for role, text in (("dialogue", dialogue), ("summary", summary)) if not text]
        if empty:
            problems.append(Problem(number, f"no {' and no '.join(empty)}", fatal=True))
            continue
        mark = fingerprint(dialogue)
        if mark in first:
            problems.append(Problem(number, f"the same dialogue as row {first[mark]}"))
        elif len(summary) >= len(dialogue):
            problems.append(Problem(number, "a summary that is as long as its dialogue"))
        first.setdefault(mark, number)
        name = row[mapping["id"]].strip() if "id" in mapping else ""
        examples.append(Example(name or str(number), dialogue, (summary,), ()))
    return examples, problems


def _without_duplicates(examples: list[Example], notes: list[str]) -> list[Example]:
    # The same dialogue with another summary is more to learn from; the same pair twice is not.
    kept = list({(fingerprint(e.dialogue), e.references): e for e in reversed(examples)}.values())[::-1]
    if len(kept) < len(examples):
        notes.append(f"{len(examples) - len(kept)} repeated dialogues were left out.")
    return kept


def _without_overlap(train: list[Example], other: Sequence[Example], name: str, notes: list[str]) -> list[Example]:
    shared = overlap(train, other)
    if not shared:
        return train
    kept = [example for example in train if fingerprint(example.dialogue) not in shared]
    notes.append(f"{len(train) - len(kept)} dialogues stand in the {name} part too and are not learned from.")
    return kept


def _fingerprint(train: Sequence[Example], validation: Sequence[Example]) -> str:
    digest = sha256()
    for part in (train, validation):
        for example in part:
            digest.update("\0".join((example.dialogue, *example.references)).encode() + b"\1")
        digest.update(b"\2")
    return digest.hexdigest()[:16]
