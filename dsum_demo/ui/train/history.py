"""The history of training runs: a sortable table, overlaid curves of selected runs, and their differing settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

from dsum_demo.errors import DsumError
from dsum_demo.runs.queue import RunQueue, source_title
from dsum_demo.runs.store import Run, RunStatus, differences
from dsum_demo.training.methods import METHODS
from dsum_demo.ui.sortable_table import Column, SortOrder, cells, headings, sort_rows
from dsum_demo.ui.train.charts import MOST_OVERLAID
from dsum_demo.ui.train.run_cards import ago, best_score, show_button, state_of
from dsum_demo.utils.formatting import duration, millions, size


@dataclass(frozen=True)
class Shown(SortOrder):
    """A visitor's view of the history. chosen: names of the runs whose curves are overlaid, in order."""

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


def _or_dash(value: Any, form: Callable[[Any], str]) -> str:
    return form(value) if value else "–"


def _number(key: str, title: str, value: Callable[[RunRow], Any], form: Callable[[Any], str]) -> Column[RunRow]:
    return Column(key, title, value, lambda row: _or_dash(value(row), form), largest_first=True)


def _result(key: str) -> Callable[[RunRow], Any]:
    return lambda row: row.result.get(key)


COLUMNS: tuple[Column[RunRow], ...] = (
    Column("name", "Run", lambda r: r.name.casefold(), lambda r: show_button(r.name), number=False),
    Column("state", "State", lambda r: state_of(r.status),
           lambda r: f'<span class="state run-{r.status.state}">{state_of(r.status)}</span>', number=False),
    Column("method", "Method", lambda r: _method(r), lambda r: escape(_method(r)), number=False),
    Column("data", "Data", lambda r: _data(r), lambda r: escape(_data(r)), number=False),
    _number("score", "ROUGE-1", lambda r: r.score, lambda v: f"{v:.1f}"),
    Column("forgetting", "Forgetting", lambda r: _forgetting(r),
           lambda r: "–" if (rise := _forgetting(r)) is None else f"{rise:+.3f}"),
    _number("trained", "Trained", _result("trained_parameters"), millions),
    _number("bytes", "Checkpoint", _result("checkpoint_bytes"), size),
    _number("memory", "Peak memory", _result("peak_memory_bytes"), size),
    _number("speed", "Dialogues/s", _result("samples_per_second"), lambda v: f"{v:.1f}"),
    _number("time", "Time", _result("seconds"), duration),
    _number("created", "Started", lambda r: r.config.get("created"), ago),
)  # fmt: skip


def rows(jobs: RunQueue, owner: str = "") -> list[RunRow]:
    """The runs visible to `owner`, newest first. A run with an unreadable config is listed without its settings."""
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


def click(shown: Shown, clicked: Mapping[str, Any], names: list[str]) -> Shown:
    """The view after a click on a heading or a checkbox; unknown names change nothing."""
    chosen = tuple(name for name in shown.chosen if name in names)
    name = clicked.get("choose")
    if column := next((column for column in COLUMNS if column.key == clicked.get("sort")), None):
        return replace(shown.click(column), chosen=chosen)
    if name in chosen:
        return replace(shown, chosen=tuple(other for other in chosen if other != name))
    if name in names:
        return replace(shown, chosen=(*chosen, name)[-MOST_OVERLAID:])
    return replace(shown, chosen=chosen)


def history_table(found: list[RunRow], shown: Shown) -> str:
    """All runs with a checkbox per run for the overlaid curves."""
    if not found:
        return ""
    body = "".join(_row(row, shown) for row in sort_rows(found, COLUMNS, shown))
    return (
        '<h3 class="part">All runs</h3><div class="scroll"><table class="scores sortable history"><thead><tr>'
        f'<th scope="col"><span class="only-read">Overlay</span></th>{headings(COLUMNS, shown)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        '<p class="hint">Click a heading to sort, a name to open a run. Select two or more to overlay their curves and '
        "compare their settings. Forgetting is how much the loss on a general text rose; decoder-only models have it."
        "</p>"
    )


def differences_table(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """The settings that differ between the selected runs."""
    found = differences(configs)
    if not found:
        return '<p class="hint">These runs have the same settings.</p>'
    head = "".join(f"<th>{escape(name)}</th>" for name in configs)
    body = "".join(
        f'<tr><th scope="row">{escape(key)}</th>'
        + "".join(f"<td>{_value(key, row[name])}</td>" for name in configs)
        + "</tr>"
        for key, row in found.items()
    )
    return (
        '<div class="scroll" tabindex="0"><table class="scores differences"><thead><tr><th>Setting</th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: RunRow, shown: Shown) -> str:
    checked = " checked" if row.name in shown.chosen else ""
    name = escape(row.name)
    box = f'<input type="checkbox" data-choose="{name}" aria-label="Overlay the curve of {name}"{checked}>'
    return f"<tr><td>{box}</td>{cells(row, COLUMNS)}</tr>"


def _method(row: RunRow) -> str:
    name = str(row.config.get("training", {}).get("method", ""))
    title = METHODS[name].title if name in METHODS else name
    if row.config.get("start_from"):
        return f"{title}, DPO"
    return f"{title}, sweep" if row.config.get("sweep") else title


def _forgetting(row: RunRow) -> float | None:
    """How much the loss on a general text rose, for decoder-only models."""
    losses = row.result.get("general_loss")
    return losses[1] - losses[0] if losses else None


def _data(row: RunRow) -> str:
    return source_title(str(row.config.get("data", {}).get("source", "")))


def _value(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if key.endswith("source"):
        value = source_title(str(value))
    return escape(", ".join(map(str, value)) if isinstance(value, list) else str(value))
