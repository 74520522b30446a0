"""The one prompt, decode config and tokenization, for training and inference and for every system, so that a
difference on the screen is a difference between models. Standard library only: tokenizers come in as arguments.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dsum_demo.errors import InputError

PROMPT_TEMPLATE = "Summarize the following conversation.\n\n{dialogue}\n\nSummary: "
LABEL_PAD_ID = -100  # the index that torch's cross entropy leaves out

# "[12:03] Maya: text" and "12/03/2024, 14:05 - Maya: text" are how chat programs export a turn.
_CHAT_STAMP = re.compile(
    r"^\s*(?:\[[^\]\n]{0,24}\d{1,2}[:.]\d{2}[^\]\n]{0,12}\]\s*"
    r"|\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?\s+\d{1,2}:\d{2}(?::\d{2})?(?:\s*[AaPp]\.?[Mm]\.?)?\s*[-–]?\s+)"
)
_LINE_ENDS = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Invisible, yet part of the word or sign that they stand in: joiners of emoji and of Persian, Arabic and Indic scripts.
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class DecodeConfig:
    """How a summary is written; the same for all systems of a comparison. Raises InputError when out of bounds.

    max_new_tokens: 1 to 512. num_beams: 1 (greedy or sampling, streams) to 8. temperature: 0.1 to 2, used in sampling.
    no_repeat_ngram_size: 0 (off) to 10.
    """

    max_new_tokens: int = 96
    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 1.0
    seed: int = 0
    no_repeat_ngram_size: int = 0
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        bounds = {
            "max_new_tokens": (1, 512),
            "num_beams": (1, 8),
            "temperature": (0.1, 2.0),
            "seed": (0, 2**32 - 1),
            "no_repeat_ngram_size": (0, 10),
            "length_penalty": (-2.0, 4.0),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise InputError(f"{name} is {value!r}; give a number from {low} to {high}.")
            if isinstance(low, int):
                # Web forms send 96.0 for 96.
                if value != int(value):
                    raise InputError(f"{name} is {value!r}; give a whole number from {low} to {high}.")
                object.__setattr__(self, name, int(value))
        if self.do_sample and self.num_beams > 1:
            raise InputError(f"Sampling with {self.num_beams} beams is not offered; choose beams or sampling.")

    @property
    def streams(self) -> bool:
        """Whether text can be shown token by token; beams know their text only at the end."""
        return self.num_beams == 1

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class FittedDialogue:
    """A dialogue as the model reads it: `source_ids` is the whole tokenized prompt, end token included."""

    text: str
    source_ids: tuple[int, ...]
    turns_kept: int
    turns_left_out: int
    cut_inside_turn: bool = False

    @property
    def note(self) -> str:
        """What was left out, in a sentence; empty where nothing was."""
        if self.cut_inside_turn:
            turns = "one more turn" if self.turns_left_out == 1 else f"{self.turns_left_out} more turns"
            more = f", and so {'was' if self.turns_left_out == 1 else 'were'} {turns}" if self.turns_left_out else ""
            return f"The first turn alone is longer than the model reads; its end was left out{more}."
        if self.turns_left_out:
            turns = "turn was" if self.turns_left_out == 1 else "turns were"
            return f"Too long for the model: the last {self.turns_left_out} {turns} left out, {self.turns_kept} kept."
        return ""


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


def speakers(dialogue: str) -> list[str]:
    """Speaker labels in order of appearance: what stands before a line's first colon, at most 40 characters."""
    found = (re.match(r"([^:\n]{1,40}):\s", line + " ") for line in dialogue.split("\n"))
    return list(dict.fromkeys(match[1].strip() for match in found if match))


def encode_source(tokenizer: Callable[..., Any], dialogue: str) -> list[int]:
    """Token ids of the prompt with this dialogue, end token included; never cut."""
    return list(tokenizer(PROMPT_TEMPLATE.format(dialogue=dialogue), truncation=False, verbose=False)["input_ids"])


def encode_target(tokenizer: Callable[..., Any], summary: str, max_tokens: int) -> list[int]:
    """Token ids of a summary, end token included, cut to `max_tokens` with the end token kept."""
    ids = list(tokenizer(text_target=summary, truncation=False, verbose=False)["input_ids"])
    return ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]]


def fit_dialogue(tokenizer: Callable[..., Any], dialogue: str, max_source_tokens: int) -> FittedDialogue:
    """Tokenize the prompt; where it is too long, leave out whole turns from the end until it fits.

    The prompt's last line is what tells the model to summarize, so it is never cut away. Only where the first turn
    alone is too long is it cut, between words.
    """
    ids = encode_source(tokenizer, dialogue)
    turns = dialogue.split("\n")
    if len(ids) <= max_source_tokens:
        return FittedDialogue(dialogue, tuple(ids), len(turns), 0)
    kept = _largest_fit(turns, "\n", tokenizer, max_source_tokens)
    if kept:
        text = "\n".join(turns[:kept])
        return FittedDialogue(text, tuple(encode_source(tokenizer, text)), kept, len(turns) - kept)
    text = _cut_inside(turns[0], tokenizer, max_source_tokens)
    if not text:
        raise InputError(f"The prompt alone fills {max_source_tokens} tokens; give the family a larger limit.")
    return FittedDialogue(text, tuple(encode_source(tokenizer, text)), 1, len(turns) - 1, cut_inside_turn=True)


def _cut_inside(turn: str, tokenizer: Callable[..., Any], limit: int) -> str:
    """The turn's beginning, cut between words; between characters where words would leave most of the room empty."""
    words, characters = turn.split(" "), list(turn[: limit * 20])
    by_words = " ".join(words[: _largest_fit(words, " ", tokenizer, limit)])
    by_characters = "".join(characters[: _largest_fit(characters, "", tokenizer, limit)])
    # An endless line often has a name and then no space at all.
    return by_words if 2 * len(by_words) >= len(by_characters) else by_characters


def _largest_fit(pieces: Sequence[str], joint: str, tokenizer: Callable[..., Any], limit: int) -> int:
    """How many leading pieces fit, by bisection."""
    # A piece is most often a token or more, so a megabyte of them need not be tried.
    low, high = 0, min(len(pieces), limit * 8)
    while low < high:
        middle = (low + high + 1) // 2
        if len(encode_source(tokenizer, joint.join(pieces[:middle]))) <= limit:
            low = middle
        else:
            high = middle - 1
    return low
