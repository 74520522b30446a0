"""Detects complete checkpoints and replaces weight folders without leaving a partial one.

A checkpoint is a Trainer folder checkpoint-<step> with a seal, which is written last and lists every file's size and
SHA-256. After a crash or on a full disk the seal is missing or does not match, and the checkpoint is ignored.
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
    """Write the seal, with `facts` in addition to the file list; returns the checkpoint's size in bytes."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files.pop(SEAL, None)  # of an earlier save of the same step
    for path in files.values():
        # The seal must not reach the disk before the files that it lists.
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    record = {name: (path.stat().st_size, _digest(path)) for name, path in files.items()}
    write_atomically(folder / SEAL, json.dumps({"files": record, **facts}) + "\n")
    return sum(size for size, _ in record.values())


def seal_of(folder: Path) -> dict[str, Any] | None:
    """Return the seal of a checkpoint, or None if it has none or a file differs from it."""
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
    """Return the complete checkpoint with the highest step, or None."""
    return next((folder for folder in reversed(_checkpoints(parent)) if seal_of(folder)), None)


def step_of(checkpoint: Path | None) -> int:
    """The step of a checkpoint; 0 for None."""
    return int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0


def evaluation_due(checkpoint: Path | None) -> bool:
    """Whether training stopped at this checkpoint before the evaluation of its step."""
    return bool(checkpoint and (seal_of(checkpoint) or {}).get("evaluation_due"))


def keep_only(folder: Path) -> None:
    """Delete all other checkpoints of the same run."""
    for other in _checkpoints(folder.parent):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def swap_in(new: Path, place: Path) -> None:
    """Replace the folder `place` by `new`. If a crash interrupts this, `recover` restores the old folder."""
    old = place.with_name(f".{place.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def recover(place: Path) -> None:
    """Clean up after a crash: restore the folder that `swap_in` had renamed, and delete incomplete ones."""
    old = place.with_name(f".{place.name}-old")
    if old.exists() and not place.exists():
        old.rename(place)
    for leftover in (old, place.with_name(f".{place.name}-new")):
        shutil.rmtree(leftover, ignore_errors=True)


def weights_bytes(folder: Path) -> int:
    """Return the total size of the weight files in a folder, without tokenizer and configs."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _checkpoints(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    found = [(int(match[1]), child) for child in parent.iterdir() if (match := _NAME.fullmatch(child.name))]
    return [folder for _, folder in sorted(found)]


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
