"""The judge's own test: how often it prefers a true summary to the same one with an error."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

from dsum_demo.data.dialogues import speakers
from dsum_demo.data.examples import Example
from dsum_demo.errors import InputError
from dsum_demo.judge.corruptions import CORRUPTIONS, Twin, exchange_names, twins
from dsum_demo.judge.likelihood_judge import Judgement, LikelihoodJudge
from dsum_demo.metrics.bootstrap import CONFIDENCE
from dsum_demo.metrics.checks import check_summary
from dsum_demo.metrics.words import words

# The judge's values, and what candidates are ranked by.
VALUES: Mapping[str, tuple[str, Callable[[Judgement], float | None]]] = {
    "faithfulness": ("Judge: faithfulness", lambda judgement: judgement.faithfulness),
    "speakers": ("Judge: speakers", lambda judgement: judgement.speakers),
    "choice": ("Judge: choice", lambda judgement: judgement.choice),
}
# Measures that need no model, from a text and its checks, as values of which more is better.
Values = Mapping[str, float | None]
BASELINES: Mapping[str, tuple[str, Callable[[str, Values], float | None]]] = {
    "length": ("The shorter one", lambda text, checks: -len(words(text))),
    "ungrounded": (
        "Fewer names and numbers not in the dialogue",
        lambda text, checks: None if (value := checks["ungrounded"]) is None else -value,
    ),
    "speakers_covered": ("More speakers covered", lambda text, checks: checks["speakers"]),
    "extractive_coverage": ("More extractive coverage", lambda text, checks: checks["coverage"]),
}


@dataclass(frozen=True)
class Share:
    """The share of pairs in which the true summary is preferred, 0 to 1, a tie counting half, with its 95 % Wilson
    interval.
    """

    share: float
    low: float
    high: float
    n: int

    @property
    def above_chance(self) -> bool:
        return self.low > 0.5

    @property
    def text(self) -> str:
        """ "71 % [66, 76]" """
        return f"{100 * self.share:.0f} % [{100 * self.low:.0f}, {100 * self.high:.0f}]"


def wilson(wins: float, n: int) -> Share:
    """The 95 % Wilson interval of `wins` of `n`. Raises InputError for n = 0."""
    if n < 1:
        raise InputError("A share needs at least one pair.")
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = wins / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Share(share, max(0.0, middle - half), min(1.0, middle + half), n)


@dataclass(frozen=True)
class JudgeTest:
    """The results of a test. shares: by measure (a name in VALUES or BASELINES) and kind of error. names: whether
    speaker labels were replaced by names.
    """

    judge: str
    data: str
    dialogues: int
    seed: int
    names: bool
    shares: Mapping[str, Mapping[str, Share]]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> JudgeTest:
        """Read the result of `as_dict`. Raises KeyError or TypeError for other data."""
        shares = {m: {kind: Share(**share) for kind, share in kinds.items()} for m, kinds in raw["shares"].items()}
        return cls(raw["judge"], raw["data"], raw["dialogues"], raw["seed"], raw["names"], shares)

    def sentence(self, measure: str) -> str:
        """What a value of the judge catches, and where it does not beat chance: "catches 71 % [66, 76] of …"."""
        above: list[str] = []
        below: list[str] = []
        for kind, share in self.shares.get(measure, {}).items():
            text = f"{share.text} of {CORRUPTIONS[kind].title}"
            (above if share.above_chance else below).append(text)
        parts = [f"catches {', '.join(above)}"] if above else []
        return "; ".join([*parts, *([f"does not beat chance with {', '.join(below)}"] if below else [])])

    @property
    def can_rank(self) -> bool:
        """Whether candidates may be ranked by the judge: it finds wrong speakers better than chance."""
        return (share := self.choice_of_speakers) is not None and share.above_chance

    @property
    def choice_of_speakers(self) -> Share | None:
        """The share of swapped speakers that the judge's choice finds."""
        return self.shares.get("choice", {}).get("speakers")


def kinds_of(result: JudgeTest) -> list[str]:
    """The kinds of errors that a test has pairs of, in the order of CORRUPTIONS."""
    return [kind for kind in CORRUPTIONS if any(kind in shares for shares in result.shares.values())]


def title_of(measure: str, result: JudgeTest) -> str:
    """The title of a measure in a table."""
    return (VALUES[measure] if measure in VALUES else BASELINES[measure])[0]


_SPEAKER_NAMES = (
    "Abigail Benedict Clarissa Desmond Eleanor Felix Gwen Howard Isolde Jerome Kirsten Lionel Miriam Norbert Octavia "
    "Patrick Ramona Stuart Thelma Vernon"
).split()


def with_names(example: Example, seed: int = 0) -> Example:
    """The example with names for labels such as #Person1#."""
    rng = random.Random(f"{seed} {example.id}")
    text = "\n".join((example.dialogue, *example.references))
    free = [name for name in _SPEAKER_NAMES if name not in text]
    labels = [name for name in speakers(example.dialogue) if name.startswith("#Person")]
    if len(labels) > len(free):
        return example
    new = dict(zip(labels, rng.sample(free, len(labels)), strict=True))
    dialogue, *references = (exchange_names(part, new) for part in (example.dialogue, *example.references))
    return replace(example, dialogue=dialogue, references=tuple(references))


def run_test(
    judge: LikelihoodJudge | None,
    examples: Sequence[Example],
    *,
    data: str,
    seed: int = 0,
    names: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[JudgeTest]:
    """Yield the results so far after every dialogue; without a judge only those of BASELINES.

    Raises InputError if no reference can be corrupted, and what `LikelihoodJudge.judge` raises.
    """
    if names:
        examples = [with_names(example, seed) for example in examples]
    pairs = twins(examples, seed)
    if not pairs:
        raise InputError("No reference can be corrupted; give dialogues with speakers and at least one reference each.")
    by_dialogue: dict[tuple[str, str], list[Twin]] = {}
    for twin in pairs:
        by_dialogue.setdefault((twin.dialogue, twin.summary), []).append(twin)
    wins: dict[str, dict[str, list[float]]] = {
        measure: {kind: [] for kind in CORRUPTIONS} for measure in ((*VALUES, *BASELINES) if judge else BASELINES)
    }
    name = judge.name if judge else ""

    def result(done: int) -> JudgeTest:
        shares = {
            measure: {kind: wilson(sum(found), len(found)) for kind, found in kinds.items() if found}
            for measure, kinds in wins.items()
        }
        return JudgeTest(name, data, done, seed, names, shares)

    for done, ((dialogue, summary), own) in enumerate(by_dialogue.items(), 1):
        true = check_summary(summary, dialogue, ()).values
        for twin in own:
            false = check_summary(twin.corrupted, dialogue, ()).values
            for measure, (_, value_of) in BASELINES.items():
                _count(wins[measure][twin.kind], value_of(summary, true), value_of(twin.corrupted, false))
        if judge is not None:
            texts = [summary, *(twin.corrupted for twin in own)]
            # One by one in the data's order, so that a stopped test is not one of the shortest dialogues.
            ((_, (truth, *errors)),) = judge.judge([(dialogue, texts)], coverage=False, should_stop=should_stop)
            for twin, error in zip(own, errors, strict=True):
                for measure, (_, judged) in VALUES.items():
                    _count(wins[measure][twin.kind], judged(truth), judged(error))
        yield result(done)


def _count(wins: list[float], true: float | None, false: float | None) -> None:
    if true is not None and false is not None:
        wins.append(0.5 if true == false else float(true > false))
