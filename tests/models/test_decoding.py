"""Decoding configs within and out of bounds."""

from __future__ import annotations

from dataclasses import fields

import pytest

from dsum_demo.errors import InputError
from dsum_demo.models.decoding import DECODING_FIELDS, DecodingConfig


def test_the_table_of_fields_and_the_class_have_the_same_names_and_defaults():
    assert [(each.name, each.default) for each in DECODING_FIELDS] == [
        (each.name, each.default) for each in fields(DecodingConfig)
    ]


def test_whole_numbers_of_web_forms_are_ints_and_the_config_survives_a_record():
    config = DecodingConfig(max_new_tokens=20.0, num_beams=2.0, length_penalty=1)
    assert (type(config.max_new_tokens), type(config.num_beams)) == (int, int)
    assert DecodingConfig(**config.as_dict()) == config and not config.streams and DecodingConfig().streams


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_beams": 9}, "num_beams is 9; give a whole number from 1 to 8."),
        ({"num_beams": 2.5}, "num_beams is 2.5; give a whole number from 1 to 8."),
        ({"num_beams": "4"}, "num_beams is '4'; give a whole number from 1 to 8."),
        ({"max_new_tokens": True}, "max_new_tokens is True; give a whole number from 1 to 512."),
        ({"temperature": float("nan")}, "temperature is nan; give a number from 0.1 to 2."),
        ({"seed": -1}, "seed is -1; give a whole number from 0 to 4294967295."),
        ({"do_sample": "yes"}, "do_sample is 'yes'; give true or false."),
        ({"do_sample": True, "num_beams": 2}, "Sampling with 2 beams is not supported; choose beams or sampling."),
    ],
)
def test_a_value_out_of_bounds_raises_with_the_bounds(given, message):
    with pytest.raises(InputError) as caught:
        DecodingConfig(**given)
    assert str(caught.value) == message
