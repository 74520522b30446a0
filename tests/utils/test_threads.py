"""Work in a thread: its result, its error, a stop, a timeout."""

from __future__ import annotations

import threading

import pytest

from dsum_demo.errors import Stopped
from dsum_demo.utils.threads import ThreadTimeoutError, run_in_thread, run_stoppable


def test_the_result_and_the_name_of_the_thread():
    assert run_stoppable(lambda stop: threading.current_thread().name, name="some work") == "some work"


def test_an_error_of_the_work_is_raised_in_the_caller():
    def fail(stop):
        raise KeyError("missing")

    with pytest.raises(KeyError, match="missing"):
        run_stoppable(fail, name="fail")


def test_a_stop_raises_immediately_and_reaches_the_work():
    noticed, blocked = threading.Event(), threading.Event()

    def work(stop):
        stop.wait()
        blocked.wait()
        noticed.set()

    with pytest.raises(Stopped, match="Enough"):
        run_stoppable(work, lambda: True, name="work", stopped="Enough.")
    assert not noticed.is_set()  # the caller did not wait for the blocked thread
    blocked.set()
    assert noticed.wait(10)


def test_a_timeout_raises_and_stops_the_work():
    ended = threading.Event()

    def work(stop):
        stop.wait()
        ended.set()

    with pytest.raises(ThreadTimeoutError, match=r"slow work took more than 0\.05 s"):
        run_stoppable(work, name="slow work", timeout=0.05)
    assert ended.wait(10)


def test_the_generator_yields_the_time_so_far_and_closing_it_stops_the_work():
    ended = threading.Event()

    def work(stop):
        stop.wait()
        ended.set()

    running = run_in_thread(work, "work", 0.01)
    first, second = next(running), next(running)
    assert 0 < first < second and not ended.is_set()
    running.close()
    assert ended.wait(10)
