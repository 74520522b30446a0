"""Scores of recorded outputs: hand-computed means, rows with fewer references, and invalid input."""

from __future__ import annotations

import csv
import io
import json
import random

import pytest
from rouge_score.rouge_scorer import RougeScorer

from dsum_demo.errors import DataError, InputError
from dsum_demo.evaluation.recorded import evaluate_recorded, score_file
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.metrics.scores import mean_scores


@pytest.fixture
def write(tmp_path):
    def write(content: str, name: str = "outputs.csv"):
        file = tmp_path / name
        file.write_text(content)
        return file

    return write


def test_scores_are_means_over_rows_with_a_signature(write):
    file = write("id,human,a,b\n1,the cat sat,the cat sat,dogs\n2,a b c d,a b,a b c d\n")
    report = score_file(file, ["human"], ["b", "a"]).as_dict()
    assert list(report) == ["signature", "systems", "warnings"] and list(report["systems"]) == ["b", "a"]
    # a: row 1 is an exact match; row 2 has 2 of 2 and 2 of 4 words, 1 of 1 and 1 of 3 bigrams.
    assert report["systems"]["a"] == pytest.approx(
        {"rouge1": (1 + 2 / 3) / 2, "rouge2": (1 + 1 / 2) / 2, "rougeL": (1 + 2 / 3) / 2, "rougeLsum": (1 + 2 / 3) / 2}
    )
    assert report["systems"]["b"] == dict.fromkeys(ROUGE_TYPES, 0.5)
    assert report["signature"]["text"].endswith("1 reference, Lsum split by dsum, n=2")
    assert report["signature"]["n"] == 2 and report["signature"]["references"] == 1
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize(("policy", "second_row"), [("mean", (1 + 2 / 3) / 2), ("best", 1.0), ("first", 2 / 3)])
def test_a_row_is_scored_with_its_references_that_are_not_empty(write, policy, second_row):
    rows = [{"h1": "", "h2": "a b", "a": "a b"}, {"h1": "a b c d", "h2": "a b", "a": "a b"}, {"h1": " ", "h2": "c"}]
    file = write("\n".join(map(json.dumps, rows)), "outputs.jsonl")
    report = score_file(file, ["h1", "h2"], ["a"], policy)
    # The third row has no output, which scores 0.
    assert report.as_dict()["systems"]["a"]["rouge1"] == pytest.approx((1 + second_row + 0) / 3)
    assert (report.signature.references, report.signature.policy) == (2, policy)


def test_missing_columns_are_named_with_the_existing_ones(write):
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
    ("references", "systems", "policy", "message"),
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
def test_invalid_arguments_are_rejected(write, references, systems, policy, message):
    with pytest.raises(InputError, match=message):
        score_file(write("human,a\nx,y\n"), references, systems, policy)


def test_scores_of_a_published_file_equal_rouge_scores_means(write):
    """A file like the course's recorded outputs: an index, one reference per row and three rows per dialogue. The
    published scores are means of rouge_score over the rows."""
    rng = random.Random(0)
    words = (
        "Tom asks Maya to lend him ten dollars, and she agrees; he'll pay on Friday. #Person1# thanks #Person2#".split()
    )
    systems = ["original_model_summaries", "instruct_model_summaries", "peft_model_summaries"]
    table = []
    for _ in range(40):
        outputs = [" ".join(rng.choices(words, k=rng.randint(0, 30))) for _ in systems]
        table += [[" ".join(rng.choices(words, k=rng.randint(5, 20))), *outputs] for _ in range(3)]
    lines = io.StringIO()
    csv.writer(lines).writerows(
        [["", "human_baseline_summaries", *systems], *([i, *row] for i, row in enumerate(table))]
    )
    file = write(lines.getvalue())
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    report = score_file(file, ["human_baseline_summaries"], systems)
    for place, name in enumerate(systems, 1):
        published = [scorer.score(row[0], row[place]) for row in table]
        for rouge in ("rouge1", "rouge2", "rougeL"):
            mean = sum(scores[rouge].fmeasure for scores in published) / len(published)
            assert report.systems[name][rouge].fmeasure == pytest.approx(mean, abs=1e-12)
    # By dialogues they are 40 examples with three references each; the mean of means is the same.
    *_, last = evaluate_recorded(file, ["human_baseline_summaries"], systems, reading="dialogues")
    assert len(last.evaluation.examples) == 40 and {e.reference_count for e in last.evaluation.examples} == {3}
    for name in systems:
        mean = mean_scores([example.outputs[name].scores for example in last.evaluation.examples])["rouge1"].fmeasure
        assert mean == pytest.approx(report.systems[name]["rouge1"].fmeasure)
    *_, best = evaluate_recorded(file, ["human_baseline_summaries"], systems, reading="dialogues", policy="best")
    high = mean_scores([example.outputs[systems[1]].scores for example in best.evaluation.examples])["rouge1"].fmeasure
    assert high > report.systems[systems[1]]["rouge1"].fmeasure


