"""The results of a review: every number with its interval and the verdicts that it is computed from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING, Any

from dsum_demo.metrics.bootstrap import Bootstrap, Interval
from dsum_demo.metrics.words import words
from dsum_demo.review.agreement import Agreement, agreement, ratio, self_consistency
from dsum_demo.review.bias import PositionTest, hasty, longer_wins, position_test
from dsum_demo.review.decision import POWER, Decision, decide
from dsum_demo.review.marked_errors import ErrorRate, error_rates
from dsum_demo.review.metric_agreement import MetricAgreement, metric_agreement
from dsum_demo.review.preferences import Pair, Preference, by_dialogue, counted, majority, midranks, preferences
from dsum_demo.review.ranking import davidson_model, fit_davidson_with_length
from dsum_demo.review.records import Review, ReviewItem, Verdict
from dsum_demo.utils.formatting import quantity

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2_000
HOW_WORTH = (
    "Davidson model: system i beats j with probability worth_i / (worth_i + worth_j + nu √(worth_i worth_j)); "
    "worths sum to 1."
)
HOW_DECIDED = (
    "Exact two-sided sign test at 5 % with one vote per dialogue, the majority of its reviewers, ties left out; each "
    "pair is tested on its own. The number needed has 80 % power if the seen rate is the true one."
)
HOW_INTERVALS = "95 % intervals from resampled dialogues; all verdicts on a dialogue are resampled together."


@dataclass(frozen=True)
class PairResult:
    """Two systems compared. won, tied, lost: verdicts for the first system. preferred: the share of verdicts with a
    preference that prefer the first. verdicts: their ids by "won", "tied" and "lost".
    """

    first: str
    second: str
    won: int
    tied: int
    lost: int
    preferred: Interval | None
    decision: Decision
    sentence: str
    verdicts: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class RankedSystem:
    """One system's place. worth: of the Davidson model. adjusted_worth: for texts of equal length. p_best: the share of
    resamples in which its worth is the largest. first: the share of rankings that it wins, ties shared. mean_rank: from
    1, ties share their places. mean_words: of its texts.
    """

    name: str
    title: str
    worth: Interval
    adjusted_worth: Interval
    p_best: float
    first: Interval
    mean_rank: Interval
    mean_words: float


@dataclass(frozen=True)
class Reviewer:
    """One reviewer's work. hasty: ids of the verdicts that took less time than reading."""

    name: str
    verdicts: int
    skipped: int
    median_seconds: float | None
    hasty: tuple[str, ...]


@dataclass(frozen=True)
class ReviewReport:
    """The results. verdicts: that count, in `dialogues` dialogues. all_bad: the share of verdicts without a ranking
    because all summaries are bad; `all_bad_verdicts` are their ids. ties: nu of the Davidson model. length_effect: its
    coefficient of the texts' length. Results that need rankings are empty or None without one.
    """

    name: str
    source: str
    simulated: bool
    verdicts: int
    dialogues: int
    items: int
    reviewers: tuple[Reviewer, ...]
    skipped: tuple[Verdict, ...]
    all_bad: Interval | None
    all_bad_verdicts: tuple[str, ...]
    systems: tuple[RankedSystem, ...]
    ties: Interval | None
    pairs: tuple[PairResult, ...]
    agreement: Agreement
    self_consistency: Interval | None
    position: PositionTest | None
    longer_wins: Interval | None
    length_effect: Interval | None
    errors: tuple[ErrorRate, ...]
    metrics: tuple[MetricAgreement, ...]
    notes: tuple[str, ...]
    seed: int
    resamples: int

    def as_dict(self) -> dict[str, Any]:
        """An object for JSON, with how the numbers are computed."""
        return plain(self) | {"how": {"intervals": HOW_INTERVALS, "worth": HOW_WORTH, "decided": HOW_DECIDED}}


