"""Nothing that was answered is lost if the process is killed, the disk is full or read-only, or the clock is set back.

DSUM_KILLS sets the number of kills.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dsum_demo.composition import make_registry, make_run_queue, make_sources
from dsum_demo.data.examples import Example
from dsum_demo.errors import StorageError
from dsum_demo.evaluation.output_cache import OutputCache
from dsum_demo.evaluation.runner import evaluate
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.review.records import Review
from dsum_demo.review.storage import ReviewStore
from dsum_demo.runs.runner import execute
from dsum_demo.runs.store import RESUMABLE, Run, RunState
from dsum_demo.training.config import DataConfig, RunConfig, TrainingConfig
from dsum_demo.training.events import Event, read_events
from tests.review.conftest import answer, make_draft

KILLS = int(os.environ.get("DSUM_KILLS", "3"))
ROUNDS = -(-KILLS // 3)
EXAMPLES = [Example(f"d{n}", f"Tom: I have {n} apples.\nMaya: Give me one.", (f"Tom has {n}.",), ()) for n in range(40)]


def kill_at_random(work: Callable[[Callable[[object], None]], None], rng: random.Random, most: float) -> list[str]:
    """Run `work` in a forked process, kill it up to `most` seconds after its first answer, and return its answers."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            work(lambda answered: os.write(writing, f"{answered}\n".encode()))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        first = answers.readline()
        time.sleep(rng.uniform(0, most))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        # The process may have been killed within a line.
        return [line.strip() for line in (first, *answers) if line.endswith("\n")]


def described(event: Event) -> str:
    return f"{event['event']} {event.get('step')}"


