"""Memory measurements, compared with memory that a child process really allocates."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from dsum_demo.utils import hardware

ROOT = Path(__file__).resolve().parents[2]


def ask(code: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def test_the_peak_remembers_what_memory_forgets_and_not_what_the_parent_held():
    """A child that the parent's size has nothing to do with: 300 MB are taken and given back."""
    before, during, after, peak = ask(
        "import torch; from dsum_demo.utils.hardware import memory_bytes, peak_memory_bytes\n"
        "before = memory_bytes(); block = torch.ones(75_000_000); during = memory_bytes()\n"
        "del block; print(before, during, memory_bytes(), peak_memory_bytes())"
    )
    assert during - before > 250e6 and during - after > 250e6
    assert during <= peak + 50e6 and peak < during + 200e6


def test_free_memory_is_no_more_than_there_is():
    assert 0 < hardware.free_memory_bytes() <= psutil.virtual_memory().total
    assert 0 < hardware.memory_bytes() <= hardware.peak_memory_bytes()


def test_the_machine_is_described_in_plain_values():
    told = hardware.describe()
    assert told["cpu"] and told["threads"] >= 1 and told["memory_bytes"] > 1e8 and told["device"]


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="Linux has this")
def test_a_process_can_offer_itself_where_memory_runs_out():
    assert ask(
        "from dsum_demo.utils.hardware import prefer_oom_kill; prefer_oom_kill(); "
        "print(open('/proc/self/oom_score_adj').read())"
    ) == [900]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an allocator without arenas")
@pytest.mark.parametrize(("limit", "most"), [("", 30), ("hardware.limit_malloc_arenas(2)", 2)])
def test_threads_share_two_arenas_once_they_are_limited(limit, most):
    """Ten threads allocate at once; malloc_info(3) names each arena."""
    (arenas,) = ask(
        "import ctypes, tempfile, threading; from dsum_demo.utils import hardware\n"
        f"{limit}\n"
        "libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; barrier = threading.Barrier(10)\n"
        "def allocate(): libc.malloc(1000); barrier.wait()\n"
        "threads = [threading.Thread(target=allocate) for _ in range(10)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "libc.fopen.restype = ctypes.c_void_p; path = tempfile.mkstemp()[1]\n"
        "file = ctypes.c_void_p(libc.fopen(path.encode(), b'w')); libc.malloc_info(0, file); libc.fclose(file)\n"
        "print(open(path).read().count('<heap nr='))"
    )
    assert arenas <= most and (most == 2 or arenas > 2)
