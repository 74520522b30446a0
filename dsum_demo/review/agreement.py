"""Agreement of reviewers with each other (Krippendorff's alpha, ordinal) and with themselves.

Krippendorff (2019), "Content Analysis", 4th edition, chapter 12. numpy is imported on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsum_demo.metrics.bootstrap import Bootstrap, Interval
from dsum_demo.review.preferences import midranks, of_verdict
from dsum_demo.review.records import Verdict

if TYPE_CHECKING:
    import numpy as np

RELIABLE, TENTATIVE = 0.8, 0.667  # Krippendorff's thresholds


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha of the ranks, None if it is undefined, and a sentence that reads it or states why."""

    alpha: Interval | None
    sentence: str


def ordinal_alpha(coincidences: np.ndarray) -> np.ndarray:
    """Krippendorff's alpha by (…), NaN if it is undefined. coincidences: by (…, value, value), values in their order
    (`coincidences_of`).
    """
    import numpy as np

    totals = coincidences.sum(axis=-1)
    n = totals.sum(axis=-1)
    cumulative = np.cumsum(totals, axis=-1)
    # The sum of the totals from value c to value k, with half of both ends.
    middle = cumulative - totals / 2
    distance = (middle[..., :, None] - middle[..., None, :]) ** 2
    observed = (coincidences * distance).sum(axis=(-2, -1))
    expected = (totals[..., :, None] * totals[..., None, :] * distance).sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - (n - 1) * observed / expected, np.nan)


def coincidences_of(values: Sequence[float], scale: Sequence[float]) -> np.ndarray:
    """The coincidence matrix of one unit by (value, value); zeros if it has fewer than two values."""
    import numpy as np

    counts = np.array([values.count(value) for value in scale], dtype=float)
    if len(values) < 2:
        return np.zeros((len(scale), len(scale)))
    return (np.outer(counts, counts) - np.diag(counts)) / (len(values) - 1)


def agreement(
    verdicts: Sequence[Verdict], systems: Sequence[str], dialogues: Mapping[str, int], *, seed: int, resamples: int
) -> Agreement:
    """Alpha of the reviewers' ranks of each system on each item, with an interval from resampled dialogues.

    dialogues: the number of each item's dialogue. Verdicts without a ranking do not count.
    """
    import numpy as np

    values: dict[tuple[str, str], list[float]] = {}
    for verdict in verdicts:
        for name, rank in midranks(verdict).items():
            values.setdefault((verdict.item, name), []).append(rank)
    scale = [1 + place / 2 for place in range(2 * len(systems) - 1)]
    places = sorted({dialogues[item] for item, _ in values})
    table = np.zeros((len(places), len(scale), len(scale)))
    for (item, _), ranks in values.items():
        table[places.index(dialogues[item])] += coincidences_of(ranks, scale)
    several = int((table.sum(axis=(1, 2)) > 0).sum())
    if not several:
        return Agreement(
            None, "Agreement is undefined: no dialogue has rankings of two reviewers. Ask a second reviewer."
        )
    # Dialogues with one ranking contain no information about agreement.
    table = table[table.sum(axis=(1, 2)) > 0]
    bootstrap = Bootstrap(table.reshape(several, -1), seed=seed, resamples=resamples)
    square = (-1, len(scale), len(scale))
    drawn = ordinal_alpha(bootstrap.resampled.reshape(square) * several)
    value = float(ordinal_alpha(bootstrap.means.reshape(square) * several)[0])
    if np.isnan(value):
        return Agreement(None, "Agreement is undefined: all ranks are equal, so there is nothing to agree on.")
    found = bootstrap.interval(value, drawn, several)
    return Agreement(found, _sentence(found))


def _sentence(alpha: Interval) -> str:
    n = f"{alpha.n} dialogue{'s' if alpha.n > 1 else ''} with several reviewers"
    start = f"Krippendorff’s alpha of the ranks is {alpha.text(1, 2)} on {n}: "
    if alpha.mean >= RELIABLE:
        return start + f"reviewers agree reliably (from {RELIABLE})."
    if alpha.mean >= TENTATIVE:
        return start + f"enough agreement for tentative conclusions (from {TENTATIVE})."
    if alpha.mean > 0:
        return start + f"reviewers agree too little for conclusions about single dialogues (below {TENTATIVE})."
    return start + "reviewers agree no more than by chance."


def self_consistency(
    verdicts: Sequence[Verdict], systems: Sequence[str], dialogues: Mapping[str, int], *, seed: int, resamples: int
) -> Interval | None:
    """The share of pairs of summaries that a reviewer judged the same way in both rounds; None without a repetition."""
    first = {(v.reviewer, v.item): v for v in verdicts if not v.round and not v.skipped}
    rows: dict[int, list[float]] = {}
    for verdict in verdicts:
        before = first.get((verdict.reviewer, verdict.item))
        if verdict.round and not verdict.skipped and before:
            same, pairs = rows.setdefault(dialogues[verdict.item], [0.0, 0.0])
            both = zip(of_verdict(before, systems), of_verdict(verdict, systems), strict=True)
            found = [a.outcome == b.outcome for a, b in both if not a.same_text]
            rows[dialogues[verdict.item]] = [same + sum(found), pairs + len(found)]
    return ratio(list(rows.values()), seed=seed, resamples=resamples)


def ratio(rows: Sequence[Sequence[float]], *, seed: int, resamples: int) -> Interval | None:
    """The sum of the first column / the sum of the second, with an interval from resampled rows, one per
    dialogue; None if the second sum is 0.
    """
    if not sum(row[1] for row in rows):
        return None
    return Bootstrap(rows, seed=seed, resamples=resamples).statistic(
        lambda means: means[..., 0] / means[..., 1], len(rows)
    )
