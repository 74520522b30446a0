"""What can be told of a summary beside ROUGE: length, copying, novelty, repetition, speakers, invented names.

Knows texts only: nothing of models, files or pages. Each check carries the sentences that say how it is computed and
what it misses, so that a page and a report say the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

from dsum_demo.data.dialogues import speakers
from dsum_demo.metrics.grounding import ungrounded
from dsum_demo.metrics.overlap import COPY_NGRAM, copied_from_dialogue, share_marked
from dsum_demo.metrics.words import ngrams, words

REPEATED_NGRAM = 3
SWAP_MARGIN = 0.05  # of F1, by which the exchanged text has to agree better
LABELS = ("#Person1#", "#Person2#")

_LABEL = re.compile(f"({'|'.join(LABELS)})")


@dataclass(frozen=True)
class Check:
    """One check. `how` and `misses` are a sentence each.

    unit: "ratio" (1 is equal), "share" (0 to 1), "yes/no" (0 or 1) or "count".
    needs: "dialogue" or "references", without which there is no value.
    """

    name: str
    title: str
    unit: str
    needs: str
    how: str
    misses: str


CHECKS = (
    Check(
        "length",
        "Length against the reference",
        "ratio",
        "references",
        "Words of the summary over words of the reference, over the mean of several.",
        "A right length says nothing of what is written.",
    ),
    Check(
        "copied",
        "Share copied",
        "share",
        "dialogue",
        f"The share of the summary's words in runs of {COPY_NGRAM} or more words that the dialogue has too.",
        "What is copied with a word changed here and there counts as new, and set phrases count as copied.",
    ),
    Check(
        "novel_bigrams",
        "Novel bigrams",
        "share",
        "dialogue",
        "The share of the summary's different pairs of neighbouring words that the dialogue does not have.",
        "New wording may be a good paraphrase or an invention: the check does not tell which.",
    ),
    Check(
        "repetition",
        "Repetition",
        "share",
        "",
        f"The share of the summary's runs of {REPEATED_NGRAM} words that it has had before.",
        "The same said again in other words is not seen, and decoding without repeated n-grams hides what is.",
    ),
    Check(
        "speakers",
        "Speakers covered",
        "share",
        "dialogue",
        "The share of the dialogue's speakers whose label stands in the summary.",
        "Somebody who is called “he” or “the doctor” counts as left out, and not every speaker has to be named.",
    ),
    Check(
        "swapped",
        "Speakers probably swapped",
        "yes/no",
        "references",
        f"Yes where what follows {LABELS[0]} and {LABELS[1]} in the summary agrees better with what follows the other "
        f"label in the references, by {100 * SWAP_MARGIN:.0f} points or more of the F1 of shared words.",
        "It sees labels only, no names or pronouns, and needs wording like a reference's: of the samples' own "
        "references, set against one another, it finds four in ten when exchanged, and suspects one in fourteen as "
        "they are.",
    ),
    Check(
        "ungrounded",
        "Names and numbers not in the dialogue",
        "count",
        "dialogue",
        "Capitalized words, numbers in digits and speaker labels of the summary that the dialogue does not have, each "
        "once; a sentence's first word is left out if it is an ordinary English word.",
        "A right name at the wrong place is not seen, and what is right but written otherwise (“30” for “thirty”) is "
        "called invented.",
    ),
)


@dataclass(frozen=True)
class Checked:
    """A summary's values by the check's name, None where there is nothing to compute them from; and the names and
    numbers that do not stand in the dialogue.
    """

    values: dict[str, float | None]
    ungrounded: tuple[str, ...] = ()


def check_summary(summary: str, dialogue: str | None, references: Sequence[str]) -> Checked:
    """Every check of CHECKS on one summary. dialogue None, references (): not here, so what needs them is None."""
    invented = tuple(ungrounded(summary, dialogue)) if dialogue else ()
    return Checked(
        {
            "length": length_ratio(summary, references),
            "copied": share_marked(copied_from_dialogue(summary, dialogue)) if dialogue and words(summary) else None,
            "novel_bigrams": novel_bigrams(summary, dialogue) if dialogue else None,
            "repetition": repetition(summary),
            "speakers": speakers_covered(summary, dialogue) if dialogue else None,
            "swapped": swapped(summary, references),
            "ungrounded": float(len(invented)) if dialogue else None,
        },
        invented,
    )


def length_ratio(summary: str, references: Sequence[str]) -> float | None:
    """Words over words, the mean over references that have any; None without one."""
    lengths = [len(counted) for text in references if (counted := words(text))]
    return fmean(len(words(summary)) / length for length in lengths) if lengths else None


def novel_bigrams(summary: str, dialogue: str) -> float | None:
    """The share of different bigrams that the dialogue does not have (See et al. 2017, section 6.2); None below two
    words."""
    pairs = set(ngrams(summary, 2))
    return len(pairs - _bigrams(dialogue)) / len(pairs) if pairs else None


def repetition(summary: str) -> float | None:
    """1 - different trigrams / trigrams; None below three words."""
    runs = ngrams(summary, REPEATED_NGRAM)
    return 1 - len(set(runs)) / len(runs) if runs else None


def speakers_covered(summary: str, dialogue: str) -> float | None:
    """The share of the dialogue's speaker labels that stand in the summary as whole words; None without labels."""
    labels = speakers(dialogue)
    return fmean(_stands_in(label, summary) for label in labels) if labels else None


def swapped(summary: str, references: Sequence[str]) -> float | None:
    """1.0 where the references agree with the summary clearly better once its labels are exchanged, else 0.0; None
    where the summary or every reference is without a label.

    ROUGE itself cannot tell: two labels in each other's place leave ROUGE-1 as it is, and the others nearly so.
    """
    against = [_said_of(reference) for reference in references if _labelled(reference)]
    if not against or not _labelled(summary):
        return None
    straight, crossed = (
        fmean(_shared(text[label], reference[label]) for reference in against for label in LABELS)
        for text in (_said_of(summary), _said_of(exchange(summary)))
    )
    return float(crossed - straight >= SWAP_MARGIN)


def exchange(text: str) -> str:
    """The text with #Person1# and #Person2# exchanged."""
    first, second = LABELS
    return second.join(part.replace(second, first) for part in text.split(first))


def _said_of(text: str) -> dict[str, Counter[str]]:
    """For each label the words between it and the next one: with a label as subject, what is said of that speaker."""
    said: dict[str, Counter[str]] = {label: Counter() for label in LABELS}
    _, *parts = _LABEL.split(text)
    for label, part in zip(parts[::2], parts[1::2], strict=True):
        said[label].update(words(part))
    return said


def _shared(one: Counter[str], other: Counter[str]) -> float:
    """F1 of the words that two bags share; 0 for empty ones."""
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0


def _labelled(text: str) -> bool:
    return any(label in text for label in LABELS)


def _stands_in(label: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.IGNORECASE) is not None


@lru_cache(maxsize=8)  # several systems write about one dialogue
def _bigrams(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(ngrams(text, 2))
