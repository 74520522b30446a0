"""Training data: columns, problems by row, the split and shared dialogues; errors name the rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dsum_demo.composition import make_sources
from dsum_demo.data.examples import Example, fingerprint
from dsum_demo.errors import DataError, InputError
from dsum_demo.training.config import DataConfig
from dsum_demo.training.dataset import Lengths, overlap, preview, read_training_data, sample_csv, split


def write(folder: Path, rows: list[dict], name: str = "rows.jsonl") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / name)


def rows(count: int, start: int = 0) -> list[dict]:
    return [{"dialogue": f"Tom: I have {n} apples.", "summary": f"{n}."} for n in range(start, start + count)]


def example(text: str) -> Example:
    return Example(text, text, ("x",), ())


def test_a_preview_lists_every_problem_with_its_row(tmp_path):
    found = preview(
        Path(write(tmp_path, [
            {"dialogue": "Tom: Hi, Maya, are you there?", "summary": "Tom greets."},
            {"dialogue": "", "summary": "Nothing."},
            {"dialogue": "Tom: Yes.", "summary": "  "},
            {"dialogue": "tom:  hi, Maya, are you there?", "summary": "Tom says hi."},
            {"dialogue": "Tom: Ok.", "summary": "Tom says ok to everything."},
            {"dialogue": None, "summary": None},
        ]))
    )  # fmt: skip
    assert [(problem.row, problem.text, problem.fatal) for problem in found.problems] == [
        (2, "no dialogue", True),
        (3, "no summary", True),
        (4, "the same dialogue as row 1", False),
        (5, "a summary at least as long as its dialogue", False),
        (6, "no dialogue and no summary", True),
    ]
    assert (found.count, found.columns, len(found.rows), found.lengths) == (6, ("dialogue", "summary"), 5, None)
    assert found.rows[0] == {"dialogue": "Tom: Hi, Maya, are you there?", "summary": "Tom greets."}


def test_windows_1252_data_is_read_with_a_note(tmp_path, settings):
    file = tmp_path / "old.csv"
    file.write_bytes("dialogue,summary\nZoë: hi,Zoë.\nZoë: bye,Zoë.\n".encode("cp1252"))
    data = read_training_data(DataConfig(str(file)), make_sources(settings))
    assert data.train[0].dialogue.startswith("Zoë: ")
    assert any("old.csv is not UTF-8" in note and "Windows-1252" in note for note in data.notes)
    assert preview(file).notes == tuple(note for note in data.notes if "Windows-1252" in note)


def test_lengths_are_compared_with_the_limit(tmp_path):
    file = Path(write(tmp_path, [{"dialogue": "x" * n, "summary": "y"} for n in (1, 2, 3, 9)]))
    lengths = preview(file, length=len, limit=3).lengths
    assert lengths == Lengths(median=3, longest=9, limit=3, too_long=1)
    assert "the model reads 3: 1 dialogue is longer and loses its last turns" in lengths.note
    assert preview(file, length=len, limit=9).lengths.note.endswith("9 at most; all fit.")


def test_the_sample_file_can_be_used_for_training(tmp_path, settings):
    (tmp_path / "sample.csv").write_text(sample_csv())
    found = preview(tmp_path / "sample.csv")
    assert found.problems == () and found.count == 3
    assert "\n" in found.rows[0]["dialogue"]
    assert len(read_training_data(DataConfig(str(tmp_path / "sample.csv")), make_sources(settings)).train) == 2


@pytest.mark.parametrize("given", [{}, {"dialogue": "chat"}, {"dialogue": "CHAT", "summary": "summary1"}])
def test_training_uses_the_first_summary_column(tmp_path, given):
    file = Path(write(tmp_path, [{"fname": "a", "chat": "Tom: Hi.", "Summary1": "One.", "summary2": "Two."}]))
    found = preview(file, given)
    assert found.mapping == {"dialogue": "chat", "summary": "Summary1", "id": "fname"}


def test_the_samples_are_split_by_the_seed(settings):
    data = read_training_data(DataConfig(validation_share=0.2), make_sources(settings))
    assert (len(data.train), len(data.validation)) == (23, 6) and not overlap(data.train, data.validation)
    assert data.notes == ("The data has no validation part: 6 of 29 dialogues were split off (seed 0).",)
    again = read_training_data(DataConfig(validation_share=0.2), make_sources(settings))
    other = read_training_data(DataConfig(validation_share=0.2, split_seed=1), make_sources(settings))
    assert again == data and other.validation != data.validation and other.fingerprint != data.fingerprint


def test_the_split_does_not_depend_on_the_order_of_the_rows():
    examples = [example(f"Tom: {n}") for n in range(40)]
    _, one = split(examples, 0.25, 3)
    _, other = split(examples[::-1], 0.25, 3)
    assert {e.id for e in one} == {e.id for e in other} and len(one) == 10
    assert [e.id for e in one] == sorted((e.id for e in one), key=lambda name: int(name.split()[1])), (
        "rows keep their order"
    )


@pytest.mark.parametrize(("count", "sizes"), [(0, (0, 0)), (1, (1, 0)), (2, (1, 1)), (3, (2, 1))])
def test_both_parts_get_at_least_one_of_two_dialogues(count, sizes):
    assert tuple(map(len, split([example(str(n)) for n in range(count)], 0.01, 0))) == sizes


def test_a_folders_validation_file_is_used(tmp_path, settings):
    write(tmp_path, rows(5), "train.jsonl")
    write(tmp_path, rows(2, start=10), "validation.jsonl")
    data = read_training_data(DataConfig(str(tmp_path)), make_sources(settings))
    assert (len(data.train), len(data.validation), data.notes) == (5, 2, ())


def test_a_folder_without_a_training_file_raises_with_the_file_name(tmp_path, settings):
    write(tmp_path, rows(5), "data.jsonl")
    with pytest.raises(DataError, match=r"has no train\.csv or train file ending in \.tsv, \.jsonl"):
        read_training_data(DataConfig(str(tmp_path)), make_sources(settings))


def test_dialogsum_has_both_parts(tmp_path, settings):
    from dataclasses import replace

    for name, start in (("train", 0), ("validation", 50)):
        write(tmp_path, [{"id": f"{name}_{n}", **row} for n, row in enumerate(rows(4, start))], f"{name}.jsonl")
    data = read_training_data(DataConfig("dialogsum"), make_sources(replace(settings, dialogsum_dir=tmp_path)))
    assert [e.id for e in data.train] == [f"train_{n}" for n in range(4)] and len(data.validation) == 4


def test_dialogues_in_both_parts_are_removed_from_training_with_a_note(tmp_path, settings):
    train = write(tmp_path, rows(6))
    validation = write(tmp_path, [*rows(2), *rows(1, start=20)], "validation.jsonl")
    data = read_training_data(DataConfig(train, validation), make_sources(settings))
    assert (len(data.train), len(data.validation)) == (4, 3)
    assert data.notes == ("2 dialogues are also in the validation part and were removed from training.",)


def test_rows_without_text_and_repeated_pairs_are_skipped_with_a_note(tmp_path, settings):
    file = write(tmp_path, [*rows(4), {"dialogue": "", "summary": "x"}, *rows(2), {"dialogue": "x", "summary": ""}])
    data = read_training_data(DataConfig(file), make_sources(settings))
    assert len(data.train) + len(data.validation) == 4
    assert "rows.jsonl: skipped row 5 (no dialogue), row 8 (no summary)." in data.notes
    assert "2 repeated dialogues were removed." in data.notes


def test_the_limit_samples_by_the_seed(tmp_path, settings):
    file = write(tmp_path, rows(30))
    data = read_training_data(DataConfig(file, limit=5), make_sources(settings))
    assert len(data.train) == 5 and read_training_data(DataConfig(file, limit=5), make_sources(settings)) == data


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        ([{"dialogue": "", "summary": "x"}, {"dialogue": "x", "summary": ""}], DataError, "no row with both"),
        (rows(1), DataError, "has 1 dialogues for training and 0 for validation"),
        ([{"a": 1}], DataError, "has no column dialogue and no column summary; its columns are: a"),
    ],
)
def test_a_file_without_usable_rows_raises(tmp_path, settings, content, error, sentence):
    with pytest.raises(error, match=sentence) as refused:
        read_training_data(DataConfig(write(tmp_path, content)), make_sources(settings))
    if "no row" in sentence:
        assert refused.value.rows == (1, 2)


def test_a_missing_file_raises(settings):
    with pytest.raises(InputError, match=r"There is no file 'nowhere\.csv'"):
        read_training_data(DataConfig("nowhere.csv"), make_sources(settings))


def test_the_fingerprint_ignores_spacing_and_case():
    assert fingerprint("Tom:  Hi.\nMaya: HELLO.") == fingerprint("tom: hi. maya: hello.")
    assert fingerprint("Tom: Hi.") != fingerprint("Tom: Ho.") and len(fingerprint("")) == 16
