"""Conversations in JSON, JSON Lines and CSV: lists of turns, chat messages, Telegram and Discord exports."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from dsum_demo.data.conversations.cleaning import clean_lines
from dsum_demo.data.conversations.names import is_speaker, same
from dsum_demo.data.conversations.turns import Parsed, Turn

LONGEST_FIELD = 2**31 - 1  # the csv module's default of 131,072 characters is too small for long meetings
# Keys and column names as `normal_key` writes them, the most specific first.
SPEAKER_KEYS = (
    "speaker", "speakername", "speakerlabel", "speakerid", "author", "authorname", "from", "name", "sender",
    "sendername", "userprofile", "user", "username", "role", "participant", "character", "person", "who",
)  # fmt: skip
TEXT_KEYS = (
    "text", "content", "value", "message", "utterance", "body", "sentence", "msg", "line", "speech", "caption",
    "parts",
)  # fmt: skip
# The text of a turn if it has a speaker too; else a whole dialogue.
_LONG_TEXT_KEYS = ("transcript", "dialogue", "dialog")
_ID_KEYS = ("fromid", "authorid", "senderid", "userid")
_LIST_KEYS = ("messages", "chatmessages", "conversation", "conversations", "turns", "dialogue", "dialog", "transcript",
              "utterances", "segments", "entries", "items", "data", "chats", "list", "mapping")  # fmt: skip
_NAME_KEYS = ("nickname", "displayname", "realname", "name", "username", "emailaddress", "user", "role", "id")
_TIME_KEYS = ("timestampms", "timestamp", "ts", "datetime", "date", "createdat", "created", "time")
_RECORD_KEYS = ("dialogue", "dialog", "transcript")
_NOT_SPEAKERS = ("system", "developer", "tool", "function")
_SERVICE_SUBTYPE = re.compile(
    r"(?:channel|group|bot)_(?:join|leave|topic|purpose|name|archive|add|remove)\w*|pinned_item"
)
_SERVICE_TYPE = re.compile(
    r"service|GuildMemberJoin|ChannelPinnedMessage|ChannelNameChange|Recipient\w+|ThreadCreated|Call"
)
_DEEPEST = 6

Rows = Sequence[Mapping[str, Any]]


def read_json(text: str) -> Parsed | None:
    """The turns of a JSON or JSON Lines text that contains a list of turns, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    value = _loaded(text.strip())
    dropped: Counter[str] = Counter()
    rows = _find_turns(value, dropped)
    if rows is None:
        return None
    parsed = turns_of(_oldest_first(rows), _title(value))
    if not parsed.turns:
        return None
    return replace(parsed, dropped=parsed.dropped + dropped)


def dialogues_of_records(text: str) -> list[str]:
    """The dialogues of a data set's JSON or JSON Lines records with the dialogue as one string (SAMSum, DialogSum)."""
    value = _loaded(text.strip()) if text.lstrip().startswith(("{", "[")) else None
    records = [record for record in (value if isinstance(value, list) else [value]) if isinstance(record, dict)]
    found = [record[key] for record in records for key in _RECORD_KEYS if isinstance(record.get(key), str)]
    turns = len(found) > 1 and all(is_turn(record, _LONG_TEXT_KEYS) for record in records)
    return [] if turns and not any("\n" in text.strip() for text in found) else found


def turns_of(rows: Rows, title: str = "list of turns") -> Parsed:
    """The turns of objects with a speaker (or role, name, …) and a text (or content, value, …).

    System prompts, service messages and messages without text are removed.
    """
    dropped: Counter[str] = Counter()
    turns = []
    for row in map(_normal, rows):
        who, text = _speaker(row), _text(row)
        if "timestampms" in row:  # Facebook writes the bytes of UTF-8 as characters
            who, text = _repaired(who), _repaired(text)
        who, text = " ".join(clean_lines(who.replace(":", " "))), " ".join(clean_lines(text))
        if _is_service(row):
            dropped["notices"] += 1
        elif not text:
            dropped["empty messages" if _has_text(row) or who else "other entries"] += 1
        else:
            turns.append(Turn(who, text))
    return Parsed(title, turns, dropped)


def turn_rows(value: Sequence[Any]) -> Rows | None:
    """The turns in a list as objects: objects with a speaker and a text, `[speaker, text]` pairs, `{speaker: text}`
    objects; None if most entries are something else.
    """
    if (pairs := _named_pairs(value)) is not None:
        return pairs
    rows = [_unwrapped(entry) for entry in value]
    turns = sum(is_turn(row, (*TEXT_KEYS, *_LONG_TEXT_KEYS)) for row in rows)
    known = turns + sum(isinstance(row, Mapping) and _is_service(_normal(row)) for row in rows)
    return rows if turns and 2 * known > len(value) else None


def is_turn(row: object, text_keys: Sequence[str] = TEXT_KEYS) -> bool:
    """Whether the value is an object with a speaker and a text."""
    keys = {normal_key(key) for key in row} if isinstance(row, Mapping) else set()
    return not keys.isdisjoint(SPEAKER_KEYS) and not keys.isdisjoint(text_keys)


def is_other(row: object) -> bool:
    """Whether the entry of a list of turns contains neither a text nor a message without text."""
    return not isinstance(row, Mapping) or not (_has_text(_normal(row)) or "role" in row)


