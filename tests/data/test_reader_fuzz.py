"""Every reader of files gets random, damaged and hostile input: it returns rows or a text, or raises an InputError."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import resource
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from dsum_demo.data import archives
from dsum_demo.data.conversations import files
from dsum_demo.data.conversations.files import read_file_text
from dsum_demo.data.conversations.reader import read_conversation
from dsum_demo.data.dialogues import doubts, read_dialogue
from dsum_demo.data.examples import read_samples
from dsum_demo.data.tables import read_rows
from dsum_demo.errors import InputError

ROWS = [
    {"id": "1", "dialogue": "Ines: Is it open?\nBram: Yes, <b>now</b>.", "summary": "It is open."},
    {"id": "2", "dialogue": '=HYPERLINK("http://a"): x\n[Ines](javascript:a): hi', "summary": "+1+cmd|' /C calc'!A0"},
]
# Pieces of every format, of which random texts are made.
PIECES = [
    "Ines", "Bram:", "Okonkwo, Ifeoma:", "12:30", "5 min", "Yesterday", "[", "]", "(", ")", "<v Ines>", "-->",
    "00:01.000",
    "WEBVTT", "—", "Image", "NEW", "@Ines", "replied to", "…", "♪", "\n", "\n\n", "\r\n", "\t", ": ", "：", "> ",
    "On ", "wrote:",
    "From: ", "Subject: ", "{", "}", '"', "\\", ",", ";", "|", "sep=;", "null", "NaN", "\ud800", "\0", "\u200e",
    "\ue000", "\ue001",
    "<script>", "**", "=1+1", "1e999", "9" * 30, "dialogue", "summary", "[]", '{"text":', "\ufeff", "ﷺ" * 9,
    "e\u0301" * 9,
]  # fmt: skip
RANDOM_TEXT = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
NAMES = [
    "a.csv", "a.tsv", "a.json", "a.jsonl", "a.ndjson", "a.parquet", "a.zip", "a.csv.gz", "a.json.gz", "a.parquet.gz",
    "a.xlsx", "a.txt",
    "a",
]  # fmt: skip


@contextmanager
def at_most(megabytes: int) -> Iterator[None]:
    """Checks that the process's peak memory does not grow by more than this in the block."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown <= megabytes, f"peak memory grew by {grown:.0f} MB"


def read_all(folder: Path, name: str, content: bytes) -> None:
    """Read the content as a data set and as a dropped dialogue; any error but an InputError fails the test."""
    file = folder / name
    file.write_bytes(content)
    for read in (lambda: read_rows(file), lambda: read_samples(file, {}), lambda: read_file_text(content, name)):
        try:
            found = read()
        except InputError as error:
            assert str(error)
            continue
        if isinstance(found, files.FileText):
            read_text(found.text)


def read_text(text: str) -> None:
    try:
        reading = read_dialogue(text)
    except InputError:
        return
    assert reading.turns <= reading.dialogue.count("\n") + 1 and reading.sentence
    doubts(reading.dialogue, reading.turns)


def content_of(ending: str) -> bytes:
    """A valid file with ROWS."""
    if "parquet" in ending:
        packed = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), packed)
        content = packed.getvalue()
    elif "csv" in ending:
        content = ("dialogue,summary\n" + "".join(f'"{r["dialogue"]}",x\n' for r in ROWS[:1])).encode()
    else:
        content = "\n".join(map(json.dumps, ROWS)).encode()
    if ending.endswith(".gz"):
        return gzip.compress(content)
    return zipped({"rows.jsonl": content}) if ending.endswith(".zip") else content


def zipped(entries: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return packed.getvalue()


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    text=RANDOM_TEXT, name=st.sampled_from(NAMES), encoding=st.sampled_from(["utf-8", "utf-16", "cp1252", "gb18030"])
)
def test_random_texts(tmp_path_factory, text, name, encoding):
    read_text(text)
    read_all(tmp_path_factory.mktemp("fuzz"), name, text.encode(encoding, "replace"))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(content=st.binary(max_size=200), begin=st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"PAR1",
b"\xff\xfe"]),
       name=st.sampled_from(NAMES))  # fmt: skip
