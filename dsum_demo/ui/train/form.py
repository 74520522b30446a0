"""The form of a training run: its components, how presets and methods fill it, and the run config it describes.

Components are generated from the tables of fields. Fields with the same name share one component among methods. The
browser keeps the form over a reload, and each method keeps its options while another one is selected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from dsum_demo.data.sources import DIALOGSUM, SAMPLES
from dsum_demo.errors import InputError, ModelError
from dsum_demo.models.architectures import Architecture
from dsum_demo.runs.limits import PUBLIC, within_limits
from dsum_demo.training.config import DATA_FIELDS, TRAINING_FIELDS, DataConfig, RunConfig, TrainingConfig
from dsum_demo.training.methods import ALL_LINEAR, METHODS, Method, method, target_choices
from dsum_demo.training.presets import Preset, preset, presets
from dsum_demo.ui.columns import ROLES
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import Update
from dsum_demo.utils.fields import Field

UPLOAD, PLACE = "upload", "place"
FIRST_PRESET = "smoke"
LABELS = {"r": "rank (r)"}
ADVANCED_OPTIONS = ("bias", "task_type")  # of a method; only the defaults are useful


def option_fields() -> dict[str, Field]:
    """The fields of all methods by name; the first one if several methods share a name."""
    table: dict[str, Field] = {}
    for row in METHODS.values():
        for each in row.fields:
            known = table.setdefault(each.name, each)
            if known.kind != each.kind:
                raise TypeError(f"{each.name} is {known.kind} and {each.kind}; fields of one name share a component.")
    return table


@dataclass(frozen=True)
class TrainingForm:
    """The components by the names that `read_form` uses, in the order of the handlers' arguments."""

    base: gr.Dropdown
    preset: gr.Dropdown
    method: gr.Dropdown
    source: gr.Radio
    place: gr.Textbox
    uploaded: gr.Textbox
    name: gr.Textbox
    columns: Mapping[str, gr.Dropdown]
    options: Mapping[str, Any]
    training: Mapping[str, Any]
    data: Mapping[str, Any]

    @property
    def components(self) -> list[Any]:
        single = [self.base, self.preset, self.method, self.source, self.place, self.uploaded, self.name]
        return [*single, *(part for group in self._groups for part in group.values())]

    @property
    def names(self) -> tuple[str, ...]:
        """Components of a group are named `group.field`."""
        single = ("base", "preset", "method", "source", "place", "uploaded", "name")
        groups = ("columns", "options", "training", "data")
        return (
            *single,
            *(f"{group}.{key}" for group, parts in zip(groups, self._groups, strict=True) for key in parts),
        )

    @property
    def _groups(self) -> tuple[Mapping[str, Any], ...]:
        return (self.columns, self.options, self.training, self.data)


def field_component(each: Field, value: Any = None, visible: bool = True, note: str = "") -> Any:
    """An input for one field. The field checks its own bounds, with a better error than gradio's."""
    value = each.default if value is None else value
    common: dict[str, Any] = {
        "label": LABELS.get(each.name, each.name.replace("_", " ")),
        "info": f"{each.explanation}{note}",
        "visible": visible,
        "elem_id": f"field-{each.name}",
        "min_width": 160,
    }
    if each.fixed:
        return gr.Textbox(value, interactive=False, **common)
    if each.kind == "flag":
        return gr.Checkbox(value, **common)
    if each.kind == "choice":
        return gr.Dropdown(list(each.choices), value=value, filterable=False, **common)
    if each.kind == "names":
        return gr.Dropdown(list(value), value=list(value), multiselect=True, allow_custom_value=True, **common)
    return gr.Number(value, step=1 if each.kind == "whole" else 0.001, **common)


def public_note(name: str, public: bool) -> str:
    return f" At most {PUBLIC[name]} here." if public and name in PUBLIC else ""


def base_choices(services: Services, ask: bool = True) -> list[tuple[str, str]]:
    """(label, name) of the base models that can be trained here. ask: whether to check the Hub."""
    registry = services.registry
    families = registry.families() if ask and not services.settings.public else [registry.training_family]
    usable = [family for family in families if registry.availability(family.base).usable]
    return [(family.title, family.base.name) for family in usable or [registry.training_family]]


def source_choices(services: Services) -> list[tuple[str, str]]:
    choices = [(f"The samples ({len(services.samples)} dialogues, included)", SAMPLES)]
    if not services.settings.public:
        choices.append(("DialogSum (12,460 dialogues)", DIALOGSUM))
    choices.append(("Upload a file", UPLOAD))
    if not services.settings.public:
        choices.append(("A path on the server", PLACE))
    return choices


