"""Lists all models and whether they are available, without loading them.

Combines the catalog, the models found on the disk, and the state of the Hub and its cache. Unavailable models stay in
the list, with the reason.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from dsum_demo.errors import InputError, ModelError, ModelUnavailableError, SettingsError, UnknownModelError
from dsum_demo.hub.client import HubProbe, cache_room, cached_folder, no_room
from dsum_demo.hub.source import Source, SourceKind
from dsum_demo.models.adapters import check_adapter
from dsum_demo.models.catalog import Catalog, Family, Kind, ModelSpec, read_catalog
from dsum_demo.models.discovery import Misfit, base_names, discover
from dsum_demo.utils.checkpoint_files import count_parameters, find_weights, read_entries, shapes_of
from dsum_demo.utils.ownership import is_owner
from dsum_demo.utils.path_redaction import hide_paths


class State(StrEnum):
    SHIPPED = "shipped"
    LOCAL = "local"
    CACHED = "cached"
    DOWNLOADABLE = "downloadable"
    NO_ROOM = "no-room"
    UNREACHABLE = "unreachable"
    FAILED = "failed"
    MISSING = "missing"


_USABLE = frozenset({State.SHIPPED, State.LOCAL, State.CACHED, State.DOWNLOADABLE})


@dataclass(frozen=True)
class Availability:
    """`reason` is empty if the model is available."""

    state: State
    reason: str = ""

    @property
    def usable(self) -> bool:
        return self.state in _USABLE


class Registry:
    """Thread-safe. Raises SettingsError for an invalid catalog.

    root: folder with the embedded models. runs_dir: folder with the training runs. default_family: the default of every
    page and command; empty: the catalog's. public: hide server paths and the runs of other visitors.
    """

    def __init__(
        self,
        root: Path,
        *,
        adapters_dir: Path,
        runs_dir: Path,
        hub: HubProbe,
        default_family: str = "",
        public: bool = False,
        catalog: Catalog | None = None,
    ):
        self._root, self._adapters_dir, self._runs_dir = root, adapters_dir, runs_dir
        self._catalog = catalog or read_catalog(root)
        self._default = default_family or self._catalog.default
        self._training = default_family or self._catalog.training or self._default
        self._hub = hub
        self._public = public
        self._lock = threading.Lock()
        self._failures: dict[str, str] = {}
        self._checked: dict[str, Availability] = {}
        self._families: dict[str, Family] = {}
        self._misfits: tuple[Misfit, ...] = ()
        self.refresh()
        if self._default not in self._families:
            raise SettingsError(f"DSUM_FAMILY is {self._default!r}; choose one of: {', '.join(self._families)}.")

    def refresh(self) -> None:
        """Scan adapters/, models/ and the finished runs again."""
        families = [replace(f, variants=tuple(map(_measured, f.variants))) for f in self._catalog.families]
        families = [replace(f, variants=tuple(_with_totals(s, f.base) for s in f.variants)) for f in families]
        found, misfits = discover(families, root=self._root, adapters_dir=self._adapters_dir, runs_dir=self._runs_dir)
        with self._lock:
            self._families = {
                family.name: replace(
                    family, variants=(*family.variants, *(spec for spec in found if spec.family == family.name))
                )
                for family in families
            }
            self._misfits = tuple(misfits)
            self._checked.clear()

    def seen_by(self, visitor: str) -> Registry:
        """The registry of one visitor: on a public Space, it has only their own of the models trained there.

        `visitor` is the secret with which they started their runs; "" if they have none.
        """
        if not self._public:
            return self
        view = copy.copy(self)
        view._families = {
            name: replace(
                family, variants=tuple(s for s in family.variants if not s.source or self._may_see(s.source, visitor))
            )
            for name, family in self._families.items()
        }
        view._misfits = tuple(misfit for misfit in self._misfits if self._may_see_folder(misfit.folder, visitor))
        return view

    def _may_see(self, source: Source, visitor: str) -> bool:
        return source.kind is SourceKind.HUB or self._may_see_folder(Path(source.location), visitor)

    def _may_see_folder(self, folder: Path, visitor: str) -> bool:
        """`folder`: the model's folder. A run keeps its model in runs/<name>/best."""
        return not folder.is_relative_to(self._runs_dir) or is_owner(folder.parent, visitor)

    def families(self) -> list[Family]:
        return list(self._families.values())

    @property
    def default_family(self) -> Family:
        """The default family of every page and command."""
        return self._families[self._default]

    @property
    def training_family(self) -> Family:
        """The default family of the Train tab; on a public Space the only one."""
        return self._families[self._training]

    @property
    def misfits(self) -> tuple[Misfit, ...]:
        """Folders in adapters/ and runs that belong to no family, with the reason."""
        return self._misfits

    def family(self, name: str) -> Family:
        """Raises UnknownModelError with the known families."""
        try:
            return self._families[name]
        except KeyError:
            raise UnknownModelError(
                f"There is no family {name!r}; choose one of: {', '.join(self._families)}."
            ) from None

    def family_to_train(self, name: str) -> Family:
        """The family whose base model is trained, by its name or the base's; "" means the Train tab's default.

        Raises UnknownModelError for an unknown name and InputError for a fine-tuned model.
        """
        if not name:
            return self.training_family
        if name in self._families:
            return self._families[name]
        spec = self.spec(name)
        if spec.kind is not Kind.BASE:
            raise InputError(f"{name} is fine-tuned already; train its base model {spec.base} instead.")
        return self._families[spec.family]

    def spec(self, name: str) -> ModelSpec:
        """Raises UnknownModelError with the known models."""
        specs = {spec.name: spec for family in self.families() for spec in family.variants}
        try:
            return specs[name]
        except KeyError:
            if misfit := next((misfit for misfit in self.misfits if misfit.name == name), None):
                raise UnknownModelError(f"{name} cannot be used: {misfit.reason}") from None
            raise UnknownModelError(f"There is no model {name!r}; choose one of: {', '.join(specs)}.") from None

    def systems(self, names: Sequence[str] | None = None, family: str | None = None) -> list[ModelSpec]:
        """The models with these names; without names, those of a family's trio (default: of the default family).

        Raises UnknownModelError.
        """
        if names:
            return [self.spec(name) for name in names]
        chosen = self.family(family) if family else self.default_family
        return [spec for spec in chosen.default_trio() if spec]

    def availability(self, spec: ModelSpec) -> Availability:
        """Whether `spec` is available, without loading it. Contacts the Hub at most once per process."""
        with self._lock:
            failure = self._failures.get(spec.name)
            known = self._checked.get(spec.name)
        if failure:
            known = Availability(State.FAILED, failure)
        elif known is None:
            known = self._look(spec)
            with self._lock:
                self._checked[spec.name] = known
        return replace(known, reason=self._without_paths(known.reason))

    def as_rows(self) -> list[dict[str, Any]]:
        """Every model as plain values, for the CLI and the API; without folders on a public Space."""
        rows = []
        for family in self.families():
            for spec in family.variants:
                availability = self.availability(spec)
                rows.append(
                    {
                        "name": spec.name,
                        "family": family.name,
                        "kind": str(spec.kind),
                        "state": str(availability.state),
                        "reason": availability.reason,
                        "source": self._location(spec.source) if spec.source else None,
                        "revision": spec.source.revision if spec.source else None,
                        "base": spec.base,
                        "parameters": spec.parameters,
                        "trained_parameters": spec.trained_parameters,
                        "size_bytes": spec.size_bytes,
                        "licence": spec.licence,
                        "note": spec.note,
                    }
                )
        return rows

    def _location(self, source: Source) -> str:
        return source.location if source.kind is SourceKind.HUB else self._without_paths(source.location)

    def loadable(self, source: Source) -> str:
        """What `from_pretrained` takes: a Hub id or a folder, relative to the root if it is below it."""
        folder = Path(source.location)
        if source.kind is SourceKind.HUB or not folder.is_relative_to(self._root):
            return self._location(source)
        return folder.relative_to(self._root).as_posix()

    def _without_paths(self, text: str) -> str:
        return hide_paths(text, (self._runs_dir.parent, self._root)) if self._public else text

    def mark_failed(self, spec: ModelSpec, reason: str) -> None:
        """Record why `spec` is not available, such as an error of the Hub."""
        with self._lock:
            self._failures[spec.name] = reason

    def mark_loaded(self, spec: ModelSpec) -> None:
        """Clear the recorded state of `spec`: it has just been loaded and may now be in the Hub cache."""
        with self._lock:
            self._failures.pop(spec.name, None)
            self._checked.clear()

    def ask_hub_again(self) -> None:
        """Clear all recorded errors of the Hub and whether it was reachable."""
        self._hub.forget()
        with self._lock:
            self._failures.clear()
            self._checked.clear()

    def hub_unreachable_because(self) -> str:
        """Why the Hub is not reachable, empty if it is; checked at most once."""
        return self._hub.unreachable_because()

    def offline_offer(self) -> str:
        """A hint to the family that needs no network; empty if that is not available either."""
        family = self.default_family
        near = all(spec.source and spec.source.kind is not SourceKind.HUB for spec in family.default_trio() if spec)
        return f"The family {family.name} needs no network." if near and self.availability(family.base).usable else ""

    def names_of(self, base: ModelSpec) -> frozenset[str]:
        """The accepted names of this base in an adapter."""
        return base_names(base, self._root)

    def _look(self, spec: ModelSpec) -> Availability:
        if spec.source is None:
            return Availability(State.MISSING, spec.note or f"{spec.name} does not exist yet.")
        own = self._look_at_hub(spec.source, spec) if spec.source.kind is SourceKind.HUB else self._look_at_disk(spec)
        if not own.usable or spec.kind is not Kind.ADAPTER or spec.base is None:
            return own
        base = self.availability(self.spec(spec.base))
        return own if base.usable else Availability(base.state, f"Its base {spec.base} is not available: {base.reason}")

    def _look_at_disk(self, spec: ModelSpec) -> Availability:
        assert spec.source is not None
        folder, embedded = Path(spec.source.location), spec.source.kind is SourceKind.EMBEDDED
        try:
            find_weights(folder, adapter=spec.kind is Kind.ADAPTER)
            if spec.kind is Kind.ADAPTER:
                self._check_adapter(spec, folder)
        except ModelUnavailableError as error:
            recipe = " Create it with the recipe: python -m recipes --help" if embedded else ""
            return Availability(State.MISSING, f"{error}{recipe}")
        except ModelError as error:
            return Availability(State.FAILED, str(error))
        return Availability(State.SHIPPED if embedded else State.LOCAL)

    def _check_adapter(self, spec: ModelSpec, folder: Path) -> None:
        base = self.spec(spec.base or "")
        architecture = self.family(base.family).architecture
        check_adapter(folder, architecture, self.folder_of(base), self.names_of(base))

    def folder_of(self, spec: ModelSpec) -> Path | None:
        """The folder with the weights, or None if they are not on this disk."""
        if spec.source is None:
            return None
        if spec.source.kind is SourceKind.HUB:
            return cached_folder(spec.source, adapter=spec.kind is Kind.ADAPTER)
        folder = Path(spec.source.location)
        return folder if folder.is_dir() else None

    def _look_at_hub(self, source: Source, spec: ModelSpec) -> Availability:
        folder = cached_folder(source, adapter=spec.kind is Kind.ADAPTER)
        if folder is None:
            if reason := self._hub.unreachable_because():
                return Availability(State.UNREACHABLE, reason)
            if (spec.size_bytes or 0) > (room := cache_room()):
                return Availability(State.NO_ROOM, no_room(spec.name, spec.size_bytes or 0, room))
            return Availability(State.DOWNLOADABLE)
        if spec.kind is Kind.ADAPTER:
            try:
                self._check_adapter(spec, folder)
            except ModelError as error:
                return Availability(State.FAILED, str(error))
        return Availability(State.CACHED)


def _measured(spec: ModelSpec) -> ModelSpec:
    """An embedded spec with the size and counts of its files; the catalog's if the files are missing."""
    if spec.source is None or spec.source.kind is not SourceKind.EMBEDDED:
        return spec
    try:
        weights = find_weights(Path(spec.source.location), adapter=spec.kind is Kind.ADAPTER)
        counted = count_parameters(shapes_of(read_entries(weights))) if weights.lists_tensors else None
    except ModelError:
        return spec
    spec = replace(spec, size_bytes=weights.size_bytes)
    if counted is None:
        return spec
    if spec.kind is Kind.BASE:
        return replace(spec, parameters=counted)
    if spec.kind is Kind.FULL:
        return replace(spec, parameters=counted, trained_parameters=counted)
    return replace(spec, trained_parameters=counted)


def _with_totals(spec: ModelSpec, base: ModelSpec) -> ModelSpec:
    if spec.kind is Kind.ADAPTER and spec.parameters is None and base.parameters and spec.trained_parameters:
        return replace(spec, parameters=base.parameters + spec.trained_parameters)
    return spec
