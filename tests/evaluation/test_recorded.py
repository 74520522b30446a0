"""Reading recorded outputs: rows of one dialogue, systems from column names, and invalid rows."""

from __future__ import annotations

import pytest

from dsum_demo.data.examples import Example
from dsum_demo.errors import DataError, InputError
from dsum_demo.evaluation.recorded import read_recorded, recorded_system, together


@pytest.fixture
def write(tmp_path):
    def write(content: str, name: str = "outputs.csv"):
        file = tmp_path / name
        file.write_text(content)
        return file

    return write


def groups(file, systems=("a",)) -> list[list[int]]:
    found: dict[str, list[int]] = {}
    for row in read_recorded(file, ["human"], list(systems)):
        found.setdefault(row.group, []).append(row.row)
    return list(found.values())


def test_rows_with_equal_dialogues_are_grouped(write):
    assert groups(write("dialogue,human,a\nA: hi,x,p\nB: ho,y,p\na: HI,z,q\n")) == [[1, 3], [2]]


def test_without_dialogues_rows_are_grouped_by_numbered_ids(write):
    file = write("id,human,a\ntest_0_1,x,p\ntest_0_2,y,p\ntest_1_1,z,p\ndev_7,v,p\ndev_8,w,p\n")
    assert groups(file) == [[1, 2], [3], [4], [5]]


def test_without_ids_consecutive_rows_with_equal_outputs_are_grouped(write):
    rows = "x,p,r\ny,p,r\nz,p,s\nv,q,s\nw,q,s\nu,,\nt,,\n"
    assert groups(write(f"human,a,b\n{rows}"), ("a", "b")) == [[1, 2], [3], [4, 5], [6], [7]]


def test_together_merges_rows_into_one_example_with_all_references(write):
    file = write("id,dialogue,topic,human,a\nt_1_1,A: hi,food,x,p\nt_1_2,A: hi,travel,y,p\nt_2_1,A: ho,food,z,q\n")
    first, second = together(read_recorded(file, ["human"], ["a"]))
    assert (first.example.id, first.example.references, first.example.topics) == (
        "t_1_1",
        ("x", "y"),
        ("food", "travel"),
    )
    assert second.example.references == ("z",) and first.outputs == {"a": "p"}


def test_together_rejects_different_outputs_for_one_dialogue(write):
    rows = read_recorded(write("dialogue,human,a\nA: hi,x,p\nA: ho,y,p\nA: hi,z,q\n"), ["human"], ["a"])
    with pytest.raises(DataError, match="Outputs of a differ in rows 1, 3") as caught:
        together(rows)
    assert caught.value.rows == (1, 3)


def test_together_rejects_rows_without_a_shared_dialogue(write):
    with pytest.raises(InputError, match="No two rows share"):
        together(read_recorded(write("human,a\nx,p\ny,q\n"), ["human"], ["a"]))


def test_missing_and_repeated_ids_get_the_row_number(write):
    rows = read_recorded(write("id,human,a\nk,x,p\n,y,p\nk,z,p\n"), ["human"], ["a"])
    assert [row.example.id for row in rows] == ["k (row 1)", "row 2", "k (row 3)"]


def test_column_names_are_case_insensitive(write):
    (row,) = read_recorded(write("ID,Dialogue,Human,Base\nk,A: hi,x,p\n"), ["human"], ["BASE"])
    assert (row.example, row.outputs) == (Example("k", "A: hi", ("x",), ()), {"BASE": "p"})
    with pytest.raises(InputError, match="'Human' is named twice"):
        read_recorded(write("Human,a\nx,p\n"), ["human"], ["a", "HUMAN"])
    with pytest.raises(DataError, match="no column gold; its columns are: human, a"):
        read_recorded(write("human,a\nx,p\n"), ["gold"], ["a"])


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("original_model_summaries", "base"), ("instruct_model_summaries", "full"), ("peft_model_summaries", "adapter"),
        ("flan-t5-base-lora", "adapter"), ("flan-t5-base-full", "full"), ("dsum-t5-base", "base"),
        ("zero_shot", "base"), ("finetuned", "full"), ("LoRA", "adapter"), ("bart", "recorded"),
    ],
)  # fmt: skip
def test_the_kind_of_a_system_is_inferred_from_its_column(column, kind):
    assert recorded_system(column).kind == kind


def test_invalid_rows_are_rejected_together_or_skipped_with_their_numbers(write):
    long = "a " * 4000
    content = f"human,a\nx,y\n,y\n{long},{long}\nonly one\n ,y\nz,y\n"
    with pytest.raises(DataError, match="another number of fields in row 4"):
        read_recorded(write(content), ["human"], ["a"])
    with pytest.raises(DataError, match=r"no reference in rows 2, 4") as caught:
        read_recorded(write(content.replace("only one\n", "")), ["human"], ["a"])
    assert caught.value.rows == (2, 4)
    broken: dict[int, str] = {}
    assert [row.row for row in read_recorded(write(content), ["human"], ["a"], broken)] == [1, 6]
    assert sorted(broken) == [2, 3, 4, 5]
    assert "no reference" in broken[2] and "shorten" in broken[3] and "fields" in broken[4]


def test_a_file_without_valid_rows_is_rejected(write):
    with pytest.raises(DataError, match="no valid rows"):
        read_recorded(write("human,a\n,y\n"), ["human"], ["a"], {})
