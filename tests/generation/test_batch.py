"""Batches: the texts that one at a time gives, in any order and company; stopped, refused, and taking turns."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from transformers import BartConfig, BartForConditionalGeneration, NoRepeatNGramLogitsProcessor

from dsum_demo.composition import make_store
from dsum_demo.data.examples import read_samples
from dsum_demo.errors import GenerationError, InputError, Stopped
from dsum_demo.generation import batch as batch_generation
from dsum_demo.generation.batch import batches, generate_many
from dsum_demo.generation.batch_state import NOT_BEGUN
from dsum_demo.generation.streaming import Generation, forbid_repeats, generate
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.loading import load_adapted
from dsum_demo.models.prompts import DEFAULT_PROMPT


def write(loaded, sources, decode, *rest) -> list[Generation]:
    """All that comes, in the sources' order."""
    found: dict[int, Generation] = {}
    for some in generate_many(loaded, sources, decode, *rest):
        assert some and not set(some) & set(found)
        found |= some
    return [found[place] for place in range(len(sources))]


@pytest.fixture(scope="module")
def t5(tiny_store):
    return [tiny_store.load(spec) for spec in tiny_store.registry.default_family.default_trio()]


@pytest.fixture(scope="module")
def trio(any_store):
    return [any_store.load(spec) for spec in any_store.registry.default_family.default_trio()]


@pytest.fixture(scope="module")
def sources(trio, any_store, tiny_settings):
    """Prompts of different lengths, the shortest a few times shorter than the longest."""
    dialogues = [sample.dialogue for sample in read_samples(tiny_settings.samples_file)]
    cut = ["\n".join(dialogue.split("\n")[: 1 + number % 4]) for number, dialogue in enumerate(dialogues[:6])]
    prompt = any_store.registry.default_family.prompt
    return [prompt.fit(trio[0].tokenizer, dialogue, 300).source_ids for dialogue in cut]


@pytest.mark.parametrize(
    "settings", [{}, {"no_repeat_ngram_size": 3}, {"num_beams": 3}, {"num_beams": 2, "length_penalty": 2.0}]
)
def test_a_batch_writes_what_one_at_a_time_writes(trio, sources, settings):
    decode = DecodingConfig(max_new_tokens=12, **settings)
    for loaded in trio:
        assert loaded.dtype == "float32"
        alone = [generate(loaded, source, decode) for source in sources]
        together = write(loaded, sources, decode)
        assert [g.text for g in together] == [g.text for g in alone]
        assert [(g.new_tokens, g.hit_length_limit, g.finished) for g in together] == [
            (g.new_tokens, g.hit_length_limit, g.finished) for g in alone
        ]


def test_bart_generates_the_same_in_a_batch_as_alone(t5, monkeypatch):
    """BART's decoder has absolute positions: a text that joined a running batch would start at the wrong one. Ending is
    made likely, so that texts end at different steps and, with three rows, others would join.
    """
    torch.manual_seed(5)
    config = BartConfig(
        vocab_size=len(t5[0].tokenizer), d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=128, init_std=0.5,
        pad_token_id=0, bos_token_id=0, eos_token_id=1, decoder_start_token_id=0, forced_eos_token_id=None,
    )  # fmt: skip
    model = BartForConditionalGeneration(config).eval()
    with torch.no_grad():
        model.final_logits_bias[0, 1] = 9.0
    loaded = replace(t5[0], model=model)
    draw = random.Random(0)
    prompts = [[*draw.choices(range(5, 100), k=draw.randint(2, 30)), 1] for _ in range(16)]
    decode = DecodingConfig(max_new_tokens=12)
    alone = [generate(loaded, prompt, decode) for prompt in prompts]
    assert len({one.new_tokens for one in alone}) > 2 and len({one.text for one in alone}) > 8
    monkeypatch.setattr(batch_generation, "BATCH_ROWS", 3)
    assert [one.text for one in write(loaded, prompts, decode)] == [one.text for one in alone]


def test_company_and_order_change_nothing(trio, sources):
    decode = DecodingConfig(max_new_tokens=16)
    order = random.Random(0).sample(range(len(sources)), len(sources))
    there = write(trio[2], [sources[i] for i in order], decode)
    back = {i: g.text for i, g in zip(order, there, strict=True)}
    halves = [*write(trio[2], sources[:3], decode), *write(trio[2], sources[3:], decode)]
    assert [back[i] for i in range(len(sources))] == [g.text for g in halves]


