"""A data set that is written in any supported format is read back as the same rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from pathlib import Path

import pyarrow
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from dsum_demo.data.tables import read_table

# csv writes a lone carriage return without quotes, and no other control character is text.
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t\"',;|"), max_size=40)
ROWS = st.lists(st.fixed_dictionaries({"dialogue": TEXTS, "summary": TEXTS, "note": TEXTS}), min_size=1, max_size=5)
Rows = list[dict[str, str]]


def few(examples: int):
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None)


def packed(folder: Path, name: str, content: bytes, packing: str) -> Path:
    file = folder / f"{name}{packing}"
    if packing == ".gz":
        content = gzip.compress(content)
    elif packing == ".zip":
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
            writer.writestr(f"folder/{name}", content)
        content = archive.getvalue()
    file.write_bytes(content)
    return file


PACKINGS = st.sampled_from(["", ".gz", ".zip"])


@few(60)
@given(
    rows=ROWS,
    separator=st.sampled_from([",", ";", "\t", "|"]),
    named=st.booleans(),
    ending=st.sampled_from(["csv", "tsv", "CSV"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    packing=PACKINGS,
)
def test_separated_rows(tmp_path_factory, rows, separator, named, ending, encoding, quoting, line_end, packing):
    text = io.StringIO()
    if named or separator == "|":
        text.write(f"sep={separator}{line_end}")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, quoting=quoting, lineterminator=line_end)
    writer.writeheader()
    writer.writerows(rows)
    file = packed(tmp_path_factory.mktemp("rows"), f"rows.{ending}", text.getvalue().encode(encoding), packing)
    assert read_table(file) == rows


def layouts(rows: Rows) -> dict[str, object]:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {
        "list": rows,
        "data": {"data": rows, "version": 1},
        "columns": columns,
        "frame": {name: {str(i): text for i, text in enumerate(texts)} for name, texts in columns.items()},
        "split": {
            "columns": list(columns),
            "index": list(range(len(rows))),
            "data": [[row[name] for name in columns] for row in rows],
        },
    }


@few(40)
@given(
    rows=ROWS,
    layout=st.sampled_from(["list", "data", "columns", "frame", "split", "lines"]),
    ending=st.sampled_from(["json", "jsonl", "ndjson"]),
    indent=st.sampled_from([None, 2]),
    ascii_only=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    packing=PACKINGS,
)
def test_json_rows(tmp_path_factory, rows, layout, ending, indent, ascii_only, encoding, packing):
    if layout == "lines":
        text = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows) + "\n"
    else:
        # An object of lists named JSON Lines is one row.
        ending = "json" if layout == "columns" else ending
        text = json.dumps(layouts(rows)[layout], ensure_ascii=ascii_only, indent=indent)
    file = packed(tmp_path_factory.mktemp("rows"), f"rows.{ending}", text.encode(encoding), packing)
    assert read_table(file) == rows


@few(10)
@given(rows=ROWS, packing=PACKINGS)
def test_parquet_rows(tmp_path_factory, rows, packing):
    content = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), content)
    assert read_table(packed(tmp_path_factory.mktemp("rows"), "rows.parquet", content.getvalue(), packing)) == rows
