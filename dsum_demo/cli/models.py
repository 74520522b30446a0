"""The command `dsum models`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from dsum_demo.cli.console import DONE, say
from dsum_demo.composition import make_registry, make_store
from dsum_demo.errors import ModelError
from dsum_demo.models.registry import Registry
from dsum_demo.models.snippet import snippet_of
from dsum_demo.settings import Settings
from dsum_demo.utils.formatting import size


def run_models(options: argparse.Namespace, settings: Settings) -> int:
    registry = make_registry(settings)
    if options.snippet:
        print(snippet_of(registry, registry.spec(options.snippet)), end="")
        return DONE
    rows = [{**row, "estimate": None} for row in registry.as_rows()]
    if any(row["state"] == "downloadable" for row in rows):
        say("dsum: estimating memory and time of the downloadable models on this machine")
        _add_estimates(settings, registry, rows)
    if options.json:
        unusable = [{"name": m.name, "folder": str(m.folder), "reason": m.reason} for m in registry.misfits]
        print(json.dumps({"models": rows, "unusable": unusable}, ensure_ascii=False, indent=2))
        return DONE
    for row in rows:
        weights = size(row["size_bytes"]) if row["size_bytes"] else ""
        print(
            f"{row['name']:<24} {row['kind']:<8} {row['state']:<13} {weights:>8}  "
            f"{row['reason'] or row['note']}".rstrip()
        )
        if row["estimate"]:
            print(f"{'':<25}{row['estimate']['text']}")
    for misfit in registry.misfits:
        print(f"{misfit.name:<24} {'':<8} {'unusable':<13} {'':>8}  {misfit.reason}")
    return DONE


def _add_estimates(settings: Settings, registry: Registry, rows: list[dict[str, Any]]) -> None:
    from dsum_demo.models.estimates import estimate, measure_speed

    try:
        speed = measure_speed(make_store(settings, registry))
    except ModelError:
        speed = None  # the time is unknown
    for row in rows:
        if row["state"] == "downloadable" and (cost := estimate(registry, registry.spec(row["name"]), speed)):
            row["estimate"] = {**asdict(cost), "text": cost.text}
