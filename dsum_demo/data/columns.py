"""Maps the columns of a file to dialogue, summary, id and topic."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from dsum_demo.errors import DataError, InputError

# Common names of the columns, the most common first.
USUAL_COLUMNS = {
    "dialogue": (
        "dialogue", "dialog", "conversation", "source", "input", "text", "transcript", "chat", "conversations",
        "messages", "turns",
    ),
    "summary": ("summary", "summary1", "reference", "target", "output", "highlights", "abstract"),
    "id": ("id", "fname", "dialogue_id", "idx"),
    "topic": ("topic",),
}  # fmt: skip
NUMBERED = {role: (role, *(f"{role}{number}" for number in (1, 2, 3))) for role in ("summary", "topic")}
EXPECTED_COLUMNS = "dialogue and summary (or summary1 to summary3), and optionally id and topic (or topic1 to topic3)"

Columns = dict[str, tuple[str, ...]]
# A column by role, or several of them; a text may name several comma-separated ones.
GivenColumns = Mapping[str, str | Sequence[str]]


def find_column(columns: Iterable[str], *names: str) -> str | None:
    """The first of `names` that is a column, in the file's spelling; an exact match is preferred to another case."""
    found = list(columns)
    by_folded = {column.casefold(): column for column in reversed(found)}
    return next((n if n in found else by_folded[n.casefold()] for n in names if n.casefold() in by_folded), None)


def map_columns(columns: Iterable[str], name: str, given: GivenColumns | None = None) -> Columns:
    """The columns of the roles "dialogue", "summary", "id" and "topic", case-insensitive; empty for a missing id or
    topic.

    given: the column by role, or several for summary and topic, in a sequence or comma-separated. Other roles are
    guessed: one of USUAL_COLUMNS, or the numbered summaries and topics of DialogSum. Raises DataError for an unknown
    given column, and for a missing dialogue or summary, naming the existing and the expected columns.
    """
    columns = tuple(columns)
    found = guess_columns(columns, given)
    if missing := [role for role in ("dialogue", "summary") if not found[role]]:
        raise DataError(
            f"{name} has no column {' and no column '.join(missing)}; its columns are: {', '.join(columns)}. Name them "
            f"{EXPECTED_COLUMNS}, or choose them: on the page below the file, on the command line with --column "
            f"{missing[0]}=NAME."
        )
    return found


def guess_columns(columns: Iterable[str], given: GivenColumns | None = None, taken: Collection[str] = ()) -> Columns:
    """`map_columns` without an error for a missing dialogue or summary; columns in `taken` are not guessed."""
    existing = tuple(columns)
    found = {role: _given(existing, role, text) for role, text in (given or {}).items() if text}
    used = {*taken, *(column for names in found.values() for column in names)}
    free = [column for column in existing if column not in used]
    for role, usual in USUAL_COLUMNS.items():
        if role not in found:
            several = tuple(column for each in NUMBERED.get(role, ()) if (column := find_column(free, each)))
            one = find_column(free, *usual)
            found[role] = several or ((one,) if one else ())
    return found


def describe_guess(columns: Iterable[str], given: GivenColumns | None = None) -> str:
    """Which columns `guess_columns` takes as dialogue and summary, if another one fits too or its name is not that of
    the role: "“text” is read as the dialogue (“chat” would fit too)." "" if neither is the case.
    """
    columns, given = tuple(columns), given or {}
    found = guess_columns(columns, given)
    used = {column for names in found.values() for column in names}
    parts = []
    for role in ("dialogue", "summary"):
        if given.get(role) or not found[role]:
            continue
        usual = (*USUAL_COLUMNS[role], *NUMBERED.get(role, ()))
        others = [column for column in columns if column not in used and column.casefold() in usual]
        if not others and all(column.casefold() in NUMBERED.get(role, (role,)) for column in found[role]):
            continue
        fit = f" ({_quoted(others)} would fit too)" if others else ""
        parts.append(f"{_quoted(found[role])} {'is' if len(found[role]) == 1 else 'are'} read as the {role}{fit}")
    return f"Guessed by name: {', '.join(parts)}." if parts else ""


def parse_columns(texts: Sequence[str]) -> dict[str, str]:
    """The roles and columns of `--column dialogue=NAME,summary=NAME` options.

    Raises InputError for a text without "=" or with an unknown role.
    """
    roles = "|".join(USUAL_COLUMNS)
    found: dict[str, list[str]] = {}
    # Only a comma before a role separates pairs, because several columns of a role are comma-separated too.
    for pair in (pair for text in texts for pair in re.split(rf",(?=\s*(?:{roles})\s*=)", text)):
        role, equals, column = (part.strip() for part in pair.partition("="))
        if not (equals and column):
            raise InputError(f"--column {pair!r} has no '='; write it as dialogue=NAME or summary=NAME.")
        if role not in USUAL_COLUMNS:
            raise InputError(f"--column has the unknown role {role!r}; give one of: {', '.join(USUAL_COLUMNS)}.")
        found.setdefault(role, []).append(column)
    return {role: ",".join(columns) for role, columns in found.items()}


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"“{name}”" for name in names)


def _given(columns: Sequence[str], role: str, given: str | Sequence[str]) -> tuple[str, ...]:
    if not isinstance(given, str):
        names = list(given)
    elif one := find_column(columns, given.strip()):
        return (one,)
    else:
        names = [name.strip() for name in given.split(",")] if role in NUMBERED else [given]
    for name in names:
        if not find_column(columns, name):
            raise DataError(f"There is no column {name!r}; the columns are: {', '.join(columns)}.")
    return tuple(dict.fromkeys(column for name in names if (column := find_column(columns, name))))
