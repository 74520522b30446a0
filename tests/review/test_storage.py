"""Storage of reviews: durability in killed processes, concurrent reviewers, revisions, links, merging, sad paths."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dsum_demo.errors import InputError, StorageError
from dsum_demo.review import storage
from dsum_demo.review.records import ErrorSpan
from dsum_demo.review.storage import MIGRATIONS, ReviewStore
from dsum_demo.utils.ownership import digest
from tests.review.conftest import SYSTEMS, answer, item, make_draft

ROOT = Path(__file__).resolve().parents[2]


def first_task(store, review, reviewer="Ana"):
    task = store.next_task(review.id, reviewer)
    assert task is not None
    return task


def test_a_stored_review_is_equal_in_another_store(store, review):
    other = ReviewStore(store.file)
    assert other.get(review.id) == review and other.list() == [review]
    assert other.items(review.id) == tuple(map(item, range(6)))
    assert (review.systems, review.decode, review.items) == (SYSTEMS, {"num_beams": 1}, 6)


def test_the_file_contains_each_text_with_its_hash_and_uses_wal(store, review):
    with sqlite3.connect(store.file) as database:
        rows = database.execute("SELECT text, sha256 FROM texts").fetchall()
        assert len(rows) == 18 and all(digest(text) == found for text, found in rows)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_a_verdict_has_what_an_audit_needs(store, review):
    task = first_task(store, review)
    spans = [ErrorSpan("invented", 0, 4, "full"), ErrorSpan("missing", 5, 9)]
    saved = store.save_verdict(
        review.id, "Ana", task.item.id, ranks=[4, 1, 4], spans=spans, comment=" close \n", seconds=12.5
    )
    assert store.verdicts(review.id) == [saved] == ReviewStore(store.file).verdicts(review.id)
    assert saved.order == tuple(card.systems for card in task.cards)
    assert [saved.ranks[systems[0]] for systems in saved.order] == [2, 1, 2]
    assert set(saved.spans) == set(spans) and (saved.comment, saved.seconds, saved.revision) == ("close", 12.5, 0)
    assert saved.version and saved.created.endswith("+00:00")


def test_no_table_has_a_column_for_an_address(store, review):
    with sqlite3.connect(store.file) as database:
        columns = {
            row[1]
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for row in database.execute(f"PRAGMA table_info({table})")
        }
    assert "reviewer" in columns and not [name for name in columns if name == "ip" or "addr" in name or "mail" in name]


def test_identical_texts_share_a_card_and_a_rank(store):
    same = item(0, full="Ben is free.", lora=" Ben is  free.\n")
    review = store.create(replace(make_draft(), items=(same,)))
    task = first_task(store, review)
    assert sorted(card.systems for card in task.cards) == [("full", "lora"), ("original",)]
    ranks = [1 if "full" in card.systems else 2 for card in task.cards]
    saved = store.save_verdict(review.id, "Ana", task.item.id, ranks=ranks)
    assert saved.ranks == {"original": 2, "full": 1, "lora": 1}


def test_an_open_item_is_shown_again_in_the_same_order_on_another_day(store, review):
    task = first_task(store, review)
    assert ReviewStore(store.file).next_task(review.id, "Ana") == task
    store.save_verdict(review.id, "Ana", task.item.id, ranks=[1, 2, 3])
    assert first_task(store, review).item.id != task.item.id
    assert store.task(review.id, "Ana", task.item.id).cards == task.cards


def test_a_revision_counts_and_its_history_is_kept(store, review):
    task = first_task(store, review)
    for ranks in ([1, 2, 3], [1, 2, 3], [3, 2, 1]):
        store.save_verdict(review.id, "Ana", task.item.id, ranks=ranks, seconds=9)
    store.save_verdict(review.id, "Ana", task.item.id, all_bad=True)
    (last,) = store.verdicts(review.id)
    assert last.all_bad and not last.ranks and last.revision == 2
    history = store.verdicts(review.id, history=True)
    assert [verdict.revision for verdict in history] == [0, 1, 2]  # the same answer again is not a revision
    assert len({verdict.id for verdict in history}) == 3
    assert store.progress(review.id, "Ana").answered == 1


def test_a_revision_counts_although_the_clock_was_set_back(store, review, monkeypatch):
    task = first_task(store, review)
    store.save_verdict(review.id, "Ana", task.item.id, ranks=[1, 2, 3])
    monkeypatch.setattr(storage, "_now", lambda: "2001-01-01T00:00:00.000000+00:00")
    store.save_verdict(review.id, "Ana", task.item.id, ranks=[3, 2, 1])
    assert [v.ranks[task.cards[0].systems[0]] for v in store.verdicts(review.id)] == [3]


def test_after_the_reveal_a_verdict_cannot_be_changed(store):
    review = store.create(make_draft(reveal="item"))
    task = first_task(store, review)
    with pytest.raises(InputError, match="answer or skip the item first"):
        store.reveal(review.id, "Ana", task.item.id)
    store.save_verdict(review.id, "Ana", task.item.id, ranks=[1, 2, 3])
    store.reveal(review.id, "Ana", task.item.id)
    assert store.task(review.id, "Ana", task.item.id).revealed
    with pytest.raises(InputError, match="can no longer be changed"):
        store.save_verdict(review.id, "Ana", task.item.id, ranks=[3, 2, 1])
    assert not first_task(store, review).revealed


def test_names_are_revealed_at_the_end_only_when_nothing_remains(store, review):
    answer(store, review, "Ana", 5)
    with pytest.raises(InputError, match="1 items remain"):
        store.reveal(review.id, "Ana")
    answer(store, review, "Ana")
    assert store.progress(review.id, "Ana").finished
    store.reveal(review.id, "Ana")
    assert store.next_task(review.id, "Ana") is None
    assert all(task.revealed for task in store.tasks(review.id, "Ana"))


def test_a_skipped_item_keeps_the_reason_and_is_asked_of_others(store):
    review = store.create(make_draft(1, verdicts_per_item=1))
    task = first_task(store, review)
    assert store.next_task(review.id, "Ben") is None  # Ana is answering it
    saved = store.save_verdict(review.id, "Ana", task.item.id, skipped="not my language")
    assert saved.skipped == "not my language" and not saved.ranks
    assert store.next_task(review.id, "Ana") is None and first_task(store, review, "Ben").item.id == task.item.id


def test_an_abandoned_item_is_asked_of_others(store, monkeypatch):
    review = store.create(make_draft(1, verdicts_per_item=1))
    first_task(store, review)
    assert store.next_task(review.id, "Ben") is None
    monkeypatch.setattr(storage, "ABANDONED_SECONDS", -1.0)
    assert store.next_task(review.id, "Ben") is not None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Give one of"),
        ({"ranks": [1, 2, 3], "all_bad": True}, "Give one of"),
        ({"all_bad": True, "skipped": "no"}, "Give one of"),
        ({"ranks": [1, 2]}, "give 3 whole numbers"),
        ({"ranks": [1, 2, 5]}, "from 1 to 4"),
        ({"ranks": [0, 1, 2]}, "from 1 to 4"),
        ({"ranks": [1, 2, True]}, "whole numbers"),
        ({"ranks": [1, 2, 3], "seconds": float("nan")}, "seconds is nan"),
        ({"ranks": [1, 2, 3], "seconds": -1}, "number from 0"),
        ({"ranks": [1, 2, 3], "comment": "x" * 2_001}, "more than 2,000 characters"),
        ({"ranks": [1, 2, 3], "spans": [ErrorSpan("typo", 0, 1, "full")]}, "'typo'; choose one of: wrong speaker"),
        ({"ranks": [1, 2, 3], "spans": [ErrorSpan("invented", 0, 1, "gpt")]}, "system 'gpt'"),
        ({"ranks": [1, 2, 3], "spans": [ErrorSpan("invented", 0, 1)]}, "system ''"),
        ({"ranks": [1, 2, 3], "spans": [ErrorSpan("invented", 3, 3, "full")]}, "mark at least one"),
        ({"ranks": [1, 2, 3], "spans": [ErrorSpan("missing", 0, 9_999)]}, "mark at least one of"),
    ],
)
def test_an_invalid_answer_is_rejected_and_nothing_is_stored(store, review, given, message):
    task = first_task(store, review)
    with pytest.raises(InputError, match=message):
        store.save_verdict(review.id, "Ana", task.item.id, **given)
    assert store.verdicts(review.id) == [] and store.progress(review.id, "Ana").answered == 0


def test_a_comment_with_a_lone_surrogate_is_stored(store, review):
    task = first_task(store, review)
    store.save_verdict(review.id, "Ana", task.item.id, ranks=[1, 1, 1], comment="a\ud800b")
    assert store.verdicts(review.id)[0].comment == "a?b"


def test_unknown_names_and_items_that_were_not_asked_are_rejected(store, review):
    with pytest.raises(InputError, match="no review 'x'"):
        store.get("x")
    with pytest.raises(InputError, match="belongs to no review"):
        store.by_token(review.id)
    with pytest.raises(InputError, match="was not asked"):
        store.save_verdict(review.id, "Ana", "item0", ranks=[1, 2, 3])
    for name in ("", "   ", "a\nb", "x" * 81, "\ud800"):
        with pytest.raises(InputError, match="The reviewer is"):
            store.next_task(review.id, name)


def test_a_visitor_sees_only_own_reviews_and_those_of_a_link(store):
    own, foreign = store.create(make_draft(), "secret"), store.create(make_draft(), "other")
    assert store.list("secret") == [own] and store.list("") == []
    assert {review.id for review in store.list()} == {own.id, foreign.id}
    assert store.by_token(foreign.token) == foreign
    assert "secret" not in store.file.read_bytes().decode("latin-1") and own.token != own.id


def test_a_deleted_review_leaves_nothing(store, review):
    kept = store.create(make_draft())
    answer(store, review, "Ana", 2)
    store.delete(review.id)
    assert store.list() == [kept]
    with sqlite3.connect(store.file) as database:
        for table in ("items", "texts", "assignments", "verdicts"):
            assert not database.execute(f"SELECT 1 FROM {table} WHERE review = ?", (review.id,)).fetchone()


CHILD = """
import sys
from pathlib import Path
from dsum_demo.review.storage import ReviewStore
store = ReviewStore(Path(sys.argv[1]))
while True:
    task = store.next_task(sys.argv[2], sys.argv[3])
    saved = store.save_verdict(sys.argv[2], sys.argv[3], task.item.id, ranks=[1, 2, 3], seconds=1) if task else None
    print(saved.id if saved else "", flush=True)
    if not saved or sys.stdin.readline() == "":
        break
