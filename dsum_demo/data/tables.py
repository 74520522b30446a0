"""Reads rows from CSV, TSV, JSON and JSON Lines files."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dsum_demo.errors import DataError
from dsum_demo.utils.formatting import size

LONGEST_FIELD = 2**31 - 1


# A few megabytes can unpack to more than there is memory.
LARGEST_UNPACKED_BYTES = 1_000_000_000


# Rows that cannot be used, by their number, each with the reason in a sentence.
Broken = dict[int, str]


def read_table(file: Path) -> list[dict[str, str]]:
    """The rows of a file that `read_rows` reads. Raises DataError."""
    return list(read_rows(file).values())


def read_rows(file: Path, broken: Broken | None = None) -> dict[int, dict[str, str]]:
    """The rows of a .csv, .tsv, .json (a list of objects, alone or under "data") or .jsonl file, or of one of these
    gzipped (.csv.gz and so on), by their numbers; every row has every column. The text is UTF-8, with or without a byte
    order mark, or UTF-16 with one. A first column without a name, as pandas writes it, is called "index".

    Values become text: None and what is missing become "", other values their JSON. Raises DataError for a file that
    cannot be read, has no rows, or has rows or column names that cannot be used; where `broken` is given, such rows are
    put there and left out instead.
    """
    packed = file.suffix.lower() == ".gz"
    read = _READERS.get(Path(file.stem if packed else file.name).suffix.lower())
    if read is None:
        raise DataError(f"{file} is of an unknown kind; give a {', '.join(_READERS)} file.")
    try:
        content = _unpacked(file) if packed else file.read_bytes()
        # Excel's "Unicode text" is UTF-16 with a byte order mark.
        text = content.decode("utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    rows = read(file, text, broken)
    if not rows:
        raise DataError(f"{file} has no rows{' that can be used' if broken else ''}.")
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    return {number: {name: _text(row.get(name)) for name in columns} for number, row in rows.items()}


def find_column(columns: Iterable[str], *names: str) -> str | None:
    """The first of `names` that is a column, as the file spells it: exactly, else without regard to case."""
    found = list(columns)
    by_folded = {column.casefold(): column for column in reversed(found)}
    return next((n if n in found else by_folded[n.casefold()] for n in names if n.casefold() in by_folded), None)


def name_rows(rows: Sequence[int]) -> str:
    """Row numbers in a sentence: "row 3", "rows 3, 5", the first ten of many."""
    more = f" and {len(rows) - 10} more" if len(rows) > 10 else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:10]))}{more}"


def _unpacked(file: Path) -> bytes:
    try:
        with gzip.open(file) as stream:
            content = stream.read(LARGEST_UNPACKED_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{file} is no whole gzip file ({error}); fetch or pack it again.") from None
    if len(content) > LARGEST_UNPACKED_BYTES:
        raise DataError(f"{file} unpacks to more than {size(LARGEST_UNPACKED_BYTES)}; give a smaller file.")
    return content


def _read_separated(delimiter: str, file: Path, text: str, broken: Broken | None) -> dict[int, dict[str, Any]]:
    delimiter, text = _separator(text, delimiter)
    # The limit of 131,072 characters holds for the whole process, and a long meeting is longer.
    csv.field_size_limit(LONGEST_FIELD)
    # Strict, because otherwise a quote that is never closed swallows the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header, *lines = [fields for fields in reader if fields] or [[]]
    except csv.Error as error:
        raise DataError(f"{file} cannot be read at line {reader.line_num}: {error}. Check the quotes there.") from None
    names = [name.strip() for name in header]
    if len(names) > 1 and not names[0] and "index" not in names:
        names[0] = "index"
    if "" in names:
        raise DataError(
            f"{file}: column {names.index('') + 1} has no name; name it in the first line, or leave it out."
        )
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{file} has more than one column {twice[0]!r}; give each column a name of its own.")
    rows = dict(enumerate(lines, 1))
    wrong = [row for row, fields in rows.items() if len(fields) != len(names)]
    if wrong and broken is None:
        raise DataError(
            f"{file} has {len(names)} columns, but another number of fields in {name_rows(wrong)}; put quotes around "
            "texts that hold a separator or a line end.",
            wrong,
        )
    for row in wrong:
        assert broken is not None
        broken[row] = f"It has {len(rows.pop(row))} fields, not {len(names)}."
    return {row: dict(zip(names, fields, strict=True)) for row, fields in rows.items()}


def _separator(text: str, usual: str) -> tuple[str, str]:
    """(separator, text without Excel's "sep=" line): the usual one unless the first line has only other ones."""
    first, _, rest = text.lstrip().partition("\n")
    if named := re.fullmatch(r"sep=([,;|\t])\s*", first, re.IGNORECASE):
        return named[1], rest
    header = re.sub(r'"[^"]*"', "", first)
    found = [separator for separator in (usual, ",", ";", "\t") if separator in header]
    return (found[0] if found else usual), text


def _read_json(file: Path, text: str, broken: Broken | None) -> dict[int, dict[str, Any]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON: {error}.") from None
    if isinstance(found, dict):
        found = found.get("data")
    if not isinstance(found, list):
        raise DataError(f'{file} holds no list; give a list of objects, alone or as {{"data": [...]}}.')
    return _objects(file, found, broken)


def _read_jsonl(file: Path, text: str, broken: Broken | None) -> dict[int, dict[str, Any]]:
    # Only "\n": a text inside a line may hold the other line ends that splitlines() knows.
    lines = [line for line in text.split("\n") if line.strip()]
    return _objects(file, map(_object, lines), broken)


def _objects(file: Path, found: Iterable[Any], broken: Broken | None) -> dict[int, dict[str, Any]]:
    rows = dict(enumerate(found, 1))
    _leave_out(file, "no JSON object", [n for n, row in rows.items() if not isinstance(row, dict)], rows, broken)
    return rows


_READERS: dict[str, Callable[[Path, str, Broken | None], dict[int, dict[str, Any]]]] = {
    ".csv": partial(_read_separated, ","),
    ".tsv": partial(_read_separated, "\t"),
    ".json": _read_json,
    ".jsonl": _read_jsonl,
}


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _leave_out(
    file: Path | str, what: str, numbers: Sequence[int], rows: dict[int, Any], broken: Broken | None
) -> None:
    if numbers and broken is None:
        raise DataError(f"{file} has {what} in {name_rows(numbers)}.", numbers)
    for number in numbers:
        assert broken is not None
        broken[number] = f"It has {what}."
        del rows[number]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
