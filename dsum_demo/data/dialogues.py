"""Dialogues: reading and checking pasted texts, speakers, leading turns."""

from __future__ import annotations

from functools import lru_cache

from dsum_demo.data.conversations.cleaning import clean_lines
from dsum_demo.data.conversations.language import is_foreign
from dsum_demo.data.conversations.names import distinct, split_heads
from dsum_demo.data.conversations.reader import Reading, read_conversation
from dsum_demo.data.values import is_empty
from dsum_demo.errors import InputError
from dsum_demo.settings import MAX_INPUT_CHARS

MIN_TURNS = 2
LEAD_TURNS = 3


def read_dialogue(text: str, max_chars: int = MAX_INPUT_CHARS, *, as_is: bool = False) -> Reading:
    """The dialogue in a pasted text, its format and what was removed from it.

    as_is: do not recognize a format; only normalize line ends and white space, and remove invisible characters and
    blank lines.
    Raises InputError for an empty text (`is_empty`) and one longer than `max_chars` characters.
    """
    if len(text) > max_chars:
        raise InputError(
            f"The dialogue has {len(text):,} characters; the limit is {max_chars:,}. Paste a shorter part."
        )
    if as_is:
        lines = clean_lines(text)
        labels = [head[0] for head in split_heads(lines) if head]
        reading = Reading("\n".join(lines), "", len(labels), tuple(distinct(labels)))
    else:
        reading = read_conversation(text)
    if is_empty(reading.dialogue):
        raise InputError(
            "There is no dialogue to summarize. Paste one with one turn per line, such as “Maya: Are you free today?”."
        )
    return reading


@lru_cache(maxsize=8)  # called after every step of a comparison
def doubts(dialogue: str, turns: int = 0) -> tuple[str, ...]:
    """Warnings about a text, one sentence each: it is not a dialogue, or not in English.

    turns: their number in the format that the dialogue was read from; 0 counts them by their names.
    """
    found = []
    turns = turns or count_turns(dialogue)
    if turns < MIN_TURNS:
        found.append(
            f"This text does not look like a dialogue: {turns or 'no'} line{'' if turns == 1 else 's'} of the form "
            f"“Name: text”, at least {MIN_TURNS} expected. The summaries may make no sense."
        )
    if is_foreign(dialogue):
        found.append(
            "Most of this text is not in English. The summaries may make no sense: models fine-tuned on DialogSum "
            "learned English only, and T5 has no tokens for most other scripts."
        )
    return tuple(found)


def clean_dialogue(text: str, max_chars: int = MAX_INPUT_CHARS) -> str:
    """A data set's dialogue as used in training and evaluation, read as is. Raises InputError like `read_dialogue`."""
    return read_dialogue(text, max_chars, as_is=True).dialogue


def count_turns(dialogue: str) -> int:
    """The number of lines that start with a speaker."""
    return sum(head is not None for head in split_heads(dialogue.split("\n")))


def speakers(dialogue: str) -> list[str]:
    """The speakers in order of appearance: names before a line's first colon, at most 40 characters."""
    return distinct(head[0] for head in split_heads(dialogue.split("\n")) if head)


def lead(dialogue: str) -> str:
    """LEAD-3: the first turns, the baseline of the DialogSum paper (Chen et al. 2021)."""
    return "\n".join(dialogue.splitlines()[:LEAD_TURNS])
