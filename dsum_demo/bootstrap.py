"""Bootstrap intervals of means, of paired differences and of ratios, all from one set of seeded resamples.

Knows arrays of numbers; nothing of texts or systems. numpy is imported with the first resample.
"""

from __future__ import annotations

from dataclasses import dataclass

RESAMPLES = 10_000
CONFIDENCE = 0.95
MIN_EXAMPLES = 10  # with fewer there is no interval


@dataclass(frozen=True)
class Interval:
    """A mean over `n` dialogues and its 95 % interval; low and high are None where n is below MIN_EXAMPLES."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)
