"""Dialogues as people paste them: cleaning, speakers, leading turns."""

from __future__ import annotations

import re
import unicodedata

from dsum_demo.errors import InputError

# "[12:03] Maya: text" and "12/03/2024, 14:05 - Maya: text" are how chat programs export a turn.
_CHAT_STAMP = re.compile(
    r"^\s*(?:\[[^\]\n]{0,24}\d{1,2}[:.]\d{2}[^\]\n]{0,12}\]\s*"
    r"|\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?\s+\d{1,2}:\d{2}(?::\d{2})?(?:\s*[AaPp]\.?[Mm]\.?)?\s*[-–]?\s+)"
)


_SPEAKER = re.compile(r"([^:\n]{1,40}):\s")
_LINE_ENDS = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")


# Invisible, yet part of the word or sign that they stand in: joiners of emoji and of Persian, Arabic and Indic scripts.
_JOINERS = "\u200c\u200d"


def clean_dialogue(text: str, max_chars: int = 1_000_000) -> str:
    """Undo what pasting does: line ends, invisible characters, blank lines, chat time stamps.

    Raises InputError for an empty text, one without a letter or digit, or one longer than `max_chars` characters.
    """
    if len(text) > max_chars:
        raise InputError(
            f"The dialogue has {len(text):,} characters; the limit is {max_chars:,}. Paste the part to be summarized."
        )
    text = unicodedata.normalize("NFC", _LINE_ENDS.sub("\n", text))
    kept = "\n\t" + _JOINERS
    text = "".join(c for c in text if c in kept or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    lines = (_CHAT_STAMP.sub("", re.sub(r"[^\S\n]+", " ", line)).strip() for line in text.split("\n"))
    cleaned = "\n".join(line for line in lines if line)
    if not any(c.isalnum() for c in cleaned):
        raise InputError(
            "There is no dialogue to summarize. Paste one, a turn a line, such as “Maya: Are you free today?”."
        )
    return cleaned


MIN_TURNS = 2


def count_turns(dialogue: str) -> int:
    """How many lines start with a speaker label."""
    return sum(_SPEAKER.match(line + " ") is not None for line in dialogue.split("\n"))


def speakers(dialogue: str) -> list[str]:
    """Speaker labels in order of appearance: what stands before a line's first colon, at most 40 characters."""
    found = (_SPEAKER.match(line + " ") for line in dialogue.split("\n"))
    return list(dict.fromkeys(match[1].strip() for match in found if match))


LEAD_TURNS = 3


def lead(dialogue: str, turns: int = LEAD_TURNS) -> str:
    """LEAD-3, the baseline of the DialogSum paper (Chen et al. 2021): the first turns as they are."""
    return "\n".join(dialogue.splitlines()[:turns])
