"""The table of metrics that score a summary against references, and means and signatures of their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import fmean
from typing import Any

from dsum_demo.errors import InputError
from dsum_demo.metrics.rouge import has_tokens, rouge_scores
from dsum_demo.metrics.unicode_words import unicode_rouge_scores, unicode_words

POLICIES = ("mean", "best", "first")
MORE, LESS = "more is better", "less is better"


@dataclass(frozen=True, slots=True)
class Score:
    """Precision, recall and F1, each from 0 to 1; a metric without parts uses the same value for all three."""

    precision: float
    recall: float
    fmeasure: float

    @classmethod
    def of(cls, value: float) -> Score:
        return cls(value, value, value)


@dataclass(frozen=True)
class Metric:
    """One metric and what reports, charts, exports, the CLI and the UI need to show it.

    name: its key in records and exports. short: the title in narrow columns. unit: the unit of its values, which are
    shown × 100. signature: the library, version and settings that comparable scores share. score: the score of a
    summary against one reference. has_parts: whether it has a precision and a recall.
    """

    name: str
    title: str
    short: str
    unit: str
    higher_is_better: bool
    signature: str
    score: Callable[[str, str], Score]
    has_parts: bool = True
    reads: Callable[[str], bool] = lambda reference: True

    @property
    def heading(self) -> str:
        """The title, marked if lower values are better."""
        return self.title if self.higher_is_better else f"{self.title} (lower is better)"

    @property
    def axis(self) -> str:
        return f"{self.title} {self.unit} × 100"

    @property
    def direction(self) -> str:
        return MORE if self.higher_is_better else LESS

    @property
    def factor(self) -> int:
        """What its values are multiplied by where they are shown."""
        return 100

    @property
    def digits(self) -> int:
        """Decimals of shown means."""
        return 1

    def merit(self, value: float) -> float:
        """The value as one of which more is better."""
        return value if self.higher_is_better else -value

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `values` in a CSV file."""
        parts = ("precision", "recall", "f1") if self.has_parts else ()
        return tuple(f"{self.name}_{part}" for part in parts) or (self.name,)

    def values(self, scores: Mapping[str, Score]) -> tuple[float | None, ...]:
        """The values of `columns`, None without a score."""
        score = scores.get(self.name)
        if score is None:
            return (None,) * len(self.columns)
        return (score.precision, score.recall, score.fmeasure) if self.has_parts else (score.fmeasure,)

    def best(self, scores: Sequence[Score]) -> Score:
        return (max if self.higher_is_better else min)(scores, key=lambda score: score.fmeasure)


def _rouge(name: str, kind: str, signature: str) -> Metric:
    def score(summary: str, reference: str) -> Score:
        return Score(*rouge_scores(summary, reference)[name])

    return Metric(name, f"ROUGE-{kind}", f"R{kind}", "F1", True, signature, score, reads=has_tokens)


ROUGE_SIGNATURE = f"rouge_score {version('rouge_score')}, stemmer, F1"


def _unicode_rouge(n: str) -> Metric:
    def score(summary: str, reference: str) -> Score:
        return Score(*unicode_rouge_scores(summary, reference)[f"rouge{n}"])

    return Metric(
        f"unicode_rouge{n}", f"ROUGE-{n} (Unicode words)", f"U-R{n}", "F1", True,
        f"rouge_score {version('rouge_score')} over Unicode words (UAX #29, regex {version('regex')}), NFKC, "
        "casefolded, no stemmer, F1",
        score, reads=lambda reference: bool(unicode_words(reference)),
    )  # fmt: skip


# To add a metric, add a row.
METRICS = {
    metric.name: metric
    for metric in (
        _rouge("rouge1", "1", ROUGE_SIGNATURE),
        _rouge("rouge2", "2", ROUGE_SIGNATURE),
        _rouge("rougeL", "L", ROUGE_SIGNATURE),
        _rouge("rougeLsum", "Lsum", ROUGE_SIGNATURE),
    )
}

# For texts with letters that ROUGE does not read. Off by default: every table has a column per metric.
UNICODE_ROUGE = tuple(map(_unicode_rouge, "12"))


def add_unicode_rouge() -> None:
    """Add UNICODE_ROUGE to METRICS, for the whole process."""
    METRICS.update({metric.name: metric for metric in UNICODE_ROUGE})


HEADLINE = "rouge1"  # the metric of headlines, highlights and lists of examples


