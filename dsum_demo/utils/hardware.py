"""The machine's hardware and this process's memory use, current and peak."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import sys
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch

_STATUS, _CPUINFO = Path("/proc/self/status"), Path("/proc/cpuinfo")
M_ARENA_MAX = -8  # mallopt(3)
_CGROUP_LIMIT, _CGROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def memory_bytes() -> int:
    """Memory of this process: on the GPU if there is one, else resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return int(psutil.Process().memory_info().rss)


def peak_memory_bytes() -> int:
    """Peak memory of this process, measured like `memory_bytes`."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    with contextlib.suppress(OSError, ValueError, StopIteration):
        # Not getrusage: after a fork it starts with the parent's peak.
        lines = _STATUS.read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_memory_bytes() -> int:
    """Free memory for this process: on the GPU if there is one, else RAM within the container's limit."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):
        free = min(free, int(_CGROUP_LIMIT.read_text()) - int(_CGROUP_USED.read_text()))
    return max(0, free)


def memory_kind() -> str:
    """The kind of memory that these functions measure: "CUDA" or "RSS"."""
    return "CUDA" if torch.cuda.is_available() else "RSS"


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def describe() -> dict[str, Any]:
    """The machine as plain values, for a run's record."""
    return {
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "memory_bytes": int(psutil.virtual_memory().total),
        "device": device_name(),
    }


def prefer_oom_kill() -> None:
    """If memory runs out, make the kernel kill this process before the app that started it (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900")


def limit_malloc_arenas(count: int = 2) -> None:
    """Let glibc's threads share this many memory pools; call it before the process starts threads.

    By default it makes eight per core, and each keeps what its threads have freed, so that a server with many threads
    grows with every request. Other C libraries are left alone.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, count)


def _cpu_name() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = _CPUINFO.read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