def test_random_bytes(tmp_path_factory, content, begin, name):
    read_all(tmp_path_factory.mktemp("fuzz"), name, begin + content)


@pytest.mark.parametrize("ending", ["a.csv", "a.jsonl", "a.parquet", "a.csv.gz", "a.parquet.gz", "a.zip"])
def test_damaged_files(tmp_path, ending):
    rng = random.Random(ending)
    whole = content_of(ending)
    assert read_rows(_write(tmp_path, ending, whole)), "the undamaged file is valid"
    for _ in range(40):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        read_all(tmp_path, ending, bytes(content[: rng.randint(0, len(content))] if rng.random() < 0.5 else content))


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("ending", ["a.zip", "a.docx"])
def test_damaged_zips_of_every_compression(tmp_path, kind, ending):
    rng = random.Random(f"{kind} {ending}")
    name = "word/document.xml" if ending == "a.docx" else "réponses.csv"
    whole = zipped({name: b"dialogue,summary\n" + b"Ines: hi,x\n" * 50}, kind)
    for _ in range(60):
        content = bytearray(whole)
        content[rng.randrange(len(content))] = rng.randrange(256)
        read_all(tmp_path, ending, bytes(content))


def _write(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(PIECES),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["dialogue", "summary", "id", "topic", "speaker", "text", "messages", "role", "content", "data",
                "columns", "0",
                 "mapping", "message", "author", "date", "timestamp_ms", "type", "subtype", "value", "from", "body",
                 "parts"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=250, deadline=None, derandomize=True, database=None)
@given(value=JSON, lines=st.booleans())
def test_json_of_any_types(tmp_path_factory, value, lines):
    entries = value if lines and isinstance(value, list) else [value]
    text = "\n".join(map(json.dumps, entries))
    read_conversation(text)
    read_all(tmp_path_factory.mktemp("fuzz"), "a.jsonl" if lines else "a.json", text.encode())


CELLS = st.one_of(
    st.none(), st.integers(-(2**60), 2**60), st.floats(), st.binary(max_size=9),
    st.sampled_from([p for p in PIECES if p != "\ud800"]),
    st.lists(st.integers(0, 9), max_size=3),
    st.dictionaries(st.sampled_from(["speaker", "text"]), st.text("ab", max_size=3), min_size=1),
)  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(dialogue=CELLS, summary=CELLS)
def test_parquet_cells_of_any_type(tmp_path_factory, dialogue, summary):
    packed = io.BytesIO()
    parquet.write_table(
        pyarrow.table({"dialogue": pyarrow.array([dialogue]), "summary": pyarrow.array([summary])}), packed
    )
    read_all(tmp_path_factory.mktemp("fuzz"), "a.parquet", packed.getvalue())


@pytest.mark.parametrize(
    "name", ["../../outside.csv", "/etc/passwd.csv", "..\\outside.csv", "a/../../b.csv", "C:\\x.csv"]
)
def test_paths_in_a_zip_are_not_written(tmp_path, name):
    file = _write(tmp_path, "a.zip", zipped({name: b"dialogue,summary\nInes: hi,x\n"}))
    before = sorted(tmp_path.parent.rglob("*"))
    if name.startswith("..\\"):  # a file whose name begins with a dot
        with pytest.raises(InputError, match="contains 0 files"):
            read_rows(file)
    else:
        assert list(read_rows(file).values()) == [{"dialogue": "Ines: hi", "summary": "x"}]
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_a_pickle_is_not_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.mkdir, (tmp_path / "sprung",)

    code = pickle.dumps(Trap())
    metadata = pyarrow.schema([("dialogue", pyarrow.binary()), ("summary", pyarrow.string())], {b"pandas": code})
    table = io.BytesIO()
    parquet.write_table(pyarrow.table({"dialogue": [code], "summary": ["x"]}, schema=metadata), table)
    for name, content in {
        "a.parquet": table.getvalue(), "a.csv": code, "a.zip": zipped({"a.csv": code}),
        "b.zip": zipped({"a.pkl": code}),
        "a.json": code, "a.csv.gz": gzip.compress(code),
    }.items():  # fmt: skip
        read_all(tmp_path, name, content)
    assert not (tmp_path / "sprung").exists()


BOMB = 60_000_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv.gz", lambda: gzip.compress(bytes(BOMB))),
        ("a.zip", lambda: zipped({"a.csv": bytes(BOMB)})),
        ("a.zip", lambda: zipped({f"{i}.csv": b"a" for i in range(20_000)})),
        ("a.docx", lambda: zipped({"word/document.xml": b"<w:t>" + bytes(BOMB)})),
    ],
    ids=["gzip", "zip", "many files", "Word"],
)
def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path, monkeypatch, name, content):
    monkeypatch.setattr(archives, "LARGEST_UNPACKED_BYTES", 1_000_000)
    monkeypatch.setattr(files, "LARGEST_DOCUMENT_BYTES", 1_000_000)
    file = _write(tmp_path, name, content())
    with at_most(megabytes=40), pytest.raises(InputError):
        if name.endswith("docx"):
            read_file_text(file.read_bytes(), name)
        else:
            read_rows(file)


