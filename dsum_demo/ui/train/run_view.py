"""The run that is looked at, the line and the history: what has changed since it was drawn, and what buttons do.

Everything is read from the runs' files, so that a reload or a second window sees the same. Handlers are functions over
plain values and `Services`, and name the parts of the page that they change.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from dsum_demo.errors import DsumError, InputError
from dsum_demo.models.catalog import ModelSpec
from dsum_demo.runs.queue import in_line, source_title
from dsum_demo.runs.store import ACTIVE, RESUMABLE, Run, RunState, RunStatus
from dsum_demo.training.events import Curve
from dsum_demo.ui.events import clicked
from dsum_demo.ui.html import notice
from dsum_demo.ui.services import Services
from dsum_demo.ui.train.charts import loss_figure, overlay_figures, score_figure
from dsum_demo.ui.train.history import Shown, config_of, differences_table, history_table, press, rows
from dsum_demo.ui.train.run_cards import EMPTY, learning_table, line_list, run_card, state_of
from dsum_demo.utils.files import tail
from dsum_demo.utils.path_redaction import hide_paths

KEPT_ZIP_SECONDS = 600
KEEP, DISCARD, RESUME, DELETE = "keep", "discard", "resume", "delete"

Update = Any  # gradio's updates are plain dictionaries
PARTS = (
    "drawn", "timer", "line", "watching", "card", "keep", "discard", "resume", "open", "zip", "delete", "asking",
    "question", "said", "output", "curves", "loss", "score", "learning", "shown", "history", "overlay", "overlay_loss",
    "overlay_score", "differences", "told", "about",
)  # fmt: skip


def parts(**changes: Update) -> tuple[Update, ...]:
    """Updates in the order of PARTS; what is not named stays as it is."""
    unknown = changes.keys() - set(PARTS)
    assert not unknown, unknown
    return tuple(changes.get(name, gr.skip()) for name in PARTS)


def look(
    services: Services, watching: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any], **more: Update
) -> tuple[Update, ...]:
    """What has changed since `drawn`; `more` are updates of the caller's. `watching`: a run's name, None for the one
    that is worth looking at most: what trains, what waits, what is newest.
    """
    jobs = services.jobs
    everybodys = [(run, run.status()) for run in jobs.runs.all()]
    found = [(run, status) for run, status in everybodys if jobs.may_see(run, owner)]
    states = {run.name: status for run, status in found}
    line = in_line(everybodys)
    current = next((run for run, status in everybodys if status.state in ACTIVE), None)
    if current is None and line and next(status for run, status in everybodys if run is line[0]).pid:
        current, *line = line  # it is starting
    asked = watching
    if watching not in states:
        first = [run.name for run in (current, *line) if run and run.name in states]
        watching = first[0] if first else found[0][0].name if found else None
    keys: dict[str, Any] = {"runs": tuple((name, s.state, s.updated) for name, s in states.items())}
    changes: dict[str, Update] = {}
    if watching != asked or keys["runs"] != drawn.get("runs"):
        changes["watching"] = gr.update(
            choices=[(f"{name} · {state_of(states[name])}", name) for name in states],
            value=watching,
            visible=bool(states),
        )
    if not found:
        changes |= {"card": EMPTY, **_nothing()}
    watched = next((run for run, _ in found if run.name == watching), None)
    if watched:
        changes |= _watched(services, watched, states[watched.name], line, drawn, keys)
    mine = current if current and current.name in states else None
    shown_line = tuple(run.name if run.name in states else "" for run in line)
    keys["line"] = shown_line, current is not None, mine.name if mine else "", _percent(services, mine)
    if keys["line"] != drawn.get("line"):
        changes["line"] = line_list(
            (mine.name, jobs.curve(mine)) if mine else ("", Curve()) if current else None,
            [(name, bool(name)) for name in shown_line],
        )
    if keys["runs"] != drawn.get("runs"):
        table = rows(jobs, owner)
        kept = press(shown, {}, [row.name for row in table])
        changes |= {"history": history_table(table, kept), "shown": kept}
        if kept != shown:
            changes |= overlay(services, kept, owner)
    busy = current is not None or bool(line)
    return parts(**{**changes, "timer": gr.update(active=busy), "drawn": keys, **more})


def tick(
    services: Services, watching: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any]
) -> tuple[Update, ...]:
    """Nothing but what is new."""
    return look(services, watching, owner, shown, drawn)


def look_first(
    services: Services, watching: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any]
) -> tuple[Update, ...]:
    """On loading the page: everything, whatever an earlier load has drawn."""
    return look(services, watching, owner, shown, {})


def show(
    services: Services, name: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any]
) -> tuple[Update, ...]:
    return look(services, name, owner, shown, drawn, asking=gr.update(visible=False), told="")


def press_in_table(
    services: Services, watching: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any], event: gr.EventData
) -> tuple[Update, ...]:
    return pressed(services, owner, shown, drawn, clicked(event))


def pressed(
    services: Services, owner: str, shown: Shown, drawn: Mapping[str, Any], data: Mapping[str, Any]
) -> tuple[Update, ...]:
    """Something in the history or in the line was pressed: a run's name, its removal, a heading, or a box."""
    if name := data.get("show"):
        return show(services, name, owner, shown, drawn)
    if name := data.get("remove"):
        return act(services, KEEP, name, owner, shown, drawn)
    table = rows(services.jobs, owner)
    shown = press(shown, data, [row.name for row in table])
    return parts(shown=shown, history=history_table(table, shown), **overlay(services, shown, owner))


