"""A model of FLAN-T5's shape (gated, untied head) is unchanged after full fine-tuning, saving and loading.

transformers treats every T5 config as tied and scales the head's input if the config is tied: a lost head or a doubly
scaled output would still give fluent text.
"""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from accelerate.utils import extract_model_from_parallel
from safetensors import safe_open
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

from dsum_demo.composition import make_store
from dsum_demo.generation.streaming import generate
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.loading import load_tokenizer, load_whole
from dsum_demo.models.prompts import DEFAULT_PROMPT
from dsum_demo.models.store import LoadedModel
from dsum_demo.training.config import TrainingConfig
from dsum_demo.training.loop import train

PAIRS = [
    ("Maya: Can you lend me ten dollars?\nTom: Sure, pay me back next week.", "Maya asks Tom for money and he agrees."),
    ("Tom: Are you free on Friday?\nAnna: Yes, after six.", "Anna is free on Friday after six."),
    ("Anna: I have a fever.\nMaya: Drink water and rest.", "The doctor tells Anna to rest."),
]
DECODES = {"greedy": DecodingConfig(max_new_tokens=12), "beams": DecodingConfig(max_new_tokens=12, num_beams=3)}


@pytest.fixture(scope="module")
def flan_shaped(tiny_model):
    """A model like a published checkpoint: an untied head, and tie_word_embeddings false in the config."""
    model = tiny_model(5, tie_word_embeddings=False)
    torch.manual_seed(6)
    model.lm_head.weight = torch.nn.Parameter(torch.randn(model.lm_head.weight.shape) * 0.2)
    return model


@pytest.fixture(scope="module")
def tuned(flan_shaped, tiny_tokenizer, tmp_path_factory):
    """(the model as training left it in memory, the folder it was saved to), after two steps."""
    run = tmp_path_factory.mktemp("runs") / "flan-full"
    before = flan_shaped.lm_head.weight.detach().clone()
    config = TrainingConfig(method="full", learning_rate=1e-2, max_steps=2, batch_size=2, evaluations=1)
    decode = DecodingConfig(max_new_tokens=8)
    result = train(
        flan_shaped, tiny_tokenizer, PAIRS, PAIRS[:1], config, run, base_name="google/flan-t5-base", decode=decode
    )
    assert not torch.equal(flan_shaped.lm_head.weight, before), "the head is trained too"
    (run / "result.json").write_text(json.dumps({"family": "dsum-t5", "method": "full"}))
    # The Trainer leaves its mixed precision around the model it trained.
    return extract_model_from_parallel(flan_shaped, keep_fp32_wrapper=False).eval(), result.folder


def logits(model) -> torch.Tensor:
    with torch.inference_mode():
        ids = torch.tensor([[7, 8, 9, 10, 1]])
        return model(input_ids=ids, decoder_input_ids=torch.tensor([[0, 5, 6]])).logits.float()


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """But for rounding: what is loaded to write computes its activation in one step, where transformers takes eight."""
    return torch.allclose(one, other, rtol=1e-5, atol=1e-4)


def write(spec, model, tokenizer, decode: DecodingConfig) -> str:
    loaded = LoadedModel(spec, model, tokenizer, 0, 0, "float32")
    return generate(loaded, DEFAULT_PROMPT.encode(tokenizer, PAIRS[0][0]), decode).text


def test_the_head_is_saved_and_comes_back_as_its_own(tuned):
    model, folder = tuned
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert {"lm_head.weight", "shared.weight"} <= set(file.keys())
    again = load_whole(folder, load_tokenizer(folder))
    assert again.lm_head.weight is not again.shared.weight
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    assert torch.equal(again.shared.weight, model.shared.weight)


@pytest.mark.parametrize("loaded_by", ["dsum", "transformers"])
def test_saved_and_loaded_again_the_logits_are_the_same(tuned, loaded_by):
    model, folder = tuned
    again = (
        load_whole(folder, load_tokenizer(folder))
        if loaded_by == "dsum"
        else AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    )
    assert same(logits(again), logits(model))
    # Once more: what is saved from a loaded model is the same model.
    again.save_pretrained(folder.parent / "again")
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(folder.parent / "again").eval()), logits(model))


@pytest.mark.parametrize("decode", DECODES.values(), ids=DECODES)
def test_greedy_and_beams_write_the_same_texts(tuned, tiny_tokenizer, tiny_store, decode):
    model, folder = tuned
    spec, tokenizer = tiny_store.registry.spec("dsum-t5-full"), load_tokenizer(folder)
    text = write(spec, load_whole(folder, tokenizer), tokenizer, decode)
    assert text and text == write(spec, model, tiny_tokenizer, decode)


def test_the_tokenizer_and_the_generation_config_travel_along(tuned, tiny_tokenizer):
    _, folder = tuned
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for dialogue, summary in PAIRS:
        assert DEFAULT_PROMPT.encode(tokenizer, dialogue) == DEFAULT_PROMPT.encode(tiny_tokenizer, dialogue)
        assert tokenizer.decode(tokenizer(summary)["input_ids"], skip_special_tokens=True) == tiny_tokenizer.decode(
            tiny_tokenizer(summary)["input_ids"], skip_special_tokens=True
        )
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)
    saved = GenerationConfig.from_pretrained(folder)
    assert (saved.pad_token_id, saved.eos_token_id, saved.decoder_start_token_id) == (0, 1, 0)
    # Validation during training has its own length limits, which must not change the model's.
    assert saved.max_length in (None, 20) and saved.max_new_tokens is None and saved.num_beams in (None, 1)


def test_a_run_is_served_as_it_was_trained(tuned, settings):
    model, folder = tuned
    shutil.copytree(folder.parent, settings.runs_dir / "flan-full")
    store = make_store(settings)
    loaded = store.load(store.registry.spec("flan-full"))
    assert same(logits(loaded.model), logits(model))


def test_served_as_a_large_model_it_is_the_same_one_rounded(tuned, monkeypatch):
    model, folder = tuned
    monkeypatch.setattr("dsum_demo.models.loading.serving_dtype", lambda parameters: torch.bfloat16)
    again = load_whole(folder, load_tokenizer(folder))
    rounded = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    assert again.config.scale_decoder_outputs == model.config.scale_decoder_outputs is False
    # Its activations are rounded elsewhere; another head or scale would be as far off as the logits are large.
    assert (logits(again) - logits(rounded)).norm() < 0.2 * logits(rounded).norm()
