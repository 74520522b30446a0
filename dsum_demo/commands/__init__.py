"""Commands of `dsum` that are long enough for a module of their own; cli.py reads the arguments and calls them.

Here stands how all of them speak: results go to standard output, everything else through `say`.
"""

from __future__ import annotations

import sys


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """ "40 s", "12 min", "1.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
