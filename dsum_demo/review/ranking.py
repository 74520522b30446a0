"""The Davidson model: Bradley-Terry with ties, and with the length of the texts as a covariate.

Davidson (1970), "On extending the Bradley-Terry model to accommodate ties in paired comparison experiments", Journal of
the American Statistical Association 65, 317-328. numpy is imported on first use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from dsum_demo.metrics.bootstrap import Bootstrap, Interval

if TYPE_CHECKING:
    import numpy as np

# Added to each outcome of each pair, so that the estimates of a system that always wins are finite.
PSEUDO_COUNT = 0.5
STEPS = 50
TOLERANCE = 1e-10
_RIDGE = 1e-9  # a covariate without variation has coefficient 0


@dataclass(frozen=True)
class DavidsonModel:
    """The fitted model. worths: by system. ties: nu. p_best: by system the share of resamples in which its worth is the
    largest.
    """

    worths: tuple[Interval, ...]
    ties: Interval
    p_best: tuple[float, ...]


def davidson_model(counts: np.ndarray, *, seed: int = 0, resamples: int = 2_000) -> DavidsonModel:
    """The model with intervals from resampled dialogues. counts: by (dialogue, pair, 3), as in `fit_davidson`."""
    import numpy as np

    n, pairs, outcomes = counts.shape
    bootstrap = Bootstrap(counts.reshape(n, -1), seed=seed, resamples=resamples)
    worths, ties = fit_davidson(n * bootstrap.means.reshape(pairs, outcomes))
    drawn_worths, drawn_ties = fit_davidson(n * bootstrap.resampled.reshape(-1, pairs, outcomes))
    k = worths.shape[-1]
    return DavidsonModel(
        tuple(bootstrap.interval(float(worths[i]), drawn_worths[:, i], n) for i in range(k)),
        bootstrap.interval(float(ties), drawn_ties, n),
        tuple(float(share) for share in np.bincount(drawn_worths.argmax(axis=1), minlength=k) / resamples),
    )


def fit_davidson(counts: np.ndarray, pseudo_count: float = PSEUDO_COUNT) -> tuple[np.ndarray, np.ndarray]:
    """Worths by (…, system), which sum to 1, and the tie parameter nu by (…).

    System i is preferred to j with probability worth_i / (worth_i + worth_j + nu sqrt(worth_i worth_j)), and they tie
    with nu sqrt(worth_i worth_j) in the numerator. counts: wins of the first, ties and wins of the second system by
    (…, pair, 3), pairs in the order of itertools.combinations; leading axes are resamples. Maximum likelihood by
    Newton's method, over the counts with `pseudo_count` added to each.
    """
    k = _systems(counts.shape[-2])
    estimate = _fit(counts + pseudo_count, _design(k))
    return _worths(estimate, k)


def fit_davidson_with_length(
    counts: np.ndarray, pairs: Sequence[int], lengths: np.ndarray, systems: int
) -> tuple[np.ndarray, np.ndarray]:
    """Worths by (…, system) for texts of equal length, and the coefficient of the length by (…).

    counts: by (…, row, 3), as in `fit_davidson`. pairs: the number of each row's pair. lengths: by row, the logarithm
    of the first system's words minus that of the second. A coefficient of 1 means that a text twice as long has twice
    the odds.
    """
    import numpy as np

    base = _design(systems)
    rows = np.concatenate([np.asarray(pairs, dtype=int), np.arange(len(base))])
    lengths = np.concatenate([np.asarray(lengths, dtype=float), np.zeros(len(base))])
    added = np.broadcast_to(np.full((len(base), 3), PSEUDO_COUNT), (*counts.shape[:-2], len(base), 3))
    covariate = lengths[:, None, None] * np.array([0.5, 0.0, -0.5])[None, :, None]
    design = np.concatenate([base[rows], covariate], axis=-1)
    estimate = _fit(np.concatenate([counts, added], axis=-2), design)
    worths, _ = _worths(estimate[..., :-1], systems)
    return worths, estimate[..., -1]


def _systems(pairs: int) -> int:
    """The number of systems that have this many pairs."""
    return next(k for k in range(2, 100) if k * (k - 1) // 2 == pairs)


def _design(k: int) -> np.ndarray:
    """By (pair, outcome, parameter): how the log odds of an outcome depend on the log worths, which sum to 0, and on
    log nu.
    """
    import numpy as np

    centered = np.vstack([np.eye(k - 1), -np.ones(k - 1)])
    rows = [
        [np.append(centered[i], 0), np.append((centered[i] + centered[j]) / 2, 1), np.append(centered[j], 0)]
        for i, j in combinations(range(k), 2)
    ]
    return np.array(rows)


def _fit(counts: np.ndarray, design: np.ndarray) -> np.ndarray:
    """The parameters by (…, parameter) of a multinomial logit model; its likelihood is concave."""
    import numpy as np

    rows, outcomes, size = design.shape
    flat = design.reshape(rows * outcomes, size)
    products = (flat[:, :, None] * flat[:, None, :]).reshape(rows * outcomes, size * size)
    shape = counts.shape[:-2]
    # Resamples start at the estimate of their mean.
    estimate = np.zeros(size) if not shape else _fit(counts.mean(axis=tuple(range(len(shape)))), design)
    estimate = np.broadcast_to(estimate, (*shape, size))
    totals = counts.sum(axis=-1)
    observed = counts.reshape(*shape, -1) @ flat
    for _ in range(STEPS):
        odds = (estimate @ flat.T).reshape(*shape, rows, outcomes)
        shares = np.exp(odds - odds.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        expected = totals[..., None] * shares
        weights = expected.reshape(*shape, -1)
        gradient = observed - weights @ flat - _RIDGE * estimate
        # The covariance of the design: the mean of its products minus the products of its means.
        means = np.einsum("...ro,rop->...rp", shares, design)
        scaled = np.sqrt(totals)[..., None] * means
        curvature = (weights @ products).reshape(*shape, size, size) - np.swapaxes(scaled, -1, -2) @ scaled
        step = np.linalg.solve(curvature + _RIDGE * np.eye(size), gradient[..., None])[..., 0]
        estimate = estimate + np.clip(step, -2.0, 2.0)  # a full step can overshoot where the likelihood is flat
        if np.abs(step).max() < TOLERANCE:
            break
    return estimate


def _worths(estimate: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    logs = np.concatenate([estimate[..., : k - 1], -estimate[..., : k - 1].sum(axis=-1, keepdims=True)], axis=-1)
    worths = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return worths / worths.sum(axis=-1, keepdims=True), np.exp(estimate[..., k - 1])
