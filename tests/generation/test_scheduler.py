"""The scheduler: the same texts as alone, in shared batches; one request's stop does not affect the others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest

from dsum_demo.data.examples import read_samples
from dsum_demo.errors import GenerationError, InputError
from dsum_demo.generation import scheduler as scheduling
from dsum_demo.generation.scheduler import Scheduler, Waiting
from dsum_demo.generation.streaming import Generation, generate
from dsum_demo.models.decoding import DecodingConfig

DECODE = DecodingConfig(max_new_tokens=12)


@pytest.fixture(scope="module")
def trio(any_store):
    return [any_store.load(spec) for spec in any_store.registry.default_family.default_trio()]


@pytest.fixture(scope="module")
def sources(trio, any_store, tiny_settings):
    prompt = any_store.registry.default_family.prompt
    dialogues = [sample.dialogue for sample in read_samples(tiny_settings.samples_file)]
    cut = ["\n".join(dialogue.split("\n")[: 1 + number % 4]) for number, dialogue in enumerate(dialogues[:8])]
    return [prompt.fit(trio[0].tokenizer, dialogue, 300).source_ids for dialogue in cut]


@pytest.fixture
def batches(monkeypatch) -> list[int]:
    """The number of requests of every batch."""
    monkeypatch.setattr(scheduling, "MAX_PADDING", 2.5)
    sizes: list[int] = []
    real = scheduling.write

    def write(texts):
        sizes.append(len(texts))
        real(texts)

    monkeypatch.setattr(scheduling, "write", write)
    return sizes


class Held:
    """A request that is generated until `release`, which keeps the others of its family waiting."""

    def __init__(self, scheduler: Scheduler, loaded, source):
        self.going, self.free = threading.Event(), threading.Event()
        self.states: list[Generation | Waiting] = []
        self.thread = threading.Thread(target=self._run, args=[scheduler, loaded, source])
        self.thread.start()
        assert self.going.wait(30)

    def _run(self, scheduler, loaded, source) -> None:
        self.states += scheduler.stream(loaded, source, DECODE, self._hold)

    def _hold(self) -> bool:
        self.going.set()
        return not self.free.wait(30)

    def release(self) -> None:
        self.free.set()
        self.thread.join(30)


def all_at_once(scheduler: Scheduler, held: Held, jobs, stops=None):
    """Queue the jobs in order behind `held`, release it, and return each job's states or error."""
    found: list[list[Generation | Waiting]] = [[] for _ in jobs]

    def run(number: int) -> None:
        loaded, source, decode = jobs[number]
        stop = (stops or {}).get(number, lambda: False)
        for state in scheduler.stream(loaded, source, decode, stop):
            found[number].append(state)

    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = []
        for number in range(len(jobs)):
            futures.append(pool.submit(run, number))
            while scheduler.waiting <= number:
                threading.Event().wait(0.01)
        held.release()
    return found, [future.exception() for future in futures]


def test_waiting_requests_for_one_model_share_a_batch_and_get_the_texts_of_single_runs(trio, sources, batches):
    for loaded in trio:
        scheduler = Scheduler()
        held = Held(scheduler, loaded, sources[0])
        found, errors = all_at_once(scheduler, held, [(loaded, source, DECODE) for source in sources])
        assert errors == [None] * len(sources)
        alone = [generate(loaded, source, DECODE) for source in sources]
        assert [states[-1].text for states in found] == [one.text for one in alone]
        assert [states[-1].new_tokens for states in found] == [one.new_tokens for one in alone]
        assert all(states[-1].finished for states in found)
        # Each request streams: several partial texts, each a beginning of the next.
        for states in found:
            texts = [state.text for state in states if isinstance(state, Generation)]
            assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
        assert held.states[-1].text == alone[0].text
    assert batches == [1, len(sources)] * len(trio)


def test_a_lone_request_does_not_wait(trio, sources, batches):
    states = list(Scheduler().stream(trio[0], sources[0], DECODE))
    assert all(isinstance(state, Generation) for state in states)
    assert states[-1] == replace(states[-1], text=generate(trio[0], sources[0], DECODE).text, finished=True)
    assert batches == [1]


def test_a_request_that_waits_gets_its_position(trio, sources, batches):
    scheduler = Scheduler(batch_requests=1)
    held = Held(scheduler, trio[0], sources[0])
    found, _ = all_at_once(scheduler, held, [(trio[0], source, DECODE) for source in sources[:3]])
    assert [states[0] for states in found] == [Waiting(1), Waiting(2), Waiting(3)]
    assert "position 2 in the queue" in found[1][0].sentence
    for states in found:
        positions = [state.position for state in states if isinstance(state, Waiting)]
        assert positions == sorted(positions, reverse=True)
        assert not any(isinstance(state, Waiting) for state in states[len(positions) :])
    assert batches == [1, 1, 1, 1]


