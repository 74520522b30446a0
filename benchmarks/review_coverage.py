"""How often the 95 % intervals of a review's Davidson model contain the true worths, on simulated reviews.

    python benchmarks/review_coverage.py [--reviews 1000] [--dialogues 100] [--reviewers 3]

Each simulated dialogue shifts the systems' worths, so that its reviewers are not independent. The true worths are those
of a fit to 300,000 dialogues.
"""

from __future__ import annotations

import argparse
from itertools import combinations

import numpy as np

from dsum_demo.review.ranking import davidson_model, fit_davidson

LOG_WORTHS = np.array([-0.6, 0.1, 0.5])
TIES = 0.6
DIALOGUE_SPREAD = 0.7  # standard deviation of a dialogue's shift of each log worth


def simulate(rng: np.random.Generator, dialogues: int, reviewers: int) -> np.ndarray:
    """Counts by (dialogue, pair, outcome) of reviewers who compare each pair of three systems once per dialogue."""
    logs = LOG_WORTHS + rng.normal(0, DIALOGUE_SPREAD, (dialogues, len(LOG_WORTHS)))
    counts = []
    for i, j in combinations(range(len(LOG_WORTHS)), 2):
        odds = np.exp(np.stack([logs[:, i], (logs[:, i] + logs[:, j]) / 2 + np.log(TIES), logs[:, j]], axis=1))
        counts.append(rng.multinomial(reviewers, odds / odds.sum(axis=1, keepdims=True)))
    return np.stack(counts, axis=1).astype(float)


def coverage(reviews: int, dialogues: int, reviewers: int, resamples: int = 1_000, seed: int = 0) -> float:
    """The share of intervals of the worths that contain the true ones, over all systems and reviews."""
    rng = np.random.default_rng(seed)
    true, _ = fit_davidson(simulate(rng, 300_000, reviewers).sum(axis=0), 0.0)
    hits = []
    for number in range(reviews):
        model = davidson_model(simulate(rng, dialogues, reviewers), seed=number, resamples=resamples)
        hits += [one.low <= worth <= one.high for one, worth in zip(model.worths, true, strict=True)]
    return float(np.mean(hits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=int, default=1_000)
    parser.add_argument("--dialogues", type=int, default=100)
    parser.add_argument("--reviewers", type=int, default=3)
    options = parser.parse_args()
    share = coverage(options.reviews, options.dialogues, options.reviewers)
    print(
        f"{100 * share:.1f} % of the intervals contain the true worth ({options.reviews} reviews of "
        f"{options.dialogues} dialogues by {options.reviewers} reviewers)"
    )


if __name__ == "__main__":
    main()
