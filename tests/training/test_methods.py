"""The table of fine-tuning methods: explanations, options, PEFT configs, and their use on a real T5."""

from __future__ import annotations

import subprocess
import sys

import pytest
from peft import LoraConfig, PeftType, TaskType, get_peft_model

from dsum_demo.errors import InputError
from dsum_demo.models.adapters import has_strength
from dsum_demo.training.methods import METHODS, linear_modules, method, target_choices

ADAPTERS = [name for name, row in METHODS.items() if row.peft_type]


def test_full_fine_tuning_is_first_and_trains_all_weights():
    assert next(iter(METHODS)) == "full"
    assert method("full").config() is None and method("full").config({}) is None


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_title_a_paper_and_a_one_sentence_explanation(name):
    row = METHODS[name]
    assert row.name == name and row.title
    assert row.explanation.endswith(".") and row.explanation.count(".") == 1, "one sentence"
    assert "arXiv:" in row.paper


def test_lora_defaults_are_those_of_the_shipped_adapter():
    config = method("lora").config()
    assert isinstance(config, LoraConfig)
    assert config.task_type == TaskType.SEQ_2_SEQ_LM and config.peft_type == PeftType.LORA
    assert (config.r, config.lora_alpha, config.lora_dropout, config.bias) == (16, 32, 0.05, "none")
    assert config.target_modules == "all-linear", "PEFT detects them by default"


@pytest.mark.parametrize("name", METHODS)
def test_every_field_has_an_explanation_and_a_valid_default(name):
    for field in METHODS[name].fields:
        assert field.explanation.endswith(".") and field.check(field.default) == field.default
    tasks = [field for field in METHODS[name].fields if field.name == "task_type"]
    assert [task.fixed for task in tasks] == ([] if name == "full" else [True])
    assert 0 < METHODS[name].learning_rate <= 1 and METHODS[name].optimizer in ("adamw", "adafactor")


def test_constants_of_a_method_are_not_options():
    assert method("rslora").config().use_rslora and method("dora").config().use_dora
    assert method("prompt").config().prompt_tuning_init == "SAMPLE_VOCAB"
    with pytest.raises(InputError, match="DoRA has no option 'use_dora'"):
        method("dora").config({"use_dora": False})


def test_options_override_the_defaults_without_changing_the_table():
    before = METHODS["lora"].options()
    config = method("lora").config({"r": 4, "target_modules": ["wi_0", "wo"]})
    assert (config.r, config.lora_alpha, set(config.target_modules)) == (4, 32, {"wi_0", "wo"})
    assert METHODS["lora"].options() == before


def test_adalora_needs_two_steps():
    with pytest.raises(InputError, match=r"AdaLoRA would train 1 step and needs 2 .* set max_steps to 2 or more"):
        method("adalora").config(steps=1)


@pytest.mark.parametrize(("steps", "plan"), [(2, (2, 0, 0)), (10, (10, 1, 4)), (1000, (1000, 100, 400))])
def test_adalora_schedule_depends_on_the_number_of_steps(steps, plan):
    config = method("adalora").config(steps=steps)
    assert (config.total_step, config.tinit, config.tfinal) == plan and config.deltaT >= 1


def test_adalora_shares_that_leave_no_step_are_reduced():
    config = method("adalora").config({"warmup_share": 0.9, "final_share": 0.9}, steps=10)
    assert config.tinit + config.tfinal < config.total_step


def test_ia3_scales_the_input_of_feed_forward_layers():
    config = method("ia3").config({"target_modules": ["k", "wi_1"]})
    assert (set(config.target_modules), set(config.feedforward_modules)) == ({"k", "wi_1"}, {"wi_1"})


def test_target_choices_are_read_from_the_weight_files(tiny_root):
    base = tiny_root / "models" / "dsum-t5-base"
    linear = ("k", "o", "q", "v", "wi_0", "wi_1", "wo")
    assert target_choices("lora", base) == ("all-linear", *linear)
    assert target_choices("ln_tuning", base) == ("final_layer_norm", "layer_norm")
    assert target_choices("full", base) == target_choices("prompt", base) == ()


def test_linear_modules_of_an_ungated_model(tiny_model):
    model = tiny_model(1, feed_forward_proj="relu")
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert linear_modules(shapes) == ("k", "o", "q", "v", "wi", "wo")


SMALL = {"lora": {"r": 4}, "rslora": {"r": 4}, "dora": {"r": 4}, "adalora": {"init_r": 4, "target_r": 2},
         "oft": {"oft_block_size": 4}, "vera": {"r": 8}, "lokr": {"r": 4}}  # fmt: skip


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_trains_few_weights_and_does_not_change_the_base(name, tiny_model):
    model = tiny_model(1)
    adapted = get_peft_model(model, method(name).config(SMALL.get(name)))
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert trained and all(".base_layer." not in name for name in trained)
    shares = [p.numel() for n, p in adapted.named_parameters() if n in trained]
    assert 0 < sum(shares) < sum(p.numel() for p in adapted.parameters()) / 2


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].adds_to_base])
def test_only_additive_methods_have_a_strength(name):
    assert has_strength({**method(name).config().to_dict(), "peft_type": method(name).config().peft_type.value})


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("lora", {"rank": 8}, r"LoRA has no option 'rank'; its options are: r, lora_alpha, "),
        ("lora", {"r": 8, "z": 1, "a": 1}, "no option 'a'"),
        ("full", {"r": 8}, r"Full fine-tuning has no option 'r'; its options are: none\."),
    ],
)
def test_an_unknown_option_raises_with_the_known_options(name, options, sentence):
    with pytest.raises(InputError, match=sentence):
        method(name).config(options)


@pytest.mark.parametrize("name", ["qlora", "", "LoRA"])
def test_an_unknown_method_raises_with_the_known_methods(name):
    with pytest.raises(InputError, match="choose one of: full, lora"):
        method(name)


def test_the_table_does_not_import_peft():
    code = "import sys, dsum_demo.training.methods as m; m.method('full').config(); sys.exit('peft' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
