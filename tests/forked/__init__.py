"""`python -m dsum_demo` for tests without a cold start, which imports torch for seconds.

A server (`server.py`) has imported what commands need, and forks for each command. The command has its own process,
session, environment, streams and exit code. `command.py` is the process that a test starts: it asks the server,
forwards signals, and ends as the command does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def forking(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """A server with its files in `folder`; yields the program to start in place of Python.

    environment: for what libraries read when they are imported; each command has its own besides.
    """
    socket, program = folder / "socket", folder / "python"
    command = Path(__file__).parent / "command.py"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{command}" "{socket}" "$@"\n')
    program.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.forked.server", str(socket), str(program)], cwd=Path(__file__).parents[2],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdin and server.stdout and server.stdout.readline() == "ready\n"
    try:
        yield str(program)
    finally:
        server.stdin.close()
        server.wait(timeout=30)
