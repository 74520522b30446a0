"""Packed and widening layers compute what plain ones do, alone and under adapters. Real tiny models, served as large
ones are.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import pytest
import torch
from peft import IA3Config, LNTuningConfig, LoHaConfig, LoraConfig, PrefixTuningConfig
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from dsum_demo.composition import make_store
from dsum_demo.models import bfloat16 as bfloat16_layers
from dsum_demo.models.bfloat16 import (
    PackedLinear,
    WideningEmbedding,
    WideningLinear,
    offload_embedding,
    pack,
    unpack,
    widen,
)
from dsum_demo.models.loading import count, load_adapted, load_tokenizer, load_whole, merged, twin
from tests.hub.checkpoints import save_qwen, save_qwen_lora

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="this is how models are served on a CPU")

LINUX = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped where")
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
KINDS = {"packed": (pack, PackedLinear), "widened": (widen, WideningLinear)}


def logits(model, tokens: int = 3) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS, decoder_input_ids=torch.arange(tokens)[None]).logits.float()


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one - other).norm() < 0.05 * other.norm())


def layers(model, kind) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model, tiny_tokenizer):
    """A model with an untied head, like FLAN-T5."""
    folder = tmp_path_factory.mktemp("untied")
    model = tiny_model(1, tie_word_embeddings=False)
    model.lm_head.weight = torch.nn.Parameter(torch.randn(model.lm_head.weight.shape))
    model.save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    """How large models are served, for small ones: as on a processor with bfloat16, and as on one without."""
    if request.param == "packed" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("oneDNN packs bfloat16 where the CPU has it")
    suit, layer = KINDS[request.param]
    monkeypatch.setattr(bfloat16_layers, "pack", suit)
    monkeypatch.setattr(bfloat16_layers, "widen", suit)
    for module in ("models.loading", "models.store"):
        monkeypatch.setattr(f"dsum_demo.{module}.serving_dtype", lambda parameters: torch.bfloat16)
    return layer


@pytest.fixture
def plain(folder, kind):
    """The same rounded weights in plain layers, computed with as `kind` does."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    return model if kind is PackedLinear else model.float()


@pytest.fixture
def served(folder, kind):
    return load_whole(folder, load_tokenizer(folder))


@pytest.mark.parametrize("tokens", [1, 3, 9])
def test_a_large_model_generates_the_same_as_a_plain_one(plain, served, kind, tokens):
    assert layers(served, kind) == sum(isinstance(module, torch.nn.Linear) for module in plain.modules())
    assert close(logits(served, tokens), logits(plain, tokens))
    assert count(served) == count(plain)
    assert {name: tensor.shape for name, tensor in served.state_dict().items()} == {
        name: tensor.shape for name, tensor in plain.state_dict().items()
    }


