"""Is a difference decided? The exact sign test, and how many more dialogues it needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

SIGNIFICANCE, POWER = 0.05, 0.8
MOST_VOTES = 20_000


@dataclass(frozen=True)
class Decision:
    """won, lost, tied: numbers of dialogues. p: of the two-sided exact sign test without ties. needed: the number of
    dialogues with a preference that decides the seen rate with 80 % power, None if the rate is 50:50 or too close to
    it. more: additional dialogues, ties at the seen rate included; 0 if it is decided.
    """

    won: int
    lost: int
    tied: int
    p: float
    decided: bool
    needed: int | None
    more: int | None


def decide(won: int, lost: int, tied: int) -> Decision:
    """The decision between two systems; one vote per dialogue, because several verdicts on one are not independent."""
    votes = won + lost
    p = sign_test(won, lost)
    decided = p < SIGNIFICANCE
    needed = votes_needed(max(won, lost) / votes) if votes else None
    more = None
    if decided:
        more = 0
    elif needed is not None:
        more = max(1, math.ceil((needed - votes) * (votes + tied) / votes))
    return Decision(won, lost, tied, p, decided, needed, more)


def sign_test(won: int, lost: int) -> float:
    """The two-sided p-value of the exact sign test."""
    n, fewer = won + lost, min(won, lost)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(fewer + 1)) / 2**n)


@lru_cache(maxsize=256)
def votes_needed(rate: float) -> int | None:
    """The smallest number of votes with which the exact sign test has POWER for a true rate: 199 for 60:40, 49 for
    70:30. None for a rate so close to 0.5 that it exceeds MOST_VOTES.
    """
    rate = max(rate, 1 - rate)
    if rate >= 1:
        return next(n for n in range(1, 100) if sign_test(n, 0) < SIGNIFICANCE)
    # The normal approximation, minus a margin, as the first number to try.
    z = 1.959964 / 2 + 0.841621 * math.sqrt(rate * (1 - rate))
    about = (z / (rate - 0.5)) ** 2 if rate > 0.5 else math.inf
    if about > MOST_VOTES:
        return None
    for n in range(max(1, int(0.8 * about) - 5), int(1.5 * about) + 60):
        if power(n, rate) >= POWER:
            return n
    return None


def power(n: int, rate: float) -> float:
    """The probability that the test decides for the better side with n votes at a true rate."""
    wins = n
    tail = 0.0
    half = SIGNIFICANCE / 2
    while wins >= 0:
        tail += math.exp(_log_binomial(n, wins) - n * math.log(2))
        if tail >= half:
            break
        wins -= 1
    return sum(
        math.exp(_log_binomial(n, i) + i * math.log(rate) + (n - i) * math.log(1 - rate))
        for i in range(wins + 1, n + 1)
    )


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
