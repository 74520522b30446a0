"""The report as text, and all files of a review."""

from __future__ import annotations

import json

import pytest

from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.review.report import build_review_report
from dsum_demo.review.report_text import decimal, percent, review_markdown, write_review_exports
from tests.review.conftest import answer, make_draft


@pytest.fixture
def answered(store):
    review = store.create(make_draft(12, repeat_share=0.2))
    for reviewer in ("Ana", "Ben | x"):
        answer(store, review, reviewer)
    return review


def report_of(store, review):
    return build_review_report(review, store.items(review.id), store.verdicts(review.id), resamples=100)


def test_the_markdown_has_every_part(store, answered):
    text = review_markdown(report_of(store, answered))
    for part in (
        "# Review: Weekdays", "24 verdicts of 2 reviewers on 12 of 12 dialogues of made up.", "| Full fine-tune |",
        "Full fine-tune against LoRA | 24 | 0 | 0 | 100 % [100, 100]", "Decided: ", "Krippendorff’s alpha",
        "of pairs the same way again", "The longer text is preferred",
        "ROUGE-1 agrees with people in", "Ana: 14 answers, median 30 s",
    ):  # fmt: skip
        assert part in text


def test_the_markdown_without_verdicts_states_what_is_missing(store, review):
    text = review_markdown(report_of(store, review))
    assert "0 verdicts of 0 reviewers on 0 of 6 dialogues" in text and "Agreement is undefined" in text


def test_all_files_are_written(store, answered, tmp_path):
    history = store.verdicts(answered.id, history=True)
    files = write_review_exports(
        answered, store.items(answered.id), history, report_of(store, answered), tmp_path / "new" / "out"
    )
    assert [file.name for file in files] == [
        "verdicts.csv", "review.jsonl", "preferences.jsonl", "report.json", "report.md",
    ]  # fmt: skip
    assert json.loads(files[3].read_text())["verdicts"] == 24
    assert len(files[0].read_text().splitlines()) == 1 + len(history)


@pytest.mark.parametrize(
    ("interval", "as_decimal", "as_percent"),
    [
        (None, "–", "–"),
        (Interval(0.614, None, None, 3), "0.61", "61 %"),
        (Interval(0.614, 0.5, 0.7, 30), "0.61 [0.50, 0.70]", "61 % [50, 70]"),
    ],
)
def test_values_have_their_interval_if_there_is_one(interval, as_decimal, as_percent):
    assert decimal(interval) == as_decimal and percent(interval) == as_percent