def test_parquet_that_unpacks_to_a_large_table_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_UNPACKED_BYTES", 1_000_000)
    packed = io.BytesIO()
    column = pyarrow.array([f"{i}" * 40 for i in range(200_000)])
    parquet.write_table(pyarrow.table({"dialogue": column}), packed, compression="zstd", use_dictionary=False)
    file = _write(tmp_path, "a.parquet", packed.getvalue())
    with at_most(megabytes=40), pytest.raises(InputError, match="uncompressed"):
        read_rows(file)


def test_links_and_special_files_are_read_or_refused(tmp_path):
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.csv").mkdir()
    for name in ("loop.csv", "gone.csv", "folder.csv"):
        with pytest.raises(InputError, match=name):
            read_rows(tmp_path / name)


LARGE: dict[str, Callable[[int], str]] = {
    "turns": lambda n: "Ines: Is it open?\nBram: Yes, at 9:30.\n" * (n // 37),
    "one line": lambda n: "word " * (n // 5),
    "colons": lambda n: ":" * n,
    "brackets": lambda n: "[(♪" * (n // 3),
    "badges": lambda n: "APP\n" * (n // 4),
    "quotations": lambda n: "Ines — 17:20\nok\n@Ines ok…\nBram — 17:21\nyes\n" * (n // 45),
    "times": lambda n: "17:20\nInes\nok\n17:21\nBram\nyes\n" * (n // 27),
    "cues": lambda n: "WEBVTT\n\n" + "00:01.000 --> 00:02.000\n[music]\n\n" * (n // 34),
    "attributions": lambda n: "On Mon, May 6, 2024 at 9:14 AM Ines <a@b.c> wrote:\n> hi\n" * (n // 56),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_text_of_many_characters_is_read(kind):
    text = LARGE[kind](200_000)
    with at_most(megabytes=200):
        read_text(text)


@pytest.mark.parametrize("size", [1_000_001, 10_000_000])
def test_a_longer_text_than_the_limit_is_refused(size):
    with pytest.raises(InputError, match="the limit is 1,000,000"):
        read_dialogue("a" * size)


def test_a_cell_of_ten_million_characters_and_many_columns_are_read(tmp_path):
    file = _write(tmp_path, "a.csv", b"dialogue,summary\n" + b"Ines: " + b"a" * 10_000_000 + b",x\n")
    assert len(next(iter(read_rows(file).values()))["dialogue"]) == 10_000_006
    read_all(tmp_path, "b.csv", ",".join(f"c{i}" for i in range(50_000)).encode() + b"\n" + b"," * 49_999 + b"\n")
    read_all(tmp_path, "c.csv", b'dialogue,summary\n"' + b"a" * 3_000_000)
    read_all(tmp_path, "d.json", b"[" * 300_000 + b"]" * 300_000)