"""


@pytest.fixture
def child(store, review):
    """Starts a process that votes once per line of its standard input and prints the verdict's id."""
    started = []

    def start(reviewer: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CHILD, str(store.file), review.id, reviewer]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.processes
def test_a_verdict_survives_if_the_process_is_killed_right_after_the_answer(store, review, child):
    process = child("Ana")
    answered = [process.stdout.readline().strip()]
    for _ in range(2):
        process.stdin.write("\n")
        process.stdin.flush()
        answered.append(process.stdout.readline().strip())
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [verdict.id for verdict in store.verdicts(review.id)] == answered and all(answered)
    assert answer(store, review, "Ana") == 3  # the file is usable, and the rest is asked


@pytest.mark.processes
def test_processes_that_vote_at_the_same_time_lose_and_double_nothing(store, child):
    processes = [child(f"reviewer {number}") for number in range(3)]
    printed = []
    for process in processes:
        output, _ = process.communicate("\n" * 20, timeout=120)
        printed += output.split()
        assert process.returncode == 0
    (review,) = store.list()
    verdicts = store.verdicts(review.id, history=True)
    assert sorted(printed) == sorted(verdict.id for verdict in verdicts) and len(printed) == 18
    assert set(Counter(verdict.item for verdict in verdicts).values()) == {3}


