"""Handlers of the training form: fill it from a preset or a method, estimate the cost, and queue a run."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from dsum_demo.data.sources import SAMPLES
from dsum_demo.errors import DsumError, InputError
from dsum_demo.runs.limits import check_allowed
from dsum_demo.runs.queue import default_name
from dsum_demo.runs.worker import probe
from dsum_demo.training.config import RunConfig, with_method
from dsum_demo.training.methods import METHODS, method
from dsum_demo.training.presets import presets
from dsum_demo.training.sweep import with_sweep
from dsum_demo.ui.columns import ROLES
from dsum_demo.ui.html import notice
from dsum_demo.ui.model_export import code_block
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import Update
from dsum_demo.ui.train.form import (
    FIRST_PRESET,
    PLACE,
    UPLOAD,
    architecture_of_base,
    base_choices,
    explain_method,
    explain_preset,
    fill_form,
    method_updates,
    module_choices,
    option_fields,
    preset_config,
    read_form,
    source_choices,
)
from dsum_demo.ui.train.run_cards import command_line, cost_card
from dsum_demo.ui.train.upload import typed_file
from dsum_demo.utils.files import safe_name
from dsum_demo.utils.threads import run_in_thread

PROBE_REDRAW_SECONDS = 0.5

Values = Mapping[str, Any]  # the form's values by the names of `TrainingForm.names`


def choose_preset(services: Services, kept: Mapping[str, Any], values: Values) -> dict[str, Update]:
    """Fill the form; an uploaded file stays selected. Nothing if it was filled from this preset: it may be edited."""
    name = values["preset"]
    if name == kept["preset"]:
        return {}
    return _filled(services, preset_config(services, name, values["base"]), name, values)


def _filled(services: Services, config: RunConfig, preset: str | None, values: Values) -> dict[str, Update]:
    updates = fill_form(services, config)
    if values["source"] in (UPLOAD, PLACE):
        updates.pop("source", None)
    training = config.training
    return {
        **updates,
        "noted": explain_preset(preset, training.task_type, services.settings.public),
        "explained": explain_method(METHODS[training.method]),
        "kept": {"preset": preset, "method": training.method, "options": {}, "task_type": training.task_type},
    }


def choose_method(services: Services, kept: Mapping[str, Any], values: Values) -> dict[str, Update]:
    """Show the options of the method with the values typed before, and its learning rate and optimizer."""
    before, chosen = kept["method"], values["method"]
    if chosen == before:
        return {}  # a gradio dropdown triggers twice per choice
    typed = {each.name: values[f"options.{each.name}"] for each in METHODS[before].fields}
    options = {**kept["options"], before: typed}
    updates = method_updates(services, chosen, values["base"])
    for name, value in options.get(chosen, {}).items():
        updates[f"options.{name}"] = {**updates[f"options.{name}"], "value": value}
    task_type = architecture_of_base(services, values["base"]).task_type
    row = method(chosen, task_type)
    return {
        **updates,
        "training.learning_rate": row.learning_rate,
        "training.optimizer": row.optimizer,
        "explained": explain_method(row),
        "kept": {**kept, "method": chosen, "options": options, "task_type": task_type},
    }


def choose_base(services: Services, kept: Mapping[str, Any], values: Values) -> dict[str, Update]:
    """The target modules of this base; if its architecture differs from the previous one, the form is reset to the
    preset for that architecture, with the same method.
    """
    if architecture_of_base(services, values["base"]).task_type != kept["task_type"]:
        config = preset_config(services, values["preset"] or FIRST_PRESET, values["base"])
        config = replace(config, training=with_method(config.training, values["method"]))
        return _filled(services, config, values["preset"], values)
    choices = module_choices(services, values["method"], values["base"])
    return {"options.target_modules": gr.update(choices=choices)}


def restore(services: Services, saved: Values | None, names: tuple[str, ...]) -> dict[str, Update]:
    """After the page was loaded: the available base models, and the form that this browser saved."""
    bases = base_choices(services)
    saved = saved if isinstance(saved, Mapping) and set(names) <= set(saved) else None
    if saved is None:
        return {"base": gr.update(choices=bases)}
    updates: dict[str, Update] = {name: saved[name] for name in names}
    base = saved["base"] if saved["base"] in dict(map(reversed, bases)) else bases[0][1]  # type: ignore[arg-type]
    updates["base"] = gr.update(choices=bases, value=base)
    task_type = architecture_of_base(services, base).task_type
    chosen = saved["method"] if saved["method"] in METHODS else "lora"
    updates["method"] = chosen
    if base != saved["base"]:
        del updates["training.learning_rate"]
    if saved["preset"] not in presets():
        del updates["preset"]
    if saved["source"] not in {value for _, value in source_choices(services)}:
        del updates["source"]
    shown = method_updates(services, chosen, base)
    for name in option_fields():
        value = saved[f"options.{name}"]
        # Options of a base that is gone, such as layer names, do not fit another.
        fits = base == saved["base"] and name in {f.name for f in method(chosen).fields} and value not in (None, [])
        updates[f"options.{name}"] = {**shown[f"options.{name}"], **({"value": value} if fits else {})}
    columns = {role: saved[f"columns.{role}"] for role in ROLES}
    for role, name in columns.items():
        # The other choices follow when the file has been read, which keeps this one if the file has the column.
        updates[f"columns.{role}"] = gr.update(choices=[name] if name else [], value=name or None)
    file = typed_file(saved["source"], saved["uploaded"], saved["place"])
    return {
        **updates,
        "noted": explain_preset(saved["preset"], task_type, services.settings.public),
        "explained": explain_method(METHODS[chosen]),
        "kept": {"preset": updates.get("preset"), "method": chosen, "options": {}, "task_type": task_type},
        "described": {"file": file, "columns": columns},
    }


def ask_cost(services: Services, values: Values, owner: str = "") -> Iterator[dict[str, Update]]:
    """Measure the cost of the run. The last update contains "measured" (config, cost) unless an error occurred."""
    try:
        config = _config(services, values, owner)
        yield {
            "problem": "",
            "command": command_html(config, services.settings.public),
            "cost": _measuring(0),
        }
        elsewhere = services.jobs.current() is not None
        for state in measure(services, config):
            if isinstance(state, float):
                yield {"cost": _measuring(state)}
            else:
                yield {"cost": cost_card(state, elsewhere), "measured": (config.as_record(), state)}
    except DsumError as error:
        yield refused(services, error)


def start_run(
    services: Services, owner: str, measured: tuple[Any, Any] | None, values: Values
) -> Iterator[dict[str, Update]]:
    """Measure the run unless another one is training, refuse it if it does not fit into memory, and queue it.

    The last update contains "watching", the run's name, if it was queued.
    """
    try:
        config = _config(services, values, owner)
        known = measured is not None and measured[0] == config.as_record()
        busy = services.jobs.current() is not None or bool(services.jobs.queued())
        if not known and not busy:
            for update in ask_cost(services, values, owner):
                measured = update.get("measured", measured)
                yield update
                if update.get("problem"):
                    return
        # While another run trains, free memory is not representative: the run checks it itself when it starts.
        cost = measured[1] if measured and measured[0] == config.as_record() else None
        if cost and cost["refusal"] and not busy:
            yield {"cost": cost_card(cost)}
            return
        run = services.jobs.submit(config, _name(services, config, values["name"]), owner)
        yield {"problem": "", "watching": run.name, "cost": cost_card(cost) if cost else ""}
    except DsumError as error:
        yield refused(services, error)


def start_sweep(services: Services, owner: str, steps: float, values: Values) -> dict[str, Update]:
    """Queue a learning-rate sweep of the run in the form; "watching" is its name. The typed one is for the run."""
    try:
        config = with_sweep(_config(services, values, owner), steps)
        typed = (values["name"] or "").strip()
        return queued(services, config, f"sweep-{typed}" if typed else "", owner)
    except DsumError as error:
        return refused(services, error)


def queued(services: Services, config: RunConfig, name: str, owner: str) -> dict[str, Update]:
    """Queue a run whose cost is not measured."""
    run = services.jobs.submit(config, _name(services, config, name), owner)
    shown = command_html(config, services.settings.public)
    return {"problem": "", "watching": run.name, "cost": "", "command": shown}


def refused(services: Services, error: DsumError) -> dict[str, Update]:
    """The error of a run that was not queued."""
    return {"problem": notice(services.told(error), "error"), "cost": ""}


def _config(services: Services, values: Values, owner: str) -> RunConfig:
    """The run in the form. Raises InputError if this app refuses it or it uses another visitor's file."""
    config = read_form(services, values)
    if services.settings.public:
        check_allowed(config, services.settings.uploads_dir)
        for source in (config.data.source, config.data.validation_source):
            if source and source != SAMPLES and not services.is_own_upload(source, owner):
                raise InputError("This Space trains on the samples or an uploaded file only.")
    return config


def _name(services: Services, config: RunConfig, typed: str | None) -> str:
    """The name, with a random suffix on a public Space: a counter would reveal that another visitor uses the name."""
    name = safe_name((typed or "").strip())
    return f"{name or default_name(config)}-{secrets.token_hex(3)}" if services.settings.public else name


def measure(services: Services, config: RunConfig) -> Iterator[float | dict[str, Any]]:
    """Yields the elapsed seconds while the probe runs in a child process, then its result. Closing stops the child."""
    environment = services.settings.as_environment()
    yield (
        yield from run_in_thread(
            lambda stop: probe(config, environment, stop.is_set), "probe", every=PROBE_REDRAW_SECONDS
        )
    )


def command_html(config: RunConfig, public: bool = False) -> str:
    return f'<p class="hint">The same run on the command line:</p>{code_block(command_line(config, public))}'


def _measuring(seconds: float) -> str:
    return notice(f"Measuring memory and time with three training steps… {seconds:.0f} s")
