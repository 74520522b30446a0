"""The fast paths give transformers' results, per token, per text and with adapters; other calls do not use them."""

from __future__ import annotations

import pytest
import torch
from peft import IA3Config, LNTuningConfig, LoraConfig, PrefixTuningConfig, get_peft_model
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig, StaticCache, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.t5.modeling_t5 import T5Stack

from dsum_demo.models import t5_fast_path as t5_short_ways
from dsum_demo.models.loading import load_tokenizer, load_whole, twin
from dsum_demo.models.t5_fast_path import StepDecoder, read_texts, step_by_step

SEQ2SEQ = {"task_type": "SEQ_2_SEQ_LM"}
ADAPTERS = {
    "none": None,
    "lora": LoraConfig(**SEQ2SEQ, r=4, target_modules=["q", "v", "wo"], init_lora_weights=False),
    "ia3": IA3Config(**SEQ2SEQ, target_modules=["k", "v", "wo"], feedforward_modules=["wo"], init_ia3_weights=False),
    "layer-norm": LNTuningConfig(**SEQ2SEQ, target_modules=["layer_norm"]),
    "prefix": PrefixTuningConfig(**SEQ2SEQ, num_virtual_tokens=3),
}
TEXTS = [[5, 6, 7, 8, 9, 10, 1], [11, 12, 1], [13, 14, 15, 16, 1]]


@pytest.fixture
def pair(tiny_model):
    """A model in transformers' own way, and one that takes the short one over the same weights."""
    plain = tiny_model(3).eval()
    short = twin(plain)
    step_by_step(short)
    assert type(plain.get_decoder()) is T5Stack and type(short.get_decoder()) is StepDecoder
    return plain, short


@pytest.fixture
def short_steps(monkeypatch):
    """The number of tokens that the fast path generated."""
    taken = []
    asked = t5_short_ways._adds_a_token
    monkeypatch.setattr(t5_short_ways, "_adds_a_token", lambda **inputs: asked(**inputs) and not taken.append(1))
    return taken


def padded(texts: list[list[int]]) -> dict[str, torch.Tensor]:
    ids = pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def step(model, states, mask, cache, tokens: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states), attention_mask=mask,
            decoder_input_ids=torch.tensor(tokens)[:, None], past_key_values=cache, use_cache=True,
        ).logits  # fmt: skip


def test_every_token_has_the_logits_of_transformers(pair, short_steps):
    inputs = padded(TEXTS)
    with torch.inference_mode():
        states = pair[0].get_encoder()(**inputs).last_hidden_state
    caches = [EncoderDecoderCache(DynamicCache(), DynamicCache()) for _ in pair]
    for tokens in ([0, 0, 0], [5, 9, 20], [21, 5, 6], [7, 7, 7]):
        one, other = (
            step(model, states, inputs["attention_mask"], cache, tokens)
            for model, cache in zip(pair, caches, strict=True)
        )
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)
    assert len(short_steps) == 3, "the first token fills the caches in transformers' way"


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("beams", [1, 3])
def test_whole_texts_are_the_same_with_adapters_and_beams(pair, short_steps, adapter, beams):
    config = GenerationConfig(
        max_new_tokens=12, num_beams=beams, eos_token_id=1, pad_token_id=0, decoder_start_token_id=0
    )
    written = []
    for model in pair:
        torch.manual_seed(0)
        adapted = get_peft_model(model, ADAPTERS[adapter]) if ADAPTERS[adapter] else model
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if adapter != "none" and parameter.requires_grad and "layer_norm" in name:
                    parameter += 0.3 * torch.randn_like(parameter)
        with torch.inference_mode():
            written.append(adapted.eval().generate(**padded(TEXTS), generation_config=config).tolist())
    assert written[0] == written[1]
    assert short_steps


def test_training_and_whole_texts_are_left_to_transformers(pair, short_steps):
    plain, short = pair
    inputs = padded(TEXTS)
    labels = torch.tensor([[5, 6, 1]] * 3)
    with torch.no_grad():
        assert torch.equal(plain(**inputs, labels=labels).logits, short(**inputs, labels=labels).logits)
        short.train()(**inputs, labels=labels[:, :1])
    assert not short_steps


def test_who_asks_for_hidden_states_gets_them(pair, short_steps):
    config = GenerationConfig(
        max_new_tokens=3, eos_token_id=1, pad_token_id=0, decoder_start_token_id=0,
        output_hidden_states=True, return_dict_in_generate=True,
    )  # fmt: skip
    one, other = (model.generate(**padded(TEXTS), generation_config=config).decoder_hidden_states for model in pair)
    assert len(one) == len(other) == 3
    for wanted, layers in zip(one, other, strict=True):
        assert all(map(torch.equal, wanted, layers))
    assert not short_steps


