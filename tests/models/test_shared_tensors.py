"""Adapters over a base's own tensors, for both architectures: no tensor of the base is copied, changed or untied."""

from __future__ import annotations

import copy
import threading
from pathlib import Path

import pytest
import torch
from peft import (
    AdaLoraConfig,
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoraConfig,
    PeftConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
)
from safetensors.torch import load_file

from dsum_demo.generation.streaming import generate
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.loading import merged
from dsum_demo.models.prompts import DEFAULT_PROMPT

ADAPTERS = [
    "lora", "dora", "ia3", "adalora", "loha", "layer-norm", "prefix", "prompt", "with-embeddings", "all-linear",
]  # fmt: skip


def config_of(kind: str, checkout) -> PeftConfig:
    task, [first, second], [wo] = checkout.task, checkout.attention, checkout.feed_forward
    attention = [first, second]
    return {
        "lora": lambda: LoraConfig(**task, r=4, target_modules=attention),
        "dora": lambda: LoraConfig(**task, r=2, target_modules=[first, wo], use_dora=True),
        "ia3": lambda: IA3Config(**task, target_modules=[second, wo], feedforward_modules=[wo]),
        "adalora": lambda: AdaLoraConfig(**task, init_r=4, target_r=2, total_step=10, target_modules=attention),
        "loha": lambda: LoHaConfig(**task, r=2, target_modules=attention),
        "layer-norm": lambda: LNTuningConfig(**task, target_modules=checkout.norms),
        "prefix": lambda: PrefixTuningConfig(**task, num_virtual_tokens=3),
        "prompt": lambda: PromptTuningConfig(**task, num_virtual_tokens=3),
        "with-embeddings": lambda: LoraConfig(
            **task, r=2, target_modules=[first], modules_to_save=[checkout.embedding]
        ),
        "all-linear": lambda: LoraConfig(**task, r=2, target_modules="all-linear"),
    }[kind]()


@pytest.fixture
def store(checkout):
    return checkout.store()


@pytest.fixture
def add_adapter(checkout, save_adapter, store):
    """add_adapter(kind): a trained adapter of that kind in adapters/, as a spec."""

    def add(kind: str):
        config = config_of(kind, checkout)
        save_adapter(checkout.build(1), config, checkout.settings.adapters_dir / kind, checkout.base)
        store.registry.refresh()
        return store.registry.spec(kind)

    return add


@pytest.fixture
def logits(checkout, chat_tokenizer):
    return lambda model: checkout.logits(model, [5, 6, 7, 8, 9, 1])


def text(loaded, dialogue: str = "Maya: Are you free on Friday?\nTom: Yes, after six.") -> str:
    return generate(loaded, DEFAULT_PROMPT.encode(loaded.tokenizer, dialogue), DecodingConfig(max_new_tokens=16)).text


def test_adapters_hold_the_very_tensors_of_the_base(store, checkout, add_adapter):
    base = store.load(store.registry.spec(checkout.base))
    lora, ia3 = store.load(add_adapter("lora")), store.load(add_adapter("ia3"))
    pointers = {parameter.data_ptr() for parameter in base.model.parameters()}
    for adapted in (lora, ia3):
        assert pointers <= {parameter.data_ptr() for parameter in adapted.model.parameters()}
        assert base.model not in list(adapted.model.modules())
    extra = 4 * (lora.trained_parameters + ia3.trained_parameters)
    store.unload(base.spec.family)
    before = (store.load(store.registry.spec(checkout.base)), store.memory_bytes())[1]
    for name in ("lora", "ia3"):
        store.load(store.registry.spec(name))
    assert store.memory_bytes() - before == pytest.approx(extra, rel=0.5)
    assert store.memory_bytes() < 1.5 * before


@pytest.mark.parametrize("kind", ADAPTERS)
def test_the_original_is_bit_identical_whatever_is_loaded_beside_it(store, checkout, add_adapter, logits, kind):
    base = store.load(store.registry.spec(checkout.base))
    written, computed = text(base), logits(base.model)
    tensors = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    modules = [type(module) for module in base.model.modules()]
    adapted = store.load(add_adapter(kind))
    own = text(adapted)
    assert text(base) == written and torch.equal(logits(base.model), computed)
    assert [type(module) for module in base.model.modules()] == modules
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in base.model.state_dict().items())
    assert own != written
    assert adapted.trained_parameters == sum(
        tensor.numel()
        for tensor in load_file(Path(adapted.spec.source.location) / "adapter_model.safetensors").values()
    )
    assert text(adapted) == own


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_merged_lora_has_its_own_matrices_and_generates_the_same(store, checkout, add_adapter, logits, kind):
    base, adapted = store.load(store.registry.spec(checkout.base)), store.load(add_adapter(kind))
    computed, own = logits(base.model), logits(adapted.model)
    whole = merged(adapted.model)
    if adapted.model.peft_config["default"].peft_type != "LORA":
        assert whole is adapted.model
        return
    assert not any("lora" in name for name, _ in whole.named_modules())
    assert not torch.equal(own, computed)
    # In float64, in which rounding is no excuse.
    double = copy.deepcopy(adapted.model).double()
    beside, added = (logits(model) for model in (double, merged(double)))
    assert (added - beside).abs().max() < 1e-9 * (own - computed).abs().max()
    assert torch.equal(logits(base.model), computed) and torch.equal(logits(adapted.model), own)
    assert merged(base.model) is base.model


def test_adapters_side_by_side_write_what_each_writes_alone(store, checkout, add_adapter):
    specs = [add_adapter(kind) for kind in ("lora", "ia3", "prefix")]
    alone = []
    for spec in specs:
        single = checkout.store()
        alone.append(text(single.load(spec)))
    together = [store.load(spec) for spec in specs]
    assert [text(loaded) for loaded in together] == alone
    assert len(set(alone)) == 3


def test_adapters_write_the_same_in_many_threads_at_once(store, checkout, add_adapter):
    models = [
        store.load(store.registry.spec(checkout.base)),
        *(store.load(add_adapter(kind)) for kind in ("lora", "ia3", "prefix")),
    ]
    expected = [text(loaded) for loaded in models]
    found: dict[int, str] = {}
    jobs = [(number, models[number % 4]) for number in range(12)]
    threads = [threading.Thread(target=lambda n=n, m=m: found.update({n: text(m)})) for n, m in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(12)] == expected * 3


def test_a_tied_head_stays_tied_under_an_adapter_and_after_merging(store, checkout, add_adapter):
    base, adapted = store.load(store.registry.spec(checkout.base)), store.load(add_adapter("all-linear"))
    embedding = base.model.get_input_embeddings().weight
    for model in (base.model, adapted.model, merged(adapted.model)):
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight is embedding
