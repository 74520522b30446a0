"""Exports of a review, and their import: verdicts as CSV, everything as JSON Lines, pairs for preference training."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dsum_demo.errors import DataError, InputError
from dsum_demo.evaluation.records import SystemInfo
from dsum_demo.models.prompts import PROMPT_TEMPLATE
from dsum_demo.review.preferences import by_dialogue, counted, majority, preferences
from dsum_demo.review.records import Review, ReviewDraft, ReviewItem, ReviewSettings, ReviewText, Verdict
from dsum_demo.review.storage import ReviewStore
from dsum_demo.utils.formatting import csv_line, unescape_formula

FORMAT = 1
COLUMNS = (
    "review", "id", "item", "reviewer", "round", "revision", "order", "ranks", "all_bad", "skipped", "spans", "comment",
    "seconds", "created", "version",
)  # fmt: skip
JSON_COLUMNS = ("order", "ranks", "spans")


@dataclass(frozen=True)
class Imported:
    """The result of an import. created: whether the review was new. new: verdicts that were not stored before."""

    review: Review
    created: bool
    new: int


def verdicts_csv(review: Review, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """CSV lines: a header, then one row per revision. Texts that a spreadsheet would run as a formula get a leading
    apostrophe, which the import removes.
    """
    yield csv_line(COLUMNS)
    for verdict in verdicts:
        raw = verdict.as_dict() | {"review": review.id, "all_bad": int(verdict.all_bad)}
        yield csv_line(_dump(raw[name]) if name in JSON_COLUMNS else raw[name] for name in COLUMNS)


def review_jsonl(review: Review, items: Sequence[ReviewItem], verdicts: Sequence[Verdict]) -> Iterator[str]:
    """JSON lines: the review, its items with all texts and their hashes, and every revision. The link's token and the
    owner are not included.
    """
    head = {name: value for name, value in asdict(review).items() if name not in ("token", "owner", "items")}
    yield _dump({"type": "review", "format": FORMAT, **head}) + "\n"
    for item in items:
        texts = {name: {**asdict(text), "sha256": text.digest} for name, text in item.texts.items()}
        raw = {"id": item.id, "dialogue": item.dialogue, "references": list(item.references), "texts": texts}
        yield _dump({"type": "item", **raw}) + "\n"
    for verdict in verdicts:
        yield _dump({"type": "verdict", **verdict.as_dict()}) + "\n"


def preference_jsonl(review: Review, items: Sequence[ReviewItem], verdicts: Sequence[Verdict]) -> Iterator[str]:
    """JSON lines of pairs for preference training, in the standard format with an explicit prompt that TRL's DPOTrainer
    reads: `prompt`, `chosen` and `rejected`. One line per dialogue and pair of systems with a majority; ties and
    verdicts without a ranking are left out.
    """
    names = [system.name for system in review.systems]
    dialogues, _ = by_dialogue(items)
    first = {dialogues[item.id]: item for item in reversed(items)}
    written: set[tuple[str, str, str]] = set()
    for pair, outcomes in majority(preferences(counted(verdicts), names), dialogues).items():
        for dialogue, outcome in sorted(outcomes.items()):
            item = first[dialogue]
            better, worse = (item.texts[name].text for name in (pair if outcome > 0 else pair[::-1]))
            row = (item.id, better, worse)
            if outcome and row not in written:
                written.add(row)
                prompt = PROMPT_TEMPLATE.replace("{dialogue}", item.dialogue)
                yield _dump({"prompt": prompt, "chosen": better, "rejected": worse}) + "\n"


def import_review(store: ReviewStore, file: Path, owner: str = "") -> Imported:
    """Add an exported file to the store. JSON Lines create the review if it is not stored, and CSV needs it. Verdicts
    that are already stored are not added again; see `ReviewStore.merge`.

    Raises DataError for an invalid file, naming the line, and InputError for a CSV file of an unknown review and for
    verdicts that do not fit the review.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:  # without translating line ends in comments
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from None
    if text.lstrip().startswith("{"):
        return _import_jsonl(store, file, text, owner)
    return _import_csv(store, file, text)


