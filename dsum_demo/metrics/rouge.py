"""ROUGE of two texts, and the sentence split that ROUGE-Lsum needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from dsum_demo.errors import InputError

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


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


@lru_cache(maxsize=16)  # each ROUGE type is a metric of its own and asks for the same two texts
def rouge_scores(summary: str, reference: str) -> Mapping[str, tuple[float, float, float]]:
    """Precision, recall and F1 of each ROUGE type, as rouge_score computes them with its Porter stemmer.

    For Lsum both texts are split by `split_sentences`. A text without a letter of a-z or a digit scores 0: that is all
    that rouge_score reads. Raises InputError for two texts that are both too long for ROUGE-L.
    """
    # The line ends between sentences mean something to Lsum only: the other types read them as spaces.
    summary, reference = ("\n".join(split_sentences(text)) for text in (summary, reference))
    if reason := too_long(summary, reference):
        raise InputError(reason)
    scores = _scorer().score(target=reference, prediction=summary)
    return {
        rouge: (float(score.precision), float(score.recall), float(score.fmeasure)) for rouge, score in scores.items()
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
