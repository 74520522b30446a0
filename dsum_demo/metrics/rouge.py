"""ROUGE of two texts, and the sentence splitter for ROUGE-Lsum."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from dsum_demo.errors import InputError

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


# L and Lsum fill tables of words by words: ten million cells take four seconds and 80 MB.
MAX_LCS_CELLS = 10_000_000

_READ = re.compile("[a-z0-9]")


TITLES = ("Mr", "Mrs", "Ms", "Dr", "Prof", "St")


# Without I: "So do I." ends a sentence far more often than "I." is an initial.
_UNFINISHED = (*TITLES, r"[Ee]\.g", r"[Ii]\.e", "[A-HJ-Z]")


_CLOSER = r"[\"'”’)\]]"


_SENTENCE_GAP = re.compile(
    rf"(?:(?<=[.!?])|(?<=[.!?]{_CLOSER})|(?<=[.!?]{_CLOSER}{_CLOSER}))"
    + "".join(rf"(?<!\b{word}\.)" for word in _UNFINISHED)
    + r"(?!(?<=\b[AaPp]\.[Mm]\.)\s+[a-z])\s+"
)


@lru_cache(maxsize=16)  # the metrics of the ROUGE types request the same two texts
def rouge_scores(summary: str, reference: str) -> Mapping[str, tuple[float, float, float]]:
    """Precision, recall and F1 of each ROUGE type, as rouge_score computes them with its Porter stemmer.

    For Lsum both texts are split by `split_sentences`. rouge_score reads a-z and digits only; a text without them
    scores 0. Raises InputError if both texts are too long for ROUGE-L.
    """
    # Only Lsum uses the line breaks between sentences; for the other types they are spaces.
    summary, reference = ("\n".join(split_sentences(text)) for text in (summary, reference))
    if reason := too_long(summary, reference):
        raise InputError(reason)
    scores = _scorer().score(target=reference, prediction=summary)
    return {
        rouge: (float(score.precision), float(score.recall), float(score.fmeasure)) for rouge, score in scores.items()
    }


def split_sentences(text: str) -> list[str]:
    """Sentences: they end at a line break, and at . ! or ? (with closing quotes or brackets) before a space.

    They do not end after a title ("Dr."), "e.g.", "i.e." or an initial ("J. Smith"), or after "a.m." and "p.m." before
    a lower-case letter. Other abbreviations ("etc.", "No. 5") end a sentence. Only white space is removed.
    """
    parts = (part.strip() for line in text.splitlines() for part in _SENTENCE_GAP.split(line))
    return [part for part in parts if part]


def stems(text: str) -> list[str]:
    """The tokens that ROUGE compares: runs of a-z and digits, stemmed as in rouge_score."""
    from rouge_score.tokenize import tokenize

    return tokenize(text, _tokenizer())


def has_tokens(text: str) -> bool:
    """Whether a text has a token that ROUGE compares."""
    return _READ.search(text.lower()) is not None


def has_unread_letters(text: str) -> bool:
    """Whether a text has letters that ROUGE does not read: all but a-z."""
    return any(c.isalpha() and not _READ.match(c) for c in text.lower())


def too_long(prediction: str, reference: str) -> str:
    """An error message if the two texts are too long to be scored, or an empty string."""
    if len(prediction) * len(reference) <= MAX_LCS_CELLS:
        return ""
    words = [len(re.findall("[A-Za-z0-9]+", text)) for text in (prediction, reference)]
    if words[0] * words[1] <= MAX_LCS_CELLS:
        return ""
    return (
        f"The summary has {words[0]:,} words and the reference {words[1]:,}: ROUGE-L is limited to {MAX_LCS_CELLS:,} "
        "pairs of words; shorten one of the two."
    )


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(ROUGE_TYPES, tokenizer=_tokenizer())


@cache
def _tokenizer() -> _Tokenizer:
    return _Tokenizer()


class _Tokenizer:
    """rouge_score's tokenizer and Porter stemmer with caches, because a data set repeats its words."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        stemmer = PorterStemmer()
        self.stem = lru_cache(maxsize=100_000)(stemmer.stem)
        # The same text is compared with several others.
        self.tokenize = lru_cache(maxsize=256)(stems)
