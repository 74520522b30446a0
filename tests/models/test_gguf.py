"""GGUF files as a model's weights: the values that transformers reads, counted and checked without loading them."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from dsum_demo.errors import ModelUnavailableError
from dsum_demo.models.loading import count, expected_parameters, load_tokenizer, load_whole
from dsum_demo.utils.checkpoint_files import find_weights, read_entries, shapes_of


@pytest.fixture
def qwen(chat_tokenizer):
    torch.manual_seed(3)
    config = Qwen2Config(
        vocab_size=len(chat_tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False, max_position_embeddings=512,
        initializer_range=0.3,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return model


def same(one, other):
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("type", ["Q4_1", "Q5_0", "Q8_0", "F16", "F32"])
def test_weights_are_those_that_transformers_reads(tmp_path, tiny_causal, chat_tokenizer, save_gguf, type):
    save_gguf(tiny_causal(1), chat_tokenizer, tmp_path / "model.gguf", type)
    expected = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    model = load_whole(tmp_path, load_tokenizer(tmp_path), torch.float32)
    assert same(model, expected)
    assert same(model, tiny_causal(1)) == (type == "F32")
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_qwen_with_biases_and_an_untied_head_loads(tmp_path, qwen, chat_tokenizer, save_gguf):
    save_gguf(qwen, chat_tokenizer, tmp_path / "model.gguf", "F32")
    model = load_whole(tmp_path, load_tokenizer(tmp_path), torch.float32)
    assert same(model, qwen) and model.lm_head.weight is not model.model.embed_tokens.weight


def test_the_model_is_a_plain_one_that_saves_as_safetensors(tmp_path, tiny_causal, chat_tokenizer, save_gguf):
    save_gguf(tiny_causal(1), chat_tokenizer, tmp_path / "model.gguf")
    model = load_whole(tmp_path, load_tokenizer(tmp_path), torch.float32)
    assert not hasattr(model.config, "quantization_config")
    model.save_pretrained(tmp_path / "saved")
    assert same(AutoModelForCausalLM.from_pretrained(tmp_path / "saved"), model)


def test_config_and_tokenizer_files_beside_a_gguf_file_take_precedence(
    tmp_path, tiny_causal, chat_tokenizer, save_gguf
):
    model = tiny_causal(1)
    save_gguf(model, chat_tokenizer, tmp_path / "model.gguf")
    alone = load_whole(tmp_path, load_tokenizer(tmp_path), torch.float32)
    chat_tokenizer.save_pretrained(tmp_path)
    model.config.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer("Tom: Hi, ten dollars?").input_ids == chat_tokenizer("Tom: Hi, ten dollars?").input_ids
    assert tokenizer.chat_template == chat_tokenizer.chat_template
    beside = load_whole(tmp_path, tokenizer, torch.float32)
    assert same(alone, beside) and beside.config.max_position_embeddings == 2048


def test_a_tokenizer_inside_the_file_gives_the_same_tokens(tmp_path, tiny_causal, chat_tokenizer, save_gguf):
    save_gguf(tiny_causal(1), chat_tokenizer, tmp_path / "model.gguf")
    text = chat_tokenizer.apply_chat_template([{"role": "user", "content": "Anna rests."}], tokenize=False)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer(text).input_ids == chat_tokenizer(text).input_ids
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 2)


def test_parameters_and_shapes_come_from_the_header(tmp_path, tiny_causal, chat_tokenizer, save_gguf):
    save_gguf(tiny_causal(1), chat_tokenizer, tmp_path / "model.gguf")
    assert expected_parameters(tmp_path) == count(tiny_causal(1))
    shapes = shapes_of(read_entries(find_weights(tmp_path, adapter=False)))
    assert shapes == {name: tuple(tensor.shape) for name, tensor in tiny_causal(1).named_parameters()}


def test_two_gguf_files_in_a_folder_are_an_error(tmp_path, tiny_causal, chat_tokenizer, save_gguf):
    for name in ("a", "b"):
        save_gguf(tiny_causal(1), chat_tokenizer, tmp_path / f"{name}.gguf")
    with pytest.raises(ModelUnavailableError, match=r"2 GGUF files \(a\.gguf, b\.gguf\); keep one"):
        find_weights(tmp_path, adapter=False)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-40], "is truncated"),
        (lambda content: content[:200], "is truncated|not a GGUF file"),
        (lambda content: b"", "does not begin with GGUF"),
        (lambda content: content.replace(b"llama", b"bloom"), "architecture is 'bloom'; dsum reads llama"),
        (lambda content: content.replace(b"ffn_gate", b"ffn_date"), "its tensor blk.0.ffn_date.weight is unknown"),
    ],
)
def test_a_damaged_or_unknown_file_is_an_error(tmp_path, tiny_causal, chat_tokenizer, save_gguf, damage, message):
    file = save_gguf(tiny_causal(1), chat_tokenizer, tmp_path / "model.gguf")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ModelUnavailableError, match=message):
        expected_parameters(tmp_path)
