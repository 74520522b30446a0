"""This process among those that `accelerate launch` started; without it, the only one."""

from __future__ import annotations

import os


def is_main() -> bool:
    return int(os.environ.get("RANK", 0)) == 0


def local_rank() -> int:
    """The number of this process on its machine, and of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))


def world_size() -> int:
    """The number of processes."""
    return int(os.environ.get("WORLD_SIZE", 1))