def test_rows_are_scored_in_random_order_and_returned_in_file_order(write, monkeypatch):
    monkeypatch.setattr("dsum_demo.evaluation.recorded.YIELD_SECONDS", 0.0)
    file = write("human,a\n" + "".join(f"the cat sat {i},the cat {i}\n" for i in range(30)))
    states = list(evaluate_recorded(file, ["human"], ["a"], seed=1))
    assert [state.done for state in states] == [0, *range(1, 31), 30] and {state.total for state in states} == {30}
    assert states[0].seconds_left is None and states[5].seconds_left > 0 and states[-1].seconds_left == 0
    assert [e.row for e in states[10].evaluation.examples] != list(range(1, 11))
    assert [e.row for e in states[-1].evaluation.examples] == list(range(1, 31))
    assert states[-1].evaluation.finished and not states[-2].evaluation.finished


def test_a_stop_keeps_the_scored_rows(write):
    file = write("human,a\n" + "x y,x\n" * 30)
    answers = iter([False] * 7 + [True])
    *_, last = evaluate_recorded(file, ["human"], ["a"], should_stop=lambda: next(answers))
    assert len(last.evaluation.examples) == 7 and not last.evaluation.finished and last.evaluation.total == 30


def test_the_sample_of_a_limit_depends_on_the_seed(write):
    file = write("human,a\n" + "".join(f"x {i},x\n" for i in range(30)))

    def rows(seed: int) -> list[int]:
        *_, last = evaluate_recorded(file, ["human"], ["a"], seed=seed, limit=5)
        return [example.row for example in last.evaluation.examples]

    assert rows(1) == rows(1) != rows(2) and len(rows(1)) == 5


def test_skip_broken_skips_and_lists_invalid_rows(write):
    file = write("human,a\nx,x\n,y\nz,z\n")
    *_, last = evaluate_recorded(file, ["human"], ["a"], skip_broken=True)
    assert [e.row for e in last.evaluation.examples] == [1, 3]
    assert [(row.row, row.reason) for row in last.evaluation.skipped] == [(2, "It has no reference.")]


def test_an_unknown_reading_is_rejected(write):
    with pytest.raises(InputError, match="'columns'; choose one of: rows, dialogues"):
        list(evaluate_recorded(write("human,a\nx,y\n"), ["human"], ["a"], reading="columns"))


def test_recorded_outputs_have_no_tokens_and_no_times(recorded):
    output = recorded.examples[0].outputs["full"]
    assert output.tokens is None and output.seconds is None and recorded.decode is None and recorded.recorded
    assert len(output.by_reference) == 3 and output.checks["length"] > 0
    assert [system.kind for system in recorded.systems] == ["base", "full", "adapter"]


def test_empty_outputs_and_repeated_ids_are_reported_with_the_scores(write):
    report = score_file(write('id,human,a\nk,the cat,.\nk,the dog,None\nm,the bird,"the bird"\n'), ["human"], ["a"])
    assert report.warnings == (
        "Ids repeat in rows 1, 2; row numbers are added to them, as in “k (row 1)”.",
        "a: 2 of 3 summaries are empty and score 0.",
    )
