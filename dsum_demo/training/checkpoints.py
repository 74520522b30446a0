"""Checkpoints that can be trusted: which is complete, which is the last, and how weights change places.

A checkpoint is a folder checkpoint-<step> of the Trainer's with a seal, written last: every file's size and digest.
Whatever a crash or a full disk cut off has no seal or another digest, and is passed over. Knows files only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from dsum_demo.utils.files import write_atomically

SEAL = "complete.json"
_NAME = re.compile(r"checkpoint-(\d+)")


def seal(folder: Path, **facts: Any) -> int:
    """Mark a checkpoint as complete, with what else is to be known about it; returns its size in bytes."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    for path in files.values():
        # The seal must not reach the disk before what it vouches for.
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    record = {name: (path.stat().st_size, _digest(path)) for name, path in files.items()}
    write_atomically(folder / SEAL, json.dumps({"files": record, **facts}) + "\n")
    return sum(size for size, _ in record.values())


def seal_of(folder: Path) -> dict[str, Any] | None:
    """The seal of a checkpoint whose files are all as they were written, else None."""
    try:
        found: dict[str, Any] = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        whole = all(
            (folder / name).stat().st_size == size and _digest(folder / name) == digest
            for name, (size, digest) in found["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if whole else None


def last_complete(parent: Path) -> Path | None:
    """The checkpoint of the highest step that is complete."""
    return next((folder for folder in reversed(_checkpoints(parent)) if seal_of(folder)), None)


def keep_only(folder: Path) -> None:
    """Delete the other checkpoints beside this one."""
    for other in _checkpoints(folder.parent):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def swap_in(new: Path, place: Path) -> None:
    """Put the folder `new` where `place` is; what was there is deleted. `recover` undoes what a crash cut in half."""
    old = place.with_name(f".{place.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def recover(place: Path) -> None:
    """After a crash: bring back what `swap_in` had put aside, and delete what was not whole yet."""
    old = place.with_name(f".{place.name}-old")
    if old.exists() and not place.exists():
        old.rename(place)
    for leftover in (old, place.with_name(f".{place.name}-new")):
        shutil.rmtree(leftover, ignore_errors=True)


def weights_bytes(folder: Path) -> int:
    """The size of the weight files in a folder, tokenizer and configs not counted."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _checkpoints(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    found = [(int(match[1]), child) for child in parent.iterdir() if (match := _NAME.fullmatch(child.name))]
    return [folder for _, folder in sorted(found)]


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
