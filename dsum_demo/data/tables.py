"""Reads rows from CSV, TSV, JSON, JSON Lines and Parquet files, also compressed."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsum_demo.data.archives import check_is_text, check_size, read_unpacked
from dsum_demo.data.conversations.files import read_file_text
from dsum_demo.data.conversations.structured import LONGEST_FIELD
from dsum_demo.data.json_rows import parse_json_rows
from dsum_demo.errors import DataError, InputError
from dsum_demo.utils.formatting import first_line

# Reasons why rows are invalid, by row number.
Broken = dict[int, str]


# Values by column: strings, and from JSON and Parquet any other type.
Row = dict[str, Any]

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
PACKED_ENDINGS = (*ENDINGS, *(f"{ending}.gz" for ending in ENDINGS), ".zip")
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")


def read_table(file: Path) -> list[Row]:
    """The rows of `read_rows` as a list. Raises DataError."""
    return list(read_rows(file).values())


def read_rows(file: Path, broken: Broken | None = None, notes: list[str] | None = None) -> dict[int, Row]:
    """The rows of a CSV, TSV, JSON, JSON Lines or Parquet file, optionally in gzip or zip, by row number. Every row has
    every column, with None for missing values.

    The separator and the JSON layout (see `parse_json_rows`) are detected by content. Text is decoded as in
    `read_file_text`. A first column without a name, as written by pandas, is named "index". Raises DataError for a file
    that cannot be read or has no rows, and for invalid rows or column names. If `broken` is given, invalid rows are
    skipped and added to it instead. notes: gets a message if the encoding was guessed.
    """
    name, content = read_unpacked(file)
    ending = Path(name).suffix.lower()
    if ending != ".parquet":
        check_is_text(file, content)
    if ending in _SPREADSHEETS:
        raise DataError(f"{file} is a spreadsheet, which cannot be read as a table; save the sheet as “CSV UTF-8”.")
    if ending not in ENDINGS:
        raise DataError(f"{file} has an unsupported file type; give one of: {', '.join(PACKED_ENDINGS)}.")
    if ending == ".parquet":
        rows = dict(enumerate(_read_parquet(file, content), 1))
    elif ending in (".csv", ".tsv"):
        rows = _read_separated(file, _decoded(file, content, notes), "," if ending == ".csv" else "\t", broken)
    else:
        try:
            found = parse_json_rows(_decoded(file, content, notes), lines=ending != ".json")
        except ValueError as error:
            raise DataError(f"{file} {error}.") from None
        rows = dict(enumerate(found, 1))
        leave_out(
            {number: "It has no JSON object." for number, row in rows.items() if not isinstance(row, dict)},
            rows, broken, lambda wrong: f"{file} has no JSON object in {name_rows(wrong)}.",
        )  # fmt: skip
    if not rows:
        raise DataError(f"{file} has no {'valid ' if broken else ''}rows.")
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    return {number: {name: row.get(name) for name in columns} for number, row in rows.items()}


def name_rows(rows: Sequence[int]) -> str:
    """Row numbers for a message: "row 3", "rows 3, 5", at most ten."""
    more = f" and {len(rows) - 10} more" if len(rows) > 10 else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:10]))}{more}"


def _decoded(file: Path, content: bytes, notes: list[str] | None) -> str:
    try:
        read = read_file_text(content, str(file))
    except InputError as error:
        raise DataError(str(error)) from None
    if read.notice and notes is not None:
        notes.append(read.notice.replace(str(file), file.name))
    return read.text


def _read_parquet(file: Path, content: bytes) -> list[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(io.BytesIO(content))
        groups = (table.metadata.row_group(number) for number in range(table.metadata.num_row_groups))
        check_size(file, sum(group.total_byte_size for group in groups))
        rows: list[Row] = table.read().to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:  # ValueError: text that is not UTF-8
        raise DataError(f"{file} is not a valid Parquet file: {first_line(error)}") from None
    return rows


def _read_separated(file: Path, text: str, delimiter: str, broken: Broken | None) -> dict[int, Row]:
    delimiter, text = _separator(text, delimiter)
    csv.field_size_limit(LONGEST_FIELD)
    # Strict, because otherwise a field with a missing closing quote contains the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header, *lines = [fields for fields in reader if fields] or [[]]
    except csv.Error as error:
        raise DataError(
            f"{file} cannot be read at line {reader.line_num}: {error}. Check the quotes there; double a quote "
            "inside a quoted text."
        ) from None
    names = [name.strip() for name in header]
    if len(names) > 1 and not names[0] and "index" not in names:
        names[0] = "index"
    if "" in names:
        raise DataError(
            f"{file}: column {names.index('') + 1} has no name; add one in the first line, or remove the column."
        )
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{file} has more than one column {twice[0]!r}; give each column a unique name.")
    rows = dict(enumerate(lines, 1))
    leave_out(
        {n: f"It has {len(f)} fields, not {len(names)}." for n, f in rows.items() if len(f) != len(names)},
        rows, broken,
        lambda wrong: f"{file} has {len(names)} columns, but another number of fields in {name_rows(wrong)}; put "
        "quotes around texts that contain a separator or a line end.",
    )  # fmt: skip
    return {row: dict(zip(names, fields, strict=True)) for row, fields in rows.items()}


def _separator(text: str, usual: str) -> tuple[str, str]:
    """(separator, text without Excel's "sep=" line); the usual separator unless the header contains only others."""
    first, _, rest = text.lstrip().partition("\n")
    if named := re.fullmatch(r"sep=([,;|\t])\s*", first, re.IGNORECASE):
        return named[1], rest
    header = re.sub(r'"[^"]*"', "", first)
    found = [separator for separator in (usual, ",", ";", "\t", "|") if separator in header]
    return (found[0] if found else usual), text


def leave_out(
    reasons: Mapping[int, str],
    rows: dict[int, Any],
    broken: Broken | None,
    message: Callable[[list[int]], str],
) -> None:
    """Remove the rows with a reason and add the reasons to `broken`. Without `broken`, raise DataError with the message
    for their numbers.
    """
    if reasons and broken is None:
        raise DataError(message(list(reasons)), list(reasons))
    for number, reason in reasons.items():
        assert broken is not None
        broken[number] = reason
        rows.pop(number, None)


def find_table(folder: Path, name: str) -> Path | None:
    """The table `name` in a folder, in the first of PACKED_ENDINGS that exists."""
    files = (folder / f"{name}{ending}" for ending in PACKED_ENDINGS)
    return next((file for file in files if file.is_file()), None)
