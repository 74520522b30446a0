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

from dsum_demo.data.examples import read_samples
from dsum_demo.data.tables import read_rows, read_table

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
    if named:
        text.write(f"sep={separator}{line_end}")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, quoting=quoting, lineterminator=line_end)
    writer.writeheader()
    writer.writerows(rows)
    file = packed(tmp_path_factory.mktemp("rows"), f"rows.{ending}", text.getvalue().encode(encoding), packing)
    assert read_table(file) == rows


WESTERN = st.text(st.characters(codec="cp1252", exclude_categories=("Cs", "Cc")), max_size=30)


@few(40)
@given(
    rows=st.lists(st.fixed_dictionaries({"dialogue": WESTERN, "summary": WESTERN}), min_size=1, max_size=4),
    ending=st.sampled_from(["csv", "tsv", "json", "jsonl"]),
    packing=PACKINGS,
)
def test_windows_1252_rows_are_read_with_a_note(tmp_path_factory, rows, ending, packing):
    rows = [{**row, "summary": f"{row['summary']} café – “no”"} for row in rows]
    if ending in ("csv", "tsv"):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter="," if ending == "csv" else "\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue()
    elif ending == "json":
        content = json.dumps(rows, ensure_ascii=False)
    else:
        content = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    file = packed(tmp_path_factory.mktemp("rows"), f"rows.{ending}", content.encode("cp1252"), packing)
    notes: list[str] = []
    assert list(read_rows(file, notes=notes).values()) == rows
    assert len(notes) == 1 and "Windows-1252" in notes[0] and notes[0].startswith(file.name)
    utf8 = packed(file.parent, f"utf8.{ending}", content.encode(), packing)
    assert list(read_rows(utf8, notes=notes).values()) == rows and len(notes) == 1


def layouts(rows: Rows) -> dict[str, object]:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {
        "list": rows,
        "data": {"data": rows, "version": 1},
        "named": {"rows": rows},
        "columns": columns,
        "index": {str(i): row for i, row in enumerate(rows)},
        "table": {"schema": {"fields": [{"name": name, "type": "string"} for name in columns]}, "data": rows},
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
    layout=st.sampled_from(["list", "data", "named", "columns", "index", "table", "frame", "split", "lines"]),
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
    if layout == "index":
        rows = [{"id": str(i), **row} for i, row in enumerate(rows)]
    assert read_table(file) == rows


@few(20)
@given(rows=ROWS, packing=PACKINGS, compression=st.sampled_from(["none", "snappy", "gzip", "zstd"]))
def test_parquet_rows(tmp_path_factory, rows, packing, compression):
    content = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), content, compression=compression)
    assert read_table(packed(tmp_path_factory.mktemp("rows"), "rows.parquet", content.getvalue(), packing)) == rows


TURNS = st.lists(
    st.tuples(
        st.sampled_from(["Maya", "Tom Ito", "#Person1#", "Zoë"]), st.text("abcé. ,;?'\"", min_size=1, max_size=30)
    ),
    min_size=2,
    max_size=6,
).filter(lambda turns: all(any(map(str.isalnum, text)) for _, text in turns) and len({who for who, _ in turns}) > 1)
LAYOUTS = {
    "text": lambda turns: "\n".join(f"{who}: {text}" for who, text in turns),
    "lines": lambda turns: [f"{who}: {text}" for who, text in turns],
    "turns": lambda turns: [{"speaker": who, "text": text} for who, text in turns],
    "messages": lambda turns: [{"role": who, "content": text} for who, text in turns],
    "other keys": lambda turns: [{"Speaker Name": who, "Utterance": text} for who, text in turns],
    "pairs": lambda turns: [[who, text] for who, text in turns],
    "columns": lambda turns: {"speaker": [who for who, _ in turns], "text": [text for _, text in turns]},
}


@few(80)
@given(
    dialogues=st.lists(TURNS, min_size=1, max_size=4),
    layout=st.sampled_from(list(LAYOUTS)),
    ending=st.sampled_from(["csv", "tsv", "json", "jsonl", "parquet"]),
    names=st.sampled_from([("dialogue", "summary"), ("Conversation", "TARGET"), ("messages", "reference")]),
)
def test_dialogues_in_any_layout_are_the_same_examples(tmp_path_factory, dialogues, layout, ending, names):
    rows = [{names[0]: LAYOUTS[layout](turns), names[1]: f"Summary {i}."} for i, turns in enumerate(dialogues)]
    file = tmp_path_factory.mktemp("rows") / f"rows.{ending}"
    if ending in ("csv", "tsv"):
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter="," if ending == "csv" else "\t")
            writer.writerow(names)
            for row in rows:
                value = row[names[0]]
                writer.writerow([value if isinstance(value, str) else json.dumps(value), row[names[1]]])
    elif ending == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    else:
        text = json.dumps(rows) if ending == "json" else "\n".join(map(json.dumps, rows))
        file.write_text(text, encoding="utf-8")
    read = read_samples(file)
    assert [" ".join(example.dialogue.split()) for example in read] == [
        " ".join(" ".join(f"{who}: {text}".split()) for who, text in turns) for turns in dialogues
    ]
    assert [len(example.dialogue.split("\n")) for example in read] == [len(turns) for turns in dialogues]
    assert [example.references for example in read] == [(f"Summary {i}.",) for i in range(len(dialogues))]
