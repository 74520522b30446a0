"""A small review of three made-up systems, and a store with it."""

from __future__ import annotations

import pytest

from dsum_demo.evaluation.records import SystemInfo
from dsum_demo.review.records import Review, ReviewDraft, ReviewItem, ReviewSettings, ReviewText, Verdict
from dsum_demo.review.storage import ReviewStore

SYSTEMS = (
    SystemInfo("original", "Original", "base", 100, 0, "a" * 16),
    SystemInfo("full", "Full fine-tune", "full", 100, 100, "b" * 16),
    SystemInfo("lora", "LoRA", "adapter", 101, 1, "c" * 16),
)


def item(number: int, **texts: str) -> ReviewItem:
    """An item whose dialogue is its own; texts by system override the made-up ones."""
    wrote = {
        "original": f"Anna: Are you free on day {number}?",
        "full": f"Anna asks Ben whether he is free on day {number}.",
        "lora": f"Ben is free on day {number} and meets Anna.",
    } | texts
    return ReviewItem(
        f"item{number}",
        f"Anna: Are you free on day {number}?\nBen: Yes, after {number + 3} o'clock.",
        (f"Anna and Ben meet on day {number}.",),
        {name: ReviewText(text, 10 + number, 0.5) for name, text in wrote.items()},
    )


def make_draft(items: int = 6, **settings: object) -> ReviewDraft:
    return ReviewDraft(
        "Weekdays", "made up", SYSTEMS, tuple(map(item, range(items))), {"num_beams": 1},
        ReviewSettings(**{"repeat_share": 0.0, **settings}),
    )  # fmt: skip


def answer(store: ReviewStore, review: Review, reviewer: str, most: int = 1_000) -> int:
    """Rank the longest text first until nothing remains or `most` items are answered; the number of answers."""
    for done in range(most):
        task = store.next_task(review.id, reviewer)
        if task is None:
            return done
        longest = sorted({len(card.text) for card in task.cards}, reverse=True)
        ranks = [longest.index(len(card.text)) + 1 for card in task.cards]
        store.save_verdict(review.id, reviewer, task.item.id, task.round, ranks=ranks, seconds=30)
    return most


@pytest.fixture
def store(tmp_path):
    return ReviewStore(tmp_path / "data" / "reviews.sqlite")


@pytest.fixture
def review(store):
    return store.create(make_draft())


def verdict(item_id: str, reviewer: str, ranks: list[int], **changes: object) -> Verdict:
    """A verdict on the three systems, displayed in their order."""
    names = [system.name for system in SYSTEMS]
    given = {
        "id": f"{item_id}-{reviewer}-{changes.get('round', 0)}", "item": item_id, "reviewer": reviewer, "round": 0,
        "revision": 0, "order": tuple((name,) for name in names),
        "ranks": dict(zip(names, ranks, strict=True)) if ranks else {}, "all_bad": False, "skipped": "", "spans": (),
        "comment": "", "seconds": 60.0, "created": "2026-01-01T00:00:00.000000+00:00", "version": "0",
    }  # fmt: skip
    return Verdict(**given | changes)
