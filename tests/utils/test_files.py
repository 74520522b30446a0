"""Folders that are shared: what is listed, deleted, and held by one at a time. Names and whole files: test_runs."""

from __future__ import annotations

import pytest

from dsum_demo.errors import TrainingError
from dsum_demo.utils.files import child_folders, delete_folder, locked


def test_children_are_folders_inside_by_name_and_neither_hidden_nor_led_out(tmp_path):
    home, outside = tmp_path / "home", tmp_path / "outside"
    for folder in (home / "b", home / "a", home / ".hidden", outside):
        folder.mkdir(parents=True)
    (home / "file").touch()
    (home / "link").symlink_to(outside)
    assert child_folders(home) == [home / "a", home / "b"]
    assert child_folders(home / "file") == child_folders(tmp_path / "nothing") == []


def test_what_is_deleted_is_gone_from_the_list(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "file").touch()
    delete_folder(folder)
    assert not folder.exists() and child_folders(tmp_path) == []


def test_a_lock_is_held_by_one_and_refused_in_a_sentence(tmp_path):
    file = tmp_path / "new" / ".lock"
    with locked(file, 0, "Busy."), pytest.raises(TrainingError, match=r"Busy\."), locked(file, 0, "Busy."):
        pass
    with locked(file, 0, "Busy."):
        pass
