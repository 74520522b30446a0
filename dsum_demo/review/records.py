"""The data of a review: its systems, items and settings, the cards that a reviewer sees, and verdicts."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dsum_demo.data.examples import fingerprint
from dsum_demo.errors import InputError
from dsum_demo.evaluation.records import SystemInfo
from dsum_demo.utils.ownership import digest

MIN_SYSTEMS, MAX_SYSTEMS = 2, 4
LABELS = "ABCD"  # of the cards, in displayed order
REVEALS = ("end", "item")
LONGEST_NAME = 80
LONGEST_COMMENT = 2_000

# The kinds of marked errors. A missing point is marked in the dialogue, the others in a summary.
MISSING = "missing"
SPAN_KINDS = ("wrong speaker", "invented", "wrong number", MISSING, "unclear")


@dataclass(frozen=True)
class ReviewSettings:
    """How items are assigned.

    verdicts_per_item: how many reviewers are asked for each item. repeat_share: the share of a reviewer's items that
    are asked a second time to measure self-consistency, 0 to 0.5. reveal: when a reviewer sees the systems' names,
    after all items ("end") or after each ("item"); a repeated item must not have been revealed, so "item" needs a
    repeat_share of 0. seed: of the displayed orders and of the order of items. owner_reviews: whether the creator
    judges too, and therefore sees no results before finishing. share_results: whether the other reviewers see them
    after finishing. Raises InputError for other values.
    """

    verdicts_per_item: int = 3
    repeat_share: float = 0.1
    reveal: str = "end"
    seed: int = 0
    owner_reviews: bool = True
    share_results: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.verdicts_per_item <= 1_000:
            raise InputError(f"verdicts_per_item is {self.verdicts_per_item!r}; give a number from 1 to 1000.")
        if not 0 <= self.repeat_share <= 0.5:
            raise InputError(f"repeat_share is {self.repeat_share!r}; give a share from 0 to 0.5.")
        if self.reveal not in REVEALS:
            raise InputError(f"reveal is {self.reveal!r}; choose one of: {', '.join(REVEALS)}.")
        if self.reveal == "item" and self.repeat_share:
            raise InputError(
                "Items cannot be repeated if the names are revealed after each item; set repeat_share to 0 or reveal "
                'to "end".'
            )


@dataclass(frozen=True)
class ReviewText:
    """One system's summary of an item. tokens, seconds: the cost of generating it, None if unknown."""

    text: str
    tokens: int | None = None
    seconds: float | None = None

    @property
    def digest(self) -> str:
        return digest(self.text)


@dataclass(frozen=True)
class Card:
    """One displayed summary. systems: those that wrote it; identical texts share one card."""

    text: str
    systems: tuple[str, ...]


@dataclass(frozen=True)
class ReviewItem:
    """One dialogue with its references and each system's text, by system name. id: unique in the review."""

    id: str
    dialogue: str
    references: tuple[str, ...]
    texts: Mapping[str, ReviewText]

    @property
    def group(self) -> str:
        """Equal for items with the same dialogue, which are not independent and are resampled together."""
        return fingerprint(self.dialogue)

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards in the systems' order; texts that differ only in white space are identical."""
        shared: dict[str, list[str]] = {}
        for name, output in self.texts.items():
            shared.setdefault(" ".join(output.text.split()), []).append(name)
        return tuple(Card(self.texts[names[0]].text, tuple(names)) for names in shared.values())


@dataclass(frozen=True)
class ReviewDraft:
    """The contents of a review that is not stored yet; `sources` makes it.

    source: what the texts come from, as shown. identical: the number of dialogues that were left out because all
    systems wrote the same text. without_dialogue: those left out because their dialogue is not available. simulated:
    the verdicts are not people's. Raises InputError for an invalid number of systems, no items, items without the
    text of each system, or repeated ids.
    """

    name: str
    source: str
    systems: tuple[SystemInfo, ...]
    items: tuple[ReviewItem, ...]
    decode: Mapping[str, Any] | None = None
    settings: ReviewSettings = field(default_factory=ReviewSettings)
    identical: int = 0
    without_dialogue: int = 0
    simulated: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        names = [system.name for system in self.systems]
        if not MIN_SYSTEMS <= len(names) <= MAX_SYSTEMS or len(set(names)) < len(names):
            raise InputError(
                f"The systems are {', '.join(names) or 'none'}; a review needs {MIN_SYSTEMS} to {MAX_SYSTEMS} "
                "different ones."
            )
        if not self.items:
            raise InputError("The review has no items; at least one dialogue needs texts that differ.")
        ids = [item.id for item in self.items]
        if len(set(ids)) < len(ids):
            raise InputError(f"The id {next(i for i in ids if ids.count(i) > 1)!r} is repeated; ids must be unique.")
        for item in self.items:
            if list(item.texts) != names:
                raise InputError(
                    f"Item {item.id!r} has texts of {', '.join(item.texts) or 'no system'}; it needs one of each of: "
                    f"{', '.join(names)}."
                )
            if not item.dialogue.strip():
                raise InputError(f"Item {item.id!r} has no dialogue; reviewers need it to judge the summaries.")


