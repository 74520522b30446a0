"""Who a training run or an uploaded file belongs to: whoever knows a secret, of which a hash is kept beside it."""

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
    """Whether `folder` belongs to whoever sent `secret`, which comes from a browser and may be anything.

    A folder without an owner belongs to nobody.
    """
    if not isinstance(secret, str) or not secret:
        return False
    try:
        known = (folder / _FILE).read_bytes().strip()
    except OSError:
        return False
    return hmac.compare_digest(known, digest(secret).encode("ascii"))
