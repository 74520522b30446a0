"""The table of fine-tuning methods: what a row tells, which PEFT config it makes, that the config fits a real T5."""

from __future__ import annotations

import subprocess
import sys

import pytest
from peft import LoraConfig, PeftType, TaskType, get_peft_model

from dsum_demo.errors import InputError
from dsum_demo.peft_methods import METHODS, method

ADAPTERS = [name for name, row in METHODS.items() if row.peft_class]


def test_full_comes_first_and_trains_every_weight():
    assert next(iter(METHODS)) == "full"
    assert method("full").config() is None and method("full").config({}) is None


@pytest.mark.parametrize("name", METHODS)
def test_a_row_tells_a_student_what_it_is(name):
    row = METHODS[name]
    assert row.name == name and row.title
    assert row.explanation.endswith(".") and row.explanation.count(".") == 1, "one sentence"
    assert "arXiv:" in row.paper


def test_lora_starts_from_the_exercise_settings():
    config = method("lora").config()
    assert isinstance(config, LoraConfig)
    assert config.task_type == TaskType.SEQ_2_SEQ_LM and config.peft_type == PeftType.LORA
    assert (config.r, config.lora_alpha, config.lora_dropout, config.bias) == (32, 32, 0.05, "none")
    assert set(config.target_modules) == {"q", "v"}


def test_options_go_over_the_defaults_and_leave_the_table_as_it_was():
    before = {**METHODS["lora"].defaults}
    config = method("lora").config({"r": 4, "target_modules": ["wi_0", "wo"]})
    assert (config.r, config.lora_alpha) == (4, 32)
    assert set(config.target_modules) == {"wi_0", "wo"}
    assert METHODS["lora"].defaults == before
    again = method("lora").config()
    assert again.r == 32 and set(again.target_modules) == {"q", "v"}


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_trains_few_weights_of_a_real_t5_and_leaves_the_base_alone(name, tiny_model):
    model = tiny_model(1)
    adapted = get_peft_model(model, method(name).config())
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert trained and all(".base_layer." not in name for name in trained)
    shares = [p.numel() for n, p in adapted.named_parameters() if n in trained]
    assert 0 < sum(shares) < sum(p.numel() for p in adapted.parameters()) / 2


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("lora", {"rank": 8}, r"LoRA has no option 'rank'; its options are: r, lora_alpha, "),
        ("lora", {"r": 8, "z": 1, "a": 1}, "no option 'a'"),
        ("full", {"r": 8}, r"Full fine-tuning has no option 'r'; its options are: none\."),
    ],
)
def test_an_option_that_the_method_lacks_is_refused_and_the_options_are_named(name, options, sentence):
    with pytest.raises(InputError, match=sentence):
        method(name).config(options)


@pytest.mark.parametrize("name", ["qlora", "", "LoRA"])
def test_an_unknown_method_is_refused_and_the_methods_are_named(name):
    with pytest.raises(InputError, match="choose one of: full, lora"):
        method(name)


def test_the_table_is_read_without_loading_peft():
    code = "import sys, dsum_demo.peft_methods as m; m.method('full').config(); sys.exit('peft' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
