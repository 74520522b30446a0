"""Presets: named starting points of a training run, read from presets.toml. Knows configs and nothing of runs."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dsum_demo.errors import InputError
from dsum_demo.training.config import DataConfig, RunConfig, TrainingConfig

FILE = Path(__file__).with_name("presets.toml")


@dataclass(frozen=True)
class Preset:
    """`title` is what a list shows, `note` one or two sentences under it."""

    name: str
    title: str
    note: str
    training: TrainingConfig
    data: DataConfig

    def run_config(self, base: str) -> RunConfig:
        return RunConfig(base, self.training, self.data, preset=self.name)


@cache
def presets() -> dict[str, Preset]:
    """By name, in the order of the file."""
    found = tomllib.loads(FILE.read_text(encoding="utf-8"))["preset"]
    return {
        row["name"]: Preset(
            name=row["name"],
            title=row["title"],
            note=row["note"],
            training=TrainingConfig(**row["training"]),
            data=DataConfig(**row["data"]),
        )
        for row in found
    }


def preset(name: str) -> Preset:
    """Raises InputError, naming the presets there are, for an unknown name."""
    try:
        return presets()[name]
    except KeyError:
        raise InputError(f"There is no preset {name!r}; choose one of: {', '.join(presets())}.") from None
