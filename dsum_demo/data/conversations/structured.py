"""Conversations in JSON, JSON Lines and CSV: lists of turns, chat messages, Telegram and Discord exports."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dsum_demo.data.conversations.turns import Parsed, Turn

LONGEST_FIELD = 2**31 - 1  # the csv module's default of 131,072 characters is too small for long meetings
SPEAKER_KEYS = (
    "speaker",
    "author",
    "from",
    "name",
    "sender",
    "sender_name",
    "user_profile",
    "user",
    "username",
    "role",
    "participant",
    "who",
)
TEXT_KEYS = ("text", "content", "value", "message", "utterance", "body", "sentence", "msg")
_LIST_KEYS = ("messages", "conversation", "conversations", "turns", "dialogue", "dialog", "transcript", "utterances",
              "segments", "entries", "items", "data")  # fmt: skip
_NAME_KEYS = ("nickname", "display_name", "real_name", "displayName", "name", "username", "emailAddress", "user")
_RECORD_KEYS = ("dialogue", "dialog", "transcript")
_NOT_SPEAKERS = ("system", "developer", "tool", "function")


def read_json(text: str) -> Parsed | None:
    """The turns of a JSON or JSON Lines text that contains a list of turns, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    value = _loaded(text.strip())
    found = _turn_list(value)
    return turns_of(found, _title(value)) if found is not None else None


def dialogues_of_records(text: str) -> list[str]:
    """The dialogues of a data set's JSON or JSON Lines records with the dialogue as one string (SAMSum, DialogSum)."""
    value = _loaded(text.strip()) if text.lstrip().startswith(("{", "[")) else None
    records = [record for record in (value if isinstance(value, list) else [value]) if isinstance(record, dict)]
    return [record[key] for record in records for key in _RECORD_KEYS if isinstance(record.get(key), str)]


def turns_of(rows: Sequence[Mapping[str, Any]], title: str = "list of turns") -> Parsed:
    """The turns of objects with a speaker (or role, name, …) and a text (or content, value, …).

    System prompts, service messages and messages without text are removed.
    """
    dropped: Counter[str] = Counter()
    turns = []
    for row in rows:
        who, text = _speaker(row), " ".join(_text(row).split())
        if row.get("type") == "service" or str(row.get("role")).casefold() in _NOT_SPEAKERS:
            dropped["notices"] += 1
        elif not text:
            dropped["messages without text"] += 1
        else:
            turns.append(Turn(who, text))
    return Parsed(title, turns, dropped)


def is_turn(row: object) -> bool:
    """Whether the value is an object with a speaker and a text."""
    return isinstance(row, Mapping) and any(k in row for k in SPEAKER_KEYS) and any(k in row for k in TEXT_KEYS)


def read_csv(text: str) -> Parsed | None:
    """The turns of a CSV text with columns of speakers and texts, or None."""
    header = text.lstrip("\n").split("\n", 1)[0]
    for separator in ",;\t":
        columns = [name.strip().strip('"').casefold() for name in header.split(separator)]
        if len(columns) < 2 or not set(columns) & set(SPEAKER_KEYS) or not set(columns) & set(TEXT_KEYS):
            continue
        csv.field_size_limit(LONGEST_FIELD)
        try:
            _, *rows = csv.reader(io.StringIO(text.strip("\n")), delimiter=separator)
        except csv.Error:
            return None
        last = len(columns) - 1
        # Separators in an unquoted last column belong to its text.
        rows = [[*row[:last], separator.join(row[last:])] for row in rows if row]
        records = [dict(zip(columns, row, strict=False)) for row in rows]
        return turns_of(records, "table of turns")
    return None


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError):
        return None


def _turn_list(value: Any, depth: int = 0) -> list[Mapping[str, Any]] | None:
    if isinstance(value, list):
        turns = [row for row in value if is_turn(row) or (isinstance(row, dict) and row.get("type") == "service")]
        if turns and 2 * len(turns) > len(value) and any(map(is_turn, turns)):
            return turns
        if len(value) == 1 and depth < 4:
            return _turn_list(value[0], depth + 1)
    if isinstance(value, dict) and depth < 4:
        for key in _LIST_KEYS:
            if key in value and (found := _turn_list(value[key], depth + 1)) is not None:
                return found
    return None


def _title(value: Any) -> str:
    if isinstance(value, dict) and "messages" in value:
        if {"name", "type"} <= set(value):
            return "Telegram export"
        if "guild" in value:
            return "Discord export"
        return "chat messages"
    return "list of turns"


def _speaker(row: Mapping[str, Any]) -> str:
    for key in SPEAKER_KEYS:
        value = row.get(key)
        if isinstance(value, Mapping):
            value = next((value[name] for name in _NAME_KEYS if isinstance(value.get(name), str) and value[name]), None)
        if isinstance(value, str | int) and str(value).strip():
            return " ".join(str(value).replace(":", " ").split())
    return ""


def _text(row: Mapping[str, Any]) -> str:
    return next((text for key in TEXT_KEYS if (text := "".join(_pieces(row.get(key))))), "")


def _pieces(value: Any) -> Iterator[str]:
    """The texts of a message that is a string, an object with a text, or a list of these."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _pieces(part)
    elif isinstance(value, Mapping):
        yield from _pieces(value.get("text"))
