"""Safe names, atomic writes, locks and listings for folders that several processes use."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dsum_demo.errors import TrainingError

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


_LONGEST_NAME = 80


def safe_name(text: str) -> str:
    """`text` as a plain folder name of letters, digits, ".", "_" and "-"; "" where nothing is left."""
    return _UNSAFE.sub("-", text).strip("-.")[:_LONGEST_NAME].rstrip("-.")


def child_folders(parent: Path) -> list[Path]:
    """The folders in `parent`, by name, hidden ones left out; none where it is no folder.

    A link that leads out of it is left out too: what is listed can be chosen by any visitor.
    """
    if not parent.is_dir():
        return []
    home = parent.resolve()
    return sorted(
        child
        for child in parent.iterdir()
        if not child.name.startswith(".") and child.is_dir() and child.resolve().parent == home
    )


def write_atomically(file: Path, text: str) -> None:
    """Whoever reads sees the old text or the new, also after a crash."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def delete_folder(folder: Path) -> None:
    """Out of every list at once, even where deleting takes a while or is cut short."""
    grave = folder.with_name(f".deleted-{folder.name}-{os.getpid()}-{time.monotonic_ns()}")
    folder.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)


@contextmanager
def locked(file: Path, wait: float, refusal: str, poll: float = 0.05) -> Iterator[None]:
    """Held by one process at a time; the system lets go of it when the process dies.

    wait: seconds, -1 for as long as it takes. Raises TrainingError(refusal) where the time is over.
    """
    lock = FileLock(file)
    try:
        lock.acquire(timeout=wait, poll_interval=poll)
    except Timeout:
        raise TrainingError(refusal) from None
    try:
        yield
    finally:
        lock.release()


def tail(file: Path, lines: int = 20) -> str:
    """The last lines of an output file; "" where there is none."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 20_000))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])
