"""Checkpoint seals and folder swaps, also after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsum_demo.training.checkpoints import keep_only, last_complete, recover, seal, seal_of, swap_in, weights_bytes


def checkpoint(parent: Path, step: int, sealed: bool = True) -> Path:
    folder = parent / f"checkpoint-{step}"
    (folder / "deep").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"w" * step)
    (folder / "deep" / "x.pt").write_bytes(b"x")
    if sealed:
        assert seal(folder, step=step) == step + 1
    return folder


def test_the_last_checkpoint_is_that_of_the_highest_step(tmp_path):
    for step in (9, 100, 20):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 200, sealed=False)
    (tmp_path / "checkpoint-x").mkdir()
    assert last_complete(tmp_path).name == "checkpoint-100" and seal_of(last_complete(tmp_path))["step"] == 100
    keep_only(tmp_path / "checkpoint-100")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-100", "checkpoint-x"]


def test_last_complete_is_none_without_a_folder(tmp_path):
    assert last_complete(tmp_path / "nowhere") is None and last_complete(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', '{"files": {"x": 1}}', "\xff"])
def test_an_unreadable_seal_means_incomplete(tmp_path, text):
    folder = checkpoint(tmp_path, 3)
    (folder / "complete.json").write_text(text, encoding="latin-1")
    assert seal_of(folder) is None


def test_swap_in_replaces_the_folder(tmp_path):
    place, new = tmp_path / "best", tmp_path / ".best-new"
    for text in ("one", "two"):
        new.mkdir()
        (new / "model.safetensors").write_text(text)
        swap_in(new, place)
        assert (place / "model.safetensors").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["best"] and weights_bytes(place) == 3


@pytest.mark.parametrize("there", [{"old", "new"}, {"old", "place"}, {"place", "new"}, {"place"}, set()])
def test_after_a_crash_recover_leaves_the_old_or_the_new_folder(tmp_path, there):
    folders = {"old": tmp_path / ".best-old", "new": tmp_path / ".best-new", "place": tmp_path / "best"}
    for name in there:
        folders[name].mkdir()
        (folders[name] / "from").write_text(name)
    recover(folders["place"])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == ({"best"} if there else set())
    if there:
        assert (tmp_path / "best" / "from").read_text() == ("place" if "place" in there else "old")
