"""The objects that the event handlers share, and the comparisons that are running."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from dsum_demo.comparison import Choice, Comparison, System, stream_comparison
from dsum_demo.composition import (
    make_judges,
    make_registry,
    make_run_queue,
    make_sources,
    make_store,
    saved_evaluations,
)
from dsum_demo.data.examples import Example, read_samples
from dsum_demo.errors import DataError, InputError
from dsum_demo.evaluation.background import BackgroundEvaluation, EvaluationQueue, Wanted, most
from dsum_demo.evaluation.output_cache import OutputCache
from dsum_demo.evaluation.recorded_comparison import recorded_samples
from dsum_demo.evaluation.records import EvaluationProgress
from dsum_demo.evaluation.runner import evaluate
from dsum_demo.generation.scheduler import Scheduler
from dsum_demo.judge.judged_texts import JudgedTexts, judge_texts
from dsum_demo.judge.judges import JudgeSpec
from dsum_demo.models.catalog import Family, ModelSpec
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.estimates import Speed
from dsum_demo.models.registry import Registry
from dsum_demo.models.store import ModelStore
from dsum_demo.review.backup import ReviewBackup
from dsum_demo.review.records import ReviewSettings
from dsum_demo.review.storage import ReviewStore
from dsum_demo.runs.limits import is_file_in, own_uploads_dir
from dsum_demo.runs.queue import RunQueue
from dsum_demo.settings import Settings
from dsum_demo.ui.zero_gpu import ON_ZERO_GPU, on_gpu
from dsum_demo.utils.path_redaction import hide_paths

CANDIDATES = 4  # of which a judge chooses the best
# Estimates for ZeroGPU: models that move to the GPU, one token of a summary, and one summary in a batch.
START_SECONDS, TOKEN_SECONDS, BATCHED_SECONDS = 10, 0.05, 0.2
COMPARISONS_AT_ONCE = 64  # they are generated in batches (`Scheduler`); the others wait in gradio's queue


@dataclass(frozen=True)
class ReviewRun:
    """A run whose texts become a review when it is done. name: "" for that of the data. reviewer: the name of its
    creator.
    """

    run: BackgroundEvaluation
    name: str
    settings: ReviewSettings
    reviewer: str


@dataclass(repr=False)
class Services:
    """One app's settings, models, samples, evaluations, reviews and runs, from which event handlers take what
    they need.

    recorded: the samples' shipped summaries, by family and dialogue. running: for each session with a comparison, the
    event that stops it. review_runs: the run that becomes a review, by the secret of its browser. speed: this
    machine's, None until measured. backup: uploads copies of the reviews, None if that is not set up. scheduler:
    generates the summaries of all comparisons. evaluate: `runner.evaluate` with this app's models, cache, limits and
    hardware, from (systems, examples, data, policy, seed, limit). judge: yields the JudgedTexts of (judge, dialogue,
    texts). choosing: held by the comparison that chooses the best of several.
    """

    settings: Settings
    registry: Registry
    store: ModelStore
    samples: list[Example]
    jobs: RunQueue
    recorded: Mapping[tuple[str, str], Comparison] = field(default_factory=dict)
    running: dict[str, threading.Event] = field(default_factory=dict)
    review_runs: dict[str, ReviewRun] = field(default_factory=dict)
    speed: Speed | None = None
    choosing: threading.Lock = field(default_factory=threading.Lock)
    scheduler: Scheduler = field(init=False)
    evaluations: EvaluationQueue = field(init=False)
    reviews: ReviewStore = field(init=False)
    evaluate: Callable[..., Iterator[EvaluationProgress]] = field(init=False)
    judge: Callable[..., Iterator[JudgedTexts]] = field(init=False)
    _compared: Callable[..., Iterator[Comparison]] = field(init=False)
    backup: ReviewBackup | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.settings.batch_requests)
        self.evaluations = EvaluationQueue(
            self.store,
            make_sources(self.settings),
            saved_evaluations(self.settings),
            OutputCache(self.settings.outputs_file),
            make_judges(self.settings, self.store),
            max_chars=self.settings.max_input_chars,
            public=self.settings.public,
            run_on=lambda function: on_gpu(function, self._wanted_seconds),
        )
        self.evaluate = on_gpu(self._evaluation, evaluation_seconds)
        self.judge = on_gpu(self._judging, lambda judge, dialogue, texts: START_SECONDS + len(texts))
        self._compared = on_gpu(self._comparison, comparison_seconds)
        file, repository = self.settings.reviews_file, self.settings.reviews_repo
        if repository and not self.settings.offline:
            self.backup = ReviewBackup(ReviewStore(file), repository, self.settings.reviews_every)
        self.reviews = ReviewStore(file, self.backup.note) if self.backup else ReviewStore(file)

    @classmethod
    def start(cls, settings: Settings) -> Services:
        registry = make_registry(settings)
        try:
            samples = read_samples(settings.samples_file)
        except DataError:
            samples = []
        recorded = recorded_samples(saved_evaluations(settings), registry)
        return cls(settings, registry, make_store(settings, registry), samples, make_run_queue(settings), recorded)

    @property
    def chooser(self) -> JudgeSpec | None:
        """The judge that may choose the best of several summaries, if there is one on this machine."""
        with suppress(InputError):
            spec = self.evaluations.judges.chooser()
            return spec if self.registry.folder_of(spec.model) else None
        return None

    @property
    def choice(self) -> Choice | None:
        """The judge's choice among CANDIDATES summaries; None if no judge may choose."""
        spec = self.chooser
        return Choice(cache(lambda: self.evaluations.judges.load(spec)), CANDIDATES, self.choosing) if spec else None

    def compare(
        self,
        family: Family,
        specs: Sequence[System],
        dialogue: str,
        references: Sequence[str] = (),
        decode: DecodingConfig | None = None,
        strengths: Mapping[str, float] | None = None,
        *,
        as_is: bool = False,
        best: bool = False,
        should_stop: Callable[[], bool] | None = None,
    ) -> Iterator[Comparison]:
        """`stream_comparison` with this app's models, scheduler, limits and hardware. best: choose the best of
        CANDIDATES.
        """
        comparison, arguments = None, (specs, dialogue, references, decode, strengths, as_is, best)
        for comparison in self._compared(family, *arguments, should_stop=should_stop):
            yield comparison
        if ON_ZERO_GPU and comparison and should_stop and should_stop():
            yield comparison.stopped()

    def _comparison(
        self, family: Family, specs: Sequence[System], dialogue: str, references: Sequence[str],
        decode: DecodingConfig | None, strengths: Mapping[str, float] | None, as_is: bool, best: bool,
        should_stop: Callable[[], bool] | None = None,
    ) -> Iterator[Comparison]:  # fmt: skip
        yield from stream_comparison(
            self.store, family, specs, dialogue, references, decode, max_chars=self.settings.max_input_chars,
            should_stop=should_stop, strengths=strengths, as_is=as_is, choice=self.choice if best else None,
            generate=self.scheduler.stream,
        )  # fmt: skip

    def _evaluation(
        self, specs: Sequence[ModelSpec], examples: Sequence[Example], data: str, policy: str, seed: int,
        limit: int | None,
    ) -> Iterator[EvaluationProgress]:  # fmt: skip
        yield from evaluate(
            self.store, specs, examples, data=data, policy=policy, seed=seed, limit=limit,
            cache=self.evaluations.cache, max_chars=self.settings.max_input_chars,
        )  # fmt: skip

    def _judging(
        self, judge: str, dialogue: str, texts: Sequence[str], should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[JudgedTexts]:
        judges = self.evaluations.judges
        yield judge_texts(judges, judges.find(judge), dialogue, texts, should_stop)

    def _wanted_seconds(self, wanted: Wanted) -> float:
        models = len(wanted.systems) * max(1, wanted.best_of) + bool(wanted.judge)
        dialogues = min(filter(None, (wanted.limit, most(wanted.source, self.settings.public))), default=math.inf)
        return START_SECONDS + models * dialogues * BATCHED_SECONDS

    def told(self, error: object) -> str:
        """The error text that a visitor sees: on a public Space without the server's paths."""
        return self.without_paths(str(error)) if self.settings.public else str(error)

    def without_paths(self, text: str, names: Mapping[str, str] | None = None) -> str:
        """`text` without the server's paths; see `hide_paths`."""
        return hide_paths(text, (self.settings.data_dir, self.settings.root, Path(get_upload_folder())), names)

    def uploads_dir(self, owner: str) -> Path:
        """The folder of a visitor's uploads; on a public Space each visitor has a separate one."""
        uploads = self.settings.uploads_dir
        return own_uploads_dir(uploads, owner) if self.settings.public else uploads

    def is_own_upload(self, source: str, owner: str) -> bool:
        """Whether `source`, a path sent by a browser, is a file that this visitor uploaded."""
        return bool(owner or not self.settings.public) and is_file_in(self.uploads_dir(owner), source)

    def begin(self, session: str) -> None:
        """Start a new comparison of this session and stop the previous one."""
        self.stop(session)
        self.running[session] = threading.Event()

    def stop(self, session: str) -> None:
        event = self.running.get(session)
        if event:
            event.set()

    def finish(self, session: str, event: threading.Event | None) -> None:
        """Mark the comparison of `event` as finished, unless the session has started another."""
        if event is not None and self.running.get(session) is event:
            del self.running[session]

    def is_running(self, session: str) -> bool:
        return session in self.running

    def forget(self, session: str) -> None:
        """Stop the comparison of a session that has ended, and remove it."""
        self.stop(session)
        self.running.pop(session, None)


def comparison_seconds(
    family: Family, specs: Sequence[System], dialogue: str, references: Sequence[str], decode: DecodingConfig | None,
    strengths: Any, as_is: bool, best: bool,
) -> float:  # fmt: skip
    """The estimated time of a comparison on ZeroGPU, the loading of models included."""
    models = sum(isinstance(spec, ModelSpec) for spec in specs)
    tokens = (decode or family.decode).max_new_tokens * (CANDIDATES if best else 1)
    return START_SECONDS + models * tokens * TOKEN_SECONDS


def evaluation_seconds(
    specs: Sequence[ModelSpec], examples: Sequence[Example], data: str, policy: str, seed: int, limit: int | None
) -> float:
    """The same of an evaluation."""
    return START_SECONDS + len(specs) * min(len(examples), limit or len(examples)) * BATCHED_SECONDS
