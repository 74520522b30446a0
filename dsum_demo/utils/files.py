"""Safe names, atomic writes, locks and listings for folders that several processes use."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dsum_demo.errors import DsumError, StorageError

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


_LONGEST_NAME = 80


def safe_name(text: str) -> str:
    """Return `text` as a folder name of letters, digits, ".", "_" and "-"; "" if nothing remains."""
    return _UNSAFE.sub("-", text).strip("-.")[:_LONGEST_NAME].rstrip("-.")


def child_folders(parent: Path) -> list[Path]:
    """Return the visible folders in `parent`, sorted by name; an empty list if `parent` is not a folder.

    Links to folders outside `parent` are excluded, because any visitor can select a listed folder.
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
    """Replace the text of `file`; a reader sees the old text or the new one, also after a crash."""
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


def write_texts(folder: Path, contents: Mapping[str, Iterable[str]]) -> list[Path]:
    """Write files of `folder`, which is created if necessary, each from the pieces of its text; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        # JSON may contain lone surrogates, which UTF-8 cannot encode.
        with (folder / name).open("w", encoding="utf-8", errors="replace", newline="") as file:
            file.writelines(content)
    return [folder / name for name in contents]


def delete_folder(folder: Path) -> None:
    """Delete `folder`; it leaves every listing immediately, even if the deletion is slow or interrupted."""
    trash = folder.with_name(f".deleted-{folder.name}-{os.getpid()}-{time.monotonic_ns()}")
    folder.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Raise StorageError, naming the folder and the fix, for a file in `folder` that cannot be written."""
    try:
        yield
    except Timeout:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"{folder} cannot be written: {reason}. Check the folder and its free space.") from error


@contextmanager
def locked(file: Path, wait: float, refusal: DsumError, poll: float = 0.05) -> Iterator[None]:
    """Hold an exclusive lock on `file`; the system releases it when the process ends.

    wait: seconds, -1 for no limit. Raises `refusal` if another holder does not release the lock in that time, and
    StorageError if the file cannot be created.
    """
    lock = FileLock(file)
    try:
        with storing(file.parent):
            lock.acquire(timeout=wait, poll_interval=poll)
    except Timeout:
        raise refusal from None
    try:
        yield
    finally:
        lock.release()


def tail(file: Path, lines: int = 20) -> str:
    """Return the last lines of an output file, or "" if the file does not exist."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 20_000))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])
