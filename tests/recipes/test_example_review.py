"""The example review: simulated verdicts that are labelled as simulated."""

from __future__ import annotations

import json

from dsum_demo.review.export import import_review
from dsum_demo.review.storage import ReviewStore
from recipes.example_review import REVIEWERS, example_review, write_example


def test_the_example_is_complete_and_labelled_as_simulated(tmp_path):
    report = write_example(tmp_path / "out", limit=12, resamples=50)
    assert report.simulated and report.verdicts == 36 and len(report.systems) == 3
    assert "simulated by a program; they are not people’s" in (tmp_path / "out" / "report.md").read_text()
    assert json.loads((tmp_path / "out" / "report.json").read_text())["simulated"] is True
    found = import_review(ReviewStore(tmp_path / "reviews.sqlite"), tmp_path / "out" / "review.jsonl")
    assert found.review.simulated and "simulated" in found.review.name and found.new > 36
    assert all("simulated" in reviewer for reviewer in REVIEWERS)


def test_the_same_seed_gives_the_same_verdicts(tmp_path):
    answers = []
    for name in ("a", "b"):
        store = ReviewStore(tmp_path / f"{name}.sqlite")
        review = example_review(store, limit=5)
        answers.append([(v.item, v.reviewer, v.ranks, v.spans, v.seconds) for v in store.verdicts(review.id)])
    assert answers[0] == answers[1] and len(answers[0]) >= 15
