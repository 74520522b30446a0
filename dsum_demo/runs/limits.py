"""Limits of training runs on a public Space, where every visitor can start one. Elsewhere there are no limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dsum_demo.errors import InputError
from dsum_demo.training.config import RunConfig
from dsum_demo.utils.ownership import digest

# The only base that is trained there: small enough for two shared cores.
PUBLIC_BASE = "dsum-t5-base"
# Maximum values; a run that uses all of them takes some minutes on two cores.
PUBLIC: Mapping[str, int] = {
    "max_steps": 200,
    "batch_size": 16,
    "accumulation": 4,
    "evaluations": 8,
    "validation_sample": 128,
    "max_source_tokens": 512,
    "max_target_tokens": 128,
    "uploaded_rows": 2000,
    "waiting_runs": 4,
    "kept_runs": 20,
}
_CAPPED = tuple(name for name in PUBLIC if name not in ("uploaded_rows", "waiting_runs", "kept_runs"))


def own_uploads_dir(uploads_dir: Path, owner: str) -> Path:
    """Return the folder of one visitor's uploads on a public Space."""
    return uploads_dir / digest(owner)[:32]


def is_file_in(folder: Path, source: str) -> bool:
    """Whether `source`, a path sent by a browser, is a file in `folder`."""
    path = Path(source)
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def check_allowed(config: RunConfig, uploads_dir: Path) -> None:
    """Raises InputError with the allowed values if a public Space does not accept the run."""
    if config.base != PUBLIC_BASE:
        raise InputError(f"This Space trains {PUBLIC_BASE} only; run dsum on your own machine to train {config.base}.")
    if config.start_from:
        raise InputError("This Space does not train on preferences; run dsum on your own machine.")
    for source in (config.data.source, config.data.validation_source):
        if source and source != "samples" and not is_file_in(uploads_dir, source):
            raise InputError("This Space trains on the samples or an uploaded file only.")
    training = config.training
    if not training.max_steps:
        raise InputError(f"Set max_steps to at most {PUBLIC['max_steps']}; this Space does not train by epochs.")
    for name in _CAPPED:
        if getattr(training, name) > PUBLIC[name]:
            raise InputError(f"{name} is {getattr(training, name)}; this Space allows at most {PUBLIC[name]}.")
    together = training.max_steps * max(1, len(config.sweep))
    if together > PUBLIC["max_steps"]:
        raise InputError(
            f"The sweep has {together} steps in total; this Space allows at most {PUBLIC['max_steps']}. Give fewer "
            "steps per learning rate."
        )
    if training.compile:
        raise InputError("This Space does not compile models; turn off compile.")


def within_limits(config: RunConfig) -> RunConfig:
    """Return `config` within the limits of a public Space: on the samples, with capped values."""
    capped = {name: min(getattr(config.training, name), PUBLIC[name]) for name in _CAPPED}
    capped["max_steps"] = capped["max_steps"] or PUBLIC["max_steps"]
    return replace(
        config,
        training=replace(config.training, **capped, compile=False),
        data=replace(config.data, source="samples", validation_source="", columns={}),
    )
