"""Writing: the same texts as transformers', streamed, seeded, stoppable, and failing with a name."""

from __future__ import annotations

import copy
import random
import threading
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from dsum_demo.errors import GenerationError, InputError
from dsum_demo.generation.streaming import Generation, GumbelNoise, NoRepeats, decode_tokens, generate, stream
from dsum_demo.metrics.words import words
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import DEFAULT_PROMPT

DIALOGUES = [
    "Maya: Are you free on Friday?\nTom: Yes, after six.",
    "#Person1#: Can you lend me ten dollars?\n#Person2#: Sure.",
    "Anna: The doctor says I must rest.\nTom: Drink water!",
]


@pytest.fixture(scope="module")
def trio(any_store):
    return [any_store.load(spec) for spec in any_store.registry.default_family.default_trio()]


@pytest.fixture(scope="module")
def base(trio):
    return trio[0]


def source(loaded, dialogue: str = DIALOGUES[0]) -> list[int]:
    return DEFAULT_PROMPT.encode(loaded.tokenizer, dialogue)


def write(loaded, dialogue: str = DIALOGUES[0], should_stop=lambda: False, **settings) -> Generation:
    return generate(loaded, source(loaded, dialogue), DecodingConfig(**{"max_new_tokens": 24, **settings}), should_stop)


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("generate ")]


def ending(loaded, monkeypatch, after: int):
    """Make the model give the end token as its `after`-th token."""

    class End:
        def __init__(self, prompt_length: int):
            self.prompt_length = prompt_length

        def __call__(self, input_ids, scores):
            if loaded.architecture.generated(input_ids, self.prompt_length).shape[1] == after - 1:
                scores = torch.full_like(scores, -100.0)
                scores[:, loaded.tokenizer.eos_token_id] = 0.0
            return scores

    monkeypatch.setattr("dsum_demo.generation.streaming.no_repeats", lambda _, decode, length: [End(length)])


# The same texts


@pytest.mark.parametrize("dialogue", DIALOGUES)
@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}, {"num_beams": 2, "length_penalty": 2.0}])
def test_texts_equal_those_of_transformers_own_generate(trio, dialogue, settings):
    for loaded in trio:
        ids = torch.tensor([source(loaded, dialogue)])
        with torch.inference_mode():
            output = loaded.model.generate(input_ids=ids, max_new_tokens=24, do_sample=False, **settings)
        new = loaded.architecture.generated(output, ids.shape[1])[0].tolist()
        assert write(loaded, dialogue, **settings).text == decode_tokens(loaded.tokenizer, new)


@pytest.mark.parametrize("beams", [1, 3])
def test_no_ngram_of_a_summary_repeats_and_the_prompts_do_not_count(trio, beams):
    for loaded in trio:
        ids = torch.tensor([source(loaded)])
        expected = NoRepeats(loaded.architecture, 2, ids.shape[1])
        config = {"max_new_tokens": 24, "do_sample": False, "num_beams": beams}
        with torch.inference_mode():
            output = loaded.model.generate(input_ids=ids, logits_processor=[expected], **config)
        new = loaded.architecture.generated(output, ids.shape[1])[0].tolist()
        assert write(loaded, no_repeat_ngram_size=2, num_beams=beams).text == decode_tokens(loaded.tokenizer, new)
        pairs = list(pairwise(new))
        assert len(set(pairs)) == len(pairs)


def test_an_ngram_that_the_prompt_repeats_can_be_copied(causal_store):
    """The model repeats its last token: of a prompt that ends in x x x, the summary is x x before the ban on pairs."""
    loaded = causal_store.load(causal_store.registry.default_family.base)
    model = copy.deepcopy(loaded.model)
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    token = loaded.tokenizer.convert_tokens_to_ids("x")
    decode = DecodingConfig(max_new_tokens=6, no_repeat_ngram_size=2)
    text = generate(replace(loaded, model=model), [5, 6, token, token, token], decode).text
    assert text.startswith("xx") and not text.startswith("xxx")


