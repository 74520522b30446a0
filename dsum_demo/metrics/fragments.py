"""Extractive fragments: the parts of a summary that are copied from its dialogue (Grusky et al. 2018, Newsroom)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache

from dsum_demo.metrics.words import words


def fragment_lengths(summary: Sequence[str], dialogue: Sequence[str]) -> list[int]:
    """The numbers of words of the fragments: from left to right, the longest run of words that the dialogue also has.

    Like the authors' code, the search for a longer run continues after the end of the last one.
    """
    places, found, start = _places(tuple(dialogue)), list[int](), 0
    while start < len(summary):
        best, number = 0, 0
        of_word = places.get(summary[start], ())
        while number < len(of_word):
            length = _run(summary, start, dialogue, of_word[number])
            best = max(best, length)
            number = bisect_left(of_word, of_word[number] + length)
        if best:
            found.append(best)
        start += best or 1
    return found


def _run(summary: Sequence[str], start: int, dialogue: Sequence[str], place: int) -> int:
    length = 0
    while (
        start + length < len(summary)
        and place + length < len(dialogue)
        and summary[start + length] == dialogue[place + length]
    ):
        length += 1
    return length


@lru_cache(maxsize=8)  # shared by the summaries of one dialogue
def _places(dialogue: tuple[str, ...]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, word in enumerate(dialogue):
        found.setdefault(word, []).append(place)
    return found


def coverage(summary: str, dialogue: str) -> float | None:
    """The share of the summary's words in fragments, 0 to 1; None without words."""
    found = words(summary)
    return sum(fragment_lengths(found, words(dialogue))) / len(found) if found else None


def density(summary: str, dialogue: str) -> float | None:
    """The mean length of the fragment that a word of the summary is in, 0 for none; None without words."""
    found = words(summary)
    return sum(length**2 for length in fragment_lengths(found, words(dialogue))) / len(found) if found else None


def compression(summary: str, dialogue: str) -> float | None:
    """Words of the dialogue divided by words of the summary; None without words."""
    found = words(summary)
    return len(words(dialogue)) / len(found) if found else None
