"""Handlers of the selected run, the queue and the history: incremental redraws and button actions.

State is read from the runs' files, so a reload or a second window shows the same. Handlers return updates by name.
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
from dsum_demo.models.snippet import snippet_of
from dsum_demo.runs.queue import in_queue_order, source_title
from dsum_demo.runs.store import ACTIVE, RESUMABLE, Run, RunState, RunStatus
from dsum_demo.training.config import RunConfig
from dsum_demo.training.events import Curve, read_curve
from dsum_demo.training.methods import METHODS
from dsum_demo.training.sweep import sweep_rows
from dsum_demo.ui.events import clicked
from dsum_demo.ui.html import link_button, notice
from dsum_demo.ui.model_export import code_block
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import Update
from dsum_demo.ui.train.charts import loss_figure, overlay_figures, score_figure, step_figure, sweep_figure
from dsum_demo.ui.train.first_batch_view import first_batch_details
from dsum_demo.ui.train.generated_summaries import learning_table
from dsum_demo.ui.train.history import Shown, click, config_of, differences_table, history_table, rows
from dsum_demo.ui.train.push import can_push
from dsum_demo.ui.train.run_cards import EMPTY, queue_list, recorded_card, run_card, state_of, sweep_table
from dsum_demo.utils.files import tail

KEPT_ZIP_SECONDS = 600
RECORDED = Path("recordings", "smoke-lora", "events.jsonl")  # below the root: the smoke test's run, which ships
KEEP, DISCARD, RESUME, DELETE = "keep", "discard", "resume", "delete"

PARTS = (
    "drawn", "timer", "line", "watching", "card", "keep", "discard", "resume", "open", "zip", "export", "delete",
    "code", "push", "asking", "question", "log", "output", "curves", "loss", "score_title", "score", "dynamics",
    "grad_norm", "learning_rate", "learning", "batch", "sweep", "sweep_chart", "sweep_table", "shown", "history",
    "overlay", "overlay_loss", "overlay_score", "differences", "notice", "about",
)  # fmt: skip


def parts(**changes: Update) -> tuple[Update, ...]:
    """Updates in the order of PARTS; parts that are not named are unchanged."""
    if unknown := changes.keys() - set(PARTS):
        raise TypeError(f"Unknown parts: {', '.join(sorted(unknown))}.")
    return tuple(changes.get(name, gr.skip()) for name in PARTS)


def redraw(
    services: Services,
    watching: str | None,
    owner: str,
    shown: Shown,
    drawn: Mapping[str, Any],
    chosen: bool = True,
    **more: Update,
) -> tuple[Update, ...]:
    """The parts that changed since `drawn`, and `more` updates of the caller. watching: the name of a run; None selects
    the running one, else the first in the queue, else the newest. chosen: whether it may differ from the page's list.
    """
    jobs = services.jobs
    all_runs = [(run, run.status()) for run in jobs.runs.all()]
    found = [(run, status) for run, status in all_runs if jobs.may_see(run, owner)]
    states = {run.name: status for run, status in found}
    line = in_queue_order(all_runs)
    current = next((run for run, status in all_runs if status.state in ACTIVE), None)
    if current is None and line and next(status for run, status in all_runs if run is line[0]).pid:
        current, *line = line  # it is starting
    asked = watching
    if watching not in states:
        first = [run.name for run in (current, *line) if run and run.name in states]
        watching = first[0] if first else found[0][0].name if found else None
    keys: dict[str, Any] = {"runs": tuple((name, s.state, s.updated) for name, s in states.items())}
    keys["watching"] = watching
    changes: dict[str, Update] = {}
    # A click on a name in the history changes the run, and the buttons use the value of this list.
    if watching != asked or any(keys[key] != drawn.get(key) for key in ("runs", "watching")):
        choices = [(f"{name} · {state_of(states[name])}", name) for name in states]
        # A tick that ends after a click must not take back what was chosen.
        value = {"value": watching} if chosen or watching != asked else {}
        changes["watching"] = gr.update(choices=choices, visible=bool(states), **value)
    if not found:
        changes |= {"card": EMPTY, **_nothing(), **recorded_run(services)}
    watched = next((run for run, _ in found if run.name == watching), None)
    if watched:
        changes |= _watched(services, watched, owner, states[watched.name], line, drawn, keys)
    mine = current if current and current.name in states else None
    shown_line = tuple(run.name if run.name in states else "" for run in line)
    keys["line"] = shown_line, current is not None, mine.name if mine else "", _percent(services, mine)
    if keys["line"] != drawn.get("line"):
        changes["line"] = queue_list(
            (mine.name, jobs.curve(mine)) if mine else ("", Curve()) if current else None,
            [(name, bool(name)) for name in shown_line],
        )
    if keys["runs"] != drawn.get("runs"):
        table = rows(jobs, owner)
        kept = click(shown, {}, [row.name for row in table])
        changes |= {"history": history_table(table, kept), "shown": kept}
        if kept != shown:
            changes |= overlay(services, kept, owner)
    busy = current is not None or bool(line)
    return parts(**{**changes, "timer": gr.update(active=busy), "drawn": keys, **more})


def tick(
    services: Services, watching: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any]
) -> tuple[Update, ...]:
    """Only the parts that changed."""
    return redraw(services, watching, owner, shown, drawn, chosen=False)


def redraw_all(
    services: Services, watching: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any]
) -> tuple[Update, ...]:
    """All parts, after the page was loaded."""
    return redraw(services, watching, owner, shown, {})


def show(
    services: Services, name: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any]
) -> tuple[Update, ...]:
    return redraw(services, name, owner, shown, drawn, asking=gr.update(visible=False), notice="")


def click_table(
    services: Services, watching: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any], event: gr.EventData
) -> tuple[Update, ...]:
    return apply_click(services, owner, shown, drawn, clicked(event))


def apply_click(
    services: Services, owner: str, shown: Shown, drawn: Mapping[str, Any], data: Mapping[str, Any]
) -> tuple[Update, ...]:
    """A click in the history or the queue: on a run's name, Remove, a heading, or a checkbox."""
    if name := data.get("show"):
        return show(services, name, owner, shown, drawn)
    if name := data.get("remove"):
        return act(services, KEEP, name, owner, shown, drawn)
    table = rows(services.jobs, owner)
    shown = click(shown, data, [row.name for row in table])
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
    """Ask for confirmation before data is lost; `about` stores the action and the run."""
    if not name:
        return parts()
    questions = {
        DISCARD: f"Stop <b>{escape(name)}</b> and delete its weights? The run stays in the history.",
        DELETE: f"Delete <b>{escape(name)}</b> with its weights, curves and settings? This cannot be undone.",
    }
    return parts(asking=gr.update(visible=True), question=f"<p>{questions[action]}</p>", about=(action, name))


