"""Checks of a summary in addition to ROUGE: length, copying, novelty, repetition, speakers, ungrounded names."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from statistics import fmean
from typing import Any

from dsum_demo.data.dialogues import speakers
from dsum_demo.metrics.fragments import compression, coverage, density
from dsum_demo.metrics.grounding import recalled, ungrounded
from dsum_demo.metrics.overlap import COPY_NGRAM, copied_from_dialogue, share_marked
from dsum_demo.metrics.scores import LESS, MORE
from dsum_demo.metrics.words import ngrams, words

REPEATED_NGRAM = 3
SWAP_MARGIN = 0.05  # the F1 difference from which labels count as swapped
LABELS = ("#Person1#", "#Person2#")

CHRF_SIGNATURE = "case:mixed|eff:yes|nc:6|nw:0|space:no"  # sacrebleu's defaults, without the number of references

UNITS = {
    "ratio": "× the reference", "share": "%", "yes/no": "% of summaries", "count": "per summary", "words": "words",
    "times": "× the summary", "score": "× 100", "bits": "bits per token",
}  # fmt: skip

NO, CLOSER = "no is better", "closer to the reference is better"

_LABEL = re.compile(f"({'|'.join(LABELS)})")


@dataclass(frozen=True)
class Check:
    """One check and its description.

    unit: "ratio" (1 is equal), "share" (0 to 1), "yes/no" (0 or 1), "score" (0 to 1, shown × 100), "count", "words" or
    "times" (how many times as long the dialogue is), or "bits" (per token).
    needs: "dialogue", "references" or "": the text without which there is no value; "judge": a language model computes
    the value, if the user requests it. direction: which values are better, if nothing else differs.
    how, misses: how it is computed and its limits, one sentence each, shown in the UI and in reports.
    """

    name: str
    title: str
    unit: str
    needs: str
    direction: str
    how: str
    misses: str

    @property
    def times_100(self) -> bool:
        """Whether its values are shown × 100."""
        return self.unit in ("share", "yes/no", "score")

    @property
    def factor(self) -> int:
        """What its values are multiplied by where they are shown."""
        return 100 if self.times_100 else 1

    @property
    def digits(self) -> int:
        """Decimals of shown means."""
        return 1 if self.times_100 else 2

    @property
    def heading(self) -> str:
        """The title, marked unless higher values are better."""
        return self.title if self.direction == MORE else f"{self.title} ({self.direction})"

    @property
    def axis(self) -> str:
        """The title with the unit of the shown values."""
        return f"{self.title} ({UNITS[self.unit]})"

    def merit(self, value: float) -> float:
        """The value as one of which more is better."""
        if self.direction == CLOSER:
            return -abs(math.log(max(value, 1e-9)))
        return value if self.direction == MORE else -value


CHECKS = (
    Check(
        "length",
        "Length against the reference",
        "ratio",
        "references",
        CLOSER,
        "Words of the summary divided by words of the reference, averaged over references.",
        "A good length does not mean good content.",
    ),
    Check(
        "copied",
        "Share copied",
        "share",
        "dialogue",
        LESS,
        f"The share of the summary's words in runs of {COPY_NGRAM} or more words copied from the dialogue.",
        "Copies with single words changed count as new, and set phrases count as copied.",
    ),
    Check(
        "novel_bigrams",
        "Novel bigrams",
        "share",
        "dialogue",
        MORE,
        "The share of the summary's distinct bigrams that do not occur in the dialogue.",
        "It does not distinguish a good paraphrase from an invention.",
    ),
    Check(
        "coverage",
        "Extractive coverage",
        "share",
        "dialogue",
        MORE,
        "The share of the summary's words that are in extractive fragments: from left to right, the longest run of "
        "words that the dialogue also has (Grusky et al. 2018).",
        "A fragment may be a single word, so it is high for every summary in the dialogue's words, correct or not.",
    ),
    Check(
        "density",
        "Extractive density",
        "words",
        "dialogue",
        LESS,
        "The mean length of the extractive fragment that a word of the summary is in, 0 for a new word (Grusky et al. "
        "2018).",
        "It shows how much is copied, not whether that is the important part.",
    ),
    Check(
        "compression",
        "Compression",
        "times",
        "dialogue",
        MORE,
        "Words of the dialogue divided by words of the summary (Grusky et al. 2018).",
        "A short summary compresses well whatever it leaves out.",
    ),
    Check(
        "repetition",
        "Repetition",
        "share",
        "",
        LESS,
        f"The share of the summary's {REPEATED_NGRAM}-grams of words that repeat an earlier one.",
        "Repetition in other words is not detected, and no_repeat_ngram_size prevents exact repetition.",
    ),
    Check(
        "speakers",
        "Speakers covered",
        "share",
        "dialogue",
        MORE,
        "The share of the dialogue's speakers whose label occurs in the summary.",
        "A speaker called “he” or “the doctor” counts as missing, and a good summary may leave speakers out.",
    ),
    Check(
        "swapped",
        "Speakers probably swapped",
        "yes/no",
        "references",
        NO,
        f"Yes if the words after {LABELS[0]} and {LABELS[1]} in the summary match the words after the other label in "
        f"the references better, by {100 * SWAP_MARGIN:.0f} points or more of word F1.",
        "It uses labels only, not names or pronouns, and needs wording similar to a reference's: on the samples' own "
        "references, compared with each other, it detects 40 % of swapped ones and reports 7 % of correct ones.",
    ),
    Check(
        "ungrounded",
        "Names and numbers not in the dialogue",
        "count",
        "dialogue",
        LESS,
        "Distinct capitalized words, numbers in digits and speaker labels of the summary that do not occur in the "
        "dialogue; a sentence's first word is ignored if it is an ordinary English word.",
        "A name used in the wrong place is not detected, and a correct number in another notation (“30” for “thirty”) "
        "is reported.",
    ),
    Check(
        "entity_recall",
        "Names and numbers of the reference found",
        "share",
        "references",
        MORE,
        "The share of a reference's names, numbers and speaker labels that occur in the summary, averaged over "
        "references that have some.",
        "References differ in what they mention, and a name may occur in the wrong place.",
    ),
    Check(
        "chrf",
        "chrF",
        "score",
        "references",
        MORE,
        "The F2 score of character 1- to 6-grams that summary and reference share, averaged over references "
        f"(sacrebleu {version('sacrebleu')}, per summary, {CHRF_SIGNATURE}).",
        "Like ROUGE it rewards the reference's wording: a wrong name or speaker hardly changes it.",
    ),
    Check(
        "judge_faithfulness",
        "Judge: faithfulness",
        "bits",
        "judge",
        MORE,
        "log p(summary | dialogue) − log p(summary) per token, by a language model (FFLM, arXiv 2310.11648): how much "
        "likelier the dialogue makes the summary.",
        "It depends on wording and length too; the judge's own test shows which errors it finds.",
    ),
    Check(
        "judge_speakers",
        "Judge: speakers",
        "bits",
        "judge",
        MORE,
        "log p(summary | dialogue) − log p(summary | the dialogue with two speakers exchanged) per token, by a "
        "language model: below zero, the summary fits the exchanged dialogue better.",
        "It sees only whether speakers are exchanged, and is near zero if a summary hardly depends on who is who.",
    ),
    Check(
        "judge_coverage",
        "Judge: coverage",
        "bits",
        "judge",
        MORE,
        "log p(dialogue | summary) − log p(dialogue) per token, by a language model (likelihood gain, Levin & Kipnis "
        "2024): how much likelier the summary makes the dialogue.",
        "A longer summary covers more, also with trivial content; only the beginning of a long dialogue is read.",
    ),
)


@dataclass(frozen=True)
class Checked:
    """A summary's values by check name, None if they cannot be computed, and its ungrounded names and numbers."""

    values: dict[str, float | None]
    ungrounded: tuple[str, ...] = ()


