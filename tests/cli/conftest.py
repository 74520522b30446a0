"""Fixtures that run `dsum`: in this process, where torch is already imported, or in a child process."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable

import pytest

from dsum_demo.cli.main import main

Dsum = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tiny_environment, tmp_path) -> dict[str, str]:
    return {**tiny_environment, "DSUM_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def dsum(environment, tmp_path, monkeypatch, capsys) -> Dsum:
    """dsum("models", "--json", stdin=""): runs a command in tmp_path and returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        try:
            code = main(arguments)
        except SystemExit as exit:  # argparse
            code = int(exit.code or 0)
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, printed.out, printed.err)

    return run


@pytest.fixture
def dsum_process(environment, tmp_path) -> Dsum:
    """Like `dsum`, in a child process."""

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dsum_demo", *arguments],
            input=stdin, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=240,
        )  # fmt: skip

    return run