def act(
    services: Services, action: str, name: str | None, owner: str, shown: Shown, drawn: Mapping[str, Any]
) -> tuple[Update, ...]:
    """Stop, resume, remove or delete a run and redraw; an error is shown."""
    problem = ""
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
        problem = notice(services.told(error), "error")
    return redraw(services, name, owner, shown, drawn, asking=gr.update(visible=False), notice=problem)


def make_zip(services: Services, name: str | None, owner: str = "") -> Path | None:
    """The run as a zip file without server paths; it is kept for KEPT_ZIP_SECONDS.

    Raises gr.Error for a run that does not exist or belongs to another visitor.
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
    """`text` of the run with server paths removed; data files keep their name."""
    data = config_of(run).get("data", {})
    sources = [str(data[key]) for key in ("source", "validation_source") if data.get(key)]
    return services.without_paths(text, {path: source_title(path) for path in sources if "/" in path})


def _drop_zips(services: Services, run: Run) -> None:
    """Delete the run's zip and the copies that gradio serves, which would outlive the run by hours."""
    _zip_file(services, run).unlink(missing_ok=True)
    for copy in Path(get_upload_folder()).glob(f"*/{run.name}.zip"):
        copy.unlink(missing_ok=True)


def _zip_file(services: Services, run: Run) -> Path:
    return services.settings.data_dir / "downloads" / f"{run.name}.zip"


