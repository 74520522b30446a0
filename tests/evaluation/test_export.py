"""Files of an evaluation: read back by other readers, harmless in a spreadsheet, and signed."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from dsum_demo.evaluation.export import (
    checked,
    examples_csv,
    examples_jsonl,
    report_json,
    report_markdown,
    score,
    write_exports,
)
from dsum_demo.evaluation.records import ExampleRecord, Published
from dsum_demo.evaluation.report import build_report
from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.metrics.checks import CHECKS
from dsum_demo.utils.formatting import escape_formula


@pytest.fixture(scope="module")
def report(recorded):
    return build_report(recorded, 300)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "\t=1"])
def test_spreadsheet_formulas_are_made_harmless(text):
    assert escape_formula(text) == "'" + text
    assert escape_formula("plain =1") == "plain =1"


def test_the_csv_has_a_row_an_example_and_system_with_everything(recorded, report):
    rows = list(csv.DictReader(io.StringIO("".join(examples_csv(recorded, report)), newline="")))
    assert len(rows) == 29 * 3
    first, example = rows[1], recorded.examples[0]
    output = example.outputs["full"]
    assert (first["id"], first["system"], first["kind"]) == (example.id, "full", "full")
    assert (first["summary"], first["dialogue"]) == (output.text, example.dialogue)
    assert [first[f"reference{n}"] for n in (1, 2, 3)] == list(example.references)
    assert float(first["rougeL_f1"]) == output.scores["rougeL"].fmeasure
    assert float(first["rouge1_precision"]) == output.scores["rouge1"].precision
    assert float(first["copied"]) == output.checks["copied"] and first["tokens"] == ""
    assert {row["signature"] for row in rows} == {report.signature.text}
    assert {check.name for check in CHECKS} <= set(first)


def test_formulas_in_any_text_are_harmless(recorded, report):
    example = recorded.examples[0]
    output = replace(example.outputs["full"], text="=HYPERLINK(1)", ungrounded=("@x",))
    bad = replace(example, id="+1", dialogue="-A: x", references=("@y",), topics=("=z",), outputs={"=sys": output})
    (row,) = csv.DictReader(io.StringIO("".join(examples_csv(replace(recorded, examples=(bad,)), report))))
    texts = [row[name] for name in "id summary dialogue reference1 topics system not_in_dialogue".split()]
    assert all(text.startswith("'") for text in texts)


def test_json_lines_are_the_records_and_signed(recorded, report):
    lines = [json.loads(line) for line in examples_jsonl(recorded, report)]
    assert [ExampleRecord.from_dict(line) for line in lines] == list(recorded.examples)
    assert {line["signature"] for line in lines} == {report.signature.text}


def test_the_reports_json_says_what_was_evaluated_and_how(recorded, report):
    raw = json.loads(report_json(recorded, report))
    assert raw["evaluation"]["policy"] == "mean" and raw["report"]["signature"]["text"] == report.signature.text
    assert raw["report"]["recovery"]["sentence"] == report.recovery.sentence


def test_markdown_has_tables_that_hold_together_each_with_the_signature(recorded, report):
    published = Published("FLAN-T5 base", "By somebody | on a page", {"base": (23.3, 7.6, 20.2)})
    strange = replace(recorded, systems=(replace(recorded.systems[0], title="a|b"), *recorded.systems[1:]))
    text = report_markdown(strange, replace(report, published=published))
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("| ")]
    assert len(blocks) >= 5
    for block in blocks:
        assert len({line.replace("\\|", "").count("|") for line in block}) == 1
    assert text.count(report.signature.text) == len(blocks) - 1  # published scores are not computed here
    assert report.recovery.sentence in text and "LEAD-3" in text and "Human" in text and "a\\|b" in text
    assert "Published, not computed here" in text and "23.30" in text
    for warning in report.warnings:
        assert warning.text in text


def test_an_empty_evaluation_has_files_too(recorded, tmp_path):
    empty = replace(recorded, examples=())
    report = build_report(empty)
    files = write_exports(empty, report, tmp_path / "out")
    assert [file.name for file in files] == ["examples.csv", "examples.jsonl", "report.json", "report.md"]
    assert files[0].read_text().count("\n") == 1 and files[1].read_text() == ""
    assert "No summary has been scored" in files[3].read_text()


def test_files_hold_any_text(recorded, report, tmp_path):
    odd = replace(recorded, examples=(replace(recorded.examples[0], dialogue="A: \ud83d\r\nB: \u2028"),))
    files = write_exports(odd, report, tmp_path)
    assert next(csv.DictReader(files[0].open(newline="")))["dialogue"] == "A: ?\r\nB: \u2028"
    assert len(files[1].read_text(encoding="utf-8").split("\n")) == 2


def test_numbers_are_shown_with_their_interval():
    interval = Interval(0.123456, 0.1, 0.15, 40)
    assert score(interval) == "12.35 [10.00, 15.00]" and score(interval, signed=True) == "+12.35 [+10.00, +15.00]"
    assert score(Interval(0.5, None, None, 3)) == "50.00"
    units = {check.name: checked(check, interval) for check in CHECKS}
    assert units["copied"] == "12.3 %" and units["length"] == "0.12" and checked(CHECKS[0], None) == "–"
