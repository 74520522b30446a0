"""Fields: valid and invalid values from code, from a web form and from a command line."""

from __future__ import annotations

import pytest

from dsum_demo.errors import InputError
from dsum_demo.utils.fields import Field, check_all

WHOLE = Field("r", "whole", 8, "The rank.", 1, 512)
RATE = Field("rate", "number", 0.1, "The rate.", 0.0, 1.0, above_low=True)
FLAG = Field("compile", "flag", False, "Compile.")
CHOICE = Field("bias", "choice", "none", "The bias.", choices=("none", "all"))
NAMES = Field("modules", "names", ("q", "v"), "The modules.")
FIXED = Field("task", "choice", "S2S", "The task.", choices=("S2S",), fixed=True)


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        (WHOLE, 16.0, 16),
        (WHOLE, 1, 1),
        (WHOLE, 512, 512),
        (RATE, 1, 1.0),
        (RATE, 1e-9, 1e-9),
        (FLAG, True, True),
        (CHOICE, "all", "all"),
        (NAMES, "q", ("q",)),
        (NAMES, ["v", "q", "v"], ("v", "q")),
        (NAMES, {"wo", "k"}, ("k", "wo")),
        (FIXED, "S2S", "S2S"),
    ],
)
def test_a_value_comes_out_in_the_fields_type(field, given, kept):
    got = field.check(given)
    assert got == kept and type(got) is type(kept)


@pytest.mark.parametrize(
    ("field", "given", "sentence"),
    [
        (WHOLE, 0, "r is 0; give a whole number from 1 to 512."),
        (WHOLE, 513, "r is 513"),
        (WHOLE, 2.5, "r is 2.5; give a whole number"),
        (WHOLE, True, "r is True"),
        (WHOLE, "8", "r is '8'"),
        (WHOLE, None, "r is None"),
        (WHOLE, float("nan"), "r is nan"),
        (WHOLE, float("inf"), "r is inf"),
        (RATE, 0, "rate is 0; give a number above 0 and at most 1."),
        (RATE, float("nan"), "rate is nan"),
        (FLAG, 1, "compile is 1; give true or false."),
        (CHOICE, "some", "bias is 'some'; give one of: none, all."),
        (CHOICE, ["all"], "bias is ['all']"),
        (NAMES, [], "modules is []; give names, comma-separated."),
        (NAMES, ["q", 3], "modules is ['q', 3]"),
        (NAMES, [""], "modules is ['']"),
        (NAMES, 7, "modules is 7"),
        (FIXED, "CAUSAL", "task is 'S2S' here and cannot be changed."),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_what_is_allowed(field, given, sentence):
    with pytest.raises(InputError) as refused:
        field.check(given)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("field", "typed", "kept"),
    [
        (WHOLE, " 16 ", 16),
        (WHOLE, "1e2", 100),
        (RATE, "3e-4", 3e-4),
        (FLAG, "Yes", True),
        (FLAG, "0", False),
        (CHOICE, "all", "all"),
        (NAMES, "q, v,,wo", ("q", "v", "wo")),
    ],
)
def test_what_is_typed_means_a_value(field, typed, kept):
    assert field.parse(typed) == kept


@pytest.mark.parametrize(
    ("field", "typed"), [(WHOLE, "many"), (WHOLE, "1.5"), (WHOLE, "nan"), (RATE, ""), (FLAG, "perhaps"), (NAMES, " , ")]
)
def test_what_means_nothing_is_refused(field, typed):
    with pytest.raises(InputError, match=f"{field.name} is "):
        field.parse(typed)


def test_a_table_fills_in_its_defaults_and_names_what_it_has():
    assert check_all([WHOLE, NAMES], {"r": 4.0}, "LoRA") == {"r": 4, "modules": ("q", "v")}
    with pytest.raises(InputError, match=r"LoRA has no option 'a'; its options are: r, modules\."):
        check_all([WHOLE, NAMES, FIXED], {"z": 1, "a": 1}, "LoRA")


def test_a_field_describes_itself_in_plain_values():
    assert NAMES.as_dict()["default"] == ["q", "v"] and WHOLE.as_dict()["high"] == 512
    assert CHOICE.as_dict() == {
        "name": "bias", "kind": "choice", "default": "none", "low": None, "high": None, "choices": ["none", "all"],
        "fixed": False, "explanation": "The bias.",
    }  # fmt: skip
