"""ROUGE with its signature, and the sentence split that ROUGE-Lsum needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from statistics import fmean
from typing import Any

from dsum_demo.errors import InputError

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


ROUGE_TITLES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "rougeLsum": "ROUGE-Lsum"}


SHORT_TITLES = {"rouge1": "R1", "rouge2": "R2", "rougeL": "RL", "rougeLsum": "RLsum"}


POLICIES = ("mean", "best", "first")


# L and Lsum each fill tables of words by words: ten million cells take them four seconds and 80 MB.
MAX_LCS_CELLS = 10_000_000


_TITLES = ("Mr", "Mrs", "Ms", "Dr", "Prof", "St")


# "So do I." ends a sentence far more often than "I." stands for Isaac.
_UNFINISHED = (*_TITLES, r"[Ee]\.g", r"[Ii]\.e", "[A-HJ-Z]")


_CLOSER = r"[\"'”’)\]]"


_SENTENCE_GAP = re.compile(
    rf"(?:(?<=[.!?])|(?<=[.!?]{_CLOSER})|(?<=[.!?]{_CLOSER}{_CLOSER}))"
    + "".join(rf"(?<!\b{word}\.)" for word in _UNFINISHED)
    + r"(?!(?<=\b[AaPp]\.[Mm]\.)\s+[a-z])\s+"
)


@dataclass(frozen=True, slots=True)
class Score:
    """Precision, recall and F1, each from 0 to 1."""

    precision: float
    recall: float
    fmeasure: float


@dataclass(frozen=True)
class Signature:
    """What has to be equal for two scores to be comparable. n: examples; references: how many each example has."""

    library: str
    version: str
    stemmer: bool
    lsum_split: str
    policy: str
    references: int
    n: int

    @property
    def text(self) -> str:
        """One line for people."""
        over = {"mean": "mean over", "best": "best of", "first": "first of"}[self.policy]
        compared = "1 reference" if self.references == 1 else f"{over} {self.references} references"
        stemmer = "stemmer" if self.stemmer else "no stemmer"
        return f"{self.library} {self.version}, {stemmer}, F1, {compared}, Lsum split by {self.lsum_split}, n={self.n}"

    def as_dict(self) -> dict[str, Any]:
        return {"text": self.text, **asdict(self)}


def signature(n: int, references: int, policy: str = "mean") -> Signature:
    """The signature of scores over `n` examples with `references` references each. Raises InputError for a policy that
    is not in POLICIES.
    """
    _check_policy(policy)
    return Signature("rouge_score", version("rouge_score"), True, "dsum", policy, references, n)


def score_summary(prediction: str, references: Sequence[str], policy: str = "mean") -> dict[str, Score]:
    """ROUGE-1, -2, -L and -Lsum of one summary, as rouge_score computes them with its Porter stemmer.

    With several references, policy "mean" is the plain mean of precision, of recall and of F1 over them, "best" the
    reference with the highest F1, for each ROUGE type on its own, and "first" the first one. For Lsum both texts are
    split by `split_sentences`. A text without a letter of a-z or a digit scores 0: that is all that rouge_score reads.

    Raises InputError without a reference, for an unknown policy, and for two texts that are both too long for ROUGE-L.
    """
    _check_policy(policy)
    return combine(score_references(prediction, references), policy)


def score_references(prediction: str, references: Sequence[str]) -> list[dict[str, Score]]:
    """The scores against each reference, in their order. Raises InputError as `score_summary` does."""
    if isinstance(references, str):
        raise InputError("The references are one text; give a list of texts.")
    if not references:
        raise InputError("There is no reference summary; ROUGE compares with at least one.")
    prediction = "\n".join(split_sentences(prediction))
    return [_score(prediction, "\n".join(split_sentences(text))) for text in references]


def combine(scores: Sequence[Mapping[str, Score]], policy: str = "mean") -> dict[str, Score]:
    """What a policy makes of the scores against several references. Raises InputError for another policy."""
    _check_policy(policy)
    if policy == "mean" and len(scores) > 1:
        return mean_scores(scores)
    if policy == "best":
        return {rouge: max((score[rouge] for score in scores), key=lambda s: s.fmeasure) for rouge in ROUGE_TYPES}
    return dict(scores[0])


def mean_scores(scores: Sequence[Mapping[str, Score]]) -> dict[str, Score]:
    """Plain means of precision, recall and F1 for each ROUGE type. Raises InputError without scores."""
    if not scores:
        raise InputError("There are no scores to take the mean of.")
    return {
        rouge: Score(
            fmean(score[rouge].precision for score in scores),
            fmean(score[rouge].recall for score in scores),
            fmean(score[rouge].fmeasure for score in scores),
        )
        for rouge in scores[0]
    }


def split_sentences(text: str) -> list[str]:
    """Sentences: they end with a line, and with . ! or ? (and closing quotes or brackets) before a space.

    They do not end after a title ("Dr."), "e.g.", "i.e." or an initial ("J. Smith"), nor after "a.m." and "p.m." where
    a lower-case letter follows. Only white space is taken away. Other abbreviations ("etc.", "No. 5") do end one.
    """
    parts = (part.strip() for line in text.splitlines() for part in _SENTENCE_GAP.split(line))
    return [part for part in parts if part]


def stems(text: str) -> list[str]:
    """The tokens that ROUGE compares: runs of a-z and digits, reduced to Porter stems as rouge_score does."""
    from rouge_score.tokenize import tokenize

    return tokenize(text, _tokenizer())


def _check_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise InputError(f"The reference policy is {policy!r}; choose one of: {', '.join(POLICIES)}.")


def too_long(prediction: str, reference: str) -> str:
    """Why these two cannot be scored, in a sentence; empty where they can."""
    if len(prediction) * len(reference) <= MAX_LCS_CELLS:
        return ""
    words = [len(re.findall("[A-Za-z0-9]+", text)) for text in (prediction, reference)]
    if words[0] * words[1] <= MAX_LCS_CELLS:
        return ""
    return (
        f"ROUGE-L compares every word with every word, and {words[0]:,} words of a summary with {words[1]:,} of a "
        f"reference are more than {MAX_LCS_CELLS:,} pairs; shorten one of the two."
    )


def _score(prediction: str, reference: str) -> dict[str, Score]:
    if reason := too_long(prediction, reference):
        raise InputError(reason)
    # The line ends between sentences mean something to Lsum only: the other types read them as spaces.
    scores = _scorer().score(target=reference, prediction=prediction)
    return {rouge: Score(*map(float, scores[rouge])) for rouge in ROUGE_TYPES}


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(ROUGE_TYPES, tokenizer=_tokenizer())


@cache
def _tokenizer() -> _Tokenizer:
    return _Tokenizer()


class _Tokenizer:
    """rouge_score's own tokenizer with its Porter stemmer, which remembers: a data set says the same words again."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        stemmer = PorterStemmer()
        self.stem = lru_cache(maxsize=100_000)(stemmer.stem)
        # A text is compared with several others.
        self.tokenize = lru_cache(maxsize=256)(stems)