def model_of(services: Services, name: str, owner: str = "") -> ModelSpec:
    """The run as a model of the refreshed registry. Raises InputError if it is not a usable model."""
    services.registry.refresh()
    best, registry = services.jobs.get(name, owner).best, services.registry.seen_by(owner)
    for family in registry.families():
        for spec in family.variants:
            if spec.source and Path(spec.source.location) == best:
                return spec
    why = next((misfit.reason for misfit in registry.misfits if misfit.folder == best), "")
    raise InputError(f"{name} cannot be loaded as a model. {why}".strip())


def code_details(services: Services, run: Run, owner: str) -> str:
    """The code that loads the run's model, in a closed disclosure; empty for a run that is not a usable model."""
    try:
        spec = model_of(services, run.name, owner)
        registry = services.registry.seen_by(owner)
        code = snippet_of(registry, spec)
    except DsumError:
        return ""
    where = "Paths are relative to the folder of dsum."
    if services.settings.public and spec.source:
        where = "Unpack the zip file in the folder of dsum, to which paths are relative."
        code = code.replace(registry.loadable(spec.source), f"{run.name}/best")
    return (
        '<details class="watched"><summary><b>Code</b> <span class="hint">that loads this model with '
        f'transformers and PEFT, without dsum</span></summary><p class="hint">{where}</p>'
        f"{code_block(code)}</details>"
    )


def overlay(services: Services, shown: Shown, owner: str = "") -> dict[str, Update]:
    """Overlaid curves of the selected runs, and the settings that differ."""
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


def recorded_run(services: Services) -> dict[str, Update]:
    """The curves of a recorded run, which are shown until the first run; nothing if the recording is missing."""
    curve = read_curve(services.settings.root / RECORDED)
    if not curve.steps:
        return {}
    return {
        "card": EMPTY + recorded_card(curve),
        "learning": learning_table(curve),
        "batch": first_batch_details(curve.first_batch),
        **_curves(curve, "lora"),
    }


def _curves(curve: Curve, method: str) -> dict[str, Update]:
    """The charts of a run; those of values that it did not record are hidden."""
    small = {key: step_figure(curve, key, method) for key in ("grad_norm", "learning_rate")}
    changes: dict[str, Update] = {
        "curves": gr.update(visible=bool(curve.steps)),
        "dynamics": gr.update(visible=None not in small.values()),
    }
    if curve.steps:
        preferred = any(event.get("accuracy") is not None for event in curve.steps)
        title = "Preference accuracy" if preferred else "Validation ROUGE"
        changes |= {
            "loss": loss_figure(curve, method),
            "score_title": f'<h3 class="part">{title}</h3>',
            "score": score_figure(curve, method),
        }
    return {**changes, **{key: figure for key, figure in small.items() if figure is not None}}


