"""Examples that were in a system's training data do not count, and the report shows both means."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest

from dsum_demo.composition import saved_evaluations
from dsum_demo.evaluation.report import build_report
from dsum_demo.evaluation.storage import read_evaluation
from dsum_demo.evaluation.training_data import without_training_data

SEEN = ("sample_01", "sample_02", "sample_05")


@pytest.fixture
def overlapping(recorded):
    return replace(recorded, trained_on={"full": SEEN[:2], "lora": SEEN[1:]})


def test_examples_that_any_system_was_trained_on_are_set_aside(overlapping):
    counted = without_training_data(overlapping)
    assert tuple(e.id for e in counted.set_aside) == SEEN
    assert [e.id for e in counted.examples] == [e.id for e in overlapping.examples if e.id not in SEEN]
    assert counted.total == overlapping.total - 3 and without_training_data(counted) == counted


def test_the_report_counts_the_others_and_the_warning_has_both_means(overlapping):
    report = build_report(without_training_data(overlapping), 100)
    assert report.n == len(overlapping.examples) - 3
    scores = {e.id: e.outputs["full"].scores["rouge1"].fmeasure for e in overlapping.examples}
    everything, counted = fmean(scores.values()), fmean(f1 for id, f1 in scores.items() if id not in SEEN)
    (warning,) = [warning for warning in report.warnings if warning.kind == "trained_on"]
    assert warning.text.startswith(f"3 examples of {len(overlapping.examples)} left out")
    assert f"{100 * everything:.2f} instead of {100 * counted:.2f} for full" in warning.text
    assert report.systems[1].f1["rouge1"].mean == pytest.approx(counted)


def test_the_warning_averages_only_examples_with_a_score(overlapping):
    first, *others = overlapping.examples
    unread = replace(first, outputs={name: replace(o, scores={}) for name, o in first.outputs.items()})
    evaluation = without_training_data(replace(overlapping, examples=(unread, *others)))
    (warning,) = [warning for warning in build_report(evaluation, 100).warnings if warning.kind == "trained_on"]
    scored = fmean(e.outputs["full"].scores["rouge1"].fmeasure for e in others)
    assert f"{100 * scored:.2f} instead of" in warning.text


def test_an_evaluation_on_training_data_alone_is_unchanged_with_a_warning_per_system(recorded):
    ids = tuple(example.id for example in recorded.examples)
    evaluation = replace(recorded, trained_on={"full": ids})
    assert without_training_data(evaluation) is evaluation
    assert [w.system for w in build_report(evaluation, 100).warnings if w.kind == "trained_on"] == ["full"]


def test_a_saved_evaluation_keeps_the_examples_that_do_not_count(overlapping, settings):
    saved = saved_evaluations(settings).save(overlapping)
    assert saved.n == len(overlapping.examples) - 3
    assert read_evaluation(saved.folder).examples == overlapping.examples
