"""Describes a setting that users can change: its type, bounds, default and explanation.

Tables of fields describe the fine-tuning methods and the training config; the CLI and the UI are built from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dsum_demo.errors import InputError

Kind = Literal["whole", "number", "flag", "choice", "names"]


@dataclass(frozen=True)
class Field:
    """kind: "whole" (int), "number" (float), "flag" (bool), "choice" (one of `choices`) or "names" (a tuple of words,
    such as module names; `choices` are then the usual ones, empty if they depend on the model).

    low, high: inclusive; `above_low` excludes the low bound. `fixed` fields are shown and cannot be changed.
    """

    name: str
    kind: Kind
    default: Any
    explanation: str
    low: float = -math.inf
    high: float = math.inf
    above_low: bool = False
    choices: tuple[str, ...] = ()
    fixed: bool = False

    def check(self, value: Any) -> Any:
        """The value in the field's type; web forms send 16.0 for 16. Raises InputError with the allowed values."""
        if self.fixed:
            if value != self.default:
                raise InputError(f"{self.name} is {self.default!r} here and cannot be changed.")
            return value
        if self.kind == "flag":
            if not isinstance(value, bool):
                raise self._refusal(value)
            return value
        if self.kind == "choice":
            if value not in self.choices:
                raise self._refusal(value)
            return value
        if self.kind == "names":
            names = (value,) if isinstance(value, str) else value
            if not isinstance(names, list | tuple | set | frozenset) or not names:
                raise self._refusal(value)
            if not all(isinstance(name, str) and name.strip() for name in names):
                raise self._refusal(value)
            # A set is unordered, and a config is compared and saved.
            return tuple(dict.fromkeys(sorted(names) if isinstance(names, set | frozenset) else names))
        if isinstance(value, bool) or not isinstance(value, int | float) or not self._within(value):
            raise self._refusal(value)
        if self.kind == "whole":
            if value != int(value):
                raise self._refusal(value)
            return int(value)
        return float(value)

    def parse(self, text: str) -> Any:
        """The value that `text` means, as typed on a command line. Raises InputError with the allowed values."""
        text = text.strip()
        if self.kind == "flag":
            known = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False}
            known["0"] = False
            return self.check(known.get(text.lower(), text))
        if self.kind == "names":
            return self.check(tuple(part.strip() for part in text.split(",") if part.strip()))
        if self.kind == "choice":
            return self.check(text)
        try:
            number = float(text)
        except ValueError:
            raise self._refusal(text) from None
        return self.check(int(number) if number.is_integer() else number)

    @property
    def allowed(self) -> str:
        """The allowed values for an error message: "a whole number from 1 to 256"."""
        if self.kind == "flag":
            return "true or false"
        if self.kind == "choice":
            return f"one of: {', '.join(self.choices)}"
        if self.kind == "names":
            return "names, comma-separated"
        number = "a whole number" if self.kind == "whole" else "a number"
        low, high = (f"{bound:g}" if abs(bound) < 1e6 else f"{bound:.0f}" for bound in (self.low, self.high))
        if self.above_low:
            return f"{number} above {low} and at most {high}"
        return f"{number} from {low} to {high}"

    def as_dict(self) -> dict[str, Any]:
        """The field as plain values, for a form or a listing."""
        return {
            "name": self.name,
            "kind": self.kind,
            "default": list(self.default) if self.kind == "names" else self.default,
            "low": self.low if math.isfinite(self.low) else None,
            "high": self.high if math.isfinite(self.high) else None,
            "choices": list(self.choices),
            "fixed": self.fixed,
            "explanation": self.explanation,
        }

    def _within(self, value: float) -> bool:
        return (self.low < value if self.above_low else self.low <= value) and value <= self.high

    def _refusal(self, value: Any) -> InputError:
        return InputError(f"{self.name} is {value!r}; give {self.allowed}.")


def check_all(fields: Iterable[Field], values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """`values` over the fields' defaults, each checked. Raises InputError for a name that `owner` does not have."""
    table = {field.name: field for field in fields}
    unknown = sorted(set(values) - set(table))
    if unknown:
        known = ", ".join(name for name, field in table.items() if not field.fixed) or "none"
        raise InputError(f"{owner} has no option {unknown[0]!r}; its options are: {known}.")
    return {name: field.check(values.get(name, field.default)) for name, field in table.items()}
