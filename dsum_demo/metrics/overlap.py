"""Marks the parts of a summary that its references share, or that are copied from its dialogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dsum_demo.metrics.rouge import stems
from dsum_demo.metrics.words import WORD, ngrams, words

COPY_NGRAM = 3  # shorter runs are common phrases


@dataclass(frozen=True)
class Segment:
    """A piece of the text, including spaces and punctuation; a text's segments join to the same text."""

    text: str
    marked: bool


def shared_with_references(summary: str, references: Sequence[str]) -> list[Segment]:
    """Mark the words that ROUGE-1 counts as shared with any reference: same stem, at any position."""
    wanted = {token for reference in references for token in stems(reference)}

    def shared(word: str) -> bool:
        tokens = stems(word)
        return bool(tokens) and all(token in wanted for token in tokens)

    return _segments(summary, (shared(match[0]) for match in WORD.finditer(summary)))


def copied_from_dialogue(summary: str, dialogue: str) -> list[Segment]:
    """Mark runs of `COPY_NGRAM` or more words that the dialogue also has, ignoring case."""
    known, runs = _ngrams(dialogue, COPY_NGRAM), ngrams(summary, COPY_NGRAM)
    marked = [False] * len(words(summary))
    for i, run in enumerate(runs):
        if run in known:
            marked[i : i + COPY_NGRAM] = [True] * COPY_NGRAM
    return _segments(summary, marked)


def share_marked(segments: Sequence[Segment]) -> float:
    """The share of words that are marked, 0 to 1; 0 for a text without words."""
    marked = sum(len(words(segment.text)) for segment in segments if segment.marked)
    total = sum(len(words(segment.text)) for segment in segments)
    return marked / total if total else 0.0


@lru_cache(maxsize=8)  # shared by the summaries of one dialogue
def _ngrams(text: str, n: int) -> frozenset[tuple[str, ...]]:
    return frozenset(ngrams(text, n))


def _segments(text: str, marks: Iterable[bool]) -> list[Segment]:
    """Adjacent marked words become one segment, including the characters between them."""
    segments: list[Segment] = []
    position, before = 0, False
    for match, marked in zip(WORD.finditer(text), marks, strict=True):
        between = text[position : match.start()]
        if between:
            segments.append(Segment(between, marked and before))
        segments.append(Segment(match[0], marked))
        position, before = match.end(), marked
    if position < len(text):
        segments.append(Segment(text[position:], False))
    joined: list[Segment] = []
    for segment in segments:
        if joined and joined[-1].marked == segment.marked:
            joined[-1] = Segment(joined[-1].text + segment.text, segment.marked)
        else:
            joined.append(segment)
    return joined
