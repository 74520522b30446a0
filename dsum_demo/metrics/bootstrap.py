"""Bootstrap confidence intervals of means, paired differences and ratios from one set of seeded resamples.

numpy is imported on first use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from dsum_demo.errors import InputError

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95
MIN_EXAMPLES = 10  # below this no interval is computed
CHUNK_CELLS = 4_000_000  # resampled counts in memory at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """A mean over `n` dialogues and its 95 % confidence interval; low and high are None if n is below MIN_EXAMPLES."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def text(self, factor: float = 100, digits: int = 1, *, sign: str = "", unit: str = "") -> str:
        """ "40.8 [39.1, 42.4]": times `factor`, the unit after the mean; only the mean if there is no interval."""

        def shown(value: float) -> str:
            return f"{factor * value:{sign}.{digits}f}"

        if self.low is None or self.high is None:
            return shown(self.mean) + unit
        return f"{shown(self.mean)}{unit} [{shown(self.low)}, {shown(self.high)}]"


class Bootstrap:
    """Resampled means of the columns of `values`. All columns share the same resamples, so statistics that combine
    columns are paired.

    values: (examples, quantities); NaN for a missing value. groups: one key per example; examples with the same key
    (rows that share a dialogue) are drawn together, because they are not independent. Intervals are percentile
    intervals (Efron 1979), widened for small samples to the coverage of Student's t (the expanded percentile interval
    of Hesterberg 2015, doi:10.1080/00031305.2015.1089789, section 4.4). Raises InputError without rows.
    """

    def __init__(
        self,
        values: Sequence[Sequence[float]] | np.ndarray,
        groups: Sequence[Hashable] | None = None,
        *,
        seed: int = 0,
        resamples: int = RESAMPLES,
        confidence: float = CONFIDENCE,
    ):
        import numpy as np

        table = np.asarray(values, dtype=float)
        if table.ndim != 2 or not len(table):
            raise InputError("There are no values to resample; give at least one row.")
        present = ~np.isnan(table)
        sums, counts = np.where(present, table, 0.0), present.astype(float)
        if groups is not None:
            sums, counts = _by_group(sums, groups), _by_group(counts, groups)
        self.confidence = confidence
        self.n = [int(count) for count in (counts > 0).sum(axis=0)]
        with np.errstate(invalid="ignore", divide="ignore"):
            self.means = sums.sum(axis=0) / counts.sum(axis=0)
            self.resampled = _resampled_means(sums, counts, seed, resamples)

    def mean(self, column: int) -> Interval:
        return self.statistic(lambda means: means[..., column], self.n[column])

    def difference(self, column: int, minus: int) -> Interval:
        """The difference of two columns' means; paired if both have values in the same rows."""
        return self.statistic(lambda means: means[..., column] - means[..., minus], min(self.n[column], self.n[minus]))

    def ratio_of_gains(self, column: int, other: int, baseline: int) -> Interval:
        """(column - baseline) / (other - baseline): the gain of a system as a fraction of the gain of another."""
        return self.statistic(
            lambda means: (means[..., column] - means[..., baseline]) / (means[..., other] - means[..., baseline]),
            min(self.n[column], self.n[other], self.n[baseline]),
        )

    def statistic(self, of: Callable[[Any], Any], n: int) -> Interval:
        """The interval of any function of the columns' means; `of` gets an array whose last axis is the columns."""
        import numpy as np

        with np.errstate(invalid="ignore", divide="ignore"):
            return self.interval(float(of(self.means)), of(self.resampled), n)

    def interval(self, estimate: float, drawn: np.ndarray, n: int) -> Interval:
        """The interval of an estimate from its values in the resamples; NaN and infinity are left out."""
        import numpy as np

        drawn = drawn[np.isfinite(drawn)]
        if n < MIN_EXAMPLES or not len(drawn):
            return Interval(estimate, None, None, n)
        tail = _tail(n, self.confidence)
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Interval(estimate, float(low), float(high), n)


def _by_group(table: np.ndarray, groups: Sequence[Hashable]) -> np.ndarray:
    import numpy as np

    place: dict[Hashable, int] = {}
    rows = [place.setdefault(group, len(place)) for group in groups]
    summed = np.zeros((len(place), table.shape[1]))
    np.add.at(summed, rows, table)
    return summed


def _resampled_means(sums: np.ndarray, counts: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    """Means by (resample, column), as products of the matrix of how often each row is drawn."""
    import numpy as np

    rng, n = np.random.default_rng(seed), len(sums)
    # Most columns have a value in every row and share their counts.
    different, place = np.unique(counts, axis=1, return_inverse=True)
    means = np.empty((resamples, sums.shape[1]))
    step = max(1, CHUNK_CELLS // n)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(0, n, size=(size, n), dtype=np.int32)
        drawn += np.arange(size, dtype=np.int32)[:, None] * n
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(float)
        means[start : start + size] = (times @ sums) / (times @ different)[:, place]
    return means


def _tail(n: int, confidence: float) -> float:
    """The tail probability that makes a percentile interval of a mean over n values as wide as Student's t."""
    return NormalDist().cdf(-math.sqrt(n / (n - 1)) * _student_t((1 + confidence) / 2, n - 1))


def _student_t(probability: float, freedom: int) -> float:
    """Quantile of Student's t by its expansion around the normal (Abramowitz & Stegun 26.7.5), accurate to four
    digits for 9 or more degrees of freedom."""
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