def check_summary(summary: str, dialogue: str | None, references: Sequence[str]) -> Checked:
    """Every check of CHECKS on one summary; checks that need a missing dialogue or references are None."""
    invented = tuple(ungrounded(summary, dialogue)) if dialogue else ()
    return Checked(
        {
            "length": length_ratio(summary, references),
            "copied": share_marked(copied_from_dialogue(summary, dialogue)) if dialogue and words(summary) else None,
            "novel_bigrams": novel_bigrams(summary, dialogue) if dialogue else None,
            "coverage": coverage(summary, dialogue) if dialogue else None,
            "density": density(summary, dialogue) if dialogue else None,
            "compression": compression(summary, dialogue) if dialogue else None,
            "repetition": repetition(summary),
            "speakers": speakers_covered(summary, dialogue) if dialogue else None,
            "swapped": swapped(summary, references),
            "ungrounded": float(len(invented)) if dialogue else None,
            "entity_recall": recalled(summary, references),
            "chrf": chrf(summary, references),
            "judge_faithfulness": None,
            "judge_speakers": None,
            "judge_coverage": None,
        },
        invented,
    )


def length_ratio(summary: str, references: Sequence[str]) -> float | None:
    """Summary words / reference words, averaged over the references with words; None without one."""
    lengths = [len(counted) for text in references if (counted := words(text))]
    return fmean(len(words(summary)) / length for length in lengths) if lengths else None


@cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def chrf(summary: str, references: Sequence[str]) -> float | None:
    """chrF of one summary, 0 to 1, averaged over the references with text; None without one."""
    against = [text for text in references if text.strip()]
    return fmean(_chrf().sentence_score(summary, [text]).score / 100 for text in against) if against else None


def novel_bigrams(summary: str, dialogue: str) -> float | None:
    """The share of distinct bigrams that do not occur in the dialogue (See et al. 2017, section 6.2); None below two
    words."""
    pairs = set(ngrams(summary, 2))
    return len(pairs - _bigrams(dialogue)) / len(pairs) if pairs else None


def repetition(summary: str) -> float | None:
    """1 - distinct trigrams / trigrams; None below three words."""
    runs = ngrams(summary, REPEATED_NGRAM)
    return 1 - len(set(runs)) / len(runs) if runs else None


def speakers_covered(summary: str, dialogue: str) -> float | None:
    """The share of the dialogue's speaker labels that occur in the summary as whole words; None without labels."""
    labels = speakers(dialogue)
    return fmean(_contains_word(summary, label) for label in labels) if labels else None


def swapped(summary: str, references: Sequence[str]) -> float | None:
    """1.0 if the summary matches the references better by SWAP_MARGIN with its labels exchanged, else 0.0; None if the
    summary or every reference has no label.

    ROUGE does not detect this: exchanging two labels does not change ROUGE-1 and hardly changes the other types.
    """
    against = [_words_after_labels(reference) for reference in references if _labelled(reference)]
    if not against or not _labelled(summary):
        return None
    straight, crossed = (
        fmean(_shared(text[label], reference[label]) for reference in against for label in LABELS)
        for text in (_words_after_labels(summary), _words_after_labels(exchange(summary)))
    )
    return float(crossed - straight >= SWAP_MARGIN)


def exchange(text: str) -> str:
    """The text with #Person1# and #Person2# exchanged."""
    first, second = LABELS
    return second.join(part.replace(second, first) for part in text.split(first))


def _words_after_labels(text: str) -> dict[str, Counter[str]]:
    """For each label the words up to the next label, which mostly describe that speaker."""
    found: dict[str, Counter[str]] = {label: Counter() for label in LABELS}
    _, *parts = _LABEL.split(text)
    for label, part in zip(parts[::2], parts[1::2], strict=True):
        found[label].update(words(part))
    return found


def _shared(one: Counter[str], other: Counter[str]) -> float:
    """Word F1 of two bags of words; 0 if both are empty."""
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0


def _labelled(text: str) -> bool:
    return any(label in text for label in LABELS)


def _contains_word(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


@lru_cache(maxsize=8)  # shared by the systems' summaries of one dialogue
def _bigrams(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(ngrams(text, 2))
