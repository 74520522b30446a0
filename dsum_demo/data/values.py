"""Converts the values of a data set's cells to dialogues, summaries and ids."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dsum_demo.data.conversations.names import split_heads
from dsum_demo.data.conversations.structured import (
    SPEAKER_KEYS,
    TEXT_KEYS,
    is_other,
    is_turn,
    normal_key,
    turn_rows,
    turns_of,
)

# Texts for missing values.
_MISSING = frozenset(("nan", "none", "null", "n/a", "na", "<na>", "#n/a", "nat"))
_ESCAPED_LINE_END = re.compile(r"\\r\\n|\\n|\\r")
_TWO_TEXTS = re.compile(r"""['"]\s+['"]""")  # in a printed numpy array; Python would concatenate them


def is_empty(text: str) -> bool:
    """Whether a text has no letter or digit, or is a text for a missing value."""
    return text.strip().casefold() in _MISSING or not any(map(str.isalnum, text))


def read_dialogue_value(value: Any) -> str | None:
    """The dialogue in a cell, "" for an empty one: a text, a list of lines, or a list of turns (objects with a speaker
    and a text). None for other values.

    The text may contain a list in JSON or Python. In a text of one line, an escaped "\\r\\n" or "\\n" before a turn is
    a line end.
    """
    value = _parsed(value)
    if isinstance(value, Mapping):
        value = _rows(value)
    if isinstance(value, list) and (rows := turn_rows(value)) is not None:
        if any(map(is_other, rows)):
            return None
        turns = turns_of(rows).turns
        return "\n".join(f"{turn.speaker}: {turn.text}" if turn.speaker else turn.text for turn in turns)
    texts = _texts(value)
    if texts is None:
        return None
    dialogue = _with_line_ends("\n".join(text.strip() for text in texts if text.strip()))
    return "" if is_empty(dialogue) else dialogue


def read_texts_value(value: Any) -> tuple[str, ...] | None:
    """The texts in a cell without empty ones: of a text, a number or a list of these. None for other values."""
    texts = _texts(_parsed(value))
    return None if texts is None else tuple(text.strip() for text in texts if not is_empty(text))


def read_label_value(value: Any) -> str:
    """An id: a text or number unchanged, other values as JSON; "" for a missing value."""
    text = _text(value)
    text = json.dumps(value, ensure_ascii=False, default=str) if text is None else text.strip()
    return "" if text.casefold() in _MISSING else text


def describe_value(value: Any) -> str:
    """The type of a cell's value, for messages."""
    value = _parsed(value)
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, Mapping):
        return "an object"
    return "a list of other values than texts or turns" if isinstance(value, list) else f"a {type(value).__name__}"


def _texts(value: Any) -> list[str] | None:
    entries = value if isinstance(value, list) else [value]
    texts = [text for entry in entries if (text := _text(entry)) is not None]
    return texts if len(texts) == len(entries) else None


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # pandas converts integer columns with missing values to float.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _parsed(value: Any) -> Any:
    """The list or object in a text in JSON or Python; other values unchanged."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if (text[:1], text[-1:]) not in (("[", "]"), ("{", "}")):
        return value
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        try:
            found = None if _TWO_TEXTS.search(text) else ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return value
    is_list = isinstance(found, list) and all(entry is None or isinstance(entry, str | dict | list) for entry in found)
    return found if is_list or isinstance(found, dict) else value


def _rows(value: Mapping[str, Any]) -> Any:
    """The turns of an object with one list of turns, or with lists of speakers and of texts, as in datasets."""
    lists = {
        normal_key(key): part for key, part in value.items() if isinstance(part, Sequence) and not isinstance(part, str)
    }
    speakers = next((lists[key] for key in SPEAKER_KEYS if key in lists), None)
    texts = next((lists[key] for key in TEXT_KEYS if key in lists), None)
    if speakers is not None and texts is not None and len(speakers) == len(texts):
        return [{"speaker": speaker, "text": text} for speaker, text in zip(speakers, texts, strict=True)]
    turns = [part for part in lists.values() if part and all(map(is_turn, part))]
    return turns[0] if len(turns) == 1 else value


def _with_line_ends(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\n" in text:
        return text
    lines = [line.strip() for line in _ESCAPED_LINE_END.split(text)]
    heads = sum(head is not None for head in split_heads(lines))
    return "\n".join(lines) if "\\r\\n" in text or 2 * heads > len(lines) > 1 else text