@pytest.mark.processes
def test_no_verdict_is_lost_if_the_process_is_killed_while_voting(tmp_path):
    rng, store = random.Random(1), ReviewStore(tmp_path / "reviews.sqlite")
    for _ in range(ROUNDS):
        review = store.create(make_draft(items=40))

        def vote(tell: Callable[[object], None], review: Review = review) -> None:
            while task := store.next_task(review.id, "Ana"):
                tell(store.save_verdict(review.id, "Ana", task.item.id, ranks=[1, 2, 3], seconds=1).id)

        answered = kill_at_random(vote, rng, 0.2)
        with closing(sqlite3.connect(store.file)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = [verdict.id for verdict in store.verdicts(review.id)]
        assert stored[: len(answered)] == answered and len(stored) <= len(answered) + 1
        answer(store, review, "Ana")  # nothing is blocked, and the rest is asked once
        assert len(store.verdicts(review.id)) == 40


@pytest.mark.processes
def test_no_summary_is_lost_if_the_process_is_killed_while_evaluating(tiny_store, tmp_path):
    rng, specs = random.Random(2), list(tiny_store.registry.default_family.default_trio())
    decode = DecodingConfig(max_new_tokens=4)

    def texts(cache: OutputCache | None, tell: Callable[[object], None] = lambda done: None) -> list[list[str]]:
        for progress in evaluate(tiny_store, specs, EXAMPLES, decode=decode, cache=cache):
            tell(progress.done)
        return [[output.text for output in row.outputs.values()] for row in progress.evaluation.examples]

    whole = texts(None)
    for number in range(ROUNDS):
        file = tmp_path / f"outputs{number}.sqlite"
        told = kill_at_random(lambda tell, file=file: texts(OutputCache(file), tell), rng, 0.3)
        with closing(sqlite3.connect(file)) as database:
            (kept,) = database.execute("SELECT COUNT(*) FROM outputs").fetchone()
        assert kept >= int(told[-1])
        cache = OutputCache(file)
        assert texts(cache) == whole and not cache.problem


@pytest.mark.processes
def test_no_step_is_lost_if_the_process_is_killed_while_training(tiny_settings, tmp_path):
    rng, registry, sources = random.Random(3), make_registry(tiny_settings), make_sources(tiny_settings)
    training = TrainingConfig(
        "lora", {"r": 2}, max_steps=6, batch_size=2, evaluations=3, validation_sample=2, max_target_tokens=8
    )
    config = RunConfig("dsum-t5-base", training, DataConfig(limit=6))
    queue = make_run_queue(replace(tiny_settings, data_dir=tmp_path))
    for number in range(ROUNDS):
        run = queue.submit(config, f"run{number}")

        def train(tell: Callable[[object], None], run: Run = run) -> None:
            execute(run, registry, sources, on_event=lambda one: tell(described(one)))

        told = kill_at_random(train, rng, 0.6)
        events = read_events(run.events_file)[0]
        assert list(map(described, events[: len(told)])) == told
        if run.status().state in RESUMABLE:
            execute(run, registry, sources)
        assert run.status().state is RunState.FINISHED and run.result()["steps"] == 6
        again = read_events(run.events_file)[0]
        assert list(map(described, again[: len(told)])) == told
        assert {event["step"] for event in again if event["event"] == "step"} == set(range(1, 7))


@contextmanager
def full_disk(largest: int) -> Iterator[None]:
    """Files cannot grow beyond `largest` bytes, which fails like a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_on_a_full_disk_votes_are_refused_and_the_earlier_ones_are_kept(tmp_path):
    store = ReviewStore(tmp_path / "reviews.sqlite")
    review = store.create(make_draft(items=40))
    answer(store, review, "Ana", 3)
    with full_disk(0), pytest.raises(StorageError, match="Check the folder and its free space"):
        answer(store, review, "Ana")
    assert len(store.verdicts(review.id)) == 3
    assert answer(store, review, "Ana") == 37


def test_on_a_full_disk_an_evaluation_continues_without_its_cache(tiny_store, tmp_path):
    cache, specs = OutputCache(tmp_path / "outputs.sqlite"), tiny_store.registry.default_family.default_trio()[:1]
    with full_disk(0):
        *_, last = evaluate(tiny_store, specs, EXAMPLES[:2], decode=DecodingConfig(max_new_tokens=4), cache=cache)
    assert last.evaluation.finished and cache.problem


def test_on_a_full_disk_a_run_is_refused_and_leaves_nothing_that_blocks_the_next(tiny_settings, tmp_path):
    queue = make_run_queue(replace(tiny_settings, data_dir=tmp_path))
    config = RunConfig("dsum-t5-base", TrainingConfig("lora"), DataConfig(limit=6))
    queue.submit(config, "first")
    with full_disk(0), pytest.raises(StorageError, match="Check the folder and its free space"):
        queue.submit(config, "second")
    assert [run.name for run in queue.queued()] == ["first"]
    queue.submit(config, "third")
    assert {run.name for run in queue.queued()} == {"first", "third"}


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that cannot be written, also not by root in `as_nobody`."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def as_nobody(work: Callable[[], str]) -> str:
    """What `work` returns in a forked process that is not root's."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setresuid(65534, 65534, 65534)
            os.write(writing, work().encode())
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answers:
        return answers.read()


def test_a_read_only_data_folder_is_named_with_the_fix(read_only, tiny_settings):
    queue = make_run_queue(replace(tiny_settings, data_dir=read_only))
    config = RunConfig("dsum-t5-base", TrainingConfig("lora"), DataConfig(limit=6))
    refused = as_nobody(lambda: queue.submit(config, "run").name)
    assert refused.startswith("StorageError: ") and "Permission denied. Check the folder" in refused
    refused = as_nobody(lambda: ReviewStore(read_only / "reviews.sqlite").create(make_draft()).id)
    assert refused.startswith("StorageError: ") and "Check the folder" in refused
    assert "unable to open" in as_nobody(lambda: OutputCache(read_only / "outputs.sqlite").problem)


def test_votes_keep_their_order_if_the_clock_is_set_back(tmp_path, monkeypatch):
    store = ReviewStore(tmp_path / "reviews.sqlite")
    review, real = store.create(make_draft()), time.time
    answer(store, review, "Ana", 2)
    first = [verdict.id for verdict in store.verdicts(review.id)]
    monkeypatch.setattr(time, "time", lambda: real() - 86_400)
    assert answer(store, review, "Ana") == 4
    assert [verdict.id for verdict in store.verdicts(review.id)][:2] == first
    monkeypatch.undo()
    assert store.next_task(review.id, "Ana") is None


def test_a_training_process_is_alive_if_the_clock_is_set_back(tmp_path, monkeypatch):
    run = Run(tmp_path)
    run.write_status(RunState.RUNNING, pid=os.getpid())
    started, boot = psutil.Process().create_time(), psutil.boot_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: started - 3600)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot - 3600)
    assert run.status().state is RunState.RUNNING


def test_two_apps_on_one_folder_number_their_runs_and_votes_without_loss(tiny_settings, tmp_path):
    settings = replace(tiny_settings, data_dir=tmp_path)
    config = RunConfig("dsum-t5-base", TrainingConfig("lora"), DataConfig(limit=6))
    review = ReviewStore(settings.reviews_file).create(make_draft())

    def app(number: int) -> None:
        queue, store = make_run_queue(settings), ReviewStore(settings.reviews_file)
        for _ in range(5):
            queue.submit(config, "same")
        answer(store, review, f"reviewer {number}")

    apps = [threading.Thread(target=app, args=[number]) for number in range(2)]
    for each in apps:
        each.start()
    for each in apps:
        each.join()
    assert len({run.name for run in make_run_queue(settings).queued()}) == 10
    assert len(ReviewStore(settings.reviews_file).verdicts(review.id)) == 12
