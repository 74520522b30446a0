"""Checks the types of values that a caller of the API sent."""

from __future__ import annotations

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from dsum_demo.errors import InputError

LONGEST_SHOWN = 80

Checked = TypeVar("Checked")


def checked(name: str, value: object, of: TypeAdapter[Checked]) -> Checked:
    """The argument; raises InputError if it does not have the annotated type."""
    try:
        return of.validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, (name, *first["loc"])))
        shown = repr(first["input"])
        shown = shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}…"
        raise InputError(f"{place} is {shown}: {first['msg'].lower()}.") from None