def test_requests_for_other_models_or_with_other_settings_get_their_own_batch_in_order(trio, sources, batches):
    base, full = trio[:2]
    jobs = [
        (base, sources[0], DECODE),
        (full, sources[1], DECODE),
        (base, sources[2], DECODE),
        (base, sources[3], replace(DECODE, max_new_tokens=5)),
        (base, sources[4], replace(DECODE, num_beams=2)),
        (base, sources[5], replace(DECODE, num_beams=2)),
        (base, sources[6], replace(DECODE, do_sample=True, temperature=2.0)),
        (full, sources[7], DECODE),
    ]
    scheduler = Scheduler()
    found, errors = all_at_once(scheduler, Held(scheduler, base, sources[0]), jobs)
    assert errors == [None] * len(jobs)
    assert [states[-1].text for states in found] == [generate(*job).text for job in jobs]
    assert batches == [1, 2, 2, 1, 1, 1, 1]


def test_a_long_prompt_does_not_join_short_ones(trio, sources, batches, monkeypatch):
    monkeypatch.setattr(scheduling, "MAX_PADDING", 1.25)
    short, long = sources[0], sources[0] * 3
    jobs = [(trio[0], source, DECODE) for source in (short, long, short, long, short)]
    scheduler = Scheduler()
    found, _ = all_at_once(scheduler, Held(scheduler, trio[0], short), jobs)
    assert [states[-1].text for states in found] == [generate(*job).text for job in jobs]
    assert batches == [1, 3, 2]


def test_a_batch_is_limited_in_requests_and_prompt_tokens(trio, sources, batches, monkeypatch):
    scheduler = Scheduler(batch_requests=3)
    all_at_once(scheduler, Held(scheduler, trio[0], sources[0]), [(trio[0], sources[0], DECODE)] * 4)
    assert batches == [1, 3, 1]
    monkeypatch.setattr(scheduling, "BATCH_TOKENS", 2 * len(sources[0]))
    batches.clear()
    scheduler = Scheduler()
    all_at_once(scheduler, Held(scheduler, trio[0], sources[0]), [(trio[0], sources[0], DECODE)] * 4)
    assert batches == [1, 2, 2]


def test_a_stop_ends_one_text_of_a_batch_or_of_the_queue_and_the_others_are_complete(trio, sources):
    loaded, steps = trio[0], []

    def after_three() -> bool:
        steps.append(1)
        return len(steps) > 6

    stopped_in_queue = threading.Event()
    stopped_in_queue.set()
    scheduler = Scheduler()
    held = Held(scheduler, loaded, sources[0])
    waiting = list(scheduler.stream(loaded, sources[1], DECODE, stopped_in_queue.is_set))
    assert (waiting[-1].stopped, waiting[-1].text) == (True, "") and scheduler.waiting == 0
    jobs = [(loaded, source, DECODE) for source in sources[:4]]
    found, errors = all_at_once(scheduler, held, jobs, {1: after_three})
    assert errors == [None] * 4
    alone = [generate(*job) for job in jobs]
    assert found[1][-1].stopped and alone[1].text.startswith(found[1][-1].text)
    assert found[1][-1].new_tokens < alone[1].new_tokens
    assert [found[number][-1].text for number in (0, 2, 3)] == [alone[number].text for number in (0, 2, 3)]


def test_closing_a_stream_that_waits_removes_its_request(trio, sources):
    scheduler = Scheduler()
    held = Held(scheduler, trio[0], sources[0])
    states = scheduler.stream(trio[0], sources[1], DECODE)
    assert next(states) == Waiting(1)
    states.close()
    assert scheduler.waiting == 0
    held.release()


def test_a_family_does_not_wait_for_another(tiny_store, causal_store, tiny_settings):
    one, two = (store.load(store.registry.default_family.base) for store in (tiny_store, causal_store))
    scheduler = Scheduler()
    held = Held(scheduler, one, [5, 6, 7])
    assert list(scheduler.stream(two, [5, 6, 7], DECODE))[-1].finished
    held.release()


def test_a_failure_reaches_every_request_of_its_batch_and_the_next_batch_runs(trio, sources):
    class Broken:
        def __init__(self, model):
            self.inner, self.config, self.generation_config = model, model.config, model.generation_config
            self.parameters = model.parameters
            self.get_encoder = getattr(model, "get_encoder", None)

        def generate(self, **kwargs):
            raise RuntimeError("out of memory")

    broken = replace(trio[0], model=Broken(trio[0].model))
    scheduler = Scheduler()
    jobs = [(broken, sources[0], DECODE), (broken, sources[1], DECODE), (trio[0], sources[2], DECODE)]
    found, errors = all_at_once(scheduler, Held(scheduler, trio[0], sources[0]), jobs)
    assert [type(error) for error in errors] == [GenerationError, GenerationError, type(None)]
    assert "out of memory" in str(errors[0])
    assert found[2][-1].finished


def test_an_empty_prompt_is_refused_before_it_is_queued(trio):
    scheduler = Scheduler()
    with pytest.raises(InputError, match="no tokens"):
        list(scheduler.stream(trio[0], [], DECODE))
    assert scheduler.waiting == 0
