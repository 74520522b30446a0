"""How often each metric and check prefers the summary that people prefer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from dsum_demo.evaluation.records import Evaluation
from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.metrics.checks import CHECKS, check_summary
from dsum_demo.metrics.rouge import too_long
from dsum_demo.metrics.scores import METRICS, score_summary
from dsum_demo.review.agreement import ratio
from dsum_demo.review.preferences import Preference, by_dialogue, counted, preferences
from dsum_demo.review.records import Review, ReviewItem
from dsum_demo.review.storage import ReviewStore

PEOPLE = "people"
JUDGED = frozenset(check.name for check in CHECKS if check.needs == "judge")
# Values of checks by the dialogue's fingerprint and the summary.
Known = Mapping[tuple[str, str], Mapping[str, float | None]]


@dataclass(frozen=True)
class MetricAgreement:
    """A metric or check against people. share: of the pairs with a preference that it decides the same way, 0 to 1; a
    pair with equal values counts half. pairs, equal: numbers of pairs with values, and of those with equal values.
    verdicts: ids of those with such pairs. agreeing, undecided, against: of them, those with a pair that it decides the
    same way, with equal values, and with a pair that it decides the other way.
    """

    name: str
    title: str
    direction: str
    share: Interval
    pairs: int
    equal: int
    verdicts: tuple[str, ...]
    agreeing: tuple[str, ...]
    undecided: tuple[str, ...]
    against: tuple[str, ...]

    @property
    def sentence(self) -> str:
        low, high = self.share.low, self.share.high
        with_interval = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
        who = "Another reviewer" if self.name == PEOPLE else self.title
        return f"{who} agrees with people in {100 * self.share.mean:.0f} %{with_interval} of {self.pairs:,} pairs."


def values_of(item: ReviewItem, known: Known = MappingProxyType({})) -> dict[str, dict[str, float | None]]:
    """By metric or check and system a value of which more is better, None if it cannot be computed. known: the checks
    that an evaluation has already computed, such as a judge's.
    """
    found: dict[str, dict[str, float | None]] = {name: {} for name in (*METRICS, *(check.name for check in CHECKS))}
    for system, output in item.texts.items():
        readable = [text for text in item.references if not too_long(output.text, text)]
        scores = score_summary(output.text, readable) if readable else {}
        for name, metric in METRICS.items():
            score = scores.get(name)
            found[name][system] = None if score is None else metric.merit(score.fmeasure)
        checked = check_summary(output.text, item.dialogue, item.references).values
        checked = {**checked, **known.get((item.group, output.text), {})}
        for check in CHECKS:
            value = checked.get(check.name)
            found[check.name][system] = None if value is None else check.merit(value)
    return found


def metric_agreement(
    found: Sequence[Preference],
    items: Mapping[str, ReviewItem],
    dialogues: Mapping[str, int],
    *,
    seed: int,
    resamples: int,
    known: Known = MappingProxyType({}),
) -> list[MetricAgreement]:
    """Other reviewers first if an item has several, then metrics and checks in the order of their tables, without those
    that have no values. A pair without a preference does not count. known: see `values_of`.
    """
    decided = [one for one in found if one.outcome]
    values = {item: values_of(items[item], known) for item in dict.fromkeys(one.verdict.item for one in decided)}
    rows = [_people(decided, dialogues, seed, resamples)]
    titles = {name: (metric.title, "") for name, metric in METRICS.items()}
    titles |= {check.name: (check.title, check.direction) for check in CHECKS}
    for name, (title, direction) in titles.items():
        table: dict[int, list[float]] = {}
        differences: list[tuple[str, float]] = []
        for one in decided:
            first, second = (values[one.verdict.item][name][system] for system in one.pair)
            if first is None or second is None:
                continue
            difference = (first - second) * one.outcome
            row = table.setdefault(dialogues[one.verdict.item], [0.0, 0.0])
            row[0] += 0.5 if difference == 0 else float(difference > 0)
            row[1] += 1
            differences.append((one.verdict.id, difference))
        share = ratio(list(table.values()), seed=seed, resamples=resamples)
        every = [verdict for verdict, _ in differences]
        agreeing = [verdict for verdict, difference in differences if difference > 0]
        equal = [verdict for verdict, difference in differences if difference == 0]
        against = [verdict for verdict, difference in differences if difference < 0]
        rows.append(
            MetricAgreement(
                name,
                title,
                direction,
                share,
                len(every),
                len(equal),
                *(tuple(dict.fromkeys(ids)) for ids in (every, agreeing, equal, against)),
            )
            if share
            else None
        )
    return [row for row in rows if row]


def agreement_in(
    evaluation: Evaluation, review: Review, store: ReviewStore, *, seed: int, resamples: int
) -> list[MetricAgreement]:
    """`metric_agreement` on the items of a review whose texts are all in the evaluation, with the values of its judge.
    Empty without such items, and if no reviewer preferred a summary.
    """
    known = {
        (example.fingerprint, output.text): {name: value for name, value in output.checks.items() if name in JUDGED}
        for example in evaluation.examples
        for output in example.outputs.values()
    }
    items = [
        item
        for item in store.items(review.id)
        if all((item.group, output.text) in known for output in item.texts.values())
    ]
    by_id = {item.id: item for item in items}
    verdicts = [verdict for verdict in counted(store.verdicts(review.id)) if verdict.item in by_id]
    found = preferences(verdicts, [system.name for system in review.systems])
    if not any(one.outcome for one in found):
        return []
    return metric_agreement(found, by_id, by_dialogue(items)[0], seed=seed, resamples=resamples, known=known)


def _people(
    decided: Sequence[Preference], dialogues: Mapping[str, int], seed: int, resamples: int
) -> MetricAgreement | None:
    """How often two reviewers who both have a preference have the same one."""
    groups: dict[tuple[str, str, str], list[Preference]] = {}
    for one in decided:
        groups.setdefault((one.verdict.item, *one.pair), []).append(one)
    table: dict[int, list[float]] = {}
    same: dict[str, None] = {}
    against: dict[str, None] = {}
    for (item, _, _), same_pair in groups.items():
        for place, one in enumerate(same_pair):
            for other in same_pair[place + 1 :]:
                row = table.setdefault(dialogues[item], [0.0, 0.0])
                row[0] += one.outcome == other.outcome
                row[1] += 1
                found = same if one.outcome == other.outcome else against
                found |= dict.fromkeys((one.verdict.id, other.verdict.id))
    share = ratio(list(table.values()), seed=seed, resamples=resamples)
    pairs = int(sum(row[1] for row in table.values()))
    if share is None:
        return None
    return MetricAgreement(
        PEOPLE, "People with each other", "", share, pairs, 0, tuple(same | against), tuple(same), (), tuple(against)
    )