def explain_method(row: Method) -> str:
    """One line about the method and a link to its paper; HTML."""
    paper = escape(row.paper)
    if "arXiv:" in row.paper:
        number = row.paper.rsplit("arXiv:", 1)[1].strip()
        link = f"https://arxiv.org/abs/{escape(number)}"
        paper = f'<a href="{link}" target="_blank" rel="noopener">{paper}</a>'
    return f'<p class="hint">{escape(row.explanation)} {paper}</p>'


def explain_preset(name: str | None, task_type: str, public: bool) -> str:
    if not name or name not in presets():
        return '<p class="hint">Custom settings.</p>'
    more = " Limited to the samples and this Space’s maximum settings." if public else ""
    return f'<p class="hint">{escape(preset(name).notes[task_type])}{more}</p>'


def preset_config(services: Services, name: str, base: str) -> RunConfig:
    """The preset for this base model, within the limits of a public Space."""
    chosen: Preset = preset(name)
    config = chosen.run_config(base, architecture_of_base(services, base).task_type)
    return within_limits(config) if services.settings.public else config


def architecture_of_base(services: Services, base: str) -> Architecture:
    """Raises UnknownModelError for an unknown model."""
    registry = services.registry
    return registry.family(registry.spec(base).family).architecture


def fill_form(services: Services, config: RunConfig) -> dict[str, Update]:
    """Updates that set the method, its options, the training and the data to those of `config`."""
    training, data = config.training, config.data
    updates: dict[str, Update] = {"method": training.method}
    known = data.source in {value for _, value in source_choices(services)}
    if known:
        updates["source"] = data.source
    updates |= method_updates(services, training.method, config.base, training.options)
    updates |= {f"training.{each.name}": getattr(training, each.name) for each in TRAINING_FIELDS}
    updates |= {f"data.{each.name}": getattr(data, each.name) for each in DATA_FIELDS}
    return updates


def method_updates(
    services: Services, name: str, base: str, values: Mapping[str, Any] | None = None
) -> dict[str, Update]:
    """Show the options of this method with `values` (or its defaults) and hide all others."""
    row = method(name, architecture_of_base(services, base).task_type)
    given = row.options(values)
    updates: dict[str, Update] = {}
    for key in option_fields():
        own = row.field(key)
        if own is None:
            updates[f"options.{key}"] = gr.update(visible=False)
            continue
        changes: dict[str, Any] = {"visible": True, "info": own.explanation, "value": given[key]}
        if own.kind == "names":
            changes |= {"value": list(given[key]), "choices": module_choices(services, name, base)}
        updates[f"options.{key}"] = gr.update(**changes)
    return updates


def module_choices(services: Services, method_name: str, base: str) -> list[str]:
    """The choices for `target_modules`, from the base model's files; the usual names if those are missing."""
    try:
        folder = services.registry.folder_of(services.registry.seen_by("").spec(base))
        if folder is not None and (found := target_choices(method_name, folder)):
            return list(found)
    except (ModelError, InputError):
        pass
    return [ALL_LINEAR, *architecture_of_base(services, base).linear_layers]


def read_form(services: Services, values: Mapping[str, Any]) -> RunConfig:
    """The run that the form describes. Raises InputError for the first invalid value, UnknownModelError for an unknown
    base.
    """
    if not values["base"]:
        raise InputError("No base model is selected; choose one.")
    task_type = architecture_of_base(services, values["base"]).task_type
    row = method(values["method"] or "", task_type)
    options = {each.name: _given(each, values[f"options.{each.name}"]) for each in row.fields if not each.fixed}
    training = {each.name: _given(each, values[f"training.{each.name}"]) for each in TRAINING_FIELDS}
    data = {each.name: _given(each, values[f"data.{each.name}"]) for each in DATA_FIELDS}
    source, columns = read_source_fields(values)
    return RunConfig(
        base=values["base"],
        training=TrainingConfig(method=row.name, options=options, **training, task_type=task_type),
        data=DataConfig(source=source, columns=columns, **data),
        preset=values["preset"] or "",
    )


def read_source_fields(values: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """(source, columns) for DataConfig. Raises InputError for a missing file or path."""
    source = values["source"]
    if source == UPLOAD:
        if not values["uploaded"]:
            raise InputError("No file was uploaded; drop one under “Data” or choose the samples.")
        source = values["uploaded"]
    elif source == PLACE:
        path = (values["place"] or "").strip()
        if not path:
            raise InputError("No path was given; enter one under “Data” or choose the samples.")
        # The child process can have another working directory.
        source = str(Path(path).expanduser().resolve())
    else:
        return source, {}
    return source, {role: values[f"columns.{role}"] for role in ROLES if values[f"columns.{role}"]}


def _given(each: Field, value: Any) -> Any:
    if value is None or value == []:
        raise InputError(f"{LABELS.get(each.name, each.name)} is empty; give {each.allowed}.")
    return each.check(value)
