"""Ownership of training runs and uploaded files: the owner's browser sends a secret, whose hash is stored with them."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

_FILE = ".owner"


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def set_owner(folder: Path, secret: str) -> None:
    (folder / _FILE).write_text(digest(secret), encoding="ascii")


def is_owner(folder: Path, secret: object) -> bool:
    """Whether `secret`, which a browser sent and may be any value, is that of the owner of `folder`.

    False for a folder without an owner.
    """
    if not isinstance(secret, str) or not secret:
        return False
    try:
        known = (folder / _FILE).read_bytes().strip()
    except OSError:
        return False
    return hmac.compare_digest(known, digest(secret).encode("ascii"))