def test_20_reviewers_that_vote_at_the_same_time_lose_and_double_nothing(store):
    review = store.create(make_draft(10, verdicts_per_item=5))
    names = [f"reviewer {number}" for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answered = list(pool.map(lambda name: answer(ReviewStore(store.file), review, name), names))
    verdicts = store.verdicts(review.id, history=True)
    assert len(verdicts) == sum(answered) == 50
    assert set(Counter(verdict.item for verdict in verdicts).values()) == {5}
    assert len({(verdict.reviewer, verdict.item) for verdict in verdicts}) == 50


def test_stores_that_are_opened_at_the_same_time_create_one_file(tmp_path):
    file = tmp_path / "new" / "reviews.sqlite"
    with ThreadPoolExecutor(8) as pool:
        reviews = list(pool.map(lambda _: ReviewStore(file).create(make_draft(1)), range(8)))
    assert {review.id for review in ReviewStore(file).list()} == {review.id for review in reviews}


def test_an_older_file_is_migrated_and_keeps_its_verdicts(store, review, monkeypatch):
    answer(store, review, "Ana", 2)
    added = "ALTER TABLE reviews ADD COLUMN note TEXT NOT NULL DEFAULT ''"
    monkeypatch.setattr(storage, "MIGRATIONS", (*MIGRATIONS, added))
    assert len(ReviewStore(store.file).verdicts(review.id)) == 2
    with sqlite3.connect(store.file) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)


