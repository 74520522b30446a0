"""The prompt and its tokenization, for training and inference and for every system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dsum_demo.errors import InputError

PROMPT_TEMPLATE = "Summarize the following conversation.\n\n{dialogue}\n\nSummary: "


LABEL_PAD_ID = -100  # the index that torch's cross entropy leaves out


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
