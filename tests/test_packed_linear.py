"""Packed layers compute what plain ones do, alone and under adapters. Real tiny models, served as large ones are."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import IA3Config, LNTuningConfig, LoHaConfig, LoraConfig, PrefixTuningConfig
from transformers import AutoModelForSeq2SeqLM

from dsum_demo.assembly import count, load_adapted, load_tokenizer, load_whole, native_bf16, twin
from dsum_demo.loading import ModelStore
from dsum_demo.packed_linear import PackedLinear, can_pack, pack, unpack
from dsum_demo.registry import Registry

IDS = torch.tensor([[5, 6, 7, 8, 1]])
SEQ2SEQ = {"task_type": "SEQ_2_SEQ_LM"}
ADAPTERS = {
    "lora": LoraConfig(**SEQ2SEQ, r=4, target_modules=["q", "v", "wo"]),
    "ia3": IA3Config(**SEQ2SEQ, target_modules=["k", "v", "wo"], feedforward_modules=["wo"]),
    "prefix": PrefixTuningConfig(**SEQ2SEQ, num_virtual_tokens=3),
    # These read the base's weights, or copy a layer.
    "dora": LoraConfig(**SEQ2SEQ, r=2, target_modules=["q", "wo"], use_dora=True),
    "loha": LoHaConfig(**SEQ2SEQ, r=2, target_modules=["q", "v"]),
    "layer-norm": LNTuningConfig(**SEQ2SEQ, target_modules=["layer_norm"]),
    "with-a-head": LoraConfig(**SEQ2SEQ, r=2, target_modules=["q"], modules_to_save=["lm_head"]),
}


def logits(model) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS, decoder_input_ids=torch.tensor([[0, 5, 6]])).logits


def packed_layers(model) -> int:
    return sum(isinstance(module, PackedLinear) for module in model.modules())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model, tiny_tokenizer):
    """A model with a head of its own, as FLAN-T5 has it."""
    folder = tmp_path_factory.mktemp("untied")
    model = tiny_model(1, tie_word_embeddings=False)
    model.lm_head.weight = torch.nn.Parameter(torch.randn(model.lm_head.weight.shape))
    model.save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def served_as_large(monkeypatch):
    """Precision and layout of a large model, for small ones."""
    if not native_bf16() or torch.cuda.is_available():
        pytest.skip("layers are packed where the CPU that models run on has bfloat16")
    for module in ("assembly", "loading"):
        monkeypatch.setattr(f"dsum_demo.{module}.serving_dtype", lambda parameters: torch.bfloat16)


@pytest.fixture
def plain(folder):
    return AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.bfloat16).eval()


@pytest.fixture
def packed(folder, served_as_large):
    return load_whole(folder, load_tokenizer(folder))


def test_a_large_model_is_packed_and_says_what_a_plain_one_says(plain, packed):
    assert packed_layers(packed) == sum(isinstance(module, torch.nn.Linear) for module in plain.modules())
    assert torch.allclose(logits(packed), logits(plain), rtol=0.02, atol=0.05)
    assert count(packed) == count(plain)
    assert {name: tensor.shape for name, tensor in packed.state_dict().items()} == {
        name: tensor.shape for name, tensor in plain.state_dict().items()
    }


def test_a_small_model_keeps_its_precision_and_its_layers(folder):
    model = load_whole(folder, load_tokenizer(folder))
    assert not can_pack(model) and packed_layers(model) == 0


def test_a_head_that_is_the_embedding_stays_plain(tiny_model):
    model = tiny_model(1).to(torch.bfloat16)
    pack(model)
    assert type(model.lm_head) is torch.nn.Linear and packed_layers(model) > 0
    assert model.lm_head.weight is model.shared.weight


def test_unpacking_gives_the_same_values_back_and_leaves_the_twin_packed(plain, packed):
    second = twin(packed)
    unpack(second)
    assert packed_layers(second) == 0 and packed_layers(packed) > 0
    for (name, tensor), expected in zip(second.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(tensor, expected), name


@pytest.mark.parametrize("kind", ADAPTERS)
def test_adapters_over_a_packed_base_say_what_they_say_over_a_plain_one(
    kind, folder, plain, packed, save_adapter, tmp_path
):
    training_base = AutoModelForSeq2SeqLM.from_pretrained(folder)
    save_adapter(training_base, copy.deepcopy(ADAPTERS[kind]), tmp_path / kind, base_name=str(folder))
    before = logits(packed)
    adapted, _ = load_adapted(tmp_path / kind, packed)
    expected, _ = load_adapted(tmp_path / kind, plain)
    said = logits(adapted)
    assert torch.allclose(said, logits(expected), rtol=0.02, atol=0.1)
    assert not torch.allclose(said, before, rtol=0.02, atol=0.1)
    assert torch.equal(logits(packed), before)


def test_an_adapter_shares_the_packed_weights(settings, served_as_large):
    store = ModelStore(Registry(settings), settings)
    base = store.load(store.registry.spec("dsum-t5-base"))
    alone = store.memory_bytes()
    assert packed_layers(base.model) and base.dtype == "bfloat16"
    adapted = store.load(store.registry.spec("dsum-t5-lora"))
    assert packed_layers(adapted.model) == packed_layers(base.model)
    assert store.memory_bytes() - alone == 2 * adapted.trained_parameters
