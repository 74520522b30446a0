"""Scores of recorded outputs: means worked out by hand, rows with fewer references, and what is refused."""

from __future__ import annotations

import json

import pytest

from dsum_demo.errors import DataError, InputError
from dsum_demo.metrics import ROUGE_TYPES
from dsum_demo.scoring import score_file


@pytest.fixture
def write(tmp_path):
    def write(content: str, name: str = "outputs.csv"):
        file = tmp_path / name
        file.write_text(content)
        return file

    return write


def test_scores_are_plain_means_over_rows_and_carry_their_signature(write):
    file = write("id,human,a,b\n1,the cat sat,the cat sat,dogs\n2,a b c d,a b,a b c d\n")
    report = score_file(file, ["human"], ["b", "a"]).as_dict()
    assert list(report) == ["signature", "systems"] and list(report["systems"]) == ["b", "a"]
    # a: row 1 is equal; row 2 has 2 of 2 and 2 of 4 words, 1 of 1 and 1 of 3 pairs of words.
    assert report["systems"]["a"] == pytest.approx(
        {"rouge1": (1 + 2 / 3) / 2, "rouge2": (1 + 1 / 2) / 2, "rougeL": (1 + 2 / 3) / 2, "rougeLsum": (1 + 2 / 3) / 2}
    )
    assert report["systems"]["b"] == dict.fromkeys(ROUGE_TYPES, 0.5)
    assert report["signature"]["text"].endswith("1 reference, Lsum split by dsum, n=2")
    assert report["signature"]["n"] == 2 and report["signature"]["references"] == 1
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize(("policy", "second_row"), [("mean", (1 + 2 / 3) / 2), ("best", 1.0), ("first", 2 / 3)])
def test_a_row_is_scored_with_the_references_it_has(write, policy, second_row):
    rows = [{"h1": "", "h2": "a b", "a": "a b"}, {"h1": "a b c d", "h2": "a b", "a": "a b"}, {"h1": " ", "h2": "c"}]
    file = write("\n".join(map(json.dumps, rows)), "outputs.jsonl")
    report = score_file(file, ["h1", "h2"], ["a"], policy)
    # The third row has no output, which scores 0.
    assert report.as_dict()["systems"]["a"]["rouge1"] == pytest.approx((1 + second_row + 0) / 3)
    assert (report.signature.references, report.signature.policy) == (2, policy)


def test_missing_columns_are_named_beside_those_that_exist(write):
    with pytest.raises(DataError, match=r"no column reference, c; its columns are: human, a\."):
        score_file(write("human,a\nx,y\n"), ["reference", "human"], ["a", "c"])


def test_rows_without_a_reference_are_named(write):
    with pytest.raises(DataError, match=r"no reference in rows 2, 4; fill") as caught:
        score_file(write('h1,h2,a\nx,,y\n,"  ",y\n,x,\n,,y\n'), ["h1", "h2"], ["a"])
    assert caught.value.rows == (2, 4)


def test_a_row_that_is_too_long_is_named(write):
    long = "a " * 4000
    with pytest.raises(DataError, match=r"row 2: .*shorten") as caught:
        score_file(write(f"human,a\nx,y\n{long},{long}\n"), ["human"], ["a"])
    assert caught.value.rows == (2,)


@pytest.mark.parametrize(
    ("references", "systems", "policy", "sentence"),
    [
        ([], ["a"], "mean", "at least one column"),
        (["human"], [], "mean", "at least one column"),
        (["human", "human"], ["a"], "mean", "'human' is named twice"),
        (["human"], ["a", "a"], "mean", "'a' is named twice"),
        # A model's output is never a reference.
        (["human", "a"], ["a"], "mean", "'a' is named twice"),
        (["human"], ["a"], "median", "'median'; choose one of"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(write, references, systems, policy, sentence):
    with pytest.raises(InputError, match=sentence):
        score_file(write("human,a\nx,y\n"), references, systems, policy)
