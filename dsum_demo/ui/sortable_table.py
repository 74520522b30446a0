"""A sortable HTML table: its columns, the order that a visitor chose, and the headings that change it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Generic, Self, TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """value: the sort key of a row; None sorts last in both directions. shown: the cell as HTML. largest_first: the
    first click sorts in descending order.
    """

    key: str
    title: str
    value: Callable[[Row], Any]
    shown: Callable[[Row], str]
    number: bool = True
    largest_first: bool = False

    @property
    def css(self) -> str:
        return "" if self.number else ' class="text-cell"'


@dataclass(frozen=True)
class SortOrder:
    """sort: the key of a column."""

    sort: str = ""
    descending: bool = False

    def click(self, column: Column[Any]) -> Self:
        """The order after a click on the heading of `column`: a second click reverses it."""
        descending = not self.descending if column.key == self.sort else column.largest_first
        return replace(self, sort=column.key, descending=descending)


def sort_rows(rows: Sequence[Row], columns: Iterable[Column[Row]], order: SortOrder) -> list[Row]:
    """The rows in order; unchanged if no column has the key `order.sort`."""
    column = next((column for column in columns if column.key == order.sort), None)
    if column is None:
        return list(rows)
    valued = [(column.value(row), row) for row in rows]
    known = sorted((pair for pair in valued if pair[0] is not None), key=lambda p: p[0], reverse=order.descending)
    return [row for _, row in known] + [row for value, row in valued if value is None]


def headings(columns: Iterable[Column[Any]], order: SortOrder | None = None) -> str:
    return "".join(_heading(column, order or SortOrder()) for column in columns)


def cells(row: Row, columns: Iterable[Column[Row]]) -> str:
    return "".join(f"<td{column.css}>{column.shown(row)}</td>" for column in columns)


def _heading(column: Column[Any], order: SortOrder) -> str:
    state, arrow = "none", ""
    if column.key == order.sort:
        state, arrow = ("descending", "&nbsp;▼") if order.descending else ("ascending", "&nbsp;▲")
    return (
        f'<th scope="col" aria-sort="{state}"{column.css}><button type="button" data-sort="{escape(column.key)}">'
        f"{escape(column.title)}{arrow}</button></th>"
    )