def keep(
    services: Services, watching: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any]
) -> tuple[Update, ...]:
    return act(services, KEEP, watching, owner, shown, drawn)


def resume(
    services: Services, watching: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any]
) -> tuple[Update, ...]:
    return act(services, RESUME, watching, owner, shown, drawn)


def ask_discard(watching: str | None) -> tuple[Update, ...]:
    return ask(DISCARD, watching)


def ask_delete(watching: str | None) -> tuple[Update, ...]:
    return ask(DELETE, watching)


def answer_no() -> tuple[Update, ...]:
    return parts(asking=gr.update(visible=False), about=None)


def answer_yes(
    services: Services, about: tuple[str, str] | None, owner: str, shown: Shown, drawn: Mapping[str, Any]
) -> tuple[Update, ...]:
    return act(services, *about, owner, shown, drawn) if about else answer_no()


def ask(action: str, name: str | None) -> tuple[Update, ...]:
    """The question before something is lost; `about` remembers which run it was asked for."""
    if not name:
        return parts()
    questions = {
        DISCARD: f"Stop <b>{escape(name)}</b> and delete its weights? It stays in the history.",
        DELETE: f"Delete <b>{escape(name)}</b> with its weights, curves and settings? This cannot be undone.",
    }
    return parts(asking=gr.update(visible=True), question=f"<p>{questions[action]}</p>", about=(action, name))


def act(
    services: Services, action: str, name: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any]
) -> tuple[Update, ...]:
    """Stop, resume, remove or delete a run, then look again. What cannot be done is told."""
    told: str = ""
    try:
        run = services.jobs.get(name or "", owner)
        if action == RESUME:
            services.jobs.resume(run.name)
        elif action == DELETE:
            services.jobs.delete(run.name)
            services.registry.refresh()
        else:
            services.jobs.stop(run.name, keep=action != DISCARD)
        if action in (DELETE, DISCARD):
            _drop_zips(services, run)
    except (DsumError, OSError) as error:
        told = notice(services.told(error), "error")
    return look(services, name, owner, shown, drawn, asking=gr.update(visible=False), told=told)


def make_zip(services: Services, name: str | None, owner: str = "") -> Path | None:
    """The run as a zip file without this machine's folders in it; it stays long enough to be fetched.

    Raises gradio's error for a run that is not there, or not this visitor's.
    """
    if not name:
        return None
    try:
        run = services.jobs.get(name, owner)
    except InputError as error:
        raise gr.Error(services.told(error), print_exception=False) from error
    file = _zip_file(services, run)
    file.parent.mkdir(parents=True, exist_ok=True)
    for old in file.parent.glob("*.zip"):
        if time.time() - old.stat().st_mtime > KEPT_ZIP_SECONDS:
            old.unlink(missing_ok=True)
    run.write_zip(file, lambda text: without_paths(services, run, text))
    return file


def without_paths(services: Services, run: Run, text: str) -> str:
    """What the run wrote, without this machine's folders: its data goes by the file's name."""
    data = config_of(run).get("data", {})
    sources = [str(data[key]) for key in ("source", "validation_source") if data.get(key)]
    return hide_paths(text, services.settings, {path: source_title(path) for path in sources if "/" in path})


