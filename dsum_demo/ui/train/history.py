"""The history of training runs: a table that sorts, curves of chosen runs over one another, and what differs.

Functions over the runs' files; every text is escaped here. The page sends back what was pressed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

from dsum_demo.errors import DsumError
from dsum_demo.runs.queue import RunQueue, source_title
from dsum_demo.runs.store import Run, RunStatus, differences
from dsum_demo.training.methods import METHODS
from dsum_demo.ui.html import millions
from dsum_demo.ui.train.charts import MOST_OVERLAID
from dsum_demo.ui.train.run_cards import ago, best_score, duration, size, state_of

TEXT_CELL = ' class="text-cell"'


@dataclass(frozen=True)
class Shown:
    """How one visitor looks at the history. chosen: names of the runs that are overlaid, in order."""

    sort: str = "created"
    descending: bool = True
    chosen: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRow:
    name: str
    status: RunStatus
    config: Mapping[str, Any]
    result: Mapping[str, Any] = field(default_factory=dict)
    score: float | None = None


@dataclass(frozen=True)
class RunColumn:
    """value: what is sorted by, None last in either direction. shown: HTML."""

    title: str
    value: Callable[[RunRow], Any]
    shown: Callable[[RunRow], str]
    number: bool = True


def _or_dash(value: Any, form: Callable[[Any], str]) -> str:
    return form(value) if value else "–"


COLUMNS: dict[str, RunColumn] = {
    "name": RunColumn("Run", lambda r: r.name.casefold(), lambda r: _name(r.name), False),
    "state": RunColumn("State", lambda r: state_of(r.status),
                    lambda r: f'<span class="state run-{r.status.state}">{state_of(r.status)}</span>', False),
    "method": RunColumn("Method", lambda r: _method(r), lambda r: escape(_method(r)), False),
    "data": RunColumn("Data", lambda r: _data(r), lambda r: escape(_data(r)), False),
    "score": RunColumn("ROUGE-1", lambda r: r.score, lambda r: _or_dash(r.score, lambda v: f"{v:.1f}")),
    "trained": RunColumn("Trained", lambda r: r.result.get("trained_parameters"),
                      lambda r: _or_dash(r.result.get("trained_parameters"), millions)),
    "bytes": RunColumn("Checkpoint", lambda r: r.result.get("checkpoint_bytes"),
                    lambda r: _or_dash(r.result.get("checkpoint_bytes"), size)),
    "memory": RunColumn("Peak memory", lambda r: r.result.get("peak_memory_bytes"),
                     lambda r: _or_dash(r.result.get("peak_memory_bytes"), size)),
    "speed": RunColumn("Dialogues/s", lambda r: r.result.get("samples_per_second"),
                    lambda r: _or_dash(r.result.get("samples_per_second"), lambda v: f"{v:.1f}")),
    "time": RunColumn("Time", lambda r: r.result.get("seconds"), lambda r: _or_dash(r.result.get("seconds"), duration)),
    "created": RunColumn("Begun", lambda r: r.config.get("created"), lambda r: _or_dash(r.config.get("created"), ago)),
}  # fmt: skip


def rows(jobs: RunQueue, owner: str = "") -> list[RunRow]:
    """The runs that `owner` may see, newest first. A run whose config cannot be read is listed with what is known."""
    found = []
    for run in jobs.visible(owner):
        result = run.result() or {}
        found.append(RunRow(run.name, run.status(), config_of(run), result, best_score(result, jobs.curve(run))))
    return found


def config_of(run: Run) -> dict[str, Any]:
    try:
        return run.config()
    except DsumError:
        return {}


def press(shown: Shown, pressed: Mapping[str, Any], names: list[str]) -> Shown:
    """The look at the history after a heading or a box was pressed; what is not known changes nothing."""
    chosen = tuple(name for name in shown.chosen if name in names)
    sort, name = pressed.get("sort"), pressed.get("choose")
    if sort in COLUMNS:
        # Text begins with a, and figures with the largest.
        descending = not shown.descending if sort == shown.sort else COLUMNS[sort].number
        return replace(shown, sort=sort, descending=descending, chosen=chosen)
    if name in chosen:
        return replace(shown, chosen=tuple(other for other in chosen if other != name))
    if name in names:
        return replace(shown, chosen=(*chosen, name)[-MOST_OVERLAID:])
    return replace(shown, chosen=chosen)


def in_order(found: list[RunRow], shown: Shown) -> list[RunRow]:
    column = COLUMNS.get(shown.sort, COLUMNS["created"])
    there = [row for row in found if column.value(row) is not None]
    return [
        *sorted(there, key=column.value, reverse=shown.descending),
        *(row for row in found if column.value(row) is None),
    ]


def history_table(found: list[RunRow], shown: Shown) -> str:
    """All runs; a heading sorts, a name opens the run above, a box lays its curve over the others'."""
    if not found:
        return ""
    head = "".join(_heading(key, column, shown) for key, column in COLUMNS.items())
    body = "".join(_row(row, shown) for row in in_order(found, shown))
    return (
        '<h3 class="part">All runs</h3><div class="scroll"><table class="scores history"><thead><tr>'
        f'<th scope="col"><span class="only-read">Overlay</span></th>{head}</tr></thead><tbody>{body}</tbody></table>'
        '</div><p class="hint">A heading sorts, a name shows the run. Tick two or more to lay their curves over one '
        "another and see what differs.</p>"
    )


def differences_table(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """What the chosen runs' configs do not have in common."""
    found = differences(configs)
    if not found:
        return '<p class="hint">Their configs are the same.</p>'
    head = "".join(f"<th>{escape(name)}</th>" for name in configs)
    body = "".join(
        f'<tr><th scope="row">{escape(key)}</th>'
        + "".join(f"<td>{_value(key, row[name])}</td>" for name in configs)
        + "</tr>"
        for key, row in found.items()
    )
    return (
        '<div class="scroll"><table class="scores differences"><thead><tr><th>What differs</th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _heading(key: str, column: RunColumn, shown: Shown) -> str:
    by = key == shown.sort
    state = ("descending" if shown.descending else "ascending") if by else "none"
    arrow = (" ▼" if shown.descending else " ▲") if by else ""
    css = "" if column.number else TEXT_CELL
    return (
        f'<th scope="col" aria-sort="{state}"{css}><button type="button" class="link" data-sort="{key}">'
        f"{escape(column.title)}{arrow}</button></th>"
    )


def _row(row: RunRow, shown: Shown) -> str:
    checked = " checked" if row.name in shown.chosen else ""
    name = escape(row.name)
    box = f'<input type="checkbox" data-choose="{name}" aria-label="Overlay the curve of {name}"{checked}>'
    cells = "".join(f"<td{'' if c.number else TEXT_CELL}>{c.shown(row)}</td>" for c in COLUMNS.values())
    return f"<tr><td>{box}</td>{cells}</tr>"


def _name(name: str) -> str:
    return f'<button type="button" class="link" data-show="{escape(name)}">{escape(name)}</button>'


def _method(row: RunRow) -> str:
    name = str(row.config.get("training", {}).get("method", ""))
    return METHODS[name].title if name in METHODS else name


def _data(row: RunRow) -> str:
    return source_title(str(row.config.get("data", {}).get("source", "")))


def _value(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if key.endswith("source"):
        value = source_title(str(value))
    return escape(", ".join(map(str, value)) if isinstance(value, list) else str(value))