def test_any_of_several_end_tokens_ends_a_summary(causal_store, monkeypatch):
    loaded = causal_store.load(causal_store.registry.default_family.base)
    whole = generate(loaded, source(loaded), DecodingConfig(max_new_tokens=24))
    ids = loaded.model.generate(input_ids=torch.tensor([source(loaded)]), max_new_tokens=24, do_sample=False)
    fifth = int(loaded.architecture.generated(ids, len(source(loaded)))[0, 4])
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", [2, fifth])
    for beams in (1, 2):
        ended = write(loaded, num_beams=beams)
        assert ended.new_tokens < whole.new_tokens and not ended.hit_length_limit
    assert whole.text.startswith(write(loaded).text)


def test_the_trio_writes_three_texts(trio):
    assert len({write(loaded).text for loaded in trio}) == 3


def test_a_text_streams_and_grows_to_the_complete_one(trio):
    for loaded in trio:
        states = list(stream(loaded, source(loaded), DecodingConfig(max_new_tokens=24)))
        assert len(states) > 3
        assert not any(state.finished or state.stopped for state in states[:-1])
        assert states[-1].finished and states[-1].text == write(loaded).text
        for earlier, later in pairwise(states):
            assert later.text.startswith(earlier.text)
            assert later.new_tokens >= earlier.new_tokens and later.seconds >= earlier.seconds


def test_beams_give_one_text_at_the_end(base):
    states = list(stream(base, source(base), DecodingConfig(max_new_tokens=24, num_beams=3)))
    assert len(states) == 1
    assert states[0].finished and states[0].first_token_seconds is None and states[0].text


# Counts and times


def test_tokens_and_times(base):
    result = write(base)
    assert result.new_tokens == 24 and result.hit_length_limit and result.finished and not result.stopped
    assert 0 < result.first_token_seconds <= result.seconds
    assert result.tokens_per_second == pytest.approx(24 / result.seconds)
    assert result.words == len(words(result.text))


def test_an_end_token_ends_and_does_not_count(base, monkeypatch):
    ending(base, monkeypatch, after=6)
    for settings in ({}, {"num_beams": 2}):
        result = write(base, **settings)
        assert result.new_tokens == 5 and result.finished and not result.hit_length_limit


def test_an_end_token_as_the_last_allowed_one_is_an_end(base, monkeypatch):
    ending(base, monkeypatch, after=6)
    assert not write(base, max_new_tokens=6).hit_length_limit
    assert write(base, max_new_tokens=5).hit_length_limit


def test_an_empty_text_is_a_result(base, monkeypatch):
    ending(base, monkeypatch, after=1)
    result = write(base)
    assert (result.text, result.new_tokens, result.words, result.finished) == ("", 0, 0, True)
    assert Generation("", 0, 0.0).tokens_per_second == 0.0


def test_the_consumers_time_is_not_the_models(base):
    total = []
    for state in stream(base, source(base), DecodingConfig(max_new_tokens=12)):
        threading.Event().wait(0.02)
        total.append(state.seconds)
    # A consumer that dawdles gets several tokens at once, never too few.
    assert state.new_tokens == 12
    assert total == sorted(total)


# Sampling


def test_sampling_is_the_same_for_a_seed_and_differs_between_seeds(base):
    texts = [write(base, do_sample=True, temperature=2.0, seed=seed).text for seed in range(6)]
    assert texts == [write(base, do_sample=True, temperature=2.0, seed=seed).text for seed in range(6)]
    assert len(set(texts)) > 3


def test_sampling_leaves_the_global_generator_alone_and_does_not_read_it(base):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = write(base, do_sample=True, temperature=2.0, seed=3).text
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert write(base, do_sample=True, temperature=2.0, seed=3).text == one


def test_sampling_in_many_threads_at_once_is_the_same(trio):
    jobs = [(loaded, seed) for loaded in trio for seed in range(4)]
    expected = [write(loaded, do_sample=True, temperature=2.0, seed=seed).text for loaded, seed in jobs]
    found: dict[int, str] = {}

    def work(number: int) -> None:
        loaded, seed = jobs[number]
        found[number] = write(loaded, do_sample=True, temperature=2.0, seed=seed).text

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(jobs))]
    random.Random(0).shuffle(threads)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(len(jobs))] == expected


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 2.0])
def test_gumbel_noise_and_argmax_draw_from_the_softmax(temperature):
    scores = torch.tensor([[1.0, 0.0, -1.0, 2.0, float("-inf")]])
    noise = GumbelNoise(temperature, seed=0)
    draws = 20_000
    drawn = Counter(int(noise(None, scores.expand(1, -1)).argmax()) for _ in range(draws))
    expected = torch.softmax(scores[0] / temperature, dim=0)
    for token, probability in enumerate(expected.tolist()):
        # Four standard deviations of a binomial share.
        tolerance = 4 * (probability * (1 - probability) / draws) ** 0.5
        assert abs(drawn[token] / draws - probability) <= tolerance