def common_unit() -> str:
    """The unit of all metrics' values if they share one, else "Score"."""
    units = {metric.unit for metric in METRICS.values()}
    return units.pop() if len(units) == 1 else "Score"


def shown_unit() -> str:
    """The unit in headings of tables and axes that show all metrics."""
    return f"{common_unit()} × 100"


@dataclass(frozen=True)
class Signature:
    """What must be equal for two scores to be comparable. n: number of examples; references: number per example;
    others: the signatures of metrics other than ROUGE.
    """

    library: str
    version: str
    stemmer: bool
    lsum_split: str
    policy: str
    references: int
    n: int
    others: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The signature in one line."""
        over = {"mean": "mean over", "best": "best of", "first": "first of"}[self.policy]
        compared = "1 reference" if self.references == 1 else f"{over} {self.references} references"
        stemmer = "stemmer" if self.stemmer else "no stemmer"
        others = "".join(f"; {other}" for other in self.others)
        return (
            f"{self.library} {self.version}, {stemmer}, F1, {compared}, Lsum split by {self.lsum_split}, n={self.n}"
            f"{others}"
        )

    def as_dict(self) -> dict[str, Any]:
        fields = {name: value for name, value in asdict(self).items() if name != "others" or value}
        return {"text": self.text, **fields}


def signature(n: int, references: int, policy: str = "mean") -> Signature:
    """The signature of scores over `n` examples with `references` references each. Raises InputError for an unknown
    policy.
    """
    _check_policy(policy)
    others = tuple(f"{m.title}: {m.signature}" for m in METRICS.values() if m.signature != ROUGE_SIGNATURE)
    return Signature("rouge_score", version("rouge_score"), True, "dsum", policy, references, n, others)


def score_summary(summary: str, references: Sequence[str], policy: str = "mean") -> dict[str, Score]:
    """The scores of one summary by metric name.

    With several references, policy "mean" averages precision, recall and F1 over them, "best" takes the reference with
    the best F1 per metric, and "first" the first reference.

    Raises InputError without a reference, for an unknown policy, and if both texts are too long for ROUGE-L.
    """
    _check_policy(policy)
    return combine(score_references(summary, references), policy)


def score_references(summary: str, references: Sequence[str]) -> list[dict[str, Score]]:
    """The scores against each reference, in order, without metrics that read nothing in it. Raises InputError like
    `score_summary`.
    """
    if isinstance(references, str):
        raise InputError("The references are a single string; give a list of texts.")
    if not references:
        raise InputError("The list of references is empty; scores need at least one.")
    return [
        {name: metric.score(summary, text) for name, metric in METRICS.items() if metric.reads(text)}
        for text in references
    ]


def combine(scores: Sequence[Mapping[str, Score]], policy: str = "mean") -> dict[str, Score]:
    """The scores against several references, combined by a policy. Raises InputError for an unknown policy."""
    _check_policy(policy)
    if policy == "mean" and len(scores) > 1:
        return mean_scores(scores)
    if policy == "best":
        return {name: METRICS[name].best([s[name] for s in scores if name in s]) for name in _names(scores)}
    return dict(scores[0])


def mean_scores(scores: Sequence[Mapping[str, Score]]) -> dict[str, Score]:
    """Mean precision, recall and F1 per metric, over those that have it. Raises InputError without scores."""
    if not scores:
        raise InputError("There are no scores to average; give at least one.")
    by_name = {name: [score[name] for score in scores if name in score] for name in _names(scores)}
    return {
        name: Score(fmean(s.precision for s in found), fmean(s.recall for s in found), fmean(s.fmeasure for s in found))
        for name, found in by_name.items()
    }


def f1_of(scores: Mapping[str, Score]) -> dict[str, float | None]:
    """F1 by metric, from 0 to 1; None for a metric without a score."""
    return {name: scores[name].fmeasure if name in scores else None for name in METRICS}


def shown_f1(score: Score | None) -> str:
    """F1 x 100 with two decimals; – without a score."""
    return "–" if score is None else f"{100 * score.fmeasure:.2f}"


def _names(scores: Sequence[Mapping[str, Score]]) -> list[str]:
    return list(dict.fromkeys(name for score in scores for name in score))


def _check_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise InputError(f"The reference policy is {policy!r}; choose one of: {', '.join(POLICIES)}.")
