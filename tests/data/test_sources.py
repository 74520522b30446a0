"""Sources: samples, DialogSum from a folder, files, errors, and merging the rows of a dialogue.

DialogSum from the Hub is in tests/hub/.
"""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from dsum_demo.composition import make_sources
from dsum_demo.data.examples import Example, read_samples
from dsum_demo.data.sources import regroup, source_names
from dsum_demo.errors import DataError, InputError

ROWS = [
    {"id": f"test_{dialogue}_{person}", "dialogue": f"#Person1#: Hello {dialogue}!\n#Person2#: Hi.",
     "summary": f"They greet {dialogue}, says {person}.", "topic": f"greeting {person}"}
    for dialogue in range(4) for person in (1, 2, 3)
]  # fmt: skip


def write_csv(file: Path, rows: list[dict[str, str]]) -> None:
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path, settings):
    folder = tmp_path / "dialogsum"
    folder.mkdir()
    return folder


@pytest.fixture
def with_folder(settings, folder):
    return replace(settings, dialogsum_dir=folder)


def test_source_samples_reads_the_samples_file(settings):
    assert make_sources(settings).read("samples") == read_samples(settings.samples_file)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "jsonl.gz", "csv.gz"])
def test_a_split_is_read_from_a_folder_in_every_file_type(folder, with_folder, ending):
    if ending.startswith("csv"):
        write_csv(folder / "test.csv", ROWS)
    else:
        lines = ending.startswith("jsonl")
        text = "\n".join(map(json.dumps, ROWS)) if lines else json.dumps(ROWS)
        (folder / f"test.{ending.removesuffix('.gz')}").write_text(text)
    if ending.endswith(".gz"):
        plain = folder / f"test.{ending.removesuffix('.gz')}"
        (folder / f"test.{ending}").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    examples = make_sources(with_folder).read("dialogsum:test")
    assert [example.id for example in examples] == ["test_0", "test_1", "test_2", "test_3"]
    assert examples[2].references == tuple(row["summary"] for row in ROWS[6:9])
    assert examples[2].topics == ("greeting 1", "greeting 2", "greeting 3")
    assert examples[2].dialogue == ROWS[6]["dialogue"]


def test_rows_of_a_file_are_merged_by_dialogue(settings, tmp_path):
    write_csv(tmp_path / "mine.csv", ROWS)
    assert [len(example.references) for example in make_sources(settings).read(str(tmp_path / "mine.csv"))] == [3] * 4


def test_a_missing_split_raises_with_the_expected_files(with_folder, folder):
    with pytest.raises(DataError, match=rf"DSUM_DIALOGSUM, {folder}, contains no validation\.csv.*unset"):
        make_sources(with_folder).read("dialogsum:validation")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("dialogsum", "no split ''; give one of: dialogsum:train, dialogsum:validation, dialogsum:test"),
        ("dialogsum:dev", "no split 'dev'"),
        ("nowhere.csv", r"no file 'nowhere\.csv'; give a file or one of: samples, dialogsum:train"),
        ("", "no file ''"),
    ],
)
def test_an_unknown_source_raises_with_the_known_ones(settings, source, message):
    with pytest.raises(InputError, match=message):
        make_sources(settings).read(source)


def test_a_public_space_rejects_paths(settings, tmp_path):
    write_csv(tmp_path / "mine.csv", ROWS)
    public = replace(settings, public=True)
    for path in (tmp_path / "mine.csv", tmp_path / "nowhere.csv"):
        with pytest.raises(InputError, match=r"Unknown source .*give one of: samples"):
            make_sources(public).read(str(path))
    assert make_sources(public).read("samples")


def test_uncached_dialogsum_offline_raises_with_the_alternatives(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"not on this machine.*HF_HUB_OFFLINE is set\. Set DSUM_DIALOGSUM"):
        make_sources(settings).read("dialogsum:train")


def example(id: str, dialogue: str, *references: str) -> Example:
    return Example(id, dialogue, references, ("t",))


def test_rows_with_different_dialogues_are_not_changed():
    alone = [example("train_0", "a", "x"), example("train_1", "b", "y"), example("test_7_1", "c", "z")]
    assert regroup(alone) == alone


def test_rows_are_merged_in_any_order():
    rows = [example("test_0_1", "a", "x"), example("test_1_1", "b", "u"), example("test_0_2", "a", "y", "z")]
    assert regroup(rows) == [replace(example("test_0", "a", "x", "y", "z"), topics=("t", "t")), rows[1]]


def test_two_groups_with_the_same_dialogue_are_not_merged():
    rows = [example(f"test_{group}_{row}", "same", "x") for group in (3, 9) for row in (1, 2)]
    assert [(e.id, len(e.references)) for e in regroup(rows)] == [("test_3", 2), ("test_9", 2)]


def test_ids_are_unique_if_a_group_has_two_dialogues():
    rows = [example(f"set1_{number}", text, "x") for number, text in enumerate("aabb")]
    assert [e.id for e in regroup(rows)] == ["set1_0", "set1_2"]


def test_repeated_dialogues_with_other_ids_are_merged():
    assert regroup([example("one", "a", "x"), example("two", "a", "y")])[0].references == ("x", "y")


def test_source_names_lists_samples_and_splits():
    assert source_names() == ["samples", "dialogsum:train", "dialogsum:validation", "dialogsum:test"]
