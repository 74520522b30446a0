"""Which verdicts count, and the preferences between pairs of systems that they contain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from dsum_demo.review.records import ReviewItem, Verdict

Pair = tuple[str, str]


@dataclass(frozen=True)
class Preference:
    """One reviewer's comparison of two systems on one item. outcome: 1 if the first system is preferred, -1 if the
    second, 0 for a tie. same_text: both wrote the same text, so that the tie is not a judgement.
    """

    verdict: Verdict
    pair: Pair
    outcome: int
    same_text: bool


def counted(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts that the results are computed from: of the first round, without skipped items."""
    return [verdict for verdict in verdicts if not verdict.round and not verdict.skipped]


def preferences(verdicts: Iterable[Verdict], systems: Sequence[str]) -> list[Preference]:
    """Every pair of systems in every ranking, in the systems' order; verdicts without a ranking have none."""
    return [found for verdict in verdicts if verdict.ranks for found in of_verdict(verdict, systems)]


def of_verdict(verdict: Verdict, systems: Sequence[str]) -> Iterator[Preference]:
    """The preferences of one verdict; "all bad" is a tie of all."""
    card = {name: place for place, names in enumerate(verdict.order) for name in names}
    for first, second in combinations(systems, 2):
        one, other = (verdict.ranks.get(name, 1) for name in (first, second))
        outcome = (one < other) - (one > other)
        yield Preference(verdict, (first, second), outcome, card[first] == card[second])


def midranks(verdict: Verdict) -> dict[str, float]:
    """Ranks in which tied systems share the mean of their places: 1, 1, 2 becomes 1.5, 1.5, 3."""
    ranks = verdict.ranks
    return {
        name: 0.5 + sum(other < rank for other in ranks.values()) + sum(other == rank for other in ranks.values()) / 2
        for name, rank in ranks.items()
    }


def by_dialogue(items: Sequence[ReviewItem]) -> tuple[dict[str, int], int]:
    """The number of each item's dialogue, from 0, and how many dialogues there are."""
    numbers: dict[str, int] = {}
    return {item.id: numbers.setdefault(item.group, len(numbers)) for item in items}, len(numbers)


def majority(found: Iterable[Preference], dialogues: Mapping[str, int]) -> dict[Pair, dict[int, int]]:
    """By pair and dialogue the outcome that most reviewers chose: 1, -1, or 0 if neither has more."""
    votes: dict[Pair, dict[int, int]] = {}
    for one in found:
        of_pair = votes.setdefault(one.pair, {})
        dialogue = dialogues[one.verdict.item]
        of_pair[dialogue] = of_pair.get(dialogue, 0) + one.outcome
    return {pair: {d: (n > 0) - (n < 0) for d, n in of_pair.items()} for pair, of_pair in votes.items()}
