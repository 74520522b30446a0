"""An adapter's strength: at 0 the original, token by token and bit for bit; the model that others use untouched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from peft import AdaLoraConfig, IA3Config, LoKrConfig, LoraConfig

from dsum_demo.comparison import compare
from dsum_demo.errors import InputError
from dsum_demo.generation.streaming import generate
from dsum_demo.models.adapters import has_strength
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import DEFAULT_PROMPT
from dsum_demo.models.store import LoadedModel

DIALOGUE = "Maya: Can you lend me ten dollars?\nTom: Sure, pay me back next week."
TASK = {"task_type": "SEQ_2_SEQ_LM", "target_modules": ["q", "v", "wo"]}
ADAPTERS = {
    "lora": (LoraConfig, {"r": 4, "lora_alpha": 8}),
    "rslora": (LoraConfig, {"r": 4, "lora_alpha": 8, "use_rslora": True}),
    "dora": (LoraConfig, {"r": 4, "lora_alpha": 8, "use_dora": True}),
    "adalora": (AdaLoraConfig, {"init_r": 4, "target_r": 2, "total_step": 10}),
    "lokr": (LoKrConfig, {"r": 4, "alpha": 4}),
}


@pytest.fixture(params=ADAPTERS)
def pair(request, checkout, save_adapter) -> tuple[LoadedModel, LoadedModel]:
    """(original, adapter), loaded over the same tensors."""
    config, options = ADAPTERS[request.param]
    targets = [*checkout.attention, *checkout.feed_forward]
    adapter = config(**checkout.task, **options, target_modules=targets)
    save_adapter(checkout.build(1), adapter, checkout.settings.adapters_dir / "mine", checkout.base)
    store = checkout.store()
    return store.load(store.registry.spec(checkout.base)), store.load(store.registry.spec("mine"))


@pytest.fixture
def logits(checkout) -> Callable[[LoadedModel], torch.Tensor]:
    return lambda loaded: checkout.logits(loaded.model, DEFAULT_PROMPT.encode(loaded.tokenizer, DIALOGUE))


def write(loaded: LoadedModel, decode) -> str:
    return generate(loaded, DEFAULT_PROMPT.encode(loaded.tokenizer, DIALOGUE), decode).text


def test_at_0_it_is_the_original_bit_for_bit(pair, logits):
    original, adapter = pair
    assert adapter.template is not None and original.template is None
    assert not torch.equal(logits(adapter), logits(original))
    silent = adapter.at_strength(0)
    assert torch.equal(logits(silent), logits(original))
    for decode in (DecodingConfig(max_new_tokens=16, no_repeat_ngram_size=3, num_beams=beams) for beams in (1, 3)):
        assert write(silent, decode) == write(original, decode)


def test_at_1_it_is_the_model_itself_and_between_and_beyond_something_else(pair, logits):
    original, adapter = pair
    assert adapter.at_strength(1) is adapter
    plain, whole = logits(original), logits(adapter)
    tiny = (logits(adapter.at_strength(1e-3)) - plain).norm()
    half, double = logits(adapter.at_strength(0.5)), logits(adapter.at_strength(2))
    assert 0 < tiny < (half - plain).norm()
    assert not any(torch.equal(half, other) for other in (plain, whole, double)) and not torch.equal(double, whole)


def test_the_original_and_the_adapter_stay_what_they_were_and_share_their_tensors(pair, logits):
    original, adapter = pair
    before = logits(original), logits(adapter)
    tensors = {tensor.data_ptr() for tensor in adapter.model.parameters()}
    view = adapter.at_strength(0.25)
    own = [name for name, tensor in view.model.named_parameters() if tensor.data_ptr() not in tensors]
    assert all("magnitude" in name for name in own), "only DoRA's lengths are new"
    logits(view)
    assert torch.equal(logits(original), before[0]) and torch.equal(logits(adapter), before[1])


def test_strengths_at_once_do_not_mix(any_store):
    family = any_store.registry.default_family
    adapter = any_store.load(family.default_trio()[2])
    decode = replace(family.decode, max_new_tokens=16)
    wanted = {strength: write(adapter.at_strength(strength), decode) for strength in (0, 0.5, 1, 2)}
    got: dict[float, list[str]] = {strength: [] for strength in wanted}

    def work(strength: float) -> None:
        for _ in range(4):
            got[strength].append(write(adapter.at_strength(strength), decode))

    threads = [threading.Thread(target=work, args=(strength,)) for strength in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {strength: [text] * 4 for strength, text in wanted.items()}


def test_a_comparison_takes_strengths_by_name(any_store):
    family = any_store.registry.default_family
    base, full, lora = (spec for spec in family.default_trio() if spec)
    done = compare(any_store, family, [base, full, lora], DIALOGUE, strengths={lora.name: 0})
    texts = {system.spec.name: system.summary for system in done.systems}
    assert texts[lora.name] == texts[base.name] != texts[full.name]
    assert [system["strength"] for system in done.as_dict()["systems"]] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("strength", [-0.1, 2.1, float("nan"), "1", None, True])
def test_a_strength_out_of_bounds_is_refused_before_anything_is_loaded(strength, tiny_store):
    family = tiny_store.registry.default_family
    with pytest.raises(InputError, match=r"strength is .*; give a number from 0 to 2"):
        compare(tiny_store, family, [family.base], DIALOGUE, strengths={family.base.name: strength})


def test_strength_of_a_full_fine_tune_is_an_error_in_its_result(tiny_store):
    family = tiny_store.registry.default_family
    specs = [spec for spec in family.default_trio() if spec]
    done = compare(tiny_store, family, specs, DIALOGUE, strengths={"dsum-t5-full": 0.5})
    assert [system.phase for system in done.systems] == ["done", "failed", "done"]
    assert "dsum-t5-full has no strength setting" in done.systems[1].error


@pytest.mark.parametrize(
    "config",
    [
        IA3Config(**TASK, feedforward_modules=["wo"]),
        LoraConfig(**TASK, modules_to_save=["final_layer_norm"]),
        LoraConfig(**TASK, bias="all"),
    ],
    ids=["ia3", "saved modules", "bias"],
)
def test_what_does_more_than_add_has_no_strength(config):
    assert not has_strength({**config.to_dict(), "peft_type": config.peft_type.value})
