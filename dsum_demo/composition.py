"""Builds the parts of an app, a command or a study from Settings; the parts themselves take only what they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsum_demo.hub.client import HubProbe
from dsum_demo.metrics.bertscore import add_bertscore
from dsum_demo.metrics.scores import add_unicode_rouge
from dsum_demo.models.registry import Registry
from dsum_demo.settings import Settings

if TYPE_CHECKING:
    from dsum_demo.data.sources import Sources
    from dsum_demo.evaluation.storage import SavedEvaluations
    from dsum_demo.judge.judges import Judges
    from dsum_demo.models.catalog import Catalog
    from dsum_demo.models.store import ModelStore
    from dsum_demo.runs.queue import RunQueue


def load_settings() -> Settings:
    """The settings of this process, from the environment. Raises SettingsError for an invalid value."""
    settings = Settings.from_environment()
    if settings.unicode_rouge:
        add_unicode_rouge()
    if settings.bertscore:
        add_bertscore(settings.bertscore)
    return settings


def hub_probe(settings: Settings) -> HubProbe:
    return HubProbe(settings.offline, settings.hub_timeout)


def make_registry(settings: Settings, catalog: Catalog | None = None) -> Registry:
    """Raises SettingsError for an invalid catalog or an unknown default family."""
    return Registry(
        settings.root,
        adapters_dir=settings.adapters_dir,
        runs_dir=settings.runs_dir,
        hub=hub_probe(settings),
        default_family=settings.family,
        public=settings.public,
        catalog=catalog,
    )


def make_store(settings: Settings, registry: Registry | None = None) -> ModelStore:
    """Imports torch, which takes seconds."""
    from dsum_demo.models.store import ModelStore

    return ModelStore(registry or make_registry(settings), settings.memory_budget_bytes)


def make_judges(settings: Settings, store: ModelStore | None = None) -> Judges:
    """Imports torch, which takes seconds."""
    from dsum_demo.judge.judges import Judges

    return Judges(store or make_store(settings), settings.judges_dir)


def make_sources(settings: Settings) -> Sources:
    from dsum_demo.data.sources import Sources

    return Sources(
        settings.samples_file,
        hub_probe(settings),
        dialogsum_dir=settings.dialogsum_dir,
        allow_files=not settings.public,
    )


def saved_evaluations(settings: Settings) -> SavedEvaluations:
    from dsum_demo.evaluation.storage import SavedEvaluations

    return SavedEvaluations(settings.evaluations_dir, settings.shipped_evaluations_dir)


def make_run_queue(settings: Settings) -> RunQueue:
    from dsum_demo.runs.queue import RunQueue

    return RunQueue(
        settings.runs_dir,
        uploads_dir=settings.uploads_dir,
        environment=settings.as_environment(),
        public=settings.public,
    )
