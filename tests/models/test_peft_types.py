"""The table of PEFT types against PEFT itself."""

from __future__ import annotations

import peft
import pytest

from dsum_demo.models.architectures import ARCHITECTURES
from dsum_demo.models.peft_types import PEFT_TYPES
from dsum_demo.training.methods import METHODS


@pytest.mark.parametrize("name", PEFT_TYPES)
@pytest.mark.parametrize("task_type", ARCHITECTURES)
def test_the_config_class_has_the_type_that_the_row_names(name, task_type):
    needed = {"total_step": 10} if name == "ADALORA" else {}
    config = getattr(peft, PEFT_TYPES[name].config_class)(task_type=task_type, **needed)
    assert config.peft_type.value == name
    assert config.is_prompt_learning == PEFT_TYPES[name].changes_inputs


def test_every_trained_adapter_has_a_row():
    assert {row.peft_type for row in METHODS.values() if row.peft_type} <= set(PEFT_TYPES)
    assert [name for name, row in METHODS.items() if row.adds_to_base] == ["lora", "rslora", "dora", "adalora", "lokr"]