@dataclass(frozen=True)
class Review:
    """A stored review without its items. id: public, in exports. token: the secret of its link. owner: the hash of the
    creator's secret (`utils.ownership.digest`), or "". created: ISO 8601 in UTC. version: of dsum.
    """

    id: str
    token: str
    name: str
    source: str
    systems: tuple[SystemInfo, ...]
    decode: Mapping[str, Any] | None
    settings: ReviewSettings
    identical: int
    without_dialogue: int
    simulated: bool
    owner: str
    created: str
    version: str
    items: int

    def system(self, name: str) -> SystemInfo:
        return next(system for system in self.systems if system.name == name)


@dataclass(frozen=True)
class ErrorSpan:
    """A marked error. start, end: characters of the system's text, for MISSING of the dialogue.

    system: one of the systems on the card; for MISSING "" if every summary lacks the point.
    """

    kind: str
    start: int
    end: int
    system: str = ""

    @property
    def in_dialogue(self) -> bool:
        return self.kind == MISSING


@dataclass(frozen=True)
class Verdict:
    """One revision of one reviewer's verdict on an item.

    id: random, equal in exports and after an import. round: 0, or 1 for a repeated item. revision: from 0; the last
    one counts. order: the systems of each card as displayed. ranks: by system, 1 is best, equal ranks are ties; empty
    if all are bad or the item was skipped. skipped: the reason, or "". seconds: time on the item. created: ISO 8601 in
    UTC. version: of dsum.
    """

    id: str
    item: str
    reviewer: str
    round: int
    revision: int
    order: tuple[tuple[str, ...], ...]
    ranks: Mapping[str, int]
    all_bad: bool
    skipped: str
    spans: tuple[ErrorSpan, ...]
    comment: str
    seconds: float
    created: str
    version: str

    def same_answer(self, other: Verdict) -> bool:
        """Whether the answers are equal, regardless of time."""
        return all(
            getattr(self, name) == getattr(other, name) for name in ("ranks", "all_bad", "skipped", "spans", "comment")
        )

    def as_dict(self) -> dict[str, Any]:
        """An object for JSON."""
        return {
            **asdict(self),
            "order": [list(systems) for systems in self.order],
            "ranks": dict(self.ranks),
            "spans": [asdict(span) for span in self.spans],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Verdict:
        """Read the result of `as_dict`. Raises KeyError, TypeError or ValueError for other data."""
        return cls(
            id=str(raw["id"]),
            item=str(raw["item"]),
            reviewer=str(raw["reviewer"]),
            round=int(raw["round"]),
            revision=int(raw["revision"]),
            order=tuple(tuple(map(str, systems)) for systems in raw["order"]),
            ranks={str(name): int(rank) for name, rank in raw["ranks"].items()},
            all_bad=bool(raw["all_bad"]),
            skipped=str(raw["skipped"]),
            spans=tuple(
                ErrorSpan(str(s["kind"]), int(s["start"]), int(s["end"]), str(s["system"])) for s in raw["spans"]
            ),
            comment=str(raw["comment"]),
            seconds=float(raw["seconds"]),
            created=str(raw["created"]),
            version=str(raw["version"]),
        )


@dataclass(frozen=True)
class ReviewTask:
    """An item as one reviewer sees it. cards: in displayed order. verdict: the last revision, None if unanswered.
    revealed: whether this reviewer has seen the names; the verdict can then not be revised.
    """

    review: str
    reviewer: str
    item: ReviewItem
    round: int
    cards: tuple[Card, ...]
    verdict: Verdict | None
    revealed: bool


@dataclass(frozen=True)
class ReviewProgress:
    """One reviewer's progress. answered: items with a verdict or skipped, repeated ones included. remaining: items
    still to be asked; it can change as others answer. revealed: number of items whose names this reviewer has seen.
    """

    answered: int
    remaining: int
    revealed: int

    @property
    def total(self) -> int:
        return self.answered + self.remaining

    @property
    def finished(self) -> bool:
        return self.answered > 0 and self.remaining == 0


def check_name(name: str, what: str = "The name") -> str:
    """The name of a review or a reviewer without surrounding white space. Raises InputError if it is empty, longer than
    LONGEST_NAME or contains control characters.
    """
    cleaned = name.strip() if isinstance(name, str) else ""
    if not cleaned or len(cleaned) > LONGEST_NAME or any(unicodedata.category(c) in ("Cc", "Cs") for c in cleaned):
        raise InputError(f"{what} is {name!r}; give 1 to {LONGEST_NAME} characters in one line.")
    return cleaned


def check_spans(spans: Sequence[ErrorSpan], item: ReviewItem) -> tuple[ErrorSpan, ...]:
    """The spans, sorted and without repetitions. Raises InputError for an unknown kind or system, or for a position
    outside the text.
    """
    for span in spans:
        if span.kind not in SPAN_KINDS:
            raise InputError(f"The kind of error is {span.kind!r}; choose one of: {', '.join(SPAN_KINDS)}.")
        if span.system not in item.texts and not (span.in_dialogue and not span.system):
            raise InputError(f"The error is marked for system {span.system!r}; choose one of: {', '.join(item.texts)}.")
        text = item.dialogue if span.in_dialogue else item.texts[span.system].text
        if not 0 <= span.start < span.end <= len(text):
            raise InputError(
                f"The marked error has characters {span.start} to {span.end}; mark at least one of {len(text)}."
            )
    return tuple(sorted(set(spans), key=lambda span: (span.system, span.start, span.end, span.kind)))
