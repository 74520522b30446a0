"""The cache in a real SQLite file: reading and writing, several processes, and unusable files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsum_demo.evaluation.output_cache import CachedOutput, OutputCache, output_key

OUTPUT = CachedOutput("Tom pays Maya.", 5, 0.25, True, 2)
KEY = {"weights": "w", "prompt": "p", "max_source_tokens": 512, "decode": {"a": 1, "b": 2}, "dtype": "d", "text": "t"}


@pytest.fixture
def cache(tmp_path):
    return OutputCache(tmp_path / "data" / "outputs.sqlite")


def test_cached_outputs_are_equal_when_the_file_is_opened_again(cache):
    cache.put({"k": OUTPUT, "empty": CachedOutput("", 0, 0.0, False, 0)})
    again = OutputCache(cache.file)
    assert again.get(["k", "none", "empty"]) == {"k": OUTPUT, "empty": CachedOutput("", 0, 0.0, False, 0)}
    assert not cache.problem and not again.problem


def test_get_returns_more_keys_than_fit_in_one_query(cache):
    outputs = {f"k{i}": CachedOutput(str(i), i, 0.1, False, 0) for i in range(1203)}
    cache.put(outputs)
    assert cache.get(list(outputs)) == outputs


@pytest.mark.parametrize("changed", ["weights", "prompt", "max_source_tokens", "decode", "dtype", "text"])
def test_a_change_of_any_part_changes_the_key(changed):
    other = {
        **KEY,
        changed: {"a": 1, "b": 3} if changed == "decode" else 256 if changed == "max_source_tokens" else "x",
    }
    assert output_key(**KEY) != output_key(**other)
    assert output_key(**KEY) == output_key(**{**KEY, "decode": {"b": 2, "a": 1}})


def test_keys_accept_any_text(cache):
    key = output_key(**{**KEY, "text": "\ud800 é \0"})
    cache.put({key: OUTPUT})
    assert cache.get([key]) == {key: OUTPUT}


def test_a_fingerprint_depends_on_names_and_contents(cache, tmp_path):
    one, two = tmp_path / "a.bin", tmp_path / "b.bin"
    one.write_bytes(b"weights")
    two.write_bytes(b"config")
    before = cache.fingerprint([one, two])
    assert before == cache.fingerprint([two, one]) == OutputCache().fingerprint([one, two]) and len(before) == 16
    two.write_bytes(b"cohfig")
    os.utime(two, ns=(1, 1))
    assert cache.fingerprint([one, two]) != before


def test_a_file_with_the_same_size_and_time_is_not_read_again(cache, tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(b"weights")
    before, times = cache.fingerprint([file]), os.stat(file)
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert cache.fingerprint([file]) == before


def test_concurrent_processes_lose_no_writes(cache):
    code = """
import sys
from pathlib import Path
from dsum_demo.evaluation.output_cache import CachedOutput, OutputCache
cache = OutputCache(Path(sys.argv[1]))
for i in range(60):
    cache.put({f"{sys.argv[2]}-{i}": CachedOutput("text", i, 0.1, False, 0)})
    cache.put({"shared": CachedOutput("same", 1, 0.1, False, 0)})
    assert cache.get(["shared"])["shared"].text == "same"
sys.exit(cache.problem or 0)
"""
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(cache.file), name], cwd=Path(__file__).resolve().parents[2])
        for name in ("a", "b", "c")
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    assert len(cache.get([f"{name}-{i}" for name in "abc" for i in range(60)])) == 180


def test_a_file_that_is_not_a_database_is_reported_and_not_changed(tmp_path):
    file = tmp_path / "outputs.sqlite"
    file.write_bytes(b"no database" * 100)
    cache = OutputCache(file)
    assert "outputs.sqlite cannot be used" in cache.problem and "not be cached" in cache.problem
    cache.put({"k": OUTPUT})
    assert cache.get(["k"]) == {} and file.read_bytes().startswith(b"no database")
    assert cache.fingerprint([file])


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    assert OutputCache(tmp_path / "file" / "outputs.sqlite").problem


def test_a_deleted_table_is_reported_on_the_next_read(cache):
    import sqlite3

    with sqlite3.connect(cache.file) as database:
        database.execute("DROP TABLE outputs")
    assert cache.get(["k"]) == {} and "cannot be used" in cache.problem


def test_without_a_file_nothing_is_cached():
    cache = OutputCache()
    cache.put({"k": OUTPUT})
    assert cache.get(["k"]) == {} and cache.problem == ""