def test_another_loads_default_dtype_changes_nothing(trio):
    """transformers sets the process's default dtype while it loads; a text being written meanwhile must not care."""
    expected = [write(loaded, num_beams=beams).text for loaded in trio for beams in (1, 3)]
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = [write(loaded, num_beams=beams).text for loaded in trio for beams in (1, 3)]
    finally:
        torch.set_default_dtype(torch.float32)
    assert found == expected


# Stops


def test_a_stop_in_the_middle_keeps_the_text(base):
    whole = write(base)
    seen = []

    def enough() -> bool:
        seen.append(1)
        return len(seen) > 8

    part = write(base, should_stop=enough)
    assert part.stopped and not part.finished and not part.hit_length_limit
    assert 0 < part.new_tokens < whole.new_tokens
    assert part.text and whole.text.startswith(part.text)


def test_a_stop_before_the_start_gives_nothing(base):
    result = write(base, should_stop=lambda: True)
    assert (result.text, result.new_tokens, result.stopped, result.finished) == ("", 0, True, False)


def test_beams_stop_too(base):
    seen = []
    result = write(base, num_beams=3, should_stop=lambda: seen.append(1) or len(seen) > 6)
    assert result.stopped and 0 < result.new_tokens < 12


def test_closing_the_iterator_ends_the_work(base):
    calls = []
    states = stream(base, source(base), DecodingConfig(max_new_tokens=512), lambda: calls.append(1) or False)
    next(states)
    assert workers()
    states.close()
    assert not workers()
    done = len(calls)
    threading.Event().wait(0.05)
    assert len(calls) == done < 512


def test_dropping_the_iterator_ends_the_work_too(base):
    states = stream(base, source(base), DecodingConfig(max_new_tokens=512))
    next(states)
    del states
    assert not workers()


def test_an_iterator_that_is_never_started_starts_nothing(base):
    states = stream(base, source(base), DecodingConfig())
    assert not workers()
    states.close()


# Failures


class Broken(torch.nn.Module):
    """A model that writes a few tokens and then breaks."""

    def __init__(self, model, steps: int):
        super().__init__()
        self.inner, self.left = model, steps
        self.config, self.generation_config = model.config, model.generation_config

    def generate(self, **kwargs):
        streamer = kwargs["streamer"]
        for step in range(self.left + 1):
            streamer.put(torch.tensor([step + 5]))
        raise RuntimeError("the weights are on fire\nand more")


def test_a_failure_names_the_model_after_what_was_written(base):
    broken = replace(base, model=Broken(base.model, 3))
    states = []
    with pytest.raises(GenerationError, match="-base failed during generation: the weights are on fire"):
        for state in stream(broken, source(base), DecodingConfig()):
            states.append(state)
    assert states[-1].new_tokens == 3
    assert not workers()
    assert write(base).finished


def test_a_failing_stop_check_is_a_failure_of_that_model(base):
    with pytest.raises(GenerationError, match="-base failed"):
        write(base, should_stop=lambda: 1 / 0)


def test_an_empty_prompt_is_refused(base):
    with pytest.raises(InputError, match="no tokens"):
        generate(base, [], DecodingConfig())


# Text


def test_half_a_character_is_never_shown():
    vocabulary = [("<unk>", 0.0)] + [(f"<0x{byte:02X}>", -1.0) for byte in range(256)] + [("a", -1.0)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, 0, byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    ids = [257, *(1 + byte for byte in "é😀".encode()), 257]
    shown = [decode_tokens(fast, ids[:count]) for count in range(len(ids) + 1)]
    assert shown[-1] == "aé😀a"
    assert set(shown) == {"", "a", "aé", "aé😀", "aé😀a"}
