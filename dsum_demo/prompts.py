"""The one prompt, the one decode config, the one tokenization, for training and inference and for every system, so that
a difference on the screen is a difference between models. Standard library only: tokenizers come in as arguments.
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
    r"^\s*(?:\[[^\]\n]{4,32}\]\s*|\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?\s+\d{1,2}:\d{2}(?::\d{2})?(?:\s*[AaPp]\.?[Mm]\.?)?\s*[-–]?\s+)"
)


@dataclass(frozen=True)
class DecodeConfig:
    """How a summary is written; the same for all systems of a comparison. Raises InputError when out of bounds.

    max_new_tokens: 1 to 512. num_beams: 1 (greedy or sampling, streams) to 8. temperature: 0.1 to 2, used when sampling.
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
            return "The first turn alone is longer than the model reads; its end was left out."
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
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") or c == "\u200d")
    lines = (_CHAT_STAMP.sub("", re.sub(r"[^\S\n]+", " ", line)).strip() for line in text.split("\n"))
    cleaned = "\n".join(line for line in lines if line)
    if not any(c.isalnum() for c in cleaned):
        raise InputError(
            "There is no dialogue to summarize. Paste one, a turn a line, such as “Maya: Are you free today?”."
        )
    return cleaned


def speakers(dialogue: str) -> list[str]:
    """Speaker labels in order of appearance; a label is what stands before a line's first colon, at most 40 characters."""
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
    # An endless line may have no spaces at all: then cut between characters.
    for pieces, joint in ((turns[0].split(" "), " "), (list(turns[0][: max_source_tokens * 20]), "")):
        kept = _largest_fit(pieces, joint, tokenizer, max_source_tokens)
        if kept:
            text = joint.join(pieces[:kept])
            ids = encode_source(tokenizer, text)
            return FittedDialogue(text, tuple(ids), 1, len(turns) - 1, cut_inside_turn=True)
    raise InputError(f"The prompt alone does not fit into {max_source_tokens} tokens; give the family a larger limit.")


def _largest_fit(pieces: Sequence[str], joint: str, tokenizer: Callable[..., Any], limit: int) -> int:
    """How many leading pieces fit; bisection over a megabyte needs no more than a cut of it that is sure to be long enough."""
    low, high = 0, min(len(pieces), limit * 8)
    while low < high:
        middle = (low + high + 1) // 2
        if len(encode_source(tokenizer, joint.join(pieces[:middle]))) <= limit:
            low = middle
        else:
            high = middle - 1
    return low
