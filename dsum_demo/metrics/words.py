"""The definition of a word for checks, highlights and word counts."""

from __future__ import annotations

import re

WORD = re.compile(r"#\w+#(?:['’][^\W_]+)*|\d+(?:[.,:]\d+)*|[^\W\d_][^\W_]*(?:['’][^\W_]+)*")


def words(text: str) -> list[str]:
    """The words of a text in order, case-folded and with straight apostrophes.

    A word is a speaker label ("#Person1#"), a number in digits with its separators ("1,000", "9:30"), or a letter and
    the letters and digits after it; labels and runs of letters keep inner apostrophes ("don't", "Tom's"). Everything
    else separates words: "well-known" is two, and "10am" is "10" and "am".

    ROUGE uses the tokens of rouge_score (`rouge.stems`) instead, so its scores match other tools.
    """
    return [word.casefold().replace("’", "'") for word in WORD.findall(text)]


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """The n-grams of a text's words, in order."""
    found = words(text)
    return [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]
