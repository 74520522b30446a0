"""Where weights come from: shipped with the project, a local folder, or a Hub repository."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SourceKind(StrEnum):
    EMBEDDED = "embedded"
    LOCAL = "local"
    HUB = "hub"


@dataclass(frozen=True)
class Source:
    """Where weights are: `location` is an absolute path, or for a Hub source its repository id.

    revision: a branch, tag or commit of a Hub source; for a discovered folder, the time when its weights were written.
    """

    kind: SourceKind
    location: str
    revision: str | None = None
