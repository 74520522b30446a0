"""Named training configurations, read from presets.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from dsum_demo.errors import InputError
from dsum_demo.models.architectures import ARCHITECTURES
from dsum_demo.models.registry import Registry
from dsum_demo.training.config import DataConfig, RunConfig, TrainingConfig, apply_settings, with_method

FILE = Path(__file__).with_name("presets.toml")


@dataclass(frozen=True)
class Preset:
    """A named training configuration. `notes` (one or two sentences each) and `training` are by PEFT task type."""

    name: str
    title: str
    notes: Mapping[str, str]
    training: Mapping[str, TrainingConfig]
    data: DataConfig

    def run_config(self, base: str, task_type: str) -> RunConfig:
        """Return the config for a base model with this PEFT task type."""
        return RunConfig(base, self.training[task_type], self.data, preset=self.name)


@cache
def presets() -> dict[str, Preset]:
    """Return all presets by name, in file order."""
    found = tomllib.loads(FILE.read_text(encoding="utf-8"))["preset"]
    sections = {task: architecture.name.replace("-", "_") for task, architecture in ARCHITECTURES.items()}
    return {
        row["name"]: Preset(
            name=row["name"],
            title=row["title"],
            notes={task: row[section]["note"] for task, section in sections.items()},
            training={
                task: TrainingConfig(**row[section]["training"], task_type=task) for task, section in sections.items()
            },
            data=DataConfig(**row["data"]),
        )
        for row in found
    }


def preset(name: str) -> Preset:
    """Raises InputError with the known names for an unknown one."""
    try:
        return presets()[name]
    except KeyError:
        raise InputError(f"There is no preset {name!r}; choose one of: {', '.join(presets())}.") from None


def requested_config(
    registry: Registry,
    *,
    base: str = "",
    preset_name: str = "",
    method: str = "",
    data: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
) -> RunConfig:
    """The config of a base model (default: that of the default family), a preset, a method that replaces the preset's,
    fields of DataConfig and `FIELD=VALUE` settings, in this order. Raises InputError or UnknownModelError.
    """
    family = registry.family_to_train(base)
    task_type = family.architecture.task_type
    config = RunConfig(family.base.name, TrainingConfig(task_type=task_type))
    if preset_name:
        config = preset(preset_name).run_config(family.base.name, task_type)
    if method:
        config = replace(config, training=with_method(config.training, method))
    return apply_settings(replace(config, data=replace(config.data, **(data or {}))), settings)
