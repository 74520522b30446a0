"""Parses rows of JSON and JSON Lines, detected by content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dsum_demo.data.columns import USUAL_COLUMNS, find_column
from dsum_demo.data.conversations.structured import is_turn

_NO_ROWS = 'contains no list of objects; give a list, alone or as {"data": [...]}, one object per line, or columns'


def parse_json_rows(text: str, *, lines: bool) -> list[Any]:
    """The rows of a list of objects, of one object per line, or of pandas' `to_json` with any orient, in order. Rows
    may be other values than objects; None is a line that is not JSON.

    lines: whether the file's name is that of JSON Lines; an object of lists is then a row and not a table of columns.
    Raises ValueError with the reason for a text without rows.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        # Only "\n", because texts may contain the other line ends of splitlines().
        texts = [line for line in text.split("\n") if line.strip()]
        found = [_loaded(line) for line in texts]
        if texts and (lines or (len(texts) > 1 and isinstance(found[0], dict))):
            return found
        if not texts and lines:
            return []
        raise ValueError(f"is not JSON: {error}") from None
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return _rows_of_object(value, lines)
    raise ValueError(_NO_ROWS)


def _rows_of_object(value: dict[str, Any], lines: bool) -> list[Any]:
    data = value.get("data")
    if isinstance(data, list):
        names = value.get("columns")
        if isinstance(names, list) and all(isinstance(row, list) for row in data):
            return [dict(zip(names, row, strict=False)) for row in data]
        return data
    parts = list(value.values())
    if len(parts) == 1 and isinstance(parts[0], list) and parts[0] and _are_records(parts[0]):
        return parts[0]
    if parts and all(isinstance(part, dict) and part and part.keys() == parts[0].keys() for part in parts):
        return _rows_of_objects(value)
    if lines:
        return [value]
    if parts and all(isinstance(part, list) for part in parts):
        if len({len(part) for part in parts}) > 1:
            found = ", ".join(f"{name} {len(part)}" for name, part in value.items())
            raise ValueError(f"has columns of different lengths ({found})")
        return [dict(zip(value, row, strict=True)) for row in zip(*parts, strict=True)]
    if find_column(value, *USUAL_COLUMNS["dialogue"]):
        return [value]
    raise ValueError(_NO_ROWS)


def _rows_of_objects(value: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """Rows of an object of objects with equal keys: columns by row number, or rows by id."""
    inner = list(next(iter(value.values())))
    usual = [name for names in USUAL_COLUMNS.values() for name in names]
    if all(name.isdecimal() for name in inner) or all(find_column([name], *usual) for name in value):
        return [{name: column[row] for name, column in value.items()} for row in inner]
    return [{"id": name, **row} for name, row in value.items()]


def _are_records(values: list[Any]) -> bool:
    return all(isinstance(value, dict) and not is_turn(value) for value in values)


def _loaded(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
