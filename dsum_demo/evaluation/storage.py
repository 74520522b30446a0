"""Saved evaluations: a folder each with report.json and examples.jsonl.gz, those of this project read-only beside the
user's own. Knows files and records; nothing of models or pages.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsum_demo.data.examples import Example, fingerprint
from dsum_demo.errors import DataError, DsumError, InputError
from dsum_demo.evaluation.records import Evaluation, ExampleRecord, by_metric, f1_table
from dsum_demo.evaluation.report import Report, build_report
from dsum_demo.evaluation.scoring import split_references
from dsum_demo.metrics.bootstrap import RESAMPLES, Bootstrap, Interval
from dsum_demo.metrics.scores import METRICS
from dsum_demo.settings import Settings
from dsum_demo.utils.files import child_folders, delete_folder, safe_name

FORMAT = 1
REPORT, EXAMPLES = "report.json", "examples.jsonl.gz"
LARGEST_BYTES = 2_000_000_000  # unpacked; a small archive can unpack to more than there is memory
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, EOFError, OSError, zlib.error)


@dataclass(frozen=True)
class SavedEvaluation:
    """One folder. name: unique. shipped: comes with the project and cannot be deleted.

    reason: why it cannot be opened, a sentence; then the rest is empty. rouge1: mean F1 by the system's name.
    """

    name: str
    folder: Path
    shipped: bool
    data: str = ""
    created: str = ""
    systems: tuple[str, ...] = ()
    n: int = 0
    finished: bool = True
    signature: str = ""
    rouge1: tuple[tuple[str, float], ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class SavedDifference:
    """`second`, a system of the second evaluation, minus `first`, one of the first, paired over the n examples that
    both hold.
    """

    first: str
    second: str
    n: int
    f1: dict[str, Interval]


class SavedEvaluations:
    """The shipped evaluations and those in the data folder. Every read looks at the disk again."""

    def __init__(self, settings: Settings):
        self.settings = settings

    def list(self) -> list[SavedEvaluation]:
        """Newest first, shipped ones last; a broken folder is listed with its reason."""
        own = [_look(folder, shipped=False) for folder in child_folders(self.settings.evaluations_dir)]
        taken = {saved.name for saved in own}
        shipped = [_look(folder, shipped=True) for folder in child_folders(self.settings.shipped_evaluations_dir)]
        return [
            *sorted(own, key=lambda saved: saved.created, reverse=True),
            *(saved for saved in shipped if saved.name not in taken),
        ]

    def open(self, name: str) -> Evaluation:
        """Raises InputError for an unknown name, DataError for a folder that cannot be read."""
        return read_evaluation(self.find(name).folder)

    def save(
        self, evaluation: Evaluation, name: str = "", *, texts: bool = True, report: Report | None = None
    ) -> SavedEvaluation:
        """Save under `name` (made of data and date where it is empty; made safe and unique). texts False leaves out
        dialogues and references, for data whose texts are not ours to ship. report: the evaluation's, where it was
        built already. Raises InputError for an evaluation without examples, OSError where the disk cannot be written.
        """
        if not evaluation.examples:
            raise InputError("There is nothing to save yet: no summary has been written.")
        parent = self.settings.evaluations_dir
        parent.mkdir(parents=True, exist_ok=True)
        taken = {saved.name.casefold() for saved in self.list()}
        wanted = safe_name(name or f"{evaluation.data}-{evaluation.created[:10]}") or "evaluation"
        numbered = (wanted, *(f"{wanted}-{number}" for number in range(2, 100_000)))
        for free in (n for n in numbered if n.casefold() not in taken and not (parent / n).exists()):
            try:
                folder = write_evaluation(evaluation, parent / free, texts=texts, report=report)
                return _look(folder, shipped=False)
            except FileExistsError:  # another process has just taken the name
                continue
        raise InputError(f"There are too many saved evaluations called {wanted!r}; give another name.")

    def delete(self, name: str) -> None:
        """Raises InputError for an unknown name and for a shipped evaluation."""
        saved = self.find(name)
        if saved.shipped:
            raise InputError(f"{name} comes with the project and cannot be deleted.")
        delete_folder(saved.folder)

    def find(self, name: str) -> SavedEvaluation:
        """Raises InputError for an unknown name."""
        found = self.list()
        for saved in found:
            if saved.name == name:
                return saved
        names = ", ".join(saved.name for saved in found) or "none"
        raise InputError(f"There is no saved evaluation {name!r}; there are: {names}.")


def write_evaluation(evaluation: Evaluation, folder: Path, *, texts: bool = True, report: Report | None = None) -> Path:
    """Write a new folder, whole or not at all. Raises FileExistsError where there is one with something in it."""
    report = report or build_report(evaluation)
    head = {"format": FORMAT, "evaluation": evaluation.facts(), "report": report.as_dict()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
        half = Path(place, "new")
        half.mkdir()
        # A lone half of a character, which JSON may hold, cannot be written as UTF-8.
        (half / REPORT).write_text(
            json.dumps(head, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", errors="replace"
        )
        # No name and no time inside: the same evaluation gives the same bytes.
        with (half / EXAMPLES).open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
            for example in evaluation.examples:
                packed.write(
                    (json.dumps(example.as_dict(texts=texts), ensure_ascii=False) + "\n").encode(errors="replace")
                )
        try:
            os.replace(half, folder)
        except OSError as error:
            if folder.exists():
                raise FileExistsError(f"{folder} is there already.") from error
            raise
    return folder


def read_evaluation(folder: Path) -> Evaluation:
    """What `write_evaluation` wrote. Raises DataError, naming the folder and what is wrong."""
    head = _head(folder)
    examples: list[ExampleRecord] = []
    try:
        with gzip.open(folder / EXAMPLES, "rb") as stream:
            for line in stream:
                examples.append(ExampleRecord.from_dict(json.loads(line)))
                if stream.tell() > LARGEST_BYTES:
                    raise ValueError("it is too large")
        return Evaluation.from_facts(head["evaluation"], tuple(examples))
    except UNREADABLE as error:
        where = f", line {len(examples) + 1}" if not isinstance(error, OSError) else ""
        raise DataError(f"{folder.name}/{EXAMPLES}{where} cannot be read: {_short(error)}") from None


def fill_texts(evaluation: Evaluation, examples: Sequence[Example]) -> Evaluation:
    """The evaluation with dialogues and references of `examples` where the dialogue's fingerprint is the same; of rows
    that share one, the reference of the example with the same id.
    """
    by_dialogue: dict[str, list[Example]] = {}
    for example in examples:
        by_dialogue.setdefault(fingerprint(example.dialogue), []).append(example)

    def filled(record: ExampleRecord) -> ExampleRecord:
        same = by_dialogue.get(record.fingerprint, [])
        if record.dialogue is not None or not same:
            return record
        # A record is an example as it is, or one of its references.
        fits = [e for e in (*same, *split_references(same)) if len(e.references) == record.reference_count]
        found = next((e for e in fits if e.id == record.id), fits[0] if len(fits) == 1 else None)
        return replace(record, dialogue=same[0].dialogue, references=found.references if found else ())

    return replace(evaluation, examples=tuple(map(filled, evaluation.examples)))


def compare_saved(
    first: Evaluation, second: Evaluation, *, seed: int = 0, resamples: int = RESAMPLES
) -> list[SavedDifference]:
    """Every system that has the same name in both; where none has, every pair of systems in their order. Paired by
    dialogue and id. Raises InputError where they share no example or were scored by different rules.
    """
    for what, one, other in (
        ("reference policies", first.policy, second.policy),
        ("readings", first.reading, second.reading),
    ):
        if one != other:
            raise InputError(f"The two were scored by different {what}, {one} and {other}; scores cannot be compared.")
    left, right = ({_key(e): e for e in evaluation.examples} for evaluation in (first, second))
    shared = [key for key in left if key in right and left[key].reference_count == right[key].reference_count]
    if not shared:
        raise InputError("The two evaluations share no dialogue; only evaluations on the same data can be compared.")
    names = [[system.name for system in evaluation.systems] for evaluation in (first, second)]
    same = [(name, name) for name in names[0] if name in names[1]]
    pairs = same or list(zip(*names, strict=False))
    found = (_difference(one, other, [(left[k], right[k]) for k in shared], seed, resamples) for one, other in pairs)
    return [difference for difference in found if difference]


def _difference(
    one: str, other: str, pairs: Iterable[tuple[ExampleRecord, ExampleRecord]], seed: int, resamples: int
) -> SavedDifference | None:
    both = [(a, b) for a, b in pairs if one in a.outputs and other in b.outputs]
    if not both:
        return None
    tables = f1_table([a for a, _ in both], [one]), f1_table([b for _, b in both], [other])
    table = [left + right for left, right in zip(*tables, strict=True)]
    resampled = Bootstrap(table, [a.group for a, _ in both], seed=seed, resamples=resamples)
    width = len(METRICS)
    return SavedDifference(
        one, other, len(both), by_metric(range(width), lambda column: resampled.difference(width + column, column))
    )


def _key(example: ExampleRecord) -> tuple[str, str]:
    return example.fingerprint or example.group, example.id


def _head(folder: Path) -> dict[str, Any]:
    try:
        head = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        if head["format"] != FORMAT:
            raise ValueError(f"its format is {head['format']!r}, and this version reads {FORMAT}")
        Evaluation.from_facts(head["evaluation"], ())
    except (*UNREADABLE, RecursionError) as error:
        raise DataError(f"{folder.name}/{REPORT} cannot be read: {_short(error)}") from None
    return dict(head)


def _look(folder: Path, *, shipped: bool) -> SavedEvaluation:
    try:
        head = _head(folder)
        if not (folder / EXAMPLES).is_file():
            raise DataError(f"{folder.name} has no {EXAMPLES}.")
        facts, report = head["evaluation"], head["report"]
        return SavedEvaluation(
            name=folder.name,
            folder=folder,
            shipped=shipped,
            data=str(facts["data"]),
            created=str(facts["created"]),
            systems=tuple(str(system["title"]) for system in facts["systems"]),
            n=int(report["n"]),
            finished=bool(facts["finished"]),
            signature=str(report["signature"]["text"]) if report["signature"] else "",
            rouge1=tuple((str(s["name"]), float(s["f1"]["rouge1"]["mean"])) for s in report["systems"]),
        )
    except DsumError as error:
        return SavedEvaluation(folder.name, folder, shipped, reason=str(error))
    except UNREADABLE as error:
        return SavedEvaluation(
            folder.name, folder, shipped, reason=f"{folder.name}/{REPORT} cannot be read: {_short(error)}"
        )


def _short(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"it has no entry {error}."
    text = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
    return f"{text[:200]}."
