"""The table of metrics: a new row appears in the report, the command line's table, the exports and the charts."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from dsum_demo.cli.evaluate import report_text
from dsum_demo.cli.main import main
from dsum_demo.composition import saved_evaluations
from dsum_demo.evaluation.export import examples_csv, report_markdown
from dsum_demo.evaluation.recorded import evaluate_recorded
from dsum_demo.evaluation.records import ExampleRecord
from dsum_demo.evaluation.report import build_report
from dsum_demo.evaluation.storage import compare_saved, read_evaluation, write_evaluation
from dsum_demo.metrics.scores import HEADLINE, METRICS, Metric, Score, mean_scores, score_summary, shown_unit
from dsum_demo.metrics.words import words
from dsum_demo.ui.evaluate import charts, tables
from dsum_demo.ui.evaluate.example_detail import example_view
from dsum_demo.ui.evaluate.example_table import Selection, columns
from dsum_demo.ui.evaluate.html_report import html_report

NAMES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
COLUMNS = (["human1", "human2", "human3"], ["original", "full", "lora"])


def length_error(summary: str, reference: str) -> Score:
    """The relative difference between the numbers of words of summary and reference."""
    return Score.of(abs(len(words(summary)) / len(words(reference)) - 1))


NEW = Metric("length_error", "Length error", "LenErr", "ratio", False, "words by dsum", length_error, has_parts=False)


@pytest.fixture
def with_metric(monkeypatch):
    monkeypatch.setitem(METRICS, NEW.name, NEW)


@pytest.fixture
def evaluation(with_metric, recorded_file):
    *_, last = evaluate_recorded(recorded_file, *COLUMNS)
    return last.evaluation


def mean_by_hand(evaluation, system: str) -> float:
    values = [
        sum(length_error(e.outputs[system].text, text).fmeasure for text in e.references) / len(e.references)
        for e in evaluation.examples
    ]
    return sum(values) / len(values)


def test_the_table_has_the_rouge_types_with_all_fields():
    assert list(METRICS) == NAMES and HEADLINE in METRICS and shown_unit() == "F1 × 100"
    for name, metric in METRICS.items():
        assert (metric.name, metric.unit, metric.higher_is_better) == (name, "F1", True)
        assert metric.heading == metric.title and metric.short and metric.signature.startswith("rouge_score")


def test_policy_best_respects_the_direction_of_a_metric(with_metric):
    scores = score_summary("one two", ["one two three four", "one two"], "best")
    assert scores["length_error"].fmeasure == 0.0 and scores["rouge1"].fmeasure == 1.0
    assert score_summary("one two", ["one two three four", "one two"])["length_error"].fmeasure == 0.25


def test_a_new_metric_is_in_the_report_and_its_signature(evaluation):
    report = build_report(evaluation, resamples=200)
    for system in report.systems:
        mean = system.f1["length_error"]
        assert mean.mean == pytest.approx(mean_by_hand(evaluation, system.name)) and mean.low < mean.mean < mean.high
    assert list(report.differences[0].f1) == list(report.slices[0].f1["full"]) == [*NAMES, "length_error"]
    assert "n=29; Length error: words by dsum" in report.signature.text
    assert "length_error" in report.as_dict()["systems"][0]["f1"] and "length_error" in report.lead3


def test_a_new_metric_is_in_every_export(evaluation):
    report = build_report(evaluation, resamples=200)
    row, *_ = csv.DictReader(io.StringIO("".join(examples_csv(evaluation, report)), newline=""))
    value = evaluation.examples[0].outputs["original"].scores["length_error"].fmeasure
    assert float(row["length_error"]) == value > 0 and "length_error_precision" not in row
    assert ExampleRecord.from_dict(json.loads(json.dumps(evaluation.examples[0].as_dict()))) == evaluation.examples[0]
    text = report_markdown(evaluation, report)
    assert "| ROUGE-Lsum | Length error (lower is better) |" in text and "Score × 100 with 95 %" in text
    assert f"{100 * mean_by_hand(evaluation, 'full'):.2f} [" in text
    assert "Length error" in html_report(evaluation, report)


def test_a_new_metric_is_in_the_tables_of_the_cli(evaluation, recorded_file, capsys):
    shown = report_text(evaluation, build_report(evaluation, resamples=200))
    assert shown.count("LenErr") == 2 and f"{100 * mean_by_hand(evaluation, 'lora'):.2f} [" in shown
    file, (references, systems) = str(recorded_file), (",".join(names) for names in COLUMNS)
    assert main(["score", file, "--references", references, "--systems", systems]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["system", "R1", "R2", "RL", "RLsum", "LenErr"]
    assert rows[0].split()[-1] == f"{100 * mean_by_hand(evaluation, 'original'):.2f}"


def test_a_new_metric_is_in_the_charts_and_tables_of_the_ui(evaluation):
    report = build_report(evaluation, resamples=200)
    figure = charts.means_chart(evaluation, report).figure
    assert figure.layout.xaxis.ticktext == ("ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum", NEW.heading)
    assert figure.layout.yaxis.title.text == "Score × 100"
    full = next(bar for bar in figure.data if bar.name.startswith("full"))
    assert full.y[-1] == pytest.approx(100 * mean_by_hand(evaluation, "full")) and len(full.y) == 5
    lengths = charts.length_chart(evaluation, NEW.name).figure
    assert lengths.layout.yaxis.title.text == "Length error ratio × 100"
    assert charts.differences_chart(evaluation, "full", "original", NEW.name).figure.layout.yaxis.title.text
    for table in (tables.means_table, tables.differences_table):
        assert NEW.heading in table(evaluation, report)
    assert "Length error" not in tables.parts_table(evaluation, report)
    assert "LenErr" in example_view(evaluation, evaluation.examples[0], "none", "", "")
    column = next(c for c in columns(evaluation, Selection(rouge=NEW.name)) if c.key == "f1:full")
    assert not column.largest_first


def test_an_evaluation_older_than_a_metric_opens_with_a_dash_for_it(recorded, tmp_path, monkeypatch):
    folder = write_evaluation(recorded, tmp_path / "old")
    monkeypatch.setitem(METRICS, NEW.name, NEW)
    old = read_evaluation(folder)
    report = build_report(old, resamples=200)
    assert list(report.systems[0].f1) == NAMES and report.recovery is not None
    assert report_text(old, report).count("–") >= 3
    table = tables.means_table(old, report)
    assert NEW.heading in table and "<td>–</td>" in table
    assert len(charts.means_chart(old, report).figure.data[0].y) == 4
    assert charts.differences_chart(old, "full", "original", NEW.name).figure is None
    row, *_ = csv.DictReader(io.StringIO("".join(examples_csv(old, report)), newline=""))
    assert row["length_error"] == ""
    assert all(list(found.f1) == NAMES for found in compare_saved(old, replace(old, seed=1), resamples=50))
    assert "–" in example_view(old, old.examples[0], "none", "", "")


def test_an_evaluation_with_a_removed_metric_opens(evaluation, tmp_path, monkeypatch):
    folder = write_evaluation(evaluation, tmp_path / "new")
    monkeypatch.delitem(METRICS, NEW.name)
    again = read_evaluation(folder)
    report = build_report(again, resamples=200)
    assert list(report.systems[0].f1) == NAMES
    assert "ROUGE-1" in tables.parts_table(again, report) and "LenErr" not in report_text(again, report)


def test_a_reference_without_a_token_has_no_score_and_does_not_count_in_the_mean():
    silent, readable = "Тогда в пять.", "Then at five."
    assert score_summary("Then at five.", [silent]) == {} == score_summary("", [silent])
    assert score_summary("Then at five.", [silent, readable]) == score_summary("Then at five.", [readable])
    assert score_summary("Then at five.", [silent, readable], "best")["rouge1"].fmeasure == 1
    assert score_summary("Тогда в пять.", [readable])["rouge1"].fmeasure == 0, "a summary without tokens scores 0"
    half = mean_scores([score_summary(text, [readable]) for text in ("Then at five.", "No.")])
    assert mean_scores([{}, half, {}]) == half and half["rouge1"].fmeasure == 0.5


def test_recorded_references_that_rouge_does_not_read_are_counted_and_shown_as_missing(tmp_path, capsys, settings):
    file = tmp_path / "rows.csv"
    file.write_text("ref,a\nТогда в пять.,Тогда в пять.\nThen at five.,Then at five.\nÀ cinq heures.,A cinq heures.\n")
    assert main(["score", str(file), "--references", "ref", "--systems", "a", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["systems"]["a"]["rouge1"] == pytest.approx((1 + 4 / 5) / 2), "of rows 2 and 3"
    assert [text.split(" have ")[0] for text in printed["warnings"]] == [
        "1 of 3 references", "2 of 3 references", "1 of 3 summaries"
    ]  # fmt: skip
    file.write_text("ref,a\nТогда в пять.,x\n")
    assert main(["score", str(file), "--references", "ref", "--systems", "a"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[1].split() == ["a", "–", "–", "–", "–"] and "do not count in the means" in said.err
    *_, last = evaluate_recorded(file, ["ref"], ["a"])
    report = build_report(last.evaluation)
    assert report.systems[0].f1 == {} and {w.kind for w in report.warnings} == {"few", "no_tokens", "unread"}
    assert "–" in report_text(last.evaluation, report) and "–" in report_markdown(last.evaluation, report)
    shown = example_view(last.evaluation, last.evaluation.examples[0], "none", "", "")
    assert "–" in shown and html_report(last.evaluation, report)
    saved_evaluations(settings).save(last.evaluation, report=report)
    saved = next(one for one in saved_evaluations(settings).list() if not one.shipped)
    assert (saved.n, saved.rouge1, saved.reason) == (1, (), "")
