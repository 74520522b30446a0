"""What models will take: the shares counted on the real shapes, estimates from them, and this machine's own speed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    Qwen3Config,
    T5Config,
    T5ForConditionalGeneration,
)

from dsum_demo.composition import make_registry
from dsum_demo.models.architectures import DECODER_ONLY, ENCODER_DECODER, architecture_of
from dsum_demo.models.estimates import Speed, describe_family, estimate, measure_speed
from dsum_demo.models.loading import count
from dsum_demo.models.registry import Registry

SHAPES = {
    "flan-t5-small": {"d_model": 512, "d_ff": 1024, "num_layers": 8, "num_decoder_layers": 8, "num_heads": 6},
    "flan-t5-base": {"d_model": 768, "d_ff": 2048, "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12},
    "flan-t5-large": {"d_model": 1024, "d_ff": 2816, "num_layers": 24, "num_decoder_layers": 24, "num_heads": 16},
}
LLAMA = {"vocab_size": 49152, "tie_word_embeddings": True}
CAUSAL = {
    "smollm2-135m-instruct": LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, **LLAMA
    ),
    "smollm2-360m-instruct": LlamaConfig(
        hidden_size=960, intermediate_size=2560, num_hidden_layers=32, num_attention_heads=15,
        num_key_value_heads=5, **LLAMA
    ),
    "smollm2-1.7b-instruct": LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_attention_heads=32, **LLAMA
    ),
    "qwen3-0.6b": Qwen3Config(
        vocab_size=151936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16,
        num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
    ),
    "gemma-3-270m-it": Gemma3TextConfig(
        vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4,
        num_key_value_heads=1, head_dim=256, tie_word_embeddings=True,
    ),
}  # fmt: skip
SPEED = Speed(0.001, {"float32": 5e9, "bfloat16": 10e9}, {"float32": 1e11, "bfloat16": 2e11})


@pytest.fixture
def online(settings, tmp_path, monkeypatch) -> Registry:
    """A registry that finds the Hub, and nothing in its cache."""
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dsum_demo.hub.client._ask_hub", lambda endpoint, timeout: "")
    return make_registry(replace(settings, offline=False))


@pytest.mark.parametrize("name", SHAPES)
def test_shares_and_layers_are_those_of_the_real_shapes(settings, name):
    with torch.device("meta"):
        config = T5Config(vocab_size=32128, d_kv=64, feed_forward_proj="gated-gelu", **SHAPES[name])
        model = T5ForConditionalGeneration(config)
    counts = {key: parameter.numel() for key, parameter in model.named_parameters()}
    head = 32128 * config.d_model  # a real checkpoint has an untied one
    total = sum(counts.values()) + head
    family = make_registry(settings).family(name)
    assert (family.parameters, family.layers) == (total, config.num_decoder_layers)
    crossed = sum(n for key, n in counts.items() if "EncDecAttention.k" in key or "EncDecAttention.v" in key)
    decoder = sum(n for key, n in counts.items() if key.startswith("decoder.block"))
    encoder = sum(n for key, n in counts.items() if key.startswith("encoder.block"))
    assert (decoder - crossed + head) / total == pytest.approx(ENCODER_DECODER.read_share, abs=0.02)
    assert (encoder + crossed) / total == pytest.approx(ENCODER_DECODER.prompt_share, abs=0.12)


@pytest.mark.parametrize("name", CAUSAL)
def test_the_catalogs_decoder_only_families_have_the_real_counts(settings, name):
    config, family = CAUSAL[name], make_registry(settings).family(name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert family.parameters == family.base.parameters == count(model)
    assert family.architecture is architecture_of(config.model_type) is DECODER_ONLY
    assert family.prompt.chat and family.base.source.revision
    assert family.layers == DECODER_ONLY.decoder_layers(config)
    assert family.key_value_width == model.model.layers[0].self_attn.k_proj.out_features


def test_a_decoder_only_model_is_estimated_with_its_cache_and_all_weights_per_token(online, monkeypatch):
    monkeypatch.setattr("dsum_demo.models.estimates.serving_dtype", lambda parameters: torch.bfloat16)
    cost = estimate(online, online.spec("smollm2-135m-instruct"), SPEED)
    # Two numbers per layer, channel and token of the longest prompt and summary.
    assert cost.memory_bytes == 2 * (134_515_008 + 2 * 30 * 192 * (2048 + 80))
    expected = 48 * (30 * 0.001 + 134_515_008 / 10e9) + 2 * 230 * 0.8 * 134_515_008 / 2e11
    assert cost.seconds == pytest.approx(expected)


def test_an_estimate_is_download_memory_and_time(online, monkeypatch):
    monkeypatch.setattr("dsum_demo.models.estimates.serving_dtype", lambda parameters: torch.bfloat16)
    base, full, lora = (estimate(online, spec, SPEED) for spec in online.family("flan-t5-base").default_trio())
    assert (base.download_bytes, base.memory_bytes) == (990_311_424, 2 * 247_577_856)
    assert (lora.download_bytes, lora.memory_bytes) == (14_155_776, 2 * 3_538_944)
    # 48 tokens of 12 layers and half of the weights each; 230 tokens over two fifths of the weights.
    expected = 48 * (12 * 0.001 + 123_788_928 / 10e9) + 2 * 230 * 0.4 * 247_577_856 / 2e11
    assert base.seconds == full.seconds == lora.seconds == pytest.approx(expected)
    assert base.text == "about 495 MB of memory, about 1.4 s per summary on this machine"
    assert lora.text == "about 7.1 MB of memory on top of its base, about 1.4 s per summary on this machine"
    monkeypatch.setattr("dsum_demo.models.estimates.serving_dtype", lambda parameters: torch.float32)
    plain = estimate(online, online.spec("flan-t5-base"), SPEED)
    assert plain.memory_bytes == 2 * base.memory_bytes and plain.seconds > base.seconds


def test_larger_families_take_more_and_what_is_not_known_stays_open(online):
    small, base, large = (estimate(online, online.family(name).base, SPEED) for name in SHAPES)
    assert small.seconds < base.seconds < large.seconds and small.memory_bytes < base.memory_bytes < large.memory_bytes
    assert estimate(online, online.spec("flan-t5-small-lora"), SPEED) is None
    assert estimate(online, online.family("flan-t5-base").base).seconds is None
    assert "summary" not in estimate(online, online.family("flan-t5-base").base).text


def test_a_family_is_described_before_its_download_only(online, monkeypatch):
    family = online.family("flan-t5-base")
    said = describe_family(online, family, SPEED)
    assert said.startswith(
        "The first comparison downloads 2.0 GB (Original 990 MB, Full fine-tune 990 MB, LoRA 14 MB). "
    )
    assert " are free. A comparison will take about " in said and said.endswith("on this machine (estimated).")
    assert "comparison will take" not in describe_family(online, family)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 1_000_000})())
    assert "not enough: close other programs" in describe_family(online, family, SPEED)
    assert describe_family(online, online.default_family, SPEED) == ""


def test_offline_nothing_is_promised(settings):
    registry = make_registry(settings)
    assert describe_family(registry, registry.family("flan-t5-base"), SPEED) == ""


def test_this_machine_is_measured_with_the_default_familys_original(any_store):
    speed = measure_speed(any_store)
    assert 0 <= speed.layer_seconds < 1
    assert set(speed.reads) == set(speed.products) == {"float32", "bfloat16"}
    assert all(1e6 < rate < 1e14 for rate in speed.reads.values())
    assert all(1e7 < rate < 1e17 for rate in speed.products.values())
    assert speed.products["float32"] > speed.reads["float32"]
