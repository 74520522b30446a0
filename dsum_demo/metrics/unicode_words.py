"""Words of any script by Unicode's rules for word boundaries (UAX #29), and ROUGE over them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import regex  # type: ignore[import-untyped]

_BOUNDARY = regex.compile(r"(?wV1)\b")  # w: the default word boundaries of Unicode; V1: split at empty matches


def unicode_words(text: str) -> list[str]:
    """The words of a text in NFKC, case-folded. Scripts without spaces, such as Chinese and Thai, are split into
    characters.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [part for part in _BOUNDARY.split(folded) if any(map(str.isalnum, part))]


@lru_cache(maxsize=16)  # the two metrics request the same texts
def unicode_rouge_scores(summary: str, reference: str) -> Mapping[str, tuple[float, float, float]]:
    """Precision, recall and F1 of ROUGE-1 and ROUGE-2 by rouge_score over `unicode_words`, without a stemmer."""
    scores = _scorer().score(target=reference, prediction=summary)
    return {name: (float(s.precision), float(s.recall), float(s.fmeasure)) for name, s in scores.items()}


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(("rouge1", "rouge2"), tokenizer=_Words())


class _Words:
    """A tokenizer for rouge_score."""

    def tokenize(self, text: str) -> list[str]:
        return unicode_words(text)
