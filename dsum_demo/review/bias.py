"""Signs of biased or careless judging: the first card wins too often, longer texts win, verdicts without reading.

numpy is imported on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.metrics.words import words
from dsum_demo.review.agreement import ratio
from dsum_demo.review.preferences import Preference
from dsum_demo.review.records import ReviewItem, Verdict

# Adults read 175 to 300 words of prose per minute silently (Brysbaert 2019, doi:10.1016/j.jml.2019.104047).
FASTEST_READING = 400.0  # words per minute
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class PositionTest:
    """How often the first card won alone. n: verdicts with a single best card. expected: by chance. p: two-sided."""

    first: int
    n: int
    expected: float
    p: float
    sentence: str


def position_test(verdicts: Sequence[Verdict]) -> PositionTest | None:
    """None without a verdict that has a single best card. Displayed orders are random for each reviewer and item, so
    the test is exact even if the summaries differ in quality.
    """
    cards = []
    first = 0
    for verdict in verdicts:
        best = [place for place, names in enumerate(verdict.order) if verdict.ranks.get(names[0]) == 1]
        if len(best) == 1:
            cards.append(len(verdict.order))
            first += best[0] == 0
    if not cards:
        return None
    expected = sum(1 / count for count in cards)
    chances = _sum_of_trials([1 / count for count in cards])
    p = min(1.0, sum(chance for chance in chances if chance <= chances[first] * (1 + 1e-9)))
    n = len(cards)
    found = (
        f"The first card is the best in {first} of {n} verdict{'' if n == 1 else 's'}; {expected:.1f} are expected by "
        f"chance (p = {p:.2g})"
    )
    if p >= SIGNIFICANT:
        return PositionTest(first, n, expected, p, f"{found}: no sign of position bias.")
    often = "more often than" if first > expected else "less often than"
    return PositionTest(first, n, expected, p, f"{found}: the first card wins {often} the summaries explain.")


def longer_wins(
    found: Sequence[Preference],
    items: Mapping[str, ReviewItem],
    dialogues: Mapping[str, int],
    *,
    seed: int,
    resamples: int,
) -> Interval | None:
    """The share of pairs with a preference in which the text with more words is preferred; None without such pairs."""
    rows: dict[int, list[float]] = {}
    for one in found:
        lengths = [len(words(items[one.verdict.item].texts[name].text)) for name in one.pair]
        if one.outcome and lengths[0] != lengths[1]:
            row = rows.setdefault(dialogues[one.verdict.item], [0.0, 0.0])
            row[0] += (lengths[0] > lengths[1]) == (one.outcome > 0)
            row[1] += 1
    return ratio(list(rows.values()), seed=seed, resamples=resamples)


def hasty(verdicts: Sequence[Verdict], items: Mapping[str, ReviewItem]) -> list[Verdict]:
    """Verdicts that took less time than reading the dialogue and the cards at FASTEST_READING."""
    return [
        verdict
        for verdict in verdicts
        if not verdict.round and not verdict.skipped and verdict.seconds < reading_seconds(items[verdict.item])
    ]


def reading_seconds(item: ReviewItem) -> float:
    """The time to read an item's dialogue and cards at FASTEST_READING."""
    return 60 / FASTEST_READING * sum(len(words(text)) for text in (item.dialogue, *(c.text for c in item.cards)))


def _sum_of_trials(chances: Sequence[float]) -> list[float]:
    """The distribution of the number of successes of independent trials."""
    import numpy as np

    found = np.ones(1)
    for chance in chances:
        found = np.convolve(found, (1 - chance, chance))
    return [float(one) for one in found]