def mapped(weight: torch.Tensor) -> str:
    """The line of /proc/self/maps whose address range contains the values."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(address, 16) for address in line.split()[0].split("-"))
        if begin <= weight.data_ptr() < end:
            return line
    raise AssertionError("in no mapping")


@LINUX
def test_rows_of_the_embedding_are_read_from_a_file_without_a_name(plain, served):
    assert "dsum-embedding-" in mapped(served.shared.weight) and mapped(served.shared.weight).endswith("(deleted)")
    assert served.shared.weight is served.encoder.embed_tokens.weight is served.decoder.embed_tokens.weight
    assert twin(served).shared.weight is served.shared.weight
    assert torch.equal(served.shared.weight.float(), plain.shared.weight.float())
    bias = served.encoder.block[0].layer[0].SelfAttention.relative_attention_bias
    assert "dsum-embedding-" not in mapped(bias.weight)


@LINUX
def test_an_embedding_that_is_the_head_or_finds_no_disk_stays_in_memory(folder, kind, tiny_model, monkeypatch):
    tied = tiny_model(1).to(torch.bfloat16).requires_grad_(False)
    offload_embedding(tied)
    assert "dsum-embedding-" not in mapped(tied.shared.weight) and tied.lm_head.weight is tied.shared.weight
    expected = load_whole(folder, load_tokenizer(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "missing"))
    without = load_whole(folder, load_tokenizer(folder))
    assert "dsum-embedding-" not in mapped(without.shared.weight)
    assert torch.equal(logits(without), logits(expected))


def test_a_small_model_keeps_its_precision_and_its_layers(folder):
    model = load_whole(folder, load_tokenizer(folder))
    assert layers(model, (PackedLinear, WideningLinear, WideningEmbedding)) == 0


def test_a_head_that_is_the_embedding_is_not_packed(tiny_model):
    model = tiny_model(1).to(torch.bfloat16)
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pack(model)
        assert type(model.lm_head) is torch.nn.Linear and layers(model, PackedLinear) > 0
        assert model.lm_head.weight is model.shared.weight


def test_widened_the_matrices_stay_small_and_all_else_is_float32(folder, tiny_model):
    for model in (tiny_model(1), AutoModelForSeq2SeqLM.from_pretrained(folder).eval()):
        rounded = copy.deepcopy(model).to(torch.bfloat16)
        exact = copy.deepcopy(rounded).float()  # the same rounded weights, computed with in float32 throughout
        widen(rounded)
        assert rounded.lm_head.weight.dtype is rounded.shared.weight.dtype is torch.bfloat16
        assert (rounded.lm_head.weight is rounded.shared.weight) == (model.lm_head.weight is model.shared.weight)
        assert {p.dtype for n, p in rounded.named_parameters() if "layer_norm" in n} == {torch.float32}
        # More rows than few: nothing is rounded but the weights, and what transformers rounds to the dtype of `wo`.
        said, expected = logits(rounded, 9), logits(exact, 9)
        assert (said - expected).norm() < 0.01 * expected.norm()


def test_unpacking_gives_the_same_values_back_and_leaves_the_twin_as_it_is(plain, served, kind):
    second = twin(served)
    unpack(second)
    assert layers(second, kind) == 0 and layers(served, kind) > 0
    for (name, tensor), expected in zip(second.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(tensor.float(), expected.float()), name


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_adapters_say_what_they_say_over_a_plain_base(adapter, folder, plain, served, save_adapter, tmp_path):
    training_base = AutoModelForSeq2SeqLM.from_pretrained(folder)
    save_adapter(training_base, copy.deepcopy(ADAPTERS[adapter]), tmp_path / adapter, base_name=str(folder))
    before = logits(served)
    adapted, _ = load_adapted(tmp_path / adapter, served)
    expected, _ = load_adapted(tmp_path / adapter, plain)
    # These random adapters change everything, and multiply what is rounded; a wrong one would be as far off as none.
    assert (logits(adapted) - logits(expected)).norm() < 0.2 * (logits(expected) - before).norm()
    assert torch.equal(logits(served), before)


@pytest.fixture(scope="module")
def causal_folder(tmp_path_factory, chat_tokenizer):
    """A Qwen with biases in q, k and v, and a head that is the embedding."""
    folder = tmp_path_factory.mktemp("qwen")
    save_qwen(chat_tokenizer, folder / "base")
    save_qwen_lora(folder / "base", folder / "lora")
    return folder


@pytest.mark.parametrize("tokens", [1, 9])
def test_layers_with_a_bias_and_an_adapter_of_them_compute_what_plain_ones_do(causal_folder, kind, tokens):
    served = load_whole(causal_folder / "base", load_tokenizer(causal_folder / "base"))
    plain = AutoModelForCausalLM.from_pretrained(causal_folder / "base", dtype=torch.bfloat16).eval()
    plain = plain if kind is PackedLinear else plain.float()
    assert served.model.layers[0].self_attn.q_proj.bias is not None
    assert layers(served.model, kind) == layers(plain.model, torch.nn.Linear)
    assert served.lm_head.weight is served.model.embed_tokens.weight and count(served) == count(plain)
    ids = torch.arange(5, 5 + tokens)[None]

    def causal_logits(model):
        with torch.inference_mode():
            return model(input_ids=ids).logits.float()

    assert close(causal_logits(served), causal_logits(plain))
    adapted, _ = load_adapted(causal_folder / "lora", served)
    expected, _ = load_adapted(causal_folder / "lora", plain)
    change = (causal_logits(expected) - causal_logits(plain)).norm()
    whole = merged(adapted)
    for model in (adapted, whole):
        assert (causal_logits(model) - causal_logits(expected)).norm() < 0.2 * change
    assert layers(adapted, kind) > layers(whole, kind)


def test_an_adapter_shares_the_weights(settings, kind):
    store = make_store(settings)
    base = store.load(store.registry.spec("dsum-t5-base"))
    alone = store.memory_bytes()
    assert layers(base.model, kind) and base.dtype == "bfloat16"
    adapted = store.load(store.registry.spec("dsum-t5-lora"))
    assert layers(adapted.model, kind) == layers(base.model, kind)
    bytes_each = 2 if kind is PackedLinear else 4  # an adapter is kept in what is computed in
    assert store.memory_bytes() - alone == bytes_each * adapted.trained_parameters