def _drop_zips(services: Services, run: Run) -> None:
    """Forget the run's zip and the copies that gradio serves, which would outlive the run by hours."""
    _zip_file(services, run).unlink(missing_ok=True)
    for copy in Path(get_upload_folder()).glob(f"*/{run.name}.zip"):
        copy.unlink(missing_ok=True)


def _zip_file(services: Services, run: Run) -> Path:
    return services.settings.data_dir / "downloads" / f"{run.name}.zip"


def model_of(services: Services, name: str, owner: str = "") -> ModelSpec:
    """The run as a model in the registry, which is looked at again. Raises InputError where it is none."""
    services.registry.refresh()
    best, registry = services.jobs.get(name, owner).best, services.registry.seen_by(owner)
    for family in registry.families():
        for spec in family.variants:
            if spec.source and Path(spec.source.location) == best:
                return spec
    why = next((misfit.reason for misfit in registry.misfits if misfit.folder == best), "")
    raise InputError(f"{name} cannot be compared. {why}".strip())


def overlay(services: Services, shown: Shown, owner: str = "") -> dict[str, Update]:
    """Curves of the chosen runs over one another, and what differs between their configs."""
    runs = {name: services.jobs.get(name, owner) for name in shown.chosen}
    if len(runs) < 2:
        return {"overlay": gr.update(visible=False)}
    configs = {name: config_of(run) for name, run in runs.items()}
    methods = {name: str(config.get("training", {}).get("method", "")) for name, config in configs.items()}
    loss, score = overlay_figures({name: services.jobs.curve(run) for name, run in runs.items()}, methods)
    return {
        "overlay": gr.update(visible=True),
        "overlay_loss": loss,
        "overlay_score": score,
        "differences": differences_table(configs),
    }


def _watched(
    services: Services,
    run: Run,
    status: RunStatus,
    line: list[Run],
    drawn: Mapping[str, Any],
    keys: dict[str, Any],
) -> dict[str, Update]:
    """The card, the buttons and the curves of one run, each where it has changed."""
    curve = services.jobs.curve(run)
    position = next((number for number, other in enumerate(line, 1) if other.name == run.name), 0)
    grown = (run.name, len(curve.steps), len(curve.evaluations), curve.start and curve.start["time"])
    keys["curve"], keys["card"] = grown, (*grown, status, position)
    if keys["card"] == drawn.get("card"):
        return {}
    changes: dict[str, Update] = {}
    config, result = config_of(run), run.result()
    status = replace(status, reason=without_paths(services, run, status.reason))
    changes["card"] = run_card(run.name, config, status, curve, result, position)
    ended = status.state not in (*ACTIVE, RunState.QUEUED)
    # One that waits without a process leaves the line by the button beside its name there.
    stoppable = status.state is RunState.RUNNING or (status.state is RunState.QUEUED and bool(status.pid))
    said = tail(run.output_file) if status.state in (RunState.FAILED, RunState.CRASHED) else ""
    said = without_paths(services, run, said)  # the server's folders are nobody's business
    changes |= {
        "keep": gr.update(visible=stoppable),
        "discard": gr.update(visible=stoppable),
        "resume": gr.update(visible=ended and status.state in RESUMABLE),
        "open": gr.update(visible=ended and result is not None),
        "zip": gr.update(visible=ended),
        "delete": gr.update(visible=ended),
        "said": gr.update(visible=bool(said)),
        "output": f"<pre>{escape(said)}</pre>",
    }
    if grown != drawn.get("curve"):
        method = str(config.get("training", {}).get("method", ""))
        changes["curves"] = gr.update(visible=bool(curve.steps))
        changes["learning"] = learning_table(curve)
        if curve.steps:
            changes |= {"loss": loss_figure(curve, method), "score": score_figure(curve, method)}
    return changes


def _nothing() -> dict[str, Update]:
    buttons = ("keep", "discard", "resume", "open", "zip", "delete")
    return {**dict.fromkeys((*buttons, "said", "curves", "overlay"), gr.update(visible=False)), "learning": ""}


def _percent(services: Services, run: Run | None) -> int:
    latest = services.jobs.curve(run).latest if run else None
    return round(100 * latest["step"] / max(1, latest["steps"])) if latest else 0
