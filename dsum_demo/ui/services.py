"""What the handlers need, in one place: no globals. Knows sessions; nothing of components."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from dsum_demo.costs import Speed
from dsum_demo.data import Example, read_samples
from dsum_demo.errors import DataError
from dsum_demo.jobs import Jobs
from dsum_demo.loading import ModelStore
from dsum_demo.registry import Registry
from dsum_demo.settings import Settings
from dsum_demo.ui.evaluation_runs import Evaluations


@dataclass(repr=False)
class Services:
    """One app's settings, models, samples, evaluations and runs, and for each session that is writing the event that
    stops it.

    speed: this machine's, once it has been measured.
    """

    settings: Settings
    registry: Registry
    store: ModelStore
    samples: list[Example]
    jobs: Jobs
    running: dict[str, threading.Event] = field(default_factory=dict)
    speed: Speed | None = None
    evaluations: Evaluations = field(init=False)

    def __post_init__(self) -> None:
        self.evaluations = Evaluations(self.settings, self.store)

    @classmethod
    def start(cls, settings: Settings) -> Services:
        registry = Registry(settings)
        try:
            samples = read_samples(settings.samples_file)
        except DataError:
            samples = []
        return cls(settings, registry, ModelStore(registry, settings), samples, Jobs(settings))

    def begin(self, session: str) -> None:
        """A new run of this session; one that is still going is stopped."""
        self.stop(session)
        self.running[session] = threading.Event()

    def stop(self, session: str) -> None:
        event = self.running.get(session)
        if event:
            event.set()

    def forget(self, session: str) -> None:
        """The session is over: whatever still writes for it stops."""
        self.stop(session)
        self.running.pop(session, None)