def _import_jsonl(store: ReviewStore, file: Path, text: str, owner: str) -> Imported:
    head: dict[str, Any] | None = None
    items: list[ReviewItem] = []
    verdicts: list[Verdict] = []
    for number, line in enumerate(text.split("\n"), 1):  # texts may contain other line separators
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            kind = raw.pop("type")
            if kind == "review":
                head = raw
            elif kind == "item":
                items.append(_item(raw))
            else:
                verdicts.append(Verdict.from_dict(raw))
        except _INVALID as error:
            raise DataError(f"{file}, line {number} is not a line of an exported review: {_short(error)}.") from None
    if head is None or head.get("format") != FORMAT:
        raise DataError(f"{file} is not an exported review of format {FORMAT}; export it with `dsum review export`.")
    try:
        review_id, draft = str(head["id"]), _draft(head, tuple(items))
    except _INVALID as error:
        raise DataError(f"{file}, line 1 is not an exported review: {_short(error)}.") from None
    known = {review.id for review in store.list()}
    if review_id in known:
        stored = {item.id: item for item in store.items(review_id)}
        if any(stored.get(item.id) != item for item in items):
            raise InputError(f"{file} has other texts than the stored review {review_id}; they cannot be merged.")
    else:
        store.insert(draft, review_id, owner, str(head["created"]), str(head["version"]))
    return _merged(store, file, review_id, verdicts, created=review_id not in known)


def _import_csv(store: ReviewStore, file: Path, text: str) -> Imported:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
        raise DataError(f"{file} has no column {', '.join(missing)}; export it with `dsum review export`.")
    verdicts = []
    reviews = set()
    for number, row in enumerate(rows, 1):
        try:
            raw: dict[str, Any] = {name: unescape_formula(row[name]) for name in COLUMNS}
            reviews.add(raw["review"])
            raw |= {name: json.loads(raw[name]) for name in JSON_COLUMNS}
            verdicts.append(Verdict.from_dict(raw | {"all_bad": {"0": False, "1": True}[raw["all_bad"]]}))
        except _INVALID as error:
            raise DataError(f"{file}, row {number} is not a verdict: {_short(error)}.", [number]) from None
    if len(reviews) != 1:
        raise DataError(f"{file} has verdicts of {len(reviews)} reviews; give a file with those of one.")
    return _merged(store, file, reviews.pop(), verdicts, created=False)


_INVALID = (KeyError, TypeError, ValueError, AttributeError)


def _merged(store: ReviewStore, file: Path, review_id: str, verdicts: Sequence[Verdict], *, created: bool) -> Imported:
    review = store.get(review_id)
    try:
        return Imported(review, created, store.merge(review_id, verdicts))
    except InputError as error:
        if created:
            store.delete(review_id)
        raise DataError(f"{file} cannot be merged: {error}") from None


def _draft(head: dict[str, Any], items: tuple[ReviewItem, ...]) -> ReviewDraft:
    return ReviewDraft(
        name=str(head["name"]),
        source=str(head["source"]),
        systems=tuple(SystemInfo(**system) for system in head["systems"]),
        items=items,
        decode=head["decode"],
        settings=ReviewSettings(**head["settings"]),
        identical=int(head["identical"]),
        without_dialogue=int(head["without_dialogue"]),
        simulated=bool(head["simulated"]),
    )


def _item(raw: dict[str, Any]) -> ReviewItem:
    texts = {
        str(name): ReviewText(str(text["text"]), text["tokens"], text["seconds"]) for name, text in raw["texts"].items()
    }
    for name, text in texts.items():
        if text.digest != raw["texts"][name]["sha256"]:
            raise ValueError(f"the text of {name} on item {raw['id']} does not have its recorded hash")
    return ReviewItem(str(raw["id"]), str(raw["dialogue"]), tuple(map(str, raw["references"])), texts)


def _short(error: BaseException) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
