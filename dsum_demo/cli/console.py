"""Exit codes, and what the commands print on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
