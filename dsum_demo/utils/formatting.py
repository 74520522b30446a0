"""How numbers and cells are written for people: sizes, durations, counts, spreadsheet cells."""

from __future__ import annotations

# A spreadsheet runs a cell that begins with one of these (OWASP, "CSV injection").
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def escape_formula(text: str) -> str:
    """A cell that a spreadsheet shows instead of running."""
    return "'" + text if text.startswith(_FORMULA_STARTS) else text
