"""Sizes, durations, counts and errors as text."""

from __future__ import annotations

import pytest

from dsum_demo.utils.formatting import (
    duration,
    escape_formula,
    first_line,
    millions,
    quantity,
    size,
    token_rate,
    unescape_formula,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 kB"), (900, "0.9 kB"), (850_000, "850 kB"), (999_600, "1.0 MB"), (3_915_776, "3.9 MB"),
        (240e6, "240 MB"), (999.6e6, "1.0 GB"), (1.24e9, "1.2 GB"), (12_345e9, "12,345.0 GB"),
    ],
)  # fmt: skip
def test_size_has_a_unit_that_fits(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.42, "0.42 s"), (9.94, "9.9 s"), (98, "98 s"), (100, "2 min"), (3600, "1 h 00 min"),
     (4000, "1 h 07 min")],
)  # fmt: skip
def test_duration_has_a_unit_that_fits(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (9_999, "9,999"), (299_000, "0.299 M"), (247_577_856, "248 M")])
def test_counts_have_three_digits(count, text):
    assert millions(count) == text


@pytest.mark.parametrize(("rate", "text"), [(0, "0"), (0.42, "0.4"), (9.94, "9.9"), (9.96, "10"), (48.3, "48")])
def test_a_slow_rate_has_a_decimal(rate, text):
    assert token_rate(rate) == f"{text} tokens/s"


def test_one_thing_is_singular():
    assert [quantity(count, "query") for count in (0, 1, 1200)] == ["0 queries", "1 query", "1,200 queries"]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("", "ValueError"),
        ("\n  one \n two", "one"),
        ("Errors in x:\n\tsize mismatch\n\tmore", "Errors in x: size mismatch"),
        ("word " * 100, f"{'word ' * 59}word…"),
    ],
)
def test_first_line_of_an_error_is_short_and_never_empty(message, text):
    assert first_line(ValueError(message)) == text and len(text) <= 300


@pytest.mark.parametrize(
    "text", ["", "plain", "=1", "+1", "-1", "@a", "\ta", "\ra", "'quoted'", "'=1", "''-1", "'", "''"]
)
def test_an_escaped_cell_is_not_a_formula_and_is_restored(text):
    escaped = escape_formula(text)
    assert not escaped.startswith(("=", "+", "-", "@", "\t", "\r")) and unescape_formula(escaped) == text
