"""Numbers, errors and spreadsheet cells as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date

# A spreadsheet runs a cell that begins with one of these (OWASP, "CSV injection").
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_FIRST_LINE_CHARACTERS = 300


def escape_formula(text: str) -> str:
    """A cell that a spreadsheet shows instead of running; `unescape_formula` restores the text."""
    return "'" + text if text.lstrip("'").startswith(_FORMULA_STARTS) else text


def unescape_formula(cell: str) -> str:
    """The text that `escape_formula` was given."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA_STARTS) else cell


def csv_line(cells: Iterable[object]) -> str:
    """One line of a CSV file, with `escape_formula` for texts."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow([escape_formula(c) if isinstance(c, str) else c for c in cells])
    return file.getvalue()


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def markdown_cell(text: str) -> str:
    """A text that stays in its cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())


def size(count: float) -> str:
    """Bytes as "850 kB", "3.9 MB", "240 MB" or "1.2 GB"."""
    if count >= 999.5e6:
        return f"{count / 1e9:,.1f} GB"
    value, unit = (count / 1e6, "MB") if count >= 999.5e3 else (count / 1e3, "kB")
    return f"{value:.1f} {unit}" if 0 < value < 9.95 else f"{value:.0f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as "0.4 s", "12 s", "4 min" or "1 h 05 min"."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def millions(number: int) -> str:
    """A number of parameters as "9,999", "0.299 M" or "248 M"."""
    return f"{number / 1e6:.3g} M" if number >= 1e5 else f"{number:,}"


def quantity(number: int, what: str) -> str:
    """A number of things by their singular: "1 notice", "1,200 summaries"."""
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


def token_rate(per_second: float) -> str:
    """Tokens per second as "0.4 tokens/s" or "48 tokens/s"."""
    return f"{per_second:.1f} tokens/s" if 0 < per_second < 9.95 else f"{per_second:.0f} tokens/s"


def written_date(iso: str) -> str:
    """The date of an ISO date or time: "4 March 2026"."""
    day = date.fromisoformat(iso[:10])
    return f"{day.day} {day:%B %Y}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, with the second if the first only announces it; its type if empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return text if len(text) <= _FIRST_LINE_CHARACTERS else text[: _FIRST_LINE_CHARACTERS - 1] + "…"