@pytest.mark.parametrize("rows", [1, 2, 64])
@pytest.mark.parametrize("leaving", [0.01, 0.5, 1.0])
def test_texts_that_end_early_make_room_and_are_counted_without_padding(t5, monkeypatch, leaving, rows):
    """Tokens with an even number are made to end a text, so that texts end at different steps: of sixteen, some do."""
    loaded = t5[1]
    draw = random.Random(0)
    sources = [[*draw.choices(range(5, 100), k=draw.randint(2, 30)), 1] for _ in range(16)]
    eos = loaded.tokenizer.eos_token_id

    def end(so_far, scores, size):
        scores[:, eos] = -1e4
        ends = scores.argmax(dim=-1) % 2 == 0
        scores[ends & ((so_far != NOT_BEGUN).sum(dim=1) > 1), eos] = 1e4

    monkeypatch.setattr(batch_generation, "forbid_repeats", end)
    decode = DecodingConfig(max_new_tokens=12, no_repeat_ngram_size=2)
    alone = [write(loaded, [source], decode)[0] for source in sources]
    monkeypatch.setattr(batch_generation, "LEAVING_SHARE", leaving)
    monkeypatch.setattr(batch_generation, "BATCH_ROWS", rows)
    together = write(loaded, sources, decode)
    assert [(g.text, g.new_tokens, g.hit_length_limit) for g in together] == [
        (g.text, g.new_tokens, g.hit_length_limit) for g in alone
    ]
    assert len({g.new_tokens for g in together}) > 1


@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"no_repeat_ngram_size": 1}, {"no_repeat_ngram_size": 2}])
def test_who_joins_others_on_their_way_writes_what_it_writes_alone(trio, sources, monkeypatch, rows, settings):
    monkeypatch.setattr(batch_generation, "BATCH_ROWS", rows)
    decode = DecodingConfig(max_new_tokens=12, **settings)
    for loaded in trio:
        alone = [generate(loaded, source, decode).text for source in sources]
        assert [g.text for g in write(loaded, sources, decode)] == alone


