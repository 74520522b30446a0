"""Variants of a fine-tuning method in a study: the method with other options than its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dsum_demo.errors import InputError
from dsum_demo.models.architectures import ENCODER_DECODER
from dsum_demo.training.methods import Method, method


@dataclass(frozen=True)
class Variant:
    """A method with its options, `given` as typed: {"r": "4"}."""

    method: Method
    given: Mapping[str, str]
    options: Mapping[str, Any]

    @property
    def title(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self.given.items())
        return f"{self.method.title} ({given})" if given else self.method.title


def read_variant(text: str, task_type: str = ENCODER_DECODER.task_type) -> Variant:
    """The variant that "lora", "lora:r=4:lora_alpha=8" or "lora:target_modules=q_proj+v_proj" means.

    Raises InputError for an unknown method or option and for a value out of bounds.
    """
    name, *pairs = text.split(":")
    row = method(name, task_type)
    given: dict[str, str] = {}
    options: dict[str, Any] = {}
    for pair in pairs:
        option, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"{text!r} has the option {pair!r}; give NAME=VALUE, such as lora:r=4.")
        field = row.field(option)
        given[option] = value
        options[option] = field.parse(value.replace("+", ",")) if field else value
    row.options(options)
    return Variant(row, given, options)
