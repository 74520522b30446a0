"""Reading tables and samples, and errors for invalid files."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile

import pytest

from dsum_demo.data.examples import Example, draw, fingerprint, read_samples
from dsum_demo.data.tables import name_rows, read_rows, read_table
from dsum_demo.errors import DataError, InputError

ROWS = [{"human": "Tom pays,\nMaya “smiles”.", "a": "x"}, {"human": "é\u2028\x85東", "a": ""}]


@pytest.fixture
def write(tmp_path):
    def write(name: str, content: str | bytes):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("kind", ["rows.csv", "rows.TSV", "rows.json", "data.json", "rows.jsonl"])
def test_every_file_type_gives_the_same_rows(tmp_path, kind, encoding):
    file = tmp_path / kind
    if kind.endswith("sonl"):
        file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n\n", encoding=encoding)
    elif kind.endswith("json"):
        content = {"data": ROWS} if kind.startswith("data") else ROWS
        file.write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    else:
        with file.open("w", encoding=encoding, newline="") as out:
            writer = csv.DictWriter(out, ["human", "a"], dialect="excel" if kind.endswith("csv") else "excel-tab")
            writer.writeheader()
            writer.writerows(ROWS)
    assert read_table(file) == ROWS


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.CSV.GZ", "rows.jsonl.gz", "rows.json.gz"])
def test_gzipped_files_are_read(write, name):
    content = {"csv": "a,b\n1,é\n", "jso": '{"a": "1", "b": "é"}\n'}[name.lower()[5:8]]
    packed = gzip.compress(f"[{content}]".encode() if ".json." in name else content.encode())
    assert read_table(write(name, packed)) == [{"a": "1", "b": "é"}]


def test_truncated_corrupt_and_too_large_gzip_files_are_rejected(write, monkeypatch):
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
    with pytest.raises(DataError, match="not a complete gzip file"):
        read_table(write("cut.csv.gz", packed[:-12]))
    with pytest.raises(DataError, match="not a complete gzip file"):
        read_table(write("plain.csv.gz", "a,b\n1,2\n"))
    with pytest.raises(DataError, match="not a complete gzip file"):
        read_table(write("bits.csv.gz", packed[:12] + b"\xff" * 8 + packed[20:]))
    with pytest.raises(DataError, match="is a spreadsheet"):
        read_table(write("rows.xlsx.gz", packed))
    monkeypatch.setattr("dsum_demo.data.archives.LARGEST_UNPACKED_BYTES", 4000)
    with pytest.raises(DataError, match="uncompressed; give a smaller file"):
        read_table(write("bomb.csv.gz", packed))


def test_values_keep_their_types_and_missing_ones_are_none(write):
    rows = [{"a": 1, "b": None}, {"b": True, "c": ["é"]}, {"c": 2.5}]
    assert read_table(write("rows.json", json.dumps(rows))) == [
        {"a": 1, "b": None, "c": None},
        {"a": None, "b": True, "c": ["é"]},
        {"a": None, "b": None, "c": 2.5},
    ]


LAYOUTS = {
    "list.jsonl": [{"a": "x", "b": "y\nz"}, {"a": "ü", "b": "w"}],
    "data.json": {"version": 2, "data": [{"a": "x", "b": "y\nz"}, {"a": "ü", "b": "w"}]},
    "rows.json": {"rows": [{"a": "x", "b": "y\nz"}, {"a": "ü", "b": "w"}]},
    "columns.json": {"a": ["x", "ü"], "b": ["y\nz", "w"]},
    "frame.json": {"a": {"0": "x", "4": "ü"}, "b": {"0": "y\nz", "4": "w"}},
    "split.json": {"columns": ["a", "b"], "index": [0, 1], "data": [["x", "y\nz"], ["ü", "w"]]},
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("indent", [None, 1])
def test_json_layouts_are_detected_by_content(write, name, indent):
    assert read_table(write(name, json.dumps(LAYOUTS[name], indent=indent))) == LAYOUTS["list.jsonl"]


def test_json_lines_are_detected_in_files_named_json(write):
    text = "\n\n".join(json.dumps(row) for row in ROWS)
    assert read_table(write("rows.json", text)) == read_table(write("rows.ndjson", text)) == ROWS
    one = {"dialogue": ["A: x", "B: y"], "summary": ["s", "t"]}
    assert read_table(write("one.jsonl", json.dumps(one))) == [one], "columns of one length, but named JSON Lines"
    assert read_table(write("one.json", json.dumps({"dialogue": "A: x", "summary": ["s"]}))) == [
        {"dialogue": "A: x", "summary": ["s"]}
    ]


def test_objects_by_id_are_rows_and_objects_by_common_column_names_are_columns(write):
    rows = {"d7": {"talk": "A: x", "gist": "s"}, "d9": {"talk": "B: y", "gist": "t"}}
    assert read_table(write("ids.json", json.dumps(rows))) == [
        {"id": "d7", "talk": "A: x", "gist": "s"}, {"id": "d9", "talk": "B: y", "gist": "t"}
    ]  # fmt: skip
    columns = {"Dialogue": {"d7": "A: x"}, "summary": {"d7": "s"}}
    assert read_table(write("named.json", json.dumps(columns))) == [{"Dialogue": "A: x", "summary": "s"}]


def test_parquet_keeps_lists_and_missing_values(write):
    import pyarrow
    from pyarrow import parquet

    rows = [{"dialogue": [{"speaker": "A", "text": "x"}], "n": 1}, {"dialogue": None, "n": None}]
    packed = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), packed)
    assert read_table(write("rows.parquet", packed.getvalue())) == rows
    with pytest.raises(DataError, match="not a valid Parquet file"):
        read_table(write("cut.parquet", packed.getvalue()[:-20]))


def zipped(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return packed.getvalue()


def test_a_zip_with_one_file_is_read(write):
    packed = zipped(**{"data/rows.tsv": "a\tb\n1\t2\n", "__MACOSX/data/._rows.tsv": "x", ".DS_Store": "x"})
    assert read_table(write("any.zip", packed)) == read_table(write("rows.csv", packed)) == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            zipped(**{"a.csv": "a\n1\n", "b.csv": "b\n2\n"}),
            r"contains 2 files \(a\.csv, b\.csv\); give a zip of 1 file",
        ),
        (zipped(), "contains 0 files; give"),
        (zipped(**{"[Content_Types].xml": "", "xl/workbook.xml": ""}), "save the sheet as “CSV UTF-8”"),
        (zipped(**{"notes.pdf": "x"}), "unsupported file type"),
        (b"a,b\n1,2\n", "not a valid zip file"),
    ],
    ids=["two", "none", "workbook", "type", "csv"],
)
def test_other_zips_are_rejected_with_their_content(write, content, message):
    with pytest.raises(DataError, match=message):
        read_table(write("rows.zip", content))


def test_a_dialogue_of_one_megabyte_and_blank_lines_are_read(write):
    long = "Tom: hi " * 131_072
    assert read_table(write("long.csv", f'\n a , b \r\n"{long}",2\r\n\r\n3,""\r\n')) == [
        {"a": long, "b": "2"},
        {"a": "3", "b": ""},
    ]


@pytest.mark.parametrize(
    ("name", "content", "message", "rows"),
    [
        ("rows.xlsx", "a\n1\n", "is a spreadsheet, which cannot be read as a table; save the sheet as “CSV UTF-8”", ()),
        ("rows", "a\n1\n", r"unsupported file type; give one of: \.csv, \.tsv, \.jsonl", ()),
        ("binary.csv", b"a\ncaf\x81\x8d\n", "neither UTF-8, UTF-16 nor Windows-1252 text; save it as UTF-8", ()),
        ("empty.csv", "", "has no rows", ()),
        ("header.csv", "a,b\n", "has no rows", ()),
        ("empty.json", "[]", "has no rows", ()),
        ("empty.jsonl", "\n\n", "has no rows", ()),
        ("few.csv", "a,b\n1,2\n\n3\n4,5\n6,7,8\n", "2 columns, but another number of fields in rows 2, 4", (2, 4)),
        ("few.tsv", "a\tb\n1\n", "another number of fields in row 1;", (1,)),
        ("twice.csv", "a,b, a\n1,2,3\n", "more than one column 'a'", ()),
        ("nameless.csv", "a,\n0,x\n", "column 2 has no name", ()),
        ("index.csv", ",index\n0,x\n", "column 1 has no name", ()),
        ("quote.csv", 'a,b\n1,"2\n3,4\n', "line 3.*Check the quotes", ()),
        ("broken.json", '[{"a": 1}', "is not JSON: .*line 1", ()),
        ("deep.json", "[" * 200_000, "is not JSON", ()),
        ("digits.json", "9" * 5000, "is not JSON", ()),
        ("object.json", '{"rows": []}', "has no rows", ()),
        ("lengths.json", '{"a": ["x"], "b": ["y", "z"]}', r"columns of different lengths \(a 1, b 2\)", ()),
        ("words.json", '{"a": "x", "b": ["y"]}', "contains no list of objects", ()),
        ("number.json", "3", "contains no list", ()),
        ("mixed.json", '[{"a": 1}, 2, {"a": 3}, null]', "no JSON object in rows 2, 4", (2, 4)),
        ("mixed.jsonl", '{"a": 1}\n\n{"a": \n[2]\n{"a": 3}', "no JSON object in rows 2, 3", (2, 3)),
        ("deep.jsonl", '{"a": 1}\n' + "[" * 200_000, "no JSON object in row 2", (2,)),
    ],
)
def test_invalid_files_are_rejected_with_name_and_rows(write, name, content, message, rows):
    with pytest.raises(DataError, match=message) as caught:
        read_table(write(name, content))
    assert name in str(caught.value) and caught.value.rows == rows


def test_a_missing_file_and_a_folder_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv cannot be read: No such file"):
        read_table(tmp_path / "nowhere.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder\.csv cannot be read"):
        read_table(tmp_path / "folder.csv")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_are_read(write, end):
    assert read_table(write("rows.csv", f"a,b{end}1,2{end}")) == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("semicolon.csv", 'a;b\n"1, 2";x\n'), ("tabs.csv", "a\tb\n1, 2\tx\n"),
        ("sep.csv", "sep=;\r\na;b\r\n1, 2;x\r\n"),
        ("commas.tsv", 'a,b\n"1, 2",x\n'), ("quoted.csv", '"a","b"\n"1, 2",x\n'),
        ("bare.csv", "a;b\n1, 2;x\n".encode("utf-16-le")),
        ("le.csv", "a;b\n1, 2;x\n".encode("utf-16")), ("be.tsv", "\ufeffa\tb\n1, 2\tx\n".encode("utf-16-be")),
    ],
)  # fmt: skip
def test_other_separators_and_utf16_are_read(write, name, content):
    assert read_table(write(name, content)) == [{"a": "1, 2", "b": "x"}]


def test_a_semicolon_in_a_quoted_column_name_is_not_a_separator(write):
    assert read_table(write("rows.csv", '"a;b",c\n1,2\n')) == [{"a;b": "1", "c": "2"}]
    assert read_table(write("one.csv", '"a;b"\n1\n')) == [{"a;b": "1"}]


def test_at_most_ten_row_numbers_are_named():
    assert name_rows([3]) == "row 3"
    assert name_rows(range(1, 14)) == "rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 3 more"


def sample(**changes: str | None) -> str:
    row = {"id": "s1", "dialogue": "Tom: hi\nMaya: hello", "summary1": "They greet.", "topic1": "greeting", **changes}
    return json.dumps(row) + "\n"


def test_samples_are_read_in_the_formats_of_dialogsums_test_and_training_files(write):
    several = sample(summary2="Tom greets Maya.", summary3="Hi.", topic2="", topic3="hello")
    single = json.dumps({"id": "s2", "dialogue": "Tom: bye", "summary": "Tom leaves.", "topic": "leaving"})
    assert read_samples(write("samples.jsonl", several + single)) == [
        Example(
            "s1", "Tom: hi\nMaya: hello", ("They greet.", "Tom greets Maya.", "Hi."), ("greeting", "hello")
        ),
        Example("s2", "Tom: bye", ("Tom leaves.",), ("leaving",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("header", "ids"),
    [
        ("ID,Dialogue,Summary", ["a", "b"]), ("fname,dialog,SUMMARY1", ["a", "b"]),
        ("nothing,Conversation,reference", ["row 1", "row 2"]),
    ],
)  # fmt: skip
def test_columns_have_common_case_insensitive_names_and_the_id_is_optional(write, header, ids):
    found = read_samples(write("mine.csv", f"{header}\na,Tom: hi,They greet.\nb,Tom: bye,Tom leaves.\n"))
    assert found == [
        Example(ids[0], "Tom: hi", ("They greet.",), ()), Example(ids[1], "Tom: bye", ("Tom leaves.",), ())
    ]  # fmt: skip


def test_a_row_without_an_id_gets_its_number(write):
    assert [example.id for example in read_samples(write("mine.jsonl", sample() + sample(id=None)))] == ["s1", "row 2"]


@pytest.mark.parametrize("broken", [None, {}])
def test_missing_columns_are_rejected_with_the_existing_and_the_expected_ones(write, broken):
    file = write("mine.csv", "human,model,dialogue\na,b,c\n")
    with pytest.raises(DataError, match=r"no column summary; its columns are: human, model, dialogue\. .*dialogue and"):
        read_samples(file, broken)
    with pytest.raises(DataError, match="no column dialogue and no column summary; its columns are: x"):
        read_samples(write("other.csv", "x\n1\n"), broken)
    assert not broken


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (sample(id="s2", dialogue="  "), "no dialogue in row 2"),
        (sample(id="s2", summary1=" "), "no summary in row 2"),
    ],
    ids=["dialogue", "summary"],
)
def test_incomplete_samples_are_rejected(write, second, message):
    with pytest.raises(DataError, match=message) as caught:
        read_samples(write("samples.jsonl", sample() + second))
    assert 2 in caught.value.rows


def test_the_index_column_of_pandas_is_named_index(tmp_path):
    file = tmp_path / "frame.csv"
    file.write_text(",human,a\n0,x,y\n1,z,w\n")
    assert read_table(file)[1] == {"index": "1", "human": "z", "a": "w"}


@pytest.mark.parametrize(
    ("name", "content", "kept", "reasons"),
    [
        ("few.csv", "a,b\n1,2\n3\n4,5\n", [1, 3], {2: "It has 1 fields, not 2."}),
        ("mixed.jsonl", '{"a": 1}\nno\n{"a": 3}\n', [1, 3], {2: "It has no JSON object."}),
        ("mixed.json", '[{"a": 1}, 2]', [1], {2: "It has no JSON object."}),
    ],
)
def test_invalid_rows_are_skipped_and_reported_if_broken_is_given(tmp_path, name, content, kept, reasons):
    file, broken = tmp_path / name, {}
    file.write_text(content)
    assert list(read_rows(file, broken)) == kept and broken == reasons


def test_invalid_samples_are_reported_with_their_row_numbers(tmp_path):
    file, broken = tmp_path / "rows.csv", {}
    file.write_text("id,dialogue,summary\na,A: x,s\nb,,s\nc\nd,A: y,\ne,A: z,s\na,A: w,s\nf,A: v,s\n")
    assert [example.id for example in read_samples(file, broken)] == ["a (row 1)", "e", "a (row 6)", "f"]
    assert sorted(broken) == [2, 3, 4] and "dialogue" in broken[2]


def test_repeated_ids_get_row_numbers_with_a_note_except_those_of_one_dialogue(write):
    notes: list[str] = []
    file = write("rows.csv", "id,dialogue,summary\nk,A: x,s\nk,B: y,s\n,C: z,s\nm,D: v,s\nm,D:  v,t\n")
    assert [e.id for e in read_samples(file, notes=notes)] == ["k (row 1)", "k (row 2)", "row 3", "m", "m"]
    assert notes == ["Ids repeat in rows 1, 2; row numbers are added to them, as in “k (row 1)”."]


OPEN_DOCUMENT = zipped(mimetype="application/vnd.oasis.opendocument.spreadsheet", **{"content.xml": "<x/>"})


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.jsonl"])
@pytest.mark.parametrize(
    ("content", "kind", "fix"),
    [
        (zipped(**{"[Content_Types].xml": "", "xl/workbook.xml": ""}), "an Excel workbook", "CSV UTF-8"),
        (zipped(**{"word/document.xml": ""}), "a Word document", "CSV UTF-8"),
        (zipped(**{"Index/Document.iwa": "", "Metadata/x": ""}), "a Numbers, Pages or Keynote document", "CSV UTF-8"),
        (OPEN_DOCUMENT, "an OpenDocument spreadsheet", "CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "an Office file", "CSV UTF-8"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF", "copy its text"),
        (b"SQLite format 3\0" + bytes(80), "an SQLite database", "export the table as CSV"),
        (b"\n<!doctype HTML>\n<html><p>Sign in, please</p></html>", "a web page", "download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "a Git LFS pointer", "run: git lfs pull"),
        (b"PAR1\x15\x04" + bytes(80), "a Parquet file", r"rename it to end in \.parquet"),
    ],
    ids=["excel", "word", "numbers", "opendocument", "ole", "pdf", "sqlite", "web page", "lfs", "parquet"],
)
def test_files_of_other_programs_are_named_with_their_fix(write, name, content, kind, fix):
    with pytest.raises(DataError, match=f"is {kind}.*, which cannot be read as a table; .*{fix}"):
        read_table(write(name, gzip.compress(content) if name.endswith(".gz") else content))


@pytest.mark.parametrize("header", ["ID3,text", "PAR1,text", "BM,RIFF", "7z,%PDF"])
def test_a_header_like_a_file_signature_is_text(write, header):
    assert read_table(write("rows.csv", f"{header}\n1,2\n")) == [dict(zip(header.split(","), "12", strict=True))]


def test_a_fingerprint_ignores_case_white_space_and_unicode_composition():
    assert fingerprint("Tom: Hi,  Maya!\r\n") == fingerprint("tom: hi, maya!") != fingerprint("tom: hi, mara!")
    assert fingerprint("é") == fingerprint("e\u0301") and len(fingerprint("\ud800")) == 16


def test_a_sample_depends_on_the_seed_and_keeps_the_order():
    examples = [Example(str(i), "A: x", ("s",), ()) for i in range(50)]
    drawn = draw(examples, 10, seed=3)
    assert drawn == draw(examples, 10, seed=3) != draw(examples, 10, seed=4)
    assert [e.id for e in drawn] == sorted((e.id for e in drawn), key=int) and len(set(drawn)) == 10
    assert draw(examples, None, 0) == draw(examples, 99, 0) == examples
    with pytest.raises(InputError, match="limit is 0"):
        draw(examples, 0, 0)
