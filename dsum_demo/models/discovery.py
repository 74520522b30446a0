"""Finds models that are not in the catalog: folders in adapters/ and finished training runs.

Reads small JSON files and the headers of weight files; loads no weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsum_demo.errors import ModelError, ModelUnavailableError
from dsum_demo.hub.source import Source, SourceKind
from dsum_demo.models.adapters import adapter_config, names_base, wrong_base
from dsum_demo.models.catalog import PLAIN_NAME, Family, Kind, ModelSpec
from dsum_demo.utils.checkpoint_files import count_parameters, find_weights, read_entries, read_json, shapes_of
from dsum_demo.utils.files import child_folders


@dataclass(frozen=True)
class Misfit:
    """A folder that looks like a model but belongs to no family, with the reason."""

    name: str
    folder: Path
    reason: str


def discover(
    families: Sequence[Family], *, root: Path, adapters_dir: Path, runs_dir: Path
) -> tuple[list[ModelSpec], list[Misfit]]:
    """Adapters and finished runs, sorted by name, and the folders that belong to no family."""
    taken = {spec.name for family in families for spec in family.variants}
    named = {
        Path(s.source.location) for f in families for s in f.variants if s.source and s.source.kind != SourceKind.HUB
    }
    specs: list[ModelSpec] = []
    misfits: list[Misfit] = []
    found = [*_adapters(adapters_dir, named), *_finished_runs(runs_dir)]
    for name, folder, record in found:
        try:
            if not PLAIN_NAME.fullmatch(name):
                raise ModelUnavailableError(
                    f"Its name {name!r} may contain letters, digits, '.', '_' and '-' only; rename the folder."
                )
            spec = _as_spec(name, folder, record, families, root)
            specs.append(replace(spec, name=_unique(name, taken)))
        except ModelError as error:
            misfits.append(Misfit(name, folder, str(error)))
    return specs, misfits


def _adapters(parent: Path, named: set[Path]) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    for folder in child_folders(parent):
        checkpoints = [child for child in child_folders(folder) if child.name.startswith("checkpoint-")]
        for found, name in ((folder, folder.name), *((child, f"{folder.name}-{child.name}") for child in checkpoints)):
            if (found / "adapter_config.json").is_file() and found not in named:
                yield name, found, {}


def _finished_runs(parent: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    for run in child_folders(parent):
        if (run / "result.json").is_file():
            try:
                record = read_json(run / "result.json")
            except ModelUnavailableError as error:
                record = {"error": str(error)}
            yield run.name, run / "best", record


def _as_spec(name: str, folder: Path, record: dict[str, Any], families: Sequence[Family], root: Path) -> ModelSpec:
    if "error" in record:
        raise ModelUnavailableError(record["error"])
    is_adapter = (folder / "adapter_config.json").is_file()
    config = adapter_config(folder) if is_adapter else {}
    family = _family(record, config, families, root)
    weights = find_weights(folder, adapter=is_adapter)
    counted = count_parameters(shapes_of(read_entries(weights))) if weights.lists_tensors else None
    own = family.base.parameters or family.parameters
    total = own + counted if is_adapter and own and counted else None if is_adapter else counted
    what = str(record.get("method") or config.get("peft_type") or "full")
    return ModelSpec(
        name=name,
        title=name,
        family=family.name,
        kind=Kind.ADAPTER if is_adapter else Kind.FULL,
        # A resumed run writes other weights into the same folder.
        source=Source(SourceKind.LOCAL, str(folder), str(weights.files[0].stat().st_mtime_ns)),
        base=family.base.name,
        licence="yours" if record else "",
        size_bytes=weights.size_bytes,
        parameters=total,
        trained_parameters=counted,
        note=f"Your training run ({what})." if record else f"Found in adapters/ ({what}).",
    )


def _family(record: dict[str, Any], config: dict[str, Any], families: Sequence[Family], root: Path) -> Family:
    if record:
        chosen = next((family for family in families if family.name == record.get("family")), None)
        if chosen is None:
            raise ModelUnavailableError(f"Its result.json names an unknown family {record.get('family')!r}.")
        return chosen
    declared = config.get("base_model_name_or_path")
    found = [family for family in families if names_base(declared, base_names(family.base, root))]
    if len(found) != 1:
        raise ModelUnavailableError(wrong_base(declared, [family.base.name for family in found or families]))
    return found[0]


def base_names(base: ModelSpec, root: Path) -> frozenset[str]:
    """The accepted names of this base in an adapter: its name, Hub id, or folder (absolute or below the root)."""
    names = {base.name}
    if base.source:
        names.add(base.source.location)
        if base.source.kind is SourceKind.HUB:
            names.add(base.source.location.split("/")[-1])
        elif Path(base.source.location).is_relative_to(root):
            names.add(Path(base.source.location).relative_to(root).as_posix())
    return frozenset(names)


def _unique(name: str, taken: set[str]) -> str:
    free = next(n for n in (name, *(f"{name}-{number}" for number in range(2, 10_000))) if n not in taken)
    taken.add(free)
    return free
