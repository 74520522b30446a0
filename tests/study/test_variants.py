"""Methods with other options than their defaults, as a study names them."""

from __future__ import annotations

import pytest

from dsum_demo.errors import InputError
from dsum_demo.study.variants import read_variant


def test_a_method_alone_has_its_defaults():
    variant = read_variant("ia3", "CAUSAL_LM")
    assert (variant.method.name, variant.title, variant.options) == ("ia3", "IA3", {})
    assert variant.method.options()["target_modules"] == ("k_proj", "v_proj", "down_proj")


def test_options_are_parsed_and_named_in_the_title():
    variant = read_variant("lora:r=4:target_modules=q_proj+v_proj")
    assert variant.options == {"r": 4, "target_modules": ("q_proj", "v_proj")}
    assert variant.title == "LoRA (r=4, target_modules=q_proj+v_proj)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("magic:r=4", "There is no fine-tuning method 'magic'"),
        ("lora:rank=4", "LoRA has no option 'rank'; its options are: r, lora_alpha"),
        ("lora:r=1.5", "r is 1.5; give a whole number"),
        ("lora:r", "'lora:r' has the option 'r'; give NAME=VALUE, such as lora:r=4."),
    ],
)
def test_a_variant_that_cannot_be_read_raises(text, said):
    with pytest.raises(InputError, match=said):
        read_variant(text)
