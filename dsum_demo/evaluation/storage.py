"""Saved evaluations, one folder each with report.json and examples.jsonl.gz: the user's, and read-only shipped ones."""

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
from dsum_demo.evaluation.training_data import without_training_data
from dsum_demo.metrics.bootstrap import RESAMPLES, Bootstrap, Interval
from dsum_demo.metrics.scores import METRICS
from dsum_demo.utils.files import child_folders, delete_folder, safe_name

FORMAT = 1
REPORT, EXAMPLES = "report.json", "examples.jsonl.gz"
LARGEST_BYTES = 2_000_000_000  # uncompressed; a small archive can exceed the memory
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, EOFError, OSError, zlib.error)


@dataclass(frozen=True)
class SavedEvaluation:
    """The folder of one saved evaluation. name: unique. shipped: distributed with dsum and read-only.

    reason: why it cannot be opened, or ""; if set, the fields below `shipped` are empty. names, systems: the systems'
    names and titles. rouge1: mean F1 by system name.
    """

    name: str
    folder: Path
    shipped: bool
    data: str = ""
    family: str = ""
    created: str = ""
    names: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    n: int = 0
    finished: bool = True
    signature: str = ""
    rouge1: tuple[tuple[str, float], ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class SavedDifference:
    """The paired difference `second` - `first` of a system of the second and one of the first evaluation, over the n
    examples in both.
    """

    first: str
    second: str
    n: int
    f1: dict[str, Interval]


class SavedEvaluations:
    """The user's evaluations in `folder` and the shipped ones. Nothing is cached between calls."""

    def __init__(self, folder: Path, shipped: Path):
        self.folder, self.shipped = folder, shipped

    def list(self) -> list[SavedEvaluation]:
        """All evaluations, newest first and shipped ones last; invalid folders are listed with the reason."""
        own = [_look(folder, shipped=False) for folder in child_folders(self.folder)]
        taken = {saved.name for saved in own}
        shipped = [_look(folder, shipped=True) for folder in child_folders(self.shipped)]
        parts = (own, [saved for saved in shipped if saved.name not in taken])
        return [saved for part in parts for saved in sorted(part, key=lambda saved: saved.created, reverse=True)]

    def open(self, name: str) -> Evaluation:
        """Raises InputError for an unknown name, DataError for a folder that cannot be read."""
        return read_evaluation(self.find(name).folder)

    def save(
        self, evaluation: Evaluation, name: str = "", *, texts: bool = True, report: Report | None = None
    ) -> SavedEvaluation:
        """Save under `name`, by default data and date; it is made safe and unique. texts: False omits dialogues and
        references, for data that must not be distributed. report: the evaluation's report if it is already built.
        Raises InputError for an evaluation without examples, and OSError if writing fails.
        """
        if not evaluation.examples:
            raise InputError("The evaluation has no summaries yet; save it after the first one.")
        parent = self.folder
        parent.mkdir(parents=True, exist_ok=True)
        taken = {saved.name.casefold() for saved in self.list()}
        wanted = safe_name(name or f"{evaluation.data}-{evaluation.created[:10]}") or "evaluation"
        numbered = (wanted, *(f"{wanted}-{number}" for number in range(2, 100_000)))
        for free in (n for n in numbered if n.casefold() not in taken and not (parent / n).exists()):
            try:
                folder = write_evaluation(evaluation, parent / free, texts=texts, report=report)
                return _look(folder, shipped=False)
            except FileExistsError:  # another process has just used the name
                continue
        raise InputError(f"Too many saved evaluations are named {wanted!r}; choose another name.")

    def delete(self, name: str) -> None:
        """Raises InputError for an unknown name and for a shipped evaluation."""
        saved = self.find(name)
        if saved.shipped:
            raise InputError(f"{name} is shipped with dsum and cannot be deleted.")
        delete_folder(saved.folder)

    def find(self, name: str) -> SavedEvaluation:
        """Raises InputError for an unknown name."""
        found = self.list()
        for saved in found:
            if saved.name == name:
                return saved
        names = ", ".join(saved.name for saved in found) or "none"
        raise InputError(f"Unknown saved evaluation {name!r}; choose one of: {names}.")


def write_evaluation(evaluation: Evaluation, folder: Path, *, texts: bool = True, report: Report | None = None) -> Path:
    """Write a new folder atomically. Raises FileExistsError if it exists and is not empty."""
    report = report or build_report(without_training_data(evaluation))
    head = {"format": FORMAT, "evaluation": evaluation.facts(), "report": report.as_dict()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        new = Path(temporary, "new")
        new.mkdir()
        # JSON may contain lone surrogates, which UTF-8 cannot encode.
        (new / REPORT).write_text(
            json.dumps(head, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", errors="replace"
        )
        # Without file name and time, the same evaluation gives the same bytes.
        with (new / EXAMPLES).open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
            for example in evaluation.examples:
                packed.write(
                    (json.dumps(example.as_dict(texts=texts), ensure_ascii=False) + "\n").encode(errors="replace")
                )
        try:
            os.replace(new, folder)
        except OSError as error:
            if folder.exists():
                raise FileExistsError(f"{folder} already exists.") from error
            raise
    return folder


def read_evaluation(folder: Path) -> Evaluation:
    """Read a folder of `write_evaluation`. Raises DataError, naming the folder, if it is invalid."""
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
    """The evaluation with the dialogues and references of `examples` filled in, matched by the dialogue's fingerprint
    and, for rows that share a dialogue, by id.
    """
    by_dialogue: dict[str, list[Example]] = {}
    for example in examples:
        by_dialogue.setdefault(fingerprint(example.dialogue), []).append(example)

    def filled(record: ExampleRecord) -> ExampleRecord:
        same = by_dialogue.get(record.fingerprint, [])
        if record.dialogue is not None or not same:
            return record
        # A record is an example with all its references or with one of them.
        fits = [e for e in (*same, *split_references(same)) if len(e.references) == record.reference_count]
        found = next((e for e in fits if e.id == record.id), fits[0] if len(fits) == 1 else None)
        return replace(record, dialogue=same[0].dialogue, references=found.references if found else ())

    return replace(evaluation, examples=tuple(map(filled, evaluation.examples)))


def compare_saved(first: Evaluation, second: Evaluation, *, resamples: int = RESAMPLES) -> list[SavedDifference]:
    """Differences of the systems with the same name in both evaluations, or if there are none, of the systems in order.
    Paired by dialogue and id. Raises InputError if they share no example or were scored with different settings.
    """
    for what, one, other in (
        ("reference policies", first.policy, second.policy),
        ("readings", first.reading, second.reading),
    ):
        if one != other:
            raise InputError(f"The evaluations use different {what}, {one} and {other}, and cannot be compared.")
    left, right = ({_key(e): e for e in evaluation.examples} for evaluation in (first, second))
    shared = [key for key in left if key in right and left[key].reference_count == right[key].reference_count]
    if not shared:
        raise InputError("The evaluations share no dialogue; only evaluations on the same data can be compared.")
    names = [[system.name for system in evaluation.systems] for evaluation in (first, second)]
    same = [(name, name) for name in names[0] if name in names[1]]
    pairs = same or list(zip(*names, strict=False))
    found = (_difference(one, other, [(left[k], right[k]) for k in shared], resamples) for one, other in pairs)
    return [difference for difference in found if difference]


def _difference(
    one: str, other: str, pairs: Iterable[tuple[ExampleRecord, ExampleRecord]], resamples: int
) -> SavedDifference | None:
    both = [(a, b) for a, b in pairs if one in a.outputs and other in b.outputs]
    if not both:
        return None
    tables = f1_table([a for a, _ in both], [one]), f1_table([b for _, b in both], [other])
    table = [left + right for left, right in zip(*tables, strict=True)]
    resampled = Bootstrap(table, [a.group for a, _ in both], resamples=resamples)
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
            family=str(facts.get("family", "")),
            created=str(facts["created"]),
            names=tuple(str(system["name"]) for system in facts["systems"]),
            systems=tuple(str(system["title"]) for system in facts["systems"]),
            n=int(report["n"]),
            finished=bool(facts["finished"]),
            signature=str(report["signature"]["text"]) if report["signature"] else "",
            rouge1=tuple((str(s["name"]), float(s["f1"]["rouge1"]["mean"])) for s in report["systems"] if s["f1"]),
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
