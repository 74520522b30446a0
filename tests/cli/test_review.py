"""`dsum review list | export | import | report`."""

from __future__ import annotations

import json

import pytest

from dsum_demo.review.storage import ReviewStore
from dsum_demo.settings import Settings
from tests.review.conftest import answer, make_draft


@pytest.fixture
def stored(environment):
    """A store in the command's data folder, with a review of two reviewers."""
    store = ReviewStore(Settings.from_environment(environment).reviews_file)
    review = store.create(make_draft(12))
    for reviewer in ("Ana", "Ben"):
        answer(store, review, reviewer)
    return store, review


def test_list_shows_the_reviews(dsum, stored):
    _, review = stored
    result = dsum("review", "list")
    assert result.returncode == 0 and review.id in result.stdout and "24 answers of 2 reviewers" in result.stdout
    (row,) = json.loads(dsum("review", "list", "--json").stdout)["reviews"]
    assert row["reviewers"] == {"Ana": 12, "Ben": 12} and row["link"] == f"/?review={review.token}"


def test_list_without_reviews_is_empty(dsum):
    result = dsum("review", "list")
    assert result.returncode == 0 and result.stdout == "" and "no reviews yet" in result.stderr


def test_report_prints_markdown_or_json(dsum, stored):
    _, review = stored
    assert dsum("review", "report", "Weekdays").stdout.startswith("# Review: Weekdays\n")
    raw = json.loads(dsum("review", "report", review.id, "--json", "--seed", "3").stdout)
    assert raw["verdicts"] == 24 and raw["seed"] == 3


def test_report_writes_all_files(dsum, stored, tmp_path):
    result = dsum("review", "report", "Weekdays", "--out", "out")
    assert result.returncode == 0 and {file.name for file in (tmp_path / "out").iterdir()} == {
        "verdicts.csv", "review.jsonl", "preferences.jsonl", "report.json", "report.md", "report.html",
    }  # fmt: skip
    assert dsum("review", "report", "Weekdays", "--out", "out").returncode == 2


@pytest.mark.parametrize("kind", ["jsonl", "csv", "preferences"])
def test_export_writes_a_new_file(dsum, stored, tmp_path, kind):
    assert dsum("review", "export", "Weekdays", "--format", kind, "--out", "a.txt").returncode == 0
    assert len((tmp_path / "a.txt").read_text().splitlines()) >= 25
    again = dsum("review", "export", "Weekdays", "--format", kind, "--out", "a.txt")
    assert again.returncode == 2 and "a.txt exists; give a new file" in again.stderr


def test_an_exported_review_is_imported_in_another_data_folder(dsum, stored, tmp_path, monkeypatch):
    _, review = stored
    dsum("review", "export", review.id, "--out", "review.jsonl")
    monkeypatch.setenv("DSUM_DATA_DIR", str(tmp_path / "other"))
    first, second = dsum("review", "import", "review.jsonl"), dsum("review", "import", "review.jsonl")
    assert first.stdout.startswith(f"created {review.id} (Weekdays): 24 new verdicts; /?review=")
    assert second.stdout.startswith(f"merged into {review.id} (Weekdays): 0 new verdicts; /?review=")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "unknown"], "There is no review 'unknown'; give an id: "),
        (["export", "Weekdays", "--out", "missing/a.txt"], "cannot be written"),
        (["import", "missing.jsonl"], "cannot be read"),
    ],
)
def test_invalid_input_ends_with_code_2_and_the_fix(dsum, stored, arguments, message):
    result = dsum("review", *arguments)
    assert result.returncode == 2 and message in result.stderr


def test_an_ambiguous_name_is_rejected_with_the_ids(dsum, stored):
    store, review = stored
    other = store.create(make_draft())
    result = dsum("review", "report", "Weekdays")
    assert result.returncode == 2 and review.id in result.stderr and other.id in result.stderr