def _watched(
    services: Services,
    run: Run,
    owner: str,
    status: RunStatus,
    line: list[Run],
    drawn: Mapping[str, Any],
    keys: dict[str, Any],
) -> dict[str, Update]:
    """The card, the buttons and the curves of one run, if they changed."""
    curve = services.jobs.curve(run)
    position = next((number for number, other in enumerate(line, 1) if other.name == run.name), 0)
    grown = (
        run.name,
        len(curve.steps),
        len(curve.evaluations),
        len(curve.diverged),
        curve.start and curve.start["time"],
    )
    keys["curve"], keys["card"] = grown, (*grown, status, position)
    if keys["card"] == drawn.get("card"):
        return {}
    changes: dict[str, Update] = {}
    config, result = config_of(run), run.result()
    status = replace(status, reason=without_paths(services, run, status.reason))
    changes["card"] = run_card(run.name, config, status, curve, result, position) + link_button(run=run.name)
    ended = status.state not in (*ACTIVE, RunState.QUEUED)
    # A queued run without a process is removed by the button next to its name in the queue.
    stoppable = status.state is RunState.RUNNING or (status.state is RunState.QUEUED and bool(status.pid))
    log = tail(run.output_file) if status.state in (RunState.FAILED, RunState.CRASHED) else ""
    log = without_paths(services, run, log)  # do not leak server paths to visitors
    changes |= {
        "keep": gr.update(visible=stoppable),
        "discard": gr.update(visible=stoppable),
        "resume": gr.update(visible=ended and status.state in RESUMABLE),
        "open": gr.update(visible=ended and result is not None),
        "zip": gr.update(visible=ended),
        "export": gr.update(visible=ended and result is not None and not services.settings.public),
        "code": code_details(services, run, owner) if ended and result is not None else "",
        "push": gr.update(visible=ended and result is not None and can_push(services)),
        "delete": gr.update(visible=ended),
        "log": gr.update(visible=bool(log)),
        "output": f"<pre>{escape(log)}</pre>",
    }
    if grown != drawn.get("curve"):
        method = str(config.get("training", {}).get("method", ""))
        if config.get("sweep"):
            changes |= {**_nothing_drawn(), **_sweep(config, curve)}
        else:
            changes |= {"learning": learning_table(curve), "sweep": gr.update(visible=False), **_curves(curve, method)}
    keys["batch"] = run.name, curve.first_batch and curve.first_batch["time"]
    if keys["batch"] != drawn.get("batch"):
        changes["batch"] = first_batch_details(curve.first_batch)
    return changes


def _sweep(config: Mapping[str, Any], curve: Curve) -> dict[str, Update]:
    """The chart and the table of a learning-rate sweep."""
    found = sweep_rows(RunConfig.from_record(config), curve)
    return {
        "sweep": gr.update(visible=bool(curve.steps)),
        "sweep_chart": sweep_figure(found, int(config["training"]["max_steps"])),
        "sweep_table": sweep_table(found),
    }


def rate_to_use(
    services: Services, watching: str | None, owner: str, base: str, method: str, data: Mapping[str, Any]
) -> tuple[Update, Update]:
    """(the form's learning rate, a notice) after a click on a learning rate of a sweep."""
    try:
        rate = float(data.get("use", ""))
        config = RunConfig.from_record(services.jobs.get(watching or "", owner).config())
    except (TypeError, ValueError, DsumError):
        return gr.skip(), gr.skip()
    if rate not in config.sweep:
        return gr.skip(), gr.skip()
    if (config.base, config.training.method) != (base, method):
        title = METHODS[config.training.method].title
        return gr.skip(), notice(
            f"This sweep was of {title} on {config.base}, and the form has another method or base model; choose those "
            "first.",
            "error",
        )
    return rate, notice(f"The form now has the learning rate {rate:g}, under “Training settings”.")


def _nothing_drawn() -> dict[str, Update]:
    hidden = gr.update(visible=False)
    return {"curves": hidden, "dynamics": hidden, "learning": ""}


def _nothing() -> dict[str, Update]:
    buttons = ("keep", "discard", "resume", "open", "zip", "export", "delete", "push")
    return {
        **dict.fromkeys((*buttons, "log", "curves", "dynamics", "sweep", "overlay"), gr.update(visible=False)),
        "learning": "",
        "batch": "",
        "code": "",
    }


def _percent(services: Services, run: Run | None) -> int:
    latest = services.jobs.curve(run).latest if run else None
    return round(100 * latest["step"] / max(1, latest["steps"])) if latest else 0
