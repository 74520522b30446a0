"""What depends on whether a model has an encoder: labels, token ids, layers, and the class that loads it."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import GenerationConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from dsum_demo.errors import ModelUnavailableError
from dsum_demo.models.architectures import DECODER_ONLY, ENCODER_DECODER, architecture_of
from dsum_demo.models.loading import load_tokenizer, load_whole
from dsum_demo.models.prompts import DEFAULT_PROMPT, Prompt


@pytest.mark.parametrize(
    ("model_type", "expected"),
    [("t5", ENCODER_DECODER), ("mt5", ENCODER_DECODER), ("bart", ENCODER_DECODER), ("llama", DECODER_ONLY),
     ("qwen2", DECODER_ONLY), ("qwen3", DECODER_ONLY), ("gemma3_text", DECODER_ONLY)],
)  # fmt: skip
def test_model_type_chooses_the_architecture(model_type, expected):
    assert architecture_of(model_type) is expected


def test_an_unknown_model_type_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ModelUnavailableError, match=r"model_type is 'mamba'; dsum loads .*llama.*t5"):
        architecture_of("mamba")


def test_labels_of_a_decoder_only_model_mask_the_prompt_by_length():
    end = 2  # is the padding as well, and occurs in the prompt of a chat
    row = DECODER_ONLY.row([1, 7, end, 1], [8, 9, end])
    assert row == {"input_ids": [1, 7, end, 1, 8, 9, end], "labels": [-100, -100, -100, -100, 8, 9, end]}


def test_labels_of_an_encoder_decoder_are_the_target():
    assert ENCODER_DECODER.row([5, 6, 1], [7, 1]) == {"input_ids": [5, 6, 1], "labels": [7, 1]}


def test_the_new_tokens_follow_the_prompt_or_the_start_token():
    output = torch.tensor([[3, 4, 5, 6]])
    assert DECODER_ONLY.generated(output, 2).tolist() == [[5, 6]]
    assert ENCODER_DECODER.generated(output, 2).tolist() == [[4, 5, 6]]


def test_all_end_tokens_of_a_checkpoint_are_kept(tiny_causal, chat_tokenizer):
    model = tiny_causal(1)
    model.generation_config = GenerationConfig(eos_token_id=[2, 0])
    ids = DECODER_ONLY.token_ids(model, chat_tokenizer, DEFAULT_PROMPT)
    assert ids == {"pad_token_id": 2, "eos_token_id": [2, 0]}


def test_the_token_that_closes_a_turn_ends_a_summary(tiny_causal, chat_tokenizer):
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.eos_token = "<|endoftext|>"
    chat = Prompt("{dialogue}", chat=True)
    for prompt, ends in ((DEFAULT_PROMPT, 0), (chat, [2, 0])):
        model = tiny_causal(1)
        model.generation_config = GenerationConfig(eos_token_id=0)
        assert DECODER_ONLY.token_ids(model, tokenizer, prompt)["eos_token_id"] == ends


def test_token_ids_of_an_encoder_decoder_include_the_start_token(tiny_model, tiny_tokenizer):
    expected = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    assert ENCODER_DECODER.token_ids(tiny_model(1), tiny_tokenizer, DEFAULT_PROMPT) == expected


def test_layers_and_width_come_from_the_config(tiny_causal):
    config = T5Config(num_layers=2, num_decoder_layers=3, d_model=48)
    assert (ENCODER_DECODER.layers(config), ENCODER_DECODER.decoder_layers(config)) == (8, 3)
    assert ENCODER_DECODER.width(config) == 48
    config = tiny_causal(1).config
    assert (DECODER_ONLY.layers(config), DECODER_ONLY.decoder_layers(config), DECODER_ONLY.width(config)) == (2, 2, 32)


def test_a_folder_loads_as_the_class_of_its_model_type(
    tmp_path, tiny_causal, tiny_model, chat_tokenizer, tiny_tokenizer
):
    tiny_causal(1).save_pretrained(tmp_path / "llama")
    tiny_model(1).save_pretrained(tmp_path / "t5")
    assert type(load_whole(tmp_path / "llama", chat_tokenizer)) is LlamaForCausalLM
    assert type(load_whole(tmp_path / "t5", tiny_tokenizer)) is T5ForConditionalGeneration


def test_a_tied_head_stays_tied(tmp_path, tiny_causal, chat_tokenizer):
    tiny_causal(1).save_pretrained(tmp_path)
    for dtype in (torch.float32, torch.bfloat16):
        model = load_whole(tmp_path, chat_tokenizer, dtype)
        assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_tokenizer_without_padding_pads_with_its_end_token(tmp_path, chat_tokenizer):
    chat_tokenizer.save_pretrained(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"pad_token": "<|im_end|>"', '"pad_token": null'))
    assert load_tokenizer(tmp_path).pad_token_id == 2
