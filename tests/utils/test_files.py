"""Listing, deleting and locking of folders and files. Names and atomic writes are tested with the run store."""

from __future__ import annotations

import pytest

from dsum_demo.errors import InputError
from dsum_demo.utils.files import child_folders, delete_folder, locked


def test_child_folders_are_sorted_and_exclude_files_hidden_folders_and_links_to_the_outside(tmp_path):
    home, outside = tmp_path / "home", tmp_path / "outside"
    for folder in (home / "b", home / "a", home / ".hidden", outside):
        folder.mkdir(parents=True)
    (home / "file").touch()
    (home / "link").symlink_to(outside)
    assert child_folders(home) == [home / "a", home / "b"]
    assert child_folders(home / "file") == child_folders(tmp_path / "nothing") == []


def test_a_deleted_folder_is_not_listed(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "file").touch()
    delete_folder(folder)
    assert not folder.exists() and child_folders(tmp_path) == []


def test_a_lock_that_is_held_raises_the_error_of_the_caller_and_is_free_afterwards(tmp_path):
    file, busy = tmp_path / "new" / ".lock", InputError("Busy.")
    with locked(file, 0, busy), pytest.raises(InputError, match=r"Busy\."), locked(file, 0, busy):
        pass
    with locked(file, 0, busy):
        pass