def normal_key(name: object) -> str:
    """ "speakername" for "Speaker Name", "speaker_name" and "speakerName"."""
    return re.sub(r"[\s_-]+", "", str(name)).casefold()


def read_csv(text: str) -> Parsed | None:
    """The turns of a CSV text with columns of speakers and texts, or None."""
    header = text.lstrip("\n").split("\n", 1)[0]
    for separator in ",;\t":
        columns = [normal_key(name.strip().strip('"')) for name in header.split(separator)]
        if (
            len(columns) < 2
            or not set(columns) & set(SPEAKER_KEYS)
            or not set(columns) & {*TEXT_KEYS, *_LONG_TEXT_KEYS}
        ):
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


def _find_turns(value: Any, dropped: Counter[str], depth: int = 0) -> Rows | None:
    """The first list of turns in a value. dropped: gets the number of further ones."""
    if depth > _DEEPEST or not isinstance(value, list | dict):
        return None
    if isinstance(value, list):
        if (rows := turn_rows(value)) is not None:
            return rows
        found = [rows for entry in value if (rows := _find_turns(entry, dropped, depth + 1)) is not None]
        dropped["further conversations"] += max(0, len(found) - 1)
        return found[0] if found else None
    by_key = {normal_key(key): part for key, part in value.items()}
    for key in (*(key for key in _LIST_KEYS if key in by_key), *(key for key in by_key if key not in _LIST_KEYS)):
        part = list(by_key[key].values()) if key == "mapping" and isinstance(by_key[key], dict) else by_key[key]
        if (rows := _find_turns(part, dropped, depth + 1)) is not None:
            return rows
    return None


def _named_pairs(value: Sequence[Any]) -> Rows | None:
    pairs = [next(iter(e.items())) if isinstance(e, dict) and len(e) == 1 else e for e in value]
    if len(pairs) < 2 or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        return None
    if not all(isinstance(part, str) for pair in pairs for part in pair):
        return None
    labels = Counter(same(who) for who, _ in pairs)
    if not all(is_speaker(who, labels[same(who)]) for who, _ in pairs) or len(labels) < 2:
        return None
    return [{"speaker": who, "text": text} for who, text in pairs]


def _unwrapped(entry: Any) -> Any:
    """The message in a node such as `{"id": …, "message": {"author": …, "content": …}}`."""
    inner = entry.get("message") if isinstance(entry, dict) else None
    return inner if is_turn(inner) else entry


def _oldest_first(rows: Rows) -> Rows:
    """The rows reversed if all of them have times that decrease, as in exports of Facebook."""
    for key in _TIME_KEYS:
        times: list[Any] = [row.get(key) for row in map(_normal, (row for row in rows if isinstance(row, Mapping)))]
        sortable = all(isinstance(t, int | float) for t in times) or all(
            isinstance(t, str) and re.match(r"\d{4}-\d\d-\d\d|\d{9,}(?:\.\d+)?$", t) for t in times
        )
        if len(times) > 1 and sortable:
            later = list(pairwise(times))
            return rows[::-1] if all(a >= b for a, b in later) and any(a > b for a, b in later) else rows
    return rows


def _title(value: Any) -> str:
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, dict) and "mapping" in first:
        return "ChatGPT export"
    if isinstance(value, dict) and "chats" in value:
        return "Telegram export"
    if isinstance(value, dict) and "messages" in value:
        if {"name", "type"} <= set(value):
            return "Telegram export"
        if "guild" in value:
            return "Discord export"
        return "chat messages"
    return "list of turns"


def _normal(row: Any) -> dict[str, Any]:
    return {normal_key(key): value for key, value in reversed(list(row.items()))} if isinstance(row, Mapping) else {}


def _is_service(row: Mapping[str, Any]) -> bool:
    return bool(
        _SERVICE_TYPE.fullmatch(str(row.get("type")))
        or str(row.get("role")).casefold() in _NOT_SPEAKERS
        or (isinstance(row.get("author"), Mapping) and str(row["author"].get("role")).casefold() in _NOT_SPEAKERS)
        or _SERVICE_SUBTYPE.fullmatch(str(row.get("subtype")))
    )


def _has_text(row: Mapping[str, Any]) -> bool:
    return not row.keys().isdisjoint((*TEXT_KEYS, *_LONG_TEXT_KEYS))


def _speaker(row: Mapping[str, Any]) -> str:
    for key in (*SPEAKER_KEYS, *_ID_KEYS):
        value = row.get(key)
        while isinstance(value, Mapping):
            inner = _normal(value)
            value = next((inner[name] for name in _NAME_KEYS if inner.get(name)), None)
        if isinstance(value, str | int) and str(value).strip():
            return f"Speaker {value}" if str(value).isdecimal() and len(str(value)) < 4 else str(value)
    return ""


def _text(row: Mapping[str, Any]) -> str:
    return next((text for key in (*TEXT_KEYS, *_LONG_TEXT_KEYS) if (text := "".join(_pieces(row.get(key))))), "")


def _pieces(value: Any) -> Iterator[str]:
    """The texts of a message that is a string, an object with a text, or a list of these."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _pieces(part)
    elif isinstance(value, Mapping):
        content = next((value[key] for key in ("text", "content", "parts") if value.get(key)), None)
        if isinstance(content, str) and str(value.get("contentType")).casefold() == "html":
            content = html.unescape(re.sub(r"<[^<>]+>", " ", content))
        yield from _pieces(content)


def _repaired(text: str) -> str:
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
