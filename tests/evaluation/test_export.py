"""Exported files of an evaluation: readable, without spreadsheet formulas, and with the signature."""

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
def test_spreadsheet_formulas_are_escaped(text):
    assert escape_formula(text) == "'" + text
    assert escape_formula("plain =1") == "plain =1"


def test_the_csv_has_one_row_per_example_and_system_with_all_fields(recorded, report):
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


def test_formulas_are_escaped_in_every_text(recorded, report):
    example = recorded.examples[0]
    output = replace(example.outputs["full"], text="=HYPERLINK(1)", ungrounded=("@x",))
    bad = replace(example, id="+1", dialogue="-A: x", references=("@y",), topics=("=z",), outputs={"=sys": output})
    (row,) = csv.DictReader(io.StringIO("".join(examples_csv(replace(recorded, examples=(bad,)), report))))
    texts = [row[name] for name in "id summary dialogue reference1 topics system not_in_dialogue".split()]
    assert all(text.startswith("'") for text in texts)


def test_json_lines_contain_the_records_and_the_signature(recorded, report):
    lines = [json.loads(line) for line in examples_jsonl(recorded, report)]
    assert [ExampleRecord.from_dict(line) for line in lines] == list(recorded.examples)
    assert {line["signature"] for line in lines} == {report.signature.text}


def test_report_json_contains_settings_and_report(recorded, report):
    raw = json.loads(report_json(recorded, report))
    assert raw["evaluation"]["policy"] == "mean" and raw["report"]["signature"]["text"] == report.signature.text
    assert raw["report"]["recovery"]["sentence"] == report.recovery.sentence


def test_markdown_tables_are_well_formed_and_followed_by_the_signature(recorded, report):
    published = Published("FLAN-T5 base", "A paper | on a page", {"base": (23.3, 7.6, 20.2)})
    strange = replace(recorded, systems=(replace(recorded.systems[0], title="a|b"), *recorded.systems[1:]))
    text = report_markdown(strange, replace(report, published=published))
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("| ")]
    assert len(blocks) >= 5
    for block in blocks:
        assert len({line.replace("\\|", "").count("|") for line in block}) == 1
    assert text.count(report.signature.text) == len(blocks) - 1  # published scores are not computed here
    assert report.recovery.sentence in text and "LEAD-3" in text and "Human" in text and "a\\|b" in text
    assert "Reported by others, not computed here" in text and "23.30" in text
    for warning in report.warnings:
        assert warning.text in text


def test_an_empty_evaluation_can_be_exported(recorded, tmp_path):
    empty = replace(recorded, examples=())
    report = build_report(empty)
    files = write_exports(empty, report, tmp_path / "out")
    assert [file.name for file in files] == ["examples.csv", "examples.jsonl", "report.json", "report.md"]
    assert files[0].read_text().count("\n") == 1 and files[1].read_text() == ""
    assert "There are no scores yet" in files[3].read_text()


def test_texts_with_lone_surrogates_and_line_separators_can_be_exported(recorded, report, tmp_path):
    odd = replace(recorded, examples=(replace(recorded.examples[0], dialogue="A: \ud83d\r\nB: \u2028"),))
    files = write_exports(odd, report, tmp_path)
    assert next(csv.DictReader(files[0].open(newline="")))["dialogue"] == "A: ?\r\nB: \u2028"
    assert len(files[1].read_text(encoding="utf-8").split("\n")) == 2


def test_scores_are_formatted_with_their_interval():
    interval = Interval(0.123456, 0.1, 0.15, 40)
    assert score(interval) == "12.35 [10.00, 15.00]" and score(interval, signed=True) == "+12.35 [+10.00, +15.00]"
    assert score(Interval(0.5, None, None, 3)) == "50.00"
    units = {check.name: checked(check, interval) for check in CHECKS}
    assert units["copied"] == "12.3 %" and units["length"] == "0.12" and checked(CHECKS[0], None) == "–"
