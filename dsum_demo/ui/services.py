"""The objects that the event handlers share, and the comparisons that are running."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from dsum_demo.data.examples import Example, read_samples
from dsum_demo.errors import DataError
from dsum_demo.evaluation.background import EvaluationQueue
from dsum_demo.models.estimates import Speed
from dsum_demo.models.registry import Registry
from dsum_demo.models.store import ModelStore
from dsum_demo.runs.queue import RunQueue
from dsum_demo.settings import Settings
from dsum_demo.utils.path_redaction import hide_paths


@dataclass(repr=False)
class Services:
    """One app's settings, models, samples, evaluations and runs.

    running: for each session with a comparison, the event that stops it. speed: this machine's, None until measured.
    """

    settings: Settings
    registry: Registry
    store: ModelStore
    samples: list[Example]
    jobs: RunQueue
    running: dict[str, threading.Event] = field(default_factory=dict)
    speed: Speed | None = None
    evaluations: EvaluationQueue = field(init=False)

    def __post_init__(self) -> None:
        self.evaluations = EvaluationQueue(self.settings, self.store)

    @classmethod
    def start(cls, settings: Settings) -> Services:
        registry = Registry(settings)
        try:
            samples = read_samples(settings.samples_file)
        except DataError:
            samples = []
        return cls(settings, registry, ModelStore(registry, settings), samples, RunQueue(settings))

    def told(self, error: object) -> str:
        """The error text that a visitor sees: on a public Space without the server's paths."""
        return hide_paths(str(error), self.settings) if self.settings.public else str(error)

    def begin(self, session: str) -> None:
        """Start a new comparison of this session and stop the previous one."""
        self.stop(session)
        self.running[session] = threading.Event()

    def stop(self, session: str) -> None:
        event = self.running.get(session)
        if event:
            event.set()

    def forget(self, session: str) -> None:
        """Stop the comparison of a session that has ended, and remove it."""
        self.stop(session)
        self.running.pop(session, None)