def test_a_migration_that_fails_leaves_the_file_as_it_was(store, review, monkeypatch):
    added = "ALTER TABLE reviews ADD COLUMN note TEXT; ALTER TABLE unknown ADD COLUMN note TEXT"
    with monkeypatch.context() as patched:
        patched.setattr(storage, "MIGRATIONS", (*MIGRATIONS, added))
        with pytest.raises(StorageError, match="unknown"):
            store.list()
    assert store.list() == [review]


def test_a_file_of_a_newer_dsum_is_rejected(store, review):
    with sqlite3.connect(store.file) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="format 99"):
        store.list()


def test_a_file_that_is_not_a_database_is_rejected(tmp_path):
    file = tmp_path / "reviews.sqlite"
    file.write_text("not a database " * 100)
    with pytest.raises(StorageError, match="cannot be used"):
        ReviewStore(file).list()
    assert file.read_text().startswith("not a database")


def test_a_folder_that_cannot_be_created_is_rejected(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used"):
        ReviewStore(tmp_path / "file" / "reviews.sqlite").create(make_draft())


def test_merging_twice_adds_each_verdict_once(store, review, tmp_path):
    other = ReviewStore(tmp_path / "other.sqlite")
    copy = other.insert(make_draft(), review.id)
    answer(store, review, "Ana", 4)
    answer(other, copy, "Ben", 3)
    theirs = other.verdicts(copy.id, history=True)
    assert store.merge(review.id, theirs) == 3 and store.merge(review.id, theirs) == 0
    assert store.reviewers(review.id) == {"Ana": 4, "Ben": 3}
    assert other.merge(copy.id, store.verdicts(review.id, history=True)) == 4
    assert sorted(v.id for v in other.verdicts(copy.id)) == sorted(v.id for v in store.verdicts(review.id))


def test_after_a_merge_the_latest_of_two_verdicts_on_one_item_counts_in_both_files(store, review, tmp_path):
    other = ReviewStore(tmp_path / "other.sqlite")
    copy = other.insert(make_draft(), review.id)
    answer(store, review, "Ana", 1)
    task = other.next_task(copy.id, "Ana")
    late = other.save_verdict(copy.id, "Ana", task.item.id, all_bad=True)
    other.merge(copy.id, store.verdicts(review.id))
    store.merge(review.id, [late])
    for one in (store, other):
        (counted,) = one.verdicts(review.id)
        assert counted.id == late.id and counted.revision == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item": "x"}, "item 'x'"),
        ({"order": (("full",), ("lora",))}, "cards"),
        ({"ranks": {"full": 1, "lora": 2}}, "one rank per card"),
        ({"ranks": {"full": 1, "lora": 3, "original": 3}}, "without a gap"),
        ({"ranks": {}}, "needs one of"),
        ({"round": 2}, "round 0 or 1"),
        ({"seconds": float("inf")}, "round 0 or 1, and seconds"),
        ({"created": "yesterday"}, "'yesterday'; give a time such as"),
        ({"created": "2026-01-01T00:00:00.000000+02:00"}, "give a time such as"),
        ({"reviewer": ""}, "The reviewer is"),
        ({"spans": (ErrorSpan("missing", 5, 99_999),)}, "mark at least one"),
    ],
)
def test_a_verdict_that_does_not_fit_stops_the_merge_and_adds_none(store, review, tmp_path, change, message):
    other = ReviewStore(tmp_path / "other.sqlite")
    copy = other.insert(make_draft(), review.id)
    answer(other, copy, "Ben", 2)
    good, bad = other.verdicts(copy.id)
    with pytest.raises(InputError, match=message):
        store.merge(review.id, [good, replace(bad, **change)])
    assert store.verdicts(review.id) == []


def test_a_verdict_is_equal_after_json(store, review):
    task = first_task(store, review)
    spans = [ErrorSpan("unclear", 1, 5, "lora"), ErrorSpan("missing", 0, 4, "full")]
    saved = store.save_verdict(review.id, "Ana", task.item.id, ranks=[1, 2, 2], spans=spans, comment="ä", seconds=1.25)
    assert type(saved).from_dict(json.loads(json.dumps(saved.as_dict()))) == saved
