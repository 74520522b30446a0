"""Batches: the texts that one at a time gives, in any order and company; stopped, refused, and taking turns."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PromptTuningConfig
from transformers import LogitsProcessor

from dsum_demo import batch_generation
from dsum_demo.batch_generation import batches, generate_batch
from dsum_demo.data import read_samples
from dsum_demo.errors import GenerationError, InputError, Stopped
from dsum_demo.generation import generate
from dsum_demo.loading import ModelStore
from dsum_demo.prompts import DecodeConfig, encode_source, fit_dialogue
from dsum_demo.registry import Registry


@pytest.fixture(scope="module")
def trio(tiny_store):
    return [tiny_store.load(spec) for spec in tiny_store.registry.default_family.default_trio()]


@pytest.fixture(scope="module")
def sources(trio, tiny_settings):
    """Prompts of different lengths, the shortest a few times shorter than the longest."""
    dialogues = [sample.dialogue for sample in read_samples(tiny_settings.samples_file)]
    cut = ["\n".join(dialogue.split("\n")[: 1 + number % 4]) for number, dialogue in enumerate(dialogues[:6])]
    return [fit_dialogue(trio[0].tokenizer, dialogue, 300).source_ids for dialogue in cut]


@pytest.mark.parametrize(
    "settings", [{}, {"no_repeat_ngram_size": 3}, {"num_beams": 3}, {"num_beams": 2, "length_penalty": 2.0}]
)
def test_a_batch_writes_what_one_at_a_time_writes(trio, sources, settings):
    decode = DecodeConfig(max_new_tokens=12, **settings)
    for loaded in trio:
        assert loaded.dtype == "float32"
        alone = [generate(loaded, source, decode) for source in sources]
        together = generate_batch(loaded, sources, decode)
        assert [g.text for g in together] == [g.text for g in alone]
        assert [(g.new_tokens, g.hit_length_limit, g.finished) for g in together] == [
            (g.new_tokens, g.hit_length_limit, g.finished) for g in alone
        ]


def test_company_and_order_change_nothing(trio, sources):
    decode = DecodeConfig(max_new_tokens=16)
    order = random.Random(0).sample(range(len(sources)), len(sources))
    there = generate_batch(trio[2], [sources[i] for i in order], decode)
    back = {i: g.text for i, g in zip(order, there, strict=True)}
    halves = [*generate_batch(trio[2], sources[:3], decode), *generate_batch(trio[2], sources[3:], decode)]
    assert [back[i] for i in range(len(sources))] == [g.text for g in halves]


@pytest.mark.parametrize("leaving", [0.0, 0.5, 1.0])
def test_texts_that_end_early_leave_and_are_counted_without_padding(trio, sources, monkeypatch, leaving):
    """Tokens with an even number are made to end a text, so that texts end at different steps."""
    loaded = trio[1]
    eos = loaded.tokenizer.eos_token_id

    class End(LogitsProcessor):
        def __init__(self, ngram):
            pass

        def __call__(self, so_far, scores):
            scores[:, eos] = -1e4
            ends = scores.argmax(dim=-1) % 2 == 0
            scores[ends & (so_far.shape[1] > 2), eos] = 1e4
            return scores

    monkeypatch.setattr(batch_generation, "NoRepeatNGramLogitsProcessor", End)
    decode = DecodeConfig(max_new_tokens=12, no_repeat_ngram_size=2)
    alone = [generate_batch(loaded, [source], decode)[0] for source in sources]
    monkeypatch.setattr(batch_generation, "LEAVING_SHARE", leaving)
    together = generate_batch(loaded, sources, decode)
    assert [(g.text, g.new_tokens, g.hit_length_limit) for g in together] == [
        (g.text, g.new_tokens, g.hit_length_limit) for g in alone
    ]
    assert len({g.new_tokens for g in together}) > 1


def test_seconds_are_shares_of_the_batch(trio, sources):
    written = generate_batch(trio[0], sources[:4], DecodeConfig(max_new_tokens=8))
    assert len({g.seconds for g in written}) == 1 and written[0].seconds > 0


def test_a_stop_in_the_middle_leaves_no_half_texts(trio, sources):
    asked = iter([False] * 3 + [True] * 100)
    with pytest.raises(Stopped, match="dsum-t5-base was stopped"):
        generate_batch(trio[0], sources[:3], DecodeConfig(max_new_tokens=200), lambda: next(asked))


@pytest.mark.parametrize(
    ("sources", "decode", "sentence"),
    [
        ([[5, 6, 1], []], DecodeConfig(), "no tokens"),
        ([[5, 6, 1]], DecodeConfig(do_sample=True), "Sampling"),
    ],
)
def test_what_cannot_be_written_is_refused(trio, sources, decode, sentence):
    with pytest.raises(InputError, match=sentence):
        generate_batch(trio[0], sources, decode)


def test_a_failing_model_is_named(trio):
    with pytest.raises(GenerationError, match="dsum-t5-full failed while it wrote"):
        generate_batch(trio[1], [[5, 10**6]], DecodeConfig())


def test_an_adapter_that_writes_one_at_a_time_waits_for_its_turn(root, settings, tiny_model, save_adapter):
    config = PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4)
    save_adapter(tiny_model(1), config, root / "adapters" / "my-prompt")
    store = ModelStore(Registry(settings), settings)
    loaded = store.load(store.registry.spec("my-prompt"))
    assert loaded.turn is not None
    ids = [encode_source(loaded.tokenizer, text) for text in ("Tom: Hi, Maya!", "Maya: Are you free on Friday, Tom?")]
    decode = DecodeConfig(max_new_tokens=8)
    alone = [generate(loaded, source, decode).text for source in ids]
    assert [g.text for g in generate_batch(loaded, ids, decode)] == alone
    with loaded.turn, pytest.raises(Stopped, match="waiting for my-prompt"):
        generate_batch(loaded, ids, decode, lambda: True)
    assert loaded.turn.acquire(blocking=False)
    timer = threading.Timer(0.2, loaded.turn.release)
    timer.start()
    assert len(generate_batch(loaded, ids, decode)) == 2
    # A failure gives the turn back too.
    with pytest.raises(GenerationError):
        generate_batch(loaded, [[5, 10**6]], decode)
    assert loaded.turn.acquire(blocking=False)
    loaded.turn.release()


@settings(deadline=None, derandomize=True, database=None, max_examples=80)
@given(st.lists(st.integers(1, 500), max_size=60), st.integers(1, 8), st.integers(1, 900))
def test_batches_hold_everything_once_within_their_bounds(lengths, rows, tokens):
    found = batches(lengths, rows, tokens)
    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))
    flat = [lengths[place] for batch in found for place in batch]
    assert flat == sorted(flat)
    for batch in found:
        assert len(batch) <= rows and (len(batch) == 1 or len(batch) * max(lengths[p] for p in batch) <= tokens)


def test_other_settings_of_the_model_do_not_leak_in(trio, sources):
    spoilt = replace(trio[0])
    own = spoilt.model.generation_config
    before, own.num_beams = own.num_beams, 4
    try:
        decode = DecodeConfig(max_new_tokens=12)
        assert generate_batch(spoilt, sources[:2], decode)[0].text == generate(trio[0], sources[0], decode).text
    finally:
        own.num_beams = before
