"""Saved evaluations on disk: writing, reading, listing, comparing and deleting; invalid and malicious folders."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace

import pytest

from dsum_demo.data.examples import Example, read_samples
from dsum_demo.errors import DataError, InputError
from dsum_demo.evaluation import storage as evaluations
from dsum_demo.evaluation.report import build_report
from dsum_demo.evaluation.storage import (
    EXAMPLES,
    REPORT,
    SavedEvaluations,
    compare_saved,
    fill_texts,
    read_evaluation,
    write_evaluation,
)
from dsum_demo.settings import Settings


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(evaluations, "build_report", lambda evaluation: build_report(evaluation, 50))


@pytest.fixture
def saved(tmp_path):
    return SavedEvaluations(tmp_path / "mine", tmp_path / "shipped")


def test_a_saved_evaluation_is_equal_after_reading(saved, recorded):
    name = saved.save(recorded).name
    assert SavedEvaluations(saved.folder, saved.shipped).open(name) == recorded
    assert build_report(saved.open(name), 200) == build_report(recorded, 200)


def test_the_list_has_the_data_systems_and_scores_of_an_evaluation(saved, recorded):
    saved.save(recorded, "My first: run!")
    (found,) = saved.list()
    assert (found.name, found.data, found.n, found.shipped) == ("My-first-run", "outputs.csv", 29, False)
    assert found.systems == ("original", "full", "lora") and "seed 0" in found.signature and not found.reason
    assert dict(found.rouge1)["full"] == pytest.approx(build_report(recorded, 50).systems[1].f1["rouge1"].mean)


def test_names_are_made_safe_and_unique(saved, recorded):
    names = [saved.save(recorded, name).name for name in ("../../etc/passwd", "a", "a", "A", "…", "x" * 300)]
    assert names == ["etc-passwd", "a", "a-2", "A-2" if "A-2" in names else "A-3", "evaluation", "x" * 80]
    assert len({name.casefold() for name in names}) == 6
    assert {folder.parent for folder in (s.folder for s in saved.list())} == {saved.folder}


def test_an_evaluation_without_summaries_is_not_saved(saved, recorded):
    with pytest.raises(InputError, match="no summaries yet"):
        saved.save(replace(recorded, examples=()))
    assert saved.list() == []


def test_the_list_is_sorted_newest_first_and_shipped_last(saved, recorded):
    write_evaluation(recorded, saved.shipped / "shipped")
    for day, name in ((3, "old"), (9, "new")):
        saved.save(replace(recorded, created=f"2026-01-0{day}T00:00:00+00:00"), name)
    assert [(s.name, s.shipped) for s in saved.list()] == [("new", False), ("old", False), ("shipped", True)]
    assert saved.save(recorded, "shipped").name == "shipped-2"


def test_shipped_evaluations_cannot_be_deleted(saved, recorded):
    write_evaluation(recorded, saved.shipped / "shipped")
    saved.save(recorded, "mine")
    saved.delete("mine")
    assert [s.name for s in saved.list()] == ["shipped"] and list(saved.folder.iterdir()) == []
    with pytest.raises(InputError, match="shipped with dsum"):
        saved.delete("shipped")
    for name in ("mine", "../shipped", ""):
        with pytest.raises(InputError, match=r"Unknown saved evaluation .*choose one of: shipped"):
            saved.delete(name)
    assert saved.open("shipped") == recorded


def test_a_folder_is_written_atomically(saved, recorded, tmp_path, monkeypatch):
    folder = write_evaluation(recorded, tmp_path / "there")
    with pytest.raises(FileExistsError):
        write_evaluation(recorded, folder)
    monkeypatch.setattr(type(recorded.examples[0]), "as_dict", lambda self, texts: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        saved.save(recorded, "half")
    assert list(saved.folder.iterdir()) == [] and saved.list() == []


def test_the_same_evaluation_gives_the_same_bytes(recorded, tmp_path):
    one, two = write_evaluation(recorded, tmp_path / "one"), write_evaluation(recorded, tmp_path / "two")
    for name in (REPORT, EXAMPLES):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def half(path):
    path.write_bytes(path.read_bytes()[:-40])


def other_format(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))


@pytest.mark.parametrize(
    ("file", "spoil", "listed"),
    [
        (REPORT, half, "report.json cannot be read"),
        (REPORT, lambda path: path.unlink(), "report.json cannot be read"),
        (REPORT, lambda path: path.write_text("[]"), "report.json cannot be read"),
        (REPORT, lambda path: path.write_text("[" * 100_000), "report.json cannot be read"),
        (REPORT, lambda path: path.write_bytes(b"\xff\xfe"), "report.json cannot be read"),
        (REPORT, other_format, "its format is 99"),
        (EXAMPLES, lambda path: path.unlink(), "has no examples.jsonl.gz"),
        (EXAMPLES, half, ""),
        (EXAMPLES, lambda path: path.write_bytes(gzip.compress(b'{"id": 1}\n')), ""),
        (EXAMPLES, lambda path: path.write_bytes(gzip.compress(b"[1]\n")), ""),
        (EXAMPLES, lambda path: path.write_bytes(b"no gzip"), ""),
    ],
)
def test_an_invalid_folder_is_listed_with_the_reason_and_cannot_be_opened(saved, recorded, file, spoil, listed):
    saved.save(recorded, "good")
    spoil(saved.save(recorded, "bad").folder / file)
    reasons = {s.name: s.reason for s in saved.list()}
    assert reasons["good"] == "" and listed in reasons["bad"] and (not listed or "bad" in reasons["bad"])
    with pytest.raises(DataError, match="bad"):
        saved.open("bad")
    saved.delete("bad")
    assert [s.name for s in saved.list()] == ["good"]


def test_links_to_other_folders_and_hidden_folders_are_not_listed(saved, recorded, tmp_path):
    saved.save(recorded, "mine")
    outside = write_evaluation(recorded, tmp_path / "outside")
    (saved.folder / "link").symlink_to(outside)
    shutil.copytree(outside, saved.folder / ".hidden")
    (saved.folder / "a file").write_text("")
    assert [s.name for s in saved.list()] == ["mine"]


def test_omitted_texts_are_filled_in_from_the_data(saved, recorded):
    folder = saved.save(recorded, texts=False).folder
    written = gzip.decompress((folder / EXAMPLES).read_bytes()).decode() + (folder / REPORT).read_text()
    for example in recorded.examples:
        assert json.dumps(example.dialogue)[1:-1] not in written and example.references[0] not in written
    bare = read_evaluation(folder)
    assert bare.examples[0].dialogue is None and bare.examples[0].references == ()
    assert build_report(bare, 100) == build_report(recorded, 100)
    samples = read_samples(Settings().samples_file)
    assert fill_texts(bare, samples).examples == recorded.examples
    # Only examples with an equal dialogue are filled in.
    some = fill_texts(bare, [replace(samples[0], dialogue=samples[0].dialogue + " no"), samples[1]])
    assert [e.dialogue is not None for e in some.examples[:3]] == [False, True, False]


def test_texts_of_rows_are_filled_in_by_id(recorded):
    rows = [
        replace(e, id=f"{e.id}_{k}", dialogue=None, references=(), reference_count=1)
        for e in recorded.examples[:2]
        for k in (1, 2, 3)
    ]
    samples = [Example(e.id, e.dialogue, e.references, ()) for e in recorded.examples[:2]]
    filled = fill_texts(replace(recorded, examples=tuple(rows), reading="rows"), samples).examples
    assert [e.references[0] for e in filled] == [text for sample in samples for text in sample.references]


def test_lone_surrogates_can_be_saved(saved, recorded):
    example = recorded.examples[0]
    odd = replace(recorded, examples=(replace(example, id="\ud800", dialogue="A: \ud83d"),), data="\udfff")
    assert saved.open(saved.save(odd, "odd").name).examples[0].outputs == example.outputs


def test_evaluations_of_the_same_data_are_compared_in_pairs(recorded):
    better = replace(
        recorded,
        examples=tuple(
            replace(e, outputs={**e.outputs, "lora": e.outputs["full"]}) for e in reversed(recorded.examples[5:])
        ),
    )
    found = compare_saved(recorded, better, resamples=300)
    assert [(d.first, d.second, d.n) for d in found] == [(s, s, 24) for s in ("original", "full", "lora")]
    assert found[0].f1["rouge1"].mean == found[1].f1["rouge1"].mean == 0.0
    report = build_report(replace(recorded, examples=recorded.examples[5:]), 300)
    assert found[2].f1["rouge1"].mean == pytest.approx(-report.differences[2].f1["rouge1"].mean)


def test_systems_with_different_names_are_compared_in_order(recorded):
    renamed = replace(
        recorded,
        systems=tuple(replace(system, name=f"my-{system.name}") for system in recorded.systems[1:]),
        examples=tuple(
            replace(e, outputs={f"my-{name}": output for name, output in e.outputs.items()}) for e in recorded.examples
        ),
    )
    pairs = [(d.first, d.second) for d in compare_saved(recorded, renamed, resamples=50)]
    assert pairs == [("original", "my-full"), ("full", "my-lora")]


def test_evaluations_with_other_settings_or_data_are_not_compared(recorded):
    with pytest.raises(InputError, match="policies, mean and best"):
        compare_saved(recorded, replace(recorded, policy="best"))
    with pytest.raises(InputError, match="readings, rows and dialogues"):
        compare_saved(recorded, replace(recorded, reading="dialogues"))
    other = replace(recorded, examples=tuple(replace(e, fingerprint="0" * 16) for e in recorded.examples))
    with pytest.raises(InputError, match="share no dialogue"):
        compare_saved(recorded, other)
