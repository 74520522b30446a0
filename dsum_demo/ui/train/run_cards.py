"""Training runs as HTML: state and progress, the queue, and the cost estimate."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from dsum_demo.runs.queue import source_title
from dsum_demo.runs.store import ACTIVE, RunState, RunStatus
from dsum_demo.training.config import RunConfig
from dsum_demo.training.events import Curve
from dsum_demo.training.methods import METHODS
from dsum_demo.training.sweep import SweepRow, best_rate
from dsum_demo.ui.html import notice
from dsum_demo.utils.formatting import duration, millions, size, written_date

EMPTY = (
    '<div class="welcome"><h3>Train your own model</h3><p>Fine-tune the base model on dialogues and their summaries, '
    "fully or with a parameter-efficient method such as LoRA, and follow its progress here. Press <b>Start training"
    "</b>: the smoke test takes about a minute and needs no network. Open a finished run in Compare to read its "
    "summaries next to the base model’s.</p></div>"
)
STATES = {
    RunState.QUEUED: "queued",
    RunState.RUNNING: "training",
    RunState.STOPPING: "stopping",
    RunState.FINISHED: "finished",
    RunState.STOPPED: "stopped",
    RunState.FAILED: "failed",
    RunState.CRASHED: "crashed",
}


def run_card(
    name: str,
    config: Mapping[str, Any],
    status: RunStatus,
    curve: Curve,
    result: Mapping[str, Any] | None,
    position: int = 0,
) -> str:
    """State, progress and figures of one run. position: in the queue, from 1; 0 if it is not queued."""
    training = config.get("training", {})
    method = METHODS.get(training.get("method", ""))
    title = escape(method.title if method else str(training.get("method", "")))
    title = f"Preference training of {title}" if config.get("start_from") else title
    about = [
        f"Learning-rate sweep of {title}" if config.get("sweep") else title,
        f"on {escape(str(config.get('start_from') or config.get('base', '')))}",
        f"with {escape(source_title(str(config.get('data', {}).get('source', ''))))}",
    ]
    state = state_of(status)
    if position and not status.pid:
        state = f"number {position} in the queue"
    elif status.state is RunState.RUNNING and not curve.steps:
        state = "loading model and data"
    return (
        f'<article class="run"><header><h3>{escape(name)}</h3>'
        f'<span class="state run-{status.state}">{state}</span></header>'
        f'<div class="hint">{" ".join(about)}</div>{_progress(status, curve)}'
        f"{_figures(status, curve, result)}{_reason(status)}</article>"
    )


def recorded_card(curve: Curve) -> str:
    """What the recorded run is that the tab shows before the first run."""
    start = curve.start or {}
    day = written_date(datetime.fromtimestamp(float(start.get("time", 0)), UTC).isoformat())
    return notice(
        f"Recorded example: the smoke test, LoRA on dsum-t5 with {start.get('train_dialogues')} of the samples, "
        f"{start.get('steps')} steps, recorded on {day}. Your first run replaces it."
    )


def state_of(status: RunStatus) -> str:
    """The state as one word; a queued run that already has a process is starting."""
    return "starting" if status.state is RunState.QUEUED and status.pid else STATES[status.state]


def queue_list(current: tuple[str, Curve] | None, waiting: Sequence[tuple[str, bool]]) -> str:
    """The current run and the queue. waiting: (name, whether this visitor can remove it); the name is empty for another
    visitor's run.
    """
    if not waiting and (current is None or current[0]):
        return ""
    items = []
    if current and not current[0]:
        items.append("<li>Another visitor’s run is training</li>")
    elif current:
        name, curve = current
        share = f", {100 * _share(curve):.0f} %" if curve.latest else ""
        items.append(f"<li>{show_button(name)} {'is training' if curve.latest else 'is starting'}{share}</li>")
    for number, (name, may) in enumerate(waiting, 1):
        remove = (
            f'<button type="button" class="small" data-remove="{escape(name)}" '
            f'aria-label="Remove {escape(name)} from the queue">Remove</button>'
            if may
            else ""
        )
        shown = show_button(name) if name else "Another visitor’s run"
        items.append(f'<li><span class="place">{number}.</span> {shown} {remove}</li>')
    return f'<div class="line"><b>Queue</b><ul>{"".join(items)}</ul></div>'


def sweep_table(rows: Sequence[SweepRow]) -> str:
    """The learning rates of a sweep with their final loss; each complete one can be put into the form."""
    best = best_rate(rows)
    body = ""
    for row in rows:
        loss = f"{row.level:.3f}" if row.level is not None else "diverged" if row.problem else "–"
        mark = ' <span class="kept">●</span> lowest' if row is best else ""
        use = (
            f'<button type="button" class="small" data-use="{row.rate!r}">Use this one</button>'
            if row.level is not None
            else escape(row.problem)
        )
        body += f'<tr><th scope="row">{row.rate:g}</th><td>{loss}{mark}</td><td class="text-cell">{use}</td></tr>'
    return (
        '<table class="scores sweep"><thead><tr><th scope="col">Learning rate</th>'
        '<th scope="col">Loss, last quarter</th>'
        f'<th scope="col"><span class="only-read">Use</span></th></tr></thead><tbody>{body}</tbody></table>'
        '<p class="hint">Each value starts from the same weights, with the same seed and batches. Few steps favor high '
        "learning rates: for a long run take the one with the lowest loss or the next lower one.</p>"
    )


def cost_card(cost: Mapping[str, Any], elsewhere: bool = False) -> str:
    """The result of a probe. elsewhere: another run was training, which slows the measurement."""
    share = 100 * float(cost["share"])
    cells = {
        "Trained parameters": f"{millions(int(cost['trained_parameters']))} <small>of "
        f"{millions(int(cost['parameters']))}, {share:.3g} %</small>",
        "Checkpoint": size(cost["checkpoint_bytes"]),
        "Peak memory": f"{size(cost['peak_memory_bytes'])} <small>of {size(cost['free_memory_bytes'])} free</small>",
        "Time": f"{duration(cost['seconds'])} <small>{cost['steps']:,} steps, "
        f"{cost['samples_per_second']:.1f} dialogues/s</small>",
    }
    data = (
        f"{cost['train_dialogues']:,} training dialogues, {cost['validation_dialogues']:,} validation dialogues; "
        f"{escape(str(cost['precision']))} on {escape(str(cost['device']))}. Measured with three steps."
    )
    notes = " ".join(str(note) for note in cost.get("notes", ()))
    busy = "Another run was training during this measurement; the real run will be faster." if elsewhere else ""
    return (
        (notice(f"This run does not fit into memory. {cost['refusal']}", "error") if cost.get("refusal") else "")
        + _tiles(cells)
        + f'<p class="hint">{data} {escape(notes)} {busy}</p>'
    )


def command_line(config: RunConfig, public: bool = False) -> str:
    """The command that starts the same run. On a public Space it contains only the name of an uploaded file."""
    words = ["dsum", *config.command()]
    if public:
        words = [source_title(word) if word == config.data.source else word for word in words]
    return shlex.join(words)


def best_score(result: Mapping[str, Any] | None, curve: Curve | None = None) -> float | None:
    """ROUGE-1 of the best weights, F1 x 100."""
    best = (result or {}).get("best") or (curve.best if curve else None) or {}
    return 100 * best["rouge1"] if best.get("rouge1") is not None else None


def _share(curve: Curve) -> float:
    latest = curve.latest
    return latest["step"] / max(1, latest["steps"]) if latest else 0.0


def _progress(status: RunStatus, curve: Curve) -> str:
    if status.state not in ACTIVE and not curve.latest:
        return ""
    percent = 100 * _share(curve)
    css = "" if status.state in ACTIVE else " ended"
    return (
        f'<div class="bar{css}" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent:.0f}"><div style="width:{percent:.1f}%"></div></div>'
    )


def _figures(status: RunStatus, curve: Curve, result: Mapping[str, Any] | None) -> str:
    latest = curve.latest
    if latest is None:
        return ""
    score = best_score(result, curve)
    cells = {"Step": f"{latest['step']:,} <small>of {latest['steps']:,}</small>"}
    if status.state in ACTIVE:
        cells["Time left"] = duration(latest.get("seconds_left") or 0)
        cells["Speed"] = f"{latest.get('samples_per_second') or 0:.1f} <small>dialogues/s</small>"
    else:
        cells["Time"] = duration((result or {}).get("seconds") or latest.get("seconds") or 0)
        speed = (result or {}).get("samples_per_second") or latest.get("samples_per_second") or 0
        cells["Speed"] = f"{speed:.1f} <small>dialogues/s</small>"
    cells["Peak memory"] = size(latest.get("peak_memory_bytes") or 0)
    start = curve.start or {}
    if start.get("trained_parameters"):
        share = 100 * start["trained_parameters"] / max(1, start.get("parameters") or 0)
        cells["Trained"] = f"{share:.3g} % <small>{millions(start['trained_parameters'])}</small>"
    if score is not None:
        cells["Best ROUGE-1"] = f"{score:.1f}"
    if (curve.best or {}).get("accuracy") is not None:
        cells["Accuracy"] = f"{100 * (curve.best or {})['accuracy']:.0f} % <small>of held-out pairs</small>"
    if curve.forgetting:
        before, after = curve.forgetting
        cells["Forgetting"] = f"{after - before:+.3f} <small>loss {before:.3f} → {after:.3f}</small>"
    return _tiles(cells)


def _tiles(cells: Mapping[str, str]) -> str:
    return (
        '<dl class="tiles">' + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in cells.items())
    ) + "</dl>"


def _reason(status: RunStatus) -> str:
    if status.state is RunState.CRASHED:
        return notice(f"The run crashed. {status.reason}", "error")
    if status.state is RunState.FAILED:
        return notice(f"The run failed. {status.reason}", "error")
    if status.state is RunState.STOPPING:
        return notice("Stopping after the current step.")
    return notice(status.reason) if status.state in (RunState.STOPPED, RunState.FINISHED) else ""


def show_button(name: str) -> str:
    """The name of a run, which opens it."""
    return f'<button type="button" class="link" data-show="{escape(name)}">{escape(name)}</button>'


def ago(when: float) -> str:
    """ "3 min ago" """
    passed = max(0.0, time.time() - when)
    if passed < 60:
        return "just now"
    if passed < 86_400:
        return f"{duration(passed)} ago"
    return f"{passed / 86_400:.0f} d ago"