@pytest.mark.parametrize(
    "changes",
    [
        {"past_key_values": "static"},
        {"decoder_attention_mask": torch.ones(3, 2, dtype=torch.long)},
        {"attention_mask": torch.ones(3, 1, 1, 7, dtype=torch.bool)},
        {"output_hidden_states": True},
    ],
    ids=["static cache", "short mask", "mask of four dimensions", "hidden states"],
)
def test_what_is_not_plain_is_left_to_transformers(pair, short_steps, changes):
    inputs = padded(TEXTS)
    with torch.inference_mode():
        states = pair[0].get_encoder()(**inputs).last_hidden_state
    results = []
    for model in pair:
        static = changes.get("past_key_values") == "static"
        own = StaticCache(config=model.config, max_cache_len=6) if static else DynamicCache()
        cache = EncoderDecoderCache(own, DynamicCache())
        for tokens in ([0, 0, 0], [5, 9, 20]):
            step(model, states, inputs["attention_mask"], cache, tokens)
        short_steps.clear()
        arguments = {
            "attention_mask": inputs["attention_mask"], **changes, "past_key_values": cache,
            "encoder_outputs": BaseModelOutput(last_hidden_state=states),
            "decoder_input_ids": torch.tensor([[7], [8], [9]]),
        }  # fmt: skip
        with torch.inference_mode():
            results.append(model(**arguments).logits)
        assert not short_steps
    assert torch.equal(*results)


def test_a_token_that_some_texts_do_not_see_is_hidden_as_transformers_hides_it(pair, short_steps):
    inputs = padded(TEXTS)
    seen = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 1, 1]])
    with torch.inference_mode():
        states = pair[0].get_encoder()(**inputs).last_hidden_state
    results = []
    for hidden in (True, False):
        for model in pair:
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
            for tokens in ([0, 0, 0], [5, 9, 20]):
                step(model, states, inputs["attention_mask"], cache, tokens)
            short_steps.clear()
            with torch.inference_mode():
                results.append(
                    model(
                        encoder_outputs=BaseModelOutput(last_hidden_state=states), past_key_values=cache,
                        attention_mask=inputs["attention_mask"], decoder_input_ids=torch.tensor([[7], [8], [9]]),
                        decoder_attention_mask=seen if hidden else None,
                    ).logits
                )  # fmt: skip
            assert bool(short_steps) == (model is pair[1])
    plain, short, all_seen, _ = results
    torch.testing.assert_close(short, plain, rtol=1e-5, atol=1e-5)
    moved = (plain - all_seen).abs().amax(dim=(1, 2))
    assert moved[2] == 0 < moved[:2].min()


def test_a_source_of_which_nothing_is_seen_gives_what_transformers_gives(pair):
    config = GenerationConfig(max_new_tokens=6, eos_token_id=1, pad_token_id=0, decoder_start_token_id=0)
    hidden = {"input_ids": torch.tensor([[5, 6, 7, 1]]), "attention_mask": torch.zeros(1, 4, dtype=torch.long)}
    one, other = (model.generate(**hidden, generation_config=config).tolist() for model in pair)
    assert one == other


@pytest.mark.parametrize("together", [1, 8, 1_024])
def test_texts_are_read_as_alone(pair, monkeypatch, together):
    monkeypatch.setattr(t5_short_ways, "READ_TOGETHER", together)
    encoder = pair[0].get_encoder()
    with torch.inference_mode():
        alone = [encoder(input_ids=torch.tensor([text])).last_hidden_state[0] for text in TEXTS]
        read = read_texts(encoder, TEXTS)
    assert [states.shape for states in read] == [states.shape for states in alone]
    for states, wanted in zip(read, alone, strict=True):
        torch.testing.assert_close(states, wanted, rtol=1e-4, atol=1e-4)


def test_models_are_loaded_with_it_and_saved_without_a_trace(tiny_settings, tmp_path):
    folder = tiny_settings.root / "models" / "dsum-t5-base"
    model = load_whole(folder, load_tokenizer(folder))
    assert type(model.get_decoder()) is StepDecoder
    model.save_pretrained(tmp_path)
    again = T5ForConditionalGeneration.from_pretrained(tmp_path)
    assert type(again.get_decoder()) is T5Stack
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
