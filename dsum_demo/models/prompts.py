"""Prompts: turn a dialogue into model input and a summary into a target, for training and inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dsum_demo.errors import InputError

PROMPT_TEMPLATE = "Summarize the following conversation.\n\n{dialogue}\n\nSummary: "
LABEL_PAD_ID = -100  # the index that torch's cross entropy ignores
_ZERO_WIDTH_SPACE = "\u200b"


@dataclass(frozen=True)
class FittedDialogue:
    """The part of a dialogue that fits the model's input; `source_ids` is the whole tokenized prompt."""

    text: str
    source_ids: tuple[int, ...]
    turns_kept: int
    turns_left_out: int
    cut_inside_turn: bool = False

    @property
    def note(self) -> str:
        """A message about what was truncated; empty if nothing was."""
        turns = "turn" if self.turns_left_out == 1 else f"{self.turns_left_out} turns"
        were = "was" if self.turns_left_out == 1 else "were"
        if self.cut_inside_turn:
            more = f" The {turns} after it {were} left out." if self.turns_left_out else ""
            return f"The first turn exceeds the input limit and was truncated.{more}"
        if self.turns_left_out:
            return f"Too long for the model: the last {turns} {were} left out, {self.turns_kept} kept."
        return ""


@dataclass(frozen=True)
class Prompt:
    """The text around a dialogue.

    template: contains `{dialogue}`. chat: whether that text is the user's turn of the tokenizer's own chat template
    (models tuned on conversations); otherwise it is the input unchanged.
    """

    template: str = PROMPT_TEMPLATE
    chat: bool = False

    @property
    def fingerprint(self) -> str:
        """Identifies the prompt in cache keys; a tokenizer's chat template is part of the model's own fingerprint."""
        return f"chat: {self.template}" if self.chat else self.template

    def render(self, tokenizer: Any, dialogue: str) -> str:
        """The text that is tokenized; names of the tokenizer's control tokens in `dialogue` are escaped."""
        text = self.template.format(dialogue=self._without_control_tokens(tokenizer, dialogue))
        if not self.chat:
            return text
        # Models with a thinking mode (Qwen3) read this switch; other templates ignore it.
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return str(rendered)

    def encode(self, tokenizer: Any, dialogue: str) -> list[int]:
        """Token ids of the prompt with this dialogue; never truncated."""
        text = self.render(tokenizer, dialogue)
        # A chat template contains its special tokens.
        return list(tokenizer(text, add_special_tokens=not self.chat, truncation=False, verbose=False)["input_ids"])

    def encode_target(self, tokenizer: Any, summary: str, max_tokens: int, end: int | None = None) -> list[int]:
        """Token ids of a summary and the end token, truncated to `max_tokens` with the end token kept.

        end: the result of `end_token_id`, so that a caller with many summaries renders the template once.
        """
        text = self._without_control_tokens(tokenizer, summary)
        ids = list(tokenizer(text_target=text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"])
        return [*ids[: max_tokens - 1], self.end_token_id(tokenizer) if end is None else end]

    def end_token_id(self, tokenizer: Any) -> int:
        """The tokenizer's end token, or the token that closes a turn of its chat template."""
        if not self.chat:
            if tokenizer.eos_token_id is None:
                raise InputError("The tokenizer has no end token; add eos_token to tokenizer_config.json.")
            return int(tokenizer.eos_token_id)
        turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
        rendered = str(tokenizer.apply_chat_template(turns, tokenize=False))
        closing = tokenizer(rendered.rpartition("answer")[2], add_special_tokens=False)["input_ids"]
        if not closing:
            raise InputError("The tokenizer's chat template does not close the assistant's turn with a token.")
        return int(closing[0])

    def _without_control_tokens(self, tokenizer: Any, text: str) -> str:
        """The text with an invisible space inside every name of a control token, such as </s> or <|im_end|>.

        A pasted one would otherwise end the input or open another turn.
        """
        names = set(tokenizer.all_special_tokens)
        if self.chat:
            # Gemma's tokenizer does not list the tokens of its turns.
            added = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
            names |= {name for name in added if name in str(tokenizer.chat_template)}
        for name in names:
            text = text.replace(name, name[0] + _ZERO_WIDTH_SPACE + name[1:])
        return text

    def fit(self, tokenizer: Any, dialogue: str, max_tokens: int) -> FittedDialogue:
        """Tokenize the prompt; if it is longer than `max_tokens`, drop whole turns from the end until it fits.

        The text after the dialogue asks the model to summarize, so it is never truncated. If the first turn alone is
        too long, it is cut between words.
        """

        def tokens(text: str) -> int:
            return len(self.encode(tokenizer, text))

        ids = self.encode(tokenizer, dialogue)
        turns = dialogue.split("\n")
        if len(ids) <= max_tokens:
            return FittedDialogue(dialogue, tuple(ids), len(turns), 0)
        kept = _largest_fit(turns, "\n", tokens, max_tokens)
        if kept:
            text = "\n".join(turns[:kept])
            return FittedDialogue(text, tuple(self.encode(tokenizer, text)), kept, len(turns) - kept)
        text = _cut_inside(turns[0], tokens, max_tokens)
        if not text:
            raise InputError(f"The prompt alone fills {max_tokens} tokens; give the family a larger limit.")
        return FittedDialogue(text, tuple(self.encode(tokenizer, text)), 1, len(turns) - 1, cut_inside_turn=True)


DEFAULT_PROMPT = Prompt()


def _cut_inside(turn: str, tokens: Callable[[str], int], limit: int) -> str:
    """The start of the turn, cut between words, or between characters if that keeps much more of it."""
    words, characters = turn.split(" "), list(turn[: limit * 20])
    by_words = " ".join(words[: _largest_fit(words, " ", tokens, limit)])
    by_characters = "".join(characters[: _largest_fit(characters, "", tokens, limit)])
    # A very long line often has no space after the name.
    return by_words if 2 * len(by_words) >= len(by_characters) else by_characters


def _largest_fit(pieces: Sequence[str], joint: str, tokens: Callable[[str], int], limit: int) -> int:
    """How many leading pieces fit, by bisection."""
    # A piece usually has at least one token, which bounds the search.
    low, high = 0, min(len(pieces), limit * 8)
    while low < high:
        middle = (low + high + 1) // 2
        if tokens(joint.join(pieces[:middle])) <= limit:
            low = middle
        else:
            high = middle - 1
    return low
