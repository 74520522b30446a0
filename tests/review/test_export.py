"""Exports and imports of reviews: nothing is lost, nothing is doubled, invalid files are rejected with their line."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from dsum_demo.errors import DataError, InputError
from dsum_demo.review.export import import_review, preference_jsonl, review_jsonl, verdicts_csv
from dsum_demo.review.records import ErrorSpan, ReviewText
from dsum_demo.review.storage import ReviewStore
from tests.review.conftest import answer, item, make_draft, verdict

AWKWARD = '=HYPERLINK("x"),\r\n\'@a\u2028b\u2029 c;\x0bd\te ä 中 "q"'


def write(file, lines):
    with file.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(lines)
    return file


@pytest.fixture
def answered(store, review):
    """A review with verdicts of two reviewers, a revision, and texts that are awkward in a file."""
    task = store.next_task(review.id, "=Ana")
    store.save_verdict(review.id, "=Ana", task.item.id, all_bad=True, comment=AWKWARD, seconds=3)
    store.save_verdict(
        review.id, "=Ana", task.item.id, ranks=[1, 2, 2], spans=[ErrorSpan("missing", 0, 4)], comment="'=1", seconds=4.5
    )
    task = store.next_task(review.id, "Ben")
    store.save_verdict(review.id, "Ben", task.item.id, skipped="- not\nmy topic")
    answer(store, review, "Ben", 3)
    return review


@pytest.fixture
def other(tmp_path):
    return ReviewStore(tmp_path / "other.sqlite")


def test_json_lines_restore_the_review_in_another_store(store, answered, other, tmp_path):
    history = store.verdicts(answered.id, history=True)
    file = write(tmp_path / "review.jsonl", review_jsonl(answered, store.items(answered.id), history))
    found = import_review(other, file, owner="secret")
    assert found.created and found.new == len(history) == 6
    assert other.verdicts(answered.id, history=True) == history and other.items(answered.id) == store.items(answered.id)
    same = {"token": answered.token, "owner": answered.owner}
    assert replace(found.review, **same) == answered and found.review.token != answered.token
    assert other.list("secret") == [found.review]


def test_the_link_and_the_owner_are_not_exported(store, tmp_path):
    review = store.create(make_draft(), owner="secret")
    text = "".join(review_jsonl(review, store.items(review.id), []))
    assert review.token not in text and review.owner not in text and review.id in text


def test_importing_twice_and_in_both_directions_doubles_nothing(store, answered, other, tmp_path):
    file = write(
        tmp_path / "a.jsonl",
        review_jsonl(answered, store.items(answered.id), store.verdicts(answered.id, history=True)),
    )
    import_review(other, file)
    answer(other, answered, "Cem", 2)
    again = import_review(other, file)
    assert (again.created, again.new) == (False, 0) and len(other.verdicts(answered.id, history=True)) == 8
    back = write(
        tmp_path / "b.jsonl",
        review_jsonl(answered, other.items(answered.id), other.verdicts(answered.id, history=True)),
    )
    assert import_review(store, back).new == 2 and import_review(store, back).new == 0
    assert store.verdicts(answered.id, history=True) == other.verdicts(answered.id, history=True)


def test_csv_restores_the_verdicts_of_a_stored_review(store, answered, other, tmp_path):
    history = store.verdicts(answered.id, history=True)
    write(tmp_path / "review.jsonl", review_jsonl(answered, store.items(answered.id), []))
    import_review(other, tmp_path / "review.jsonl")
    file = write(tmp_path / "verdicts.csv", verdicts_csv(answered, history))
    assert import_review(other, file).new == 6
    assert other.verdicts(answered.id, history=True) == history
    assert import_review(other, file).new == 0


def test_no_cell_of_the_csv_is_run_by_a_spreadsheet(store, answered, tmp_path):
    file = write(tmp_path / "verdicts.csv", verdicts_csv(answered, store.verdicts(answered.id, history=True)))
    with file.open(encoding="utf-8", newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert {"'=Ana", "'- not\nmy topic", "''=1"} <= set(cells)


def test_a_csv_that_a_spreadsheet_saved_with_a_byte_order_mark_is_read(store, answered, tmp_path):
    file = tmp_path / "verdicts.csv"
    text = "".join(verdicts_csv(answered, store.verdicts(answered.id, history=True)))
    file.write_text("\ufeff" + text, encoding="utf-8", newline="")
    assert import_review(store, file).new == 0


def test_csv_of_an_unknown_review_is_rejected(store, answered, other, tmp_path):
    file = write(tmp_path / "verdicts.csv", verdicts_csv(answered, store.verdicts(answered.id)))
    with pytest.raises(InputError, match="There is no review"):
        import_review(other, file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:3], "not JSON\n", *lines[3:]], "line 4 is not a line"),
        (
            lambda lines: ['{"type": "verdict", "id": "x"}\n', *lines],
            "line 1 is not a line of an exported review: it has",
        ),
        (lambda lines: lines[1:], "not an exported review of format 1"),
        (lambda lines: [lines[0].replace('"format": 1', '"format": 9'), *lines[1:]], "format 1"),
        (lambda lines: [lines[0].replace('"settings"', '"x"'), *lines[1:]], "line 1 is not an exported review"),
        (lambda lines: [lines[0], lines[1].replace("Anna", "Bob"), *lines[2:]], "does not have its recorded hash"),
        (lambda lines: [*lines[:2], *lines[3:]], "which the review does not have"),
        (lambda lines: [line.replace('"missing"', '"typo"') for line in lines], "'typo'; choose one of"),
    ],
)
def test_an_invalid_file_is_rejected_and_nothing_is_stored(store, answered, other, tmp_path, change, message):
    lines = list(review_jsonl(answered, store.items(answered.id), store.verdicts(answered.id, history=True)))
    asked = store.verdicts(answered.id)[0].item
    lines = [lines[0], *sorted(lines[1:7], key=lambda line: f'"id": "{asked}"' not in line), *lines[7:]]
    if "recorded" not in message and "does not have" in message:
        lines[1], lines[2] = lines[2], lines[1]  # the item that has a verdict is left out
    with pytest.raises((DataError, InputError), match=message):
        import_review(other, write(tmp_path / "bad.jsonl", change(lines)))
    assert other.list() == []


def test_other_texts_under_the_same_id_are_not_merged(store, answered, other, tmp_path):
    changed = replace(item(0), dialogue="Anna: Hello.\nBen: Hi.")
    items = (changed, *store.items(answered.id)[1:])
    file = write(tmp_path / "changed.jsonl", review_jsonl(answered, items, []))
    with pytest.raises(InputError, match="other texts than the stored review"):
        import_review(store, file)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "has no column"), ("a,b\n1,2\n", "has no column review"), ("\x00", "has no column")],
)
def test_a_file_of_another_kind_is_rejected(store, tmp_path, text, message):
    file = tmp_path / "other.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        import_review(store, file)


def test_a_row_that_is_not_a_verdict_is_named(store, answered, tmp_path):
    lines = list(verdicts_csv(answered, store.verdicts(answered.id)))
    lines[2] = lines[2].replace(",0,0,", ",first,0,", 1)
    with pytest.raises(DataError, match="row 2 is not a verdict"):
        import_review(store, write(tmp_path / "bad.csv", lines))


def test_a_missing_file_is_rejected(store, tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        import_review(store, tmp_path / "missing.jsonl")


def test_preferences_have_the_columns_and_texts_that_preference_training_reads(store, review):
    items = store.items(review.id)
    verdicts = [verdict("item0", "A", [3, 1, 2]), verdict("item1", "A", [1, 1, 1])]
    rows = [json.loads(line) for line in preference_jsonl(review, items, verdicts)]
    assert all(list(row) == ["prompt", "chosen", "rejected"] for row in rows) and len(rows) == 3
    texts = {name: text.text for name, text in items[0].texts.items()}
    assert {(row["chosen"], row["rejected"]) for row in rows} == {
        (texts["full"], texts["original"]), (texts["lora"], texts["original"]), (texts["full"], texts["lora"]),
    }  # fmt: skip
    assert all(items[0].dialogue in row["prompt"] for row in rows)


def test_preferences_follow_the_majority_and_leave_out_ties(store, review):
    votes = [("A", [1, 2, 3]), ("B", [1, 2, 3]), ("C", [2, 1, 3])]
    rows = list(preference_jsonl(review, store.items(review.id), [verdict("item0", *vote) for vote in votes]))
    assert len(rows) == 3
    even = [verdict("item0", *vote) for vote in (votes[0], votes[2])]
    assert len(list(preference_jsonl(review, store.items(review.id), even))) == 2


def test_the_preferences_of_one_text_are_written_once(store):
    same = replace(item(0), texts=item(0).texts | {"lora": ReviewText(item(0).texts["full"].text)})
    review = store.create(replace(make_draft(), items=(same,)))
    shared = replace(verdict("item0", "A", [2, 1, 1]), order=(("full", "lora"), ("original",)))
    assert len(list(preference_jsonl(review, [same], [shared]))) == 1


def test_datasets_reads_the_preferences(store, review, tmp_path):
    from datasets import load_dataset

    answer(store, review, "Ana")
    lines = preference_jsonl(review, store.items(review.id), store.verdicts(review.id))
    file = write(tmp_path / "preferences.jsonl", lines)
    loaded = load_dataset("json", data_files=str(file), cache_dir=str(tmp_path / "cache"), split="train")
    assert loaded.column_names == ["prompt", "chosen", "rejected"] and len(loaded) == 18