@settings(deadline=None, derandomize=True, database=None, max_examples=80)
@given(
    st.lists(st.lists(st.integers(0, 4), min_size=9, max_size=9), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(0, 8),
)
def test_repeats_are_forbidden_as_transformers_does_it_whenever_a_text_began(rows, size, before):
    tokens = torch.tensor([[0, *row] for row in rows])
    wanted = NoRepeatNGramLogitsProcessor(size)(tokens, torch.zeros(len(rows), 5))
    found = torch.zeros(len(rows), 5)
    forbid_repeats(torch.nn.functional.pad(tokens, (before, 0), value=NOT_BEGUN), found, size)
    assert torch.equal(found, wanted)


def test_the_longest_come_first_and_no_more_than_there_are_places_for(t5, sources, monkeypatch):
    """Prompts of up to 40 tokens leave room for three of them, a longer one stands alone."""
    seen = []
    real = batch_generation.encode
    monkeypatch.setattr(batch_generation, "BATCH_TOKENS", 120)
    monkeypatch.setattr(
        batch_generation, "encode", lambda model, texts, *rest: seen.append(texts) or real(model, texts, *rest)
    )
    lengths = [30, 500, 10, 40, 20, 35]
    write(t5[0], [[5] * (length - 1) + [1] for length in lengths], DecodingConfig(max_new_tokens=4))
    assert [[len(text) for text in texts] for texts in seen] == [[500], [40, 35, 30], [20, 10]]


def test_seconds_are_shares_of_the_time_that_was_taken(trio, sources):
    started = time.perf_counter()
    written = write(trio[0], sources[:4], DecodingConfig(max_new_tokens=8))
    taken = time.perf_counter() - started
    assert all(g.seconds > 0 for g in written) and sum(g.seconds for g in written) <= taken


def test_a_stop_in_the_middle_leaves_no_half_texts(trio, sources):
    asked = iter([False] * 3 + [True] * 100)
    with pytest.raises(Stopped, match="-base was stopped"):
        write(trio[0], sources[:3], DecodingConfig(max_new_tokens=200), lambda: next(asked))


def test_a_stop_before_the_first_text_is_read_reads_none(t5, sources, monkeypatch):
    monkeypatch.setattr(batch_generation, "encode", lambda *given: pytest.fail("it was read"))
    with pytest.raises(Stopped, match="dsum-t5-base was stopped"):
        write(t5[0], sources, DecodingConfig(), lambda: True)


@pytest.mark.parametrize(
    ("sources", "decode", "sentence"),
    [
        ([[5, 6, 1], []], DecodingConfig(), "no tokens"),
        ([[5, 6, 1]], DecodingConfig(do_sample=True), "Sampling"),
    ],
)
def test_what_cannot_be_written_is_refused(trio, sources, decode, sentence):
    with pytest.raises(InputError, match=sentence):
        write(trio[0], sources, decode)


def test_a_failing_model_is_named(trio):
    with pytest.raises(GenerationError, match="-full failed during generation"):
        write(trio[1], [[5, 10**6]], DecodingConfig())


def test_several_end_tokens_end_the_texts_of_a_batch(causal_store, monkeypatch):
    loaded = causal_store.load(causal_store.registry.default_family.base)
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", list(range(0, 400, 9)))
    draw = random.Random(0)
    prompts = [draw.choices(range(5, 390), k=draw.randint(2, 30)) for _ in range(16)]
    decode = DecodingConfig(max_new_tokens=12)
    alone = [generate(loaded, prompt, decode) for prompt in prompts]
    together = write(loaded, prompts, decode)
    assert [(g.text, g.new_tokens, g.hit_length_limit) for g in together] == [
        (g.text, g.new_tokens, g.hit_length_limit) for g in alone
    ]
    assert len({g.new_tokens for g in together}) > 3


@pytest.mark.parametrize("kind", ["prompt", "p-tuning", "prefix"])
def test_a_prompt_method_of_a_causal_model_writes_in_a_batch_what_it_writes_alone(
    tmp_path, causal_store, tiny_causal, save_adapter, kind
):
    config = {"prompt": PromptTuningConfig, "p-tuning": PromptEncoderConfig, "prefix": PrefixTuningConfig}[kind]
    base = causal_store.load(causal_store.registry.default_family.base)
    save_adapter(tiny_causal(1), config(task_type="CAUSAL_LM", num_virtual_tokens=4), tmp_path, "causal-base")
    model, _ = load_adapted(tmp_path, base.model)
    loaded = replace(base, model=model, turn=threading.Lock())
    prompts = [
        base.tokenizer(text).input_ids for text in ("Tom: Hi!", "Maya: Are you free on Friday, Tom?", "Anna: ok")
    ]
    decode = DecodingConfig(max_new_tokens=8, no_repeat_ngram_size=2)
    alone = [generate(loaded, prompt, decode).text for prompt in prompts]
    assert [g.text for g in write(loaded, prompts, decode)] == alone
    assert alone != [generate(base, prompt, decode).text for prompt in prompts]


def test_an_adapter_that_generates_one_call_at_a_time_waits_for_the_lock(root, settings, tiny_model, save_adapter):
    config = PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4)
    save_adapter(tiny_model(1), config, root / "adapters" / "my-prompt")
    store = make_store(settings)
    loaded = store.load(store.registry.spec("my-prompt"))
    assert loaded.turn is not None
    ids = [
        DEFAULT_PROMPT.encode(loaded.tokenizer, text)
        for text in ("Tom: Hi, Maya!", "Maya: Are you free on Friday, Tom?")
    ]
    decode = DecodingConfig(max_new_tokens=8)
    alone = [generate(loaded, source, decode).text for source in ids]
    assert [g.text for g in write(loaded, ids, decode)] == alone
    with loaded.turn, pytest.raises(Stopped, match="waiting for my-prompt"):
        write(loaded, ids, decode, lambda: True)
    assert loaded.turn.acquire(blocking=False)
    timer = threading.Timer(0.2, loaded.turn.release)
    timer.start()
    assert len(write(loaded, ids, decode)) == 2
    # A failure gives the turn back too.
    with pytest.raises(GenerationError):
        write(loaded, [[5, 10**6]], decode)
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
        decode = DecodingConfig(max_new_tokens=12)
        assert write(spoilt, sources[:2], decode)[0].text == generate(trio[0], sources[0], decode).text
    finally:
        own.num_beams = before
