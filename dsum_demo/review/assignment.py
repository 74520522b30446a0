"""Which item a reviewer is asked next, and in which order its cards are displayed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from dsum_demo.review.records import Card, ReviewItem, ReviewSettings

MIN_GAP = 3  # items between an item and its repetition, unless no other item remains

Asked = tuple[str, int]  # an item's id and the round


def displayed(item: ReviewItem, reviewer: str, round: int, seed: int) -> tuple[Card, ...]:
    """The item's cards in a seeded random order for one reviewer and round."""
    return tuple(
        sorted(item.cards, key=lambda card: _random(seed, reviewer, item.id, str(round), "\0".join(card.systems)))
    )


def next_item(
    items: Sequence[str],
    counts: Mapping[str, int],
    answered: Sequence[Asked],
    reviewer: str,
    settings: ReviewSettings,
    skipped: frozenset[str] = frozenset(),
) -> Asked | None:
    """The item and round to ask this reviewer, or None if nothing remains.

    items: all ids. counts: verdicts of other reviewers per item, including items that they are answering now. answered:
    what this reviewer has answered or skipped, in order. skipped: items that this reviewer skipped, which are not
    repeated. Items with the fewest verdicts come first, in an order that differs between reviewers. After each
    1 / repeat_share answers, an earlier item is repeated.
    """
    first = open_items(items, counts, answered, settings)
    due = repeats_due(answered, len(first), settings, skipped)
    if due:
        again = _repeatable(answered, skipped)
        gap = MIN_GAP if first else 1
        early = [item for item in again if _gap(item, answered) >= gap] or ([] if first else again)
        if early:
            return min(early, key=lambda item: _random(settings.seed, reviewer, item, "repeat")), 1
    if not first:
        return None
    return min(first, key=lambda item: (counts.get(item, 0), _random(settings.seed, reviewer, item))), 0


def remaining(
    items: Sequence[str],
    counts: Mapping[str, int],
    answered: Sequence[Asked],
    settings: ReviewSettings,
    skipped: frozenset[str] = frozenset(),
) -> int:
    """How many items `next_item` will still ask this reviewer if the others answer nothing more."""
    first = open_items(items, counts, answered, settings)
    asked = sum(1 for _, round in answered if not round) - len(skipped) + len(first)
    repeats = min(_repeats(asked, settings), asked) - sum(1 for _, round in answered if round)
    return len(first) + max(0, repeats)


def open_items(
    items: Sequence[str], counts: Mapping[str, int], answered: Sequence[Asked], settings: ReviewSettings
) -> list[str]:
    """The items that this reviewer has not answered and that need more verdicts."""
    own = {item for item, _ in answered}
    return [item for item in items if item not in own and counts.get(item, 0) < settings.verdicts_per_item]


def repeats_due(
    answered: Sequence[Asked], unasked: int, settings: ReviewSettings, skipped: frozenset[str] = frozenset()
) -> int:
    """How many repetitions should have been asked by now and were not."""
    first = sum(1 for _, round in answered if not round) - len(skipped)
    done = sum(1 for _, round in answered if round)
    return max(0, min(int(first * settings.repeat_share) if unasked else _repeats(first, settings), first) - done)


def _repeats(first: int, settings: ReviewSettings) -> int:
    """The repetitions of a reviewer with `first` items: the share, but at least one if there are two items."""
    wanted = int(first * settings.repeat_share)
    return max(1, wanted) if settings.repeat_share and first >= 2 else wanted


def _repeatable(answered: Sequence[Asked], skipped: frozenset[str]) -> list[str]:
    repeated = {item for item, round in answered if round}
    return [item for item, round in answered if not round and item not in repeated and item not in skipped]


def _gap(item: str, answered: Sequence[Asked]) -> int:
    """The number of items answered after this one."""
    return len(answered) - 1 - max(place for place, (other, _) in enumerate(answered) if other == item)


def _random(seed: int, *parts: str) -> bytes:
    """A key for a random order that is the same in every process."""
    return hashlib.sha256("\0".join((str(seed), *parts)).encode("utf-8", "surrogatepass")).digest()