def build_review_report(
    review: Review,
    items: Sequence[ReviewItem],
    verdicts: Sequence[Verdict],
    *,
    without_hasty: bool = False,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> ReviewReport:
    """The report of `ReviewStore.verdicts`, their last revisions. without_hasty: leave out verdicts that took less time
    than reading.
    """
    names = [system.name for system in review.systems]
    by_id = {item.id: item for item in items}
    dialogues, _ = by_dialogue(items)
    fast = hasty(verdicts, by_id)
    left_out = {verdict.id for verdict in fast} if without_hasty else set()
    kept = [verdict for verdict in counted(verdicts) if verdict.id not in left_out]
    ranked = [verdict for verdict in kept if verdict.ranks]
    found = preferences(ranked, names)
    common: dict[str, Any] = {"seed": seed, "resamples": resamples}
    systems, ties, effect = (
        _ranking(review, by_id, ranked, found, dialogues, seed, resamples) if found else ((), None, None)
    )
    position = position_test(ranked)
    return ReviewReport(
        name=review.name,
        source=review.source,
        simulated=review.simulated,
        verdicts=len(kept),
        dialogues=len({dialogues[verdict.item] for verdict in kept}),
        items=len(items),
        reviewers=_reviewers(verdicts, fast),
        skipped=tuple(verdict for verdict in verdicts if verdict.skipped),
        all_bad=_share_all_bad(kept, dialogues, seed, resamples),
        all_bad_verdicts=tuple(verdict.id for verdict in kept if verdict.all_bad),
        systems=systems,
        ties=ties,
        pairs=_pairs(review, found, dialogues, seed, resamples),
        agreement=agreement(ranked, names, dialogues, **common),
        self_consistency=self_consistency(verdicts, names, dialogues, **common),
        position=position,
        longer_wins=longer_wins(found, by_id, dialogues, **common),
        length_effect=effect,
        errors=tuple(error_rates(kept, by_id, names, dialogues, **common)),
        metrics=tuple(metric_agreement(found, by_id, dialogues, **common)),
        notes=_notes(review, fast, without_hasty),
        seed=seed,
        resamples=resamples,
    )


def plain(value: Any) -> Any:
    """Dataclasses, mappings and sequences as values for JSON; a number that is not finite becomes None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _ranking(
    review: Review,
    items: Mapping[str, ReviewItem],
    ranked: Sequence[Verdict],
    found: Sequence[Preference],
    dialogues: Mapping[str, int],
    seed: int,
    resamples: int,
) -> tuple[tuple[RankedSystem, ...], Interval, Interval]:
    import numpy as np

    names = [system.name for system in review.systems]
    pairs = list(combinations(names, 2))
    places = {place: row for row, place in enumerate(sorted({dialogues[verdict.item] for verdict in ranked}))}
    n, k = len(places), len(names)
    counts = np.zeros((n, len(pairs), 3))
    firsts, ranks, total = np.zeros((n, k)), np.zeros((n, k)), np.zeros((n, 1))
    for one in found:
        counts[places[dialogues[one.verdict.item]], pairs.index(one.pair), 1 - one.outcome] += 1
    for verdict in ranked:
        row = places[dialogues[verdict.item]]
        best = [name for name in names if verdict.ranks[name] == 1]
        firsts[row] += [(name in best) / len(best) for name in names]
        ranks[row] += [midranks(verdict)[name] for name in names]
        total[row] += 1
    model = davidson_model(counts, seed=seed, resamples=resamples)
    bootstrap = Bootstrap(np.hstack([firsts, ranks, total]), seed=seed, resamples=resamples)
    adjusted, effect = _adjusted(items, found, dialogues, places, pairs, k, seed, resamples)

    def mean(column: int) -> Interval:
        return bootstrap.statistic(lambda means: means[..., column] / means[..., -1], n)

    systems = tuple(
        RankedSystem(
            name=system.name,
            title=system.title,
            worth=model.worths[i],
            adjusted_worth=adjusted[i],
            p_best=model.p_best[i],
            first=mean(i),
            mean_rank=mean(k + i),
            mean_words=float(np.mean([len(words(items[v.item].texts[system.name].text)) for v in ranked])),
        )
        for i, system in enumerate(review.systems)
    )
    return systems, model.ties, effect


def _adjusted(
    items: Mapping[str, ReviewItem],
    found: Sequence[Preference],
    dialogues: Mapping[str, int],
    places: Mapping[int, int],
    pairs: Sequence[Pair],
    systems: int,
    seed: int,
    resamples: int,
) -> tuple[list[Interval], Interval]:
    """The worths for texts of equal length, and the coefficient of the length."""
    import numpy as np

    rows: dict[tuple[str, Pair], list[float]] = {}
    for one in found:
        rows.setdefault((one.verdict.item, one.pair), [0.0, 0.0, 0.0])[1 - one.outcome] += 1
    of_row = [places[dialogues[item]] for item, _ in rows]
    counts = np.array(list(rows.values()))
    lengths = [
        math.log(max(1, len(words(items[item].texts[first].text))) / max(1, len(words(items[item].texts[second].text))))
        for item, (first, second) in rows
    ]
    numbers = [pairs.index(pair) for _, pair in rows]
    n = len(places)
    # How often each dialogue is drawn: with one column per dialogue that is 1 in its own row, a mean is times / n.
    bootstrap = Bootstrap(np.eye(n), seed=seed, resamples=resamples)
    times = np.rint(n * bootstrap.resampled)[:, of_row]
    drawn: list[tuple[np.ndarray, np.ndarray]] = []
    step = max(1, 400_000 // len(of_row))
    for start in range(0, resamples, step):
        weighted = times[start : start + step, :, None] * counts
        drawn.append(fit_davidson_with_length(weighted, numbers, np.array(lengths), systems))
    worths, effect = fit_davidson_with_length(counts, numbers, np.array(lengths), systems)
    all_worths, all_effects = np.concatenate([w for w, _ in drawn]), np.concatenate([e for _, e in drawn])
    adjusted = [bootstrap.interval(float(worths[i]), all_worths[:, i], n) for i in range(systems)]
    return adjusted, bootstrap.interval(float(effect), all_effects, n)


def _pairs(
    review: Review, found: Sequence[Preference], dialogues: Mapping[str, int], seed: int, resamples: int
) -> tuple[PairResult, ...]:
    votes = majority(found, dialogues)
    results = []
    for pair in combinations([system.name for system in review.systems], 2):
        own = [one for one in found if one.pair == pair]
        if not own:
            continue
        rows: dict[int, list[float]] = {}
        for one in own:
            if one.outcome:
                row = rows.setdefault(dialogues[one.verdict.item], [0.0, 0.0])
                row[0] += one.outcome > 0
                row[1] += 1
        outcomes = {what: [one for one in own if one.outcome == number] for what, number in _OUTCOMES.items()}
        votes_of_pair = list(votes[pair].values())
        decision = decide(votes_of_pair.count(1), votes_of_pair.count(-1), votes_of_pair.count(0))
        results.append(
            PairResult(
                *pair,
                won=len(outcomes["won"]),
                tied=len(outcomes["tied"]),
                lost=len(outcomes["lost"]),
                preferred=ratio(list(rows.values()), seed=seed, resamples=resamples),
                decision=decision,
                sentence=_decided(review, pair, decision),
                verdicts={what: tuple(one.verdict.id for one in ones) for what, ones in outcomes.items()},
            )
        )
    return tuple(results)


_OUTCOMES = {"won": 1, "tied": 0, "lost": -1}


def _decided(review: Review, pair: Pair, decision: Decision) -> str:
    ahead, behind = pair if decision.won >= decision.lost else pair[::-1]
    more, fewer = max(decision.won, decision.lost), min(decision.won, decision.lost)
    titles = [review.system(name).title for name in (ahead, behind)]
    votes = more + fewer
    if not votes:
        return f"Not decided: no dialogue has a preference between {titles[0]} and {titles[1]}."
    if more == fewer:
        return f"Not decided: {titles[0]} and {titles[1]} are each preferred in {more} dialogues."
    start = f"{titles[0]} is preferred to {titles[1]} in {more} of {votes} dialogues with a preference"
    if decision.decided:
        return f"Decided: {start} (p = {decision.p:.2g})."
    if decision.more is None:
        return f"Not decided: {start} (p = {decision.p:.2g}), too close to half for a useful number of dialogues."
    return (
        f"Not decided: {start} (p = {decision.p:.2g}). At this rate about {decision.more:,} more dialogues are needed "
        f"for {100 * POWER:.0f} % power."
    )


def _share_all_bad(kept: Sequence[Verdict], dialogues: Mapping[str, int], seed: int, resamples: int) -> Interval | None:
    rows: dict[int, list[float]] = {}
    for verdict in kept:
        row = rows.setdefault(dialogues[verdict.item], [0.0, 0.0])
        row[0] += verdict.all_bad
        row[1] += 1
    return ratio(list(rows.values()), seed=seed, resamples=resamples)


def _reviewers(verdicts: Sequence[Verdict], fast: Sequence[Verdict]) -> tuple[Reviewer, ...]:
    found = []
    for name in sorted({verdict.reviewer for verdict in verdicts}):
        own = [verdict for verdict in verdicts if verdict.reviewer == name]
        answered = [verdict for verdict in own if not verdict.skipped]
        found.append(
            Reviewer(
                name,
                len(answered),
                len(own) - len(answered),
                median(verdict.seconds for verdict in answered) if answered else None,
                tuple(verdict.id for verdict in fast if verdict.reviewer == name),
            )
        )
    return tuple(found)


def _notes(review: Review, fast: Sequence[Verdict], without_hasty: bool) -> tuple[str, ...]:
    notes = []
    if review.simulated:
        notes.append("The verdicts of this review are simulated by a program; they are not people’s.")
    if review.identical:
        notes.append(
            f"{quantity(review.identical, 'dialogue')} on which all systems wrote the same text "
            f"{_were(review.identical)} not reviewed; on these the systems are equal."
        )
    if review.without_dialogue:
        notes.append(
            f"{quantity(review.without_dialogue, 'example')} without a dialogue {_were(review.without_dialogue)} not "
            "reviewed."
        )
    if fast:
        what = "left out" if without_hasty else "included"
        notes.append(f"{quantity(len(fast), 'verdict')} took less time than reading the texts; {what} in all results.")
    return tuple(notes)


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
