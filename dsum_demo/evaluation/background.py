"""The running evaluation in a background thread, which continues when the page is reloaded, and opened evaluations."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path

from dsum_demo.data.columns import GivenColumns
from dsum_demo.data.examples import read_samples
from dsum_demo.data.sources import DIALOGSUM, SAMPLES, Sources, regroup
from dsum_demo.data.tables import Broken
from dsum_demo.errors import DsumError, InputError, Stopped
from dsum_demo.evaluation.candidates import with_best_of
from dsum_demo.evaluation.judging import judged
from dsum_demo.evaluation.output_cache import OutputCache
from dsum_demo.evaluation.recorded import evaluate_recorded, read_recorded
from dsum_demo.evaluation.records import Evaluation, EvaluationProgress
from dsum_demo.evaluation.report import Report, build_report
from dsum_demo.evaluation.runner import evaluate
from dsum_demo.evaluation.storage import SavedEvaluations, fill_texts, read_evaluation
from dsum_demo.evaluation.training_data import without_training_data
from dsum_demo.judge.judges import Judges
from dsum_demo.models.store import ModelStore
from dsum_demo.settings import MAX_INPUT_CHARS

log = logging.getLogger(__name__)

UPLOAD, RECORDED = "upload", "recorded"
SOURCES = {
    SAMPLES: "The samples, written for this project",
    f"{DIALOGSUM}:validation": "DialogSum, validation",
    f"{DIALOGSUM}:test": "DialogSum, test",
    UPLOAD: "A file of dialogues and references",
    RECORDED: "A file of recorded outputs",
}
# A public Space has two cores for all visitors.
PUBLIC_DIALOGUES, PUBLIC_ROWS = 50, 2_000
PARTIAL_RESAMPLES = 1_000
MOST_OPEN = 6
LARGE = 2_000  # examples
# After a key: count the dialogues that were in a system's training data too.
WITH_TRAINING_DATA = "#all"

Run = Callable[..., Iterator[EvaluationProgress]]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """A requested evaluation. systems: names of models, or of columns for recorded outputs. columns: other columns of
    the file by role, guessed if missing. owner: the secret of the user, for private models. judge: the name of a judge
    for the outputs, "" for none. best_of: also evaluate each model with the best of so many candidates, 0 for no.
    """

    source: str
    systems: tuple[str, ...]
    file: Path | None = None
    references: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 0
    policy: str = "mean"
    reading: str = "dialogues"
    skip_broken: bool = False
    columns: GivenColumns = field(default_factory=dict)
    owner: str = ""
    judge: str = ""
    best_of: int = 0

    @property
    def title(self) -> str:
        return self.file.name if self.file else SOURCES[self.source]


@dataclass
class Open:
    """An evaluation with its report.

    whole: with the dialogues that a system was trained on, which `evaluation` has if the key ends in
    WITH_TRAINING_DATA. texts: why the texts are missing, "" if they are not or were not requested.
    """

    key: str
    title: str
    shipped: bool
    evaluation: Evaluation
    report: Report
    whole: Evaluation
    saved: bool = True
    asked_for_texts: bool = False
    texts: str = ""


@dataclass
class BackgroundEvaluation:
    """One running or finished evaluation. `token` is known only to the page that started it.

    key: of the result after the end; error: a message; rows: the numbers of invalid rows.
    """

    title: str
    token: str
    note: str = ""
    progress: EvaluationProgress | None = None
    over: bool = False
    error: str = ""
    rows: tuple[int, ...] = ()
    key: str = ""
    _asked: threading.Event = field(default_factory=threading.Event)
    _partial: tuple[int, Evaluation, Report] | None = None

    def stop(self) -> None:
        self._asked.set()

    def tell(self, note: str) -> None:
        self.note = note

    @property
    def stopping(self) -> bool:
        return self._asked.is_set()

    def partial(self) -> tuple[Evaluation, Report] | None:
        """The evaluation so far and its report; None before the first summary."""
        progress = self.progress
        if progress is None or not progress.evaluation.examples:
            return None
        if self._partial is None or self._partial[0] != progress.done:
            counted = without_training_data(progress.evaluation)
            report = build_report(counted, resamples=PARTIAL_RESAMPLES)
            self._partial = (progress.done, counted, report)
        return self._partial[1:]

    def follow(self, states: Iterator[EvaluationProgress], keep: Callable[[Evaluation], str]) -> None:
        """Run to the end or the stop; results so far are kept even after an error."""
        try:
            for progress in states:
                self.progress = progress
        except Stopped:
            pass
        except DsumError as error:
            self.error, self.rows = str(error), getattr(error, "rows", ())
        except Exception as error:
            log.exception("the evaluation failed")
            self.error = f"The evaluation failed unexpectedly: {type(error).__name__}: {error}"
        try:
            if self.progress and self.progress.evaluation.examples:
                self.key = keep(self.progress.evaluation)
        except Exception as error:
            log.exception("the evaluation could not be saved")
            self.error = f"The evaluation could not be saved: {error}"
        self.over = True


class EvaluationQueue:
    """The running evaluation and the opened ones; thread-safe.

    One runs at a time: two would slow each other down, and the estimated time left would be wrong. public: apply the
    limits of a public Space. max_chars: a longer dialogue is invalid. run_on: takes the generator function that uses
    models and returns one that runs it on the app's hardware.
    """

    def __init__(
        self,
        store: ModelStore,
        sources: Sources,
        saved: SavedEvaluations,
        cache: OutputCache,
        judges: Judges,
        *,
        max_chars: int = MAX_INPUT_CHARS,
        public: bool = False,
        run_on: Callable[[Run], Run] = lambda run: run,
    ):
        self.store, self.saved, self.cache, self.judges = store, saved, cache, judges
        self._sources, self._max_chars, self._public = sources, max_chars, public
        self.run: BackgroundEvaluation | None = None
        self._open: OrderedDict[str, Open] = OrderedDict()
        self._lock = threading.Lock()
        self._states_with_models = run_on(self._with_judge)

    def start(self, wanted: Wanted) -> BackgroundEvaluation:
        """Start in a background thread. Raises InputError for an invalid request or while another evaluation runs."""
        check(wanted)
        with self._lock:
            if self.run and not self.run.over:
                raise InputError("An evaluation is already running; wait until it has finished, or stop it.")
            run = self.run = BackgroundEvaluation(wanted.title, secrets.token_hex(16))

        def work() -> None:
            evaluated = self._with_judge if wanted.source == RECORDED and not wanted.judge else self._states_with_models
            states = evaluated(wanted, should_stop=run._asked.is_set, tell=run.tell)
            run.follow(states, lambda evaluation: self._keep(evaluation, run))
            if wanted.file:
                # Do not reveal server paths to visitors.
                run.error = run.error.replace(str(wanted.file), wanted.file.name)

        # With the context of the request, which ZeroGPU takes the visitor's quota from.
        context = copy_context()
        threading.Thread(target=context.run, args=[work], name="evaluation", daemon=True).start()
        return run

    def run_for(self, token: str | None) -> BackgroundEvaluation | None:
        """The run, if the page may see it: on a public Space only the page that started it."""
        if self.run and (not self._public or self.run.token == token):
            return self.run
        return None

    def get(self, key: str | None) -> Open | None:
        """The evaluation, opened if necessary. Raises InputError for an unknown key, DataError for a broken folder."""
        if not key:
            return None
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
                return self._open[key]
        name = key.removesuffix(WITH_TRAINING_DATA)
        if name != key and (opened := self.get(name)):
            whole = opened.whole
            return self._put(
                replace(opened, key=key, evaluation=whole, report=build_report(whole), asked_for_texts=False, texts="")
            )
        if key.startswith("run:"):
            raise InputError("This result is no longer in memory. Evaluate again; the summaries are cached.")
        saved = self.saved.find(key)
        evaluation = read_evaluation(saved.folder)
        return self._put(_opened(key, evaluation, shipped=saved.shipped))

    def takes_long(self, key: str | None) -> bool:
        """Whether opening takes so long that the page should announce it."""
        if not key or key in self._open:
            return False
        return any(saved.n > LARGE for saved in self.saved.list() if saved.name == key)

    def with_texts(self, opened: Open) -> Open:
        """The evaluation with dialogues and references filled in if they are on this machine. Downloads nothing."""
        missing = any(e.dialogue is None for e in opened.evaluation.examples)
        if opened.asked_for_texts or opened.evaluation.recorded or not missing:
            return opened
        opened.asked_for_texts = True
        try:
            examples = self._sources.read(opened.evaluation.data, download=False)
            opened.evaluation = fill_texts(opened.evaluation, examples)
        except DsumError:
            opened.texts = (
                f"The texts of {opened.evaluation.data} are not shown: they were not saved with the evaluation. The "
                "evaluation of the samples includes its dialogues."
            )
        if opened.texts and opened.evaluation.data.startswith(f"{DIALOGSUM}:"):
            opened.texts = (
                "This dialogue and its references are not shown because the DialogSum dataset is not distributed with "
                "the app. To see them, set DSUM_DIALOGSUM to a folder with the DialogSum splits, or evaluate DialogSum "
                "once with internet access, which downloads it; then restart the app. The evaluation of the samples "
                "includes its dialogues."
            )
        return opened

    def close(self, key: str) -> None:
        with self._lock:
            self._open.pop(key, None)
            self._open.pop(key + WITH_TRAINING_DATA, None)

    def _put(self, opened: Open) -> Open:
        with self._lock:
            self._open[opened.key] = opened
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
        return opened

    def _keep(self, evaluation: Evaluation, run: BackgroundEvaluation) -> str:
        """Save it, or on a public Space keep it in memory, because visitors must not see each other's."""
        opened, problem = _opened(f"run:{run.token}", evaluation, saved=False), ""
        if not self._public:
            try:
                opened.key, opened.saved = self.saved.save(evaluation, report=opened.report).name, True
            except OSError as error:
                problem = (
                    f"The evaluation could not be saved ({error.strerror or error}); download it before you close the "
                    "page."
                )
        self._put(opened)
        run.error = run.error or problem
        return opened.key

    def _with_judge(
        self, wanted: Wanted, should_stop: Callable[[], bool] = lambda: False, tell: Tell = lambda text: None
    ) -> Iterator[EvaluationProgress]:
        states, stop = self._states(wanted, should_stop, tell), should_stop
        if wanted.best_of:
            states = with_best_of(states, self.judges, self.judges.chooser(), wanted.best_of, stop)
        if wanted.judge:
            states = judged(states, self.judges, wanted.judge, self.cache, stop)
        yield from states

    def _states(self, wanted: Wanted, should_stop: Callable[[], bool], tell: Tell) -> Iterator[EvaluationProgress]:
        limit = most(wanted.source, self._public)
        limit = min(filter(None, (wanted.limit, limit)), default=None)
        if wanted.source == RECORDED:
            assert wanted.file is not None
            tell("Reading the file.")
            yield from evaluate_recorded(
                wanted.file, wanted.references, wanted.systems, policy=wanted.policy, reading=wanted.reading,
                seed=wanted.seed, limit=limit, skip_broken=wanted.skip_broken, columns=wanted.columns,
                should_stop=should_stop,
            )  # fmt: skip
            return
        self.store.registry.refresh()  # on ZeroGPU this process may be older than a run's model
        registry = self.store.registry.seen_by(wanted.owner)
        specs = [registry.spec(name) for name in wanted.systems]
        broken: Broken | None = {} if wanted.skip_broken else None
        tell("Reading the dialogues.")
        if wanted.file:
            examples = regroup(read_samples(wanted.file, broken, wanted.columns))
        else:
            examples = self._sources.read(
                wanted.source, on_progress=lambda text, share: tell(text), should_stop=should_stop
            )
        tell("")
        yield from evaluate(
            self.store, specs, examples, data=wanted.file.name if wanted.file else wanted.source,
            policy=wanted.policy, reading=wanted.reading, seed=wanted.seed, limit=limit, cache=self.cache,
            skipped=broken, max_chars=self._max_chars, should_stop=should_stop,
        )  # fmt: skip


def _opened(key: str, evaluation: Evaluation, *, shipped: bool = False, saved: bool = True) -> Open:
    counted = without_training_data(evaluation)
    return Open(key, describe(evaluation.data), shipped, counted, build_report(counted), evaluation, saved)


def broken_rows(wanted: Wanted, notes: list[str] | None = None) -> Broken:
    """Reasons why rows of the file are invalid, by row number. notes: gets messages about guessed columns and repeated
    ids. Raises DataError or InputError if the file or the columns are invalid.
    """
    broken: Broken = {}
    if wanted.file is None:
        return broken
    try:
        if wanted.source == RECORDED:
            read_recorded(wanted.file, wanted.references, wanted.systems, broken, wanted.columns, notes)
        else:
            read_samples(wanted.file, broken, wanted.columns, notes)
    except DsumError as error:
        # Do not reveal server paths to visitors.
        raise type(error)(str(error).replace(str(wanted.file), wanted.file.name)) from None
    return dict(sorted(broken.items()))


def check(wanted: Wanted) -> None:
    """Check a request before any file is read. Raises InputError if it is invalid."""
    if wanted.source not in SOURCES:
        raise InputError(f"Unknown data {wanted.source!r}; choose one of: {', '.join(SOURCES)}.")
    if wanted.source in (UPLOAD, RECORDED) and wanted.file is None:
        raise InputError("No file is uploaded; upload one first.")
    if not wanted.systems:
        missing = "at least one column of outputs" if wanted.source == RECORDED else "at least one"
        raise InputError(f"No system is chosen; choose {missing}.")
    if wanted.source == RECORDED and not wanted.references:
        raise InputError("No column of references is chosen; choose at least one for ROUGE to compare with.")
    if wanted.source == RECORDED and wanted.best_of:
        raise InputError("Best of n generates summaries; it is not available for recorded outputs.")
    if wanted.limit is not None and wanted.limit < 1:
        raise InputError(f"The limit is {wanted.limit}; give 1 or more, or leave it empty for all.")


def most(source: str, public: bool) -> int | None:
    """The maximum number of examples, None for no limit."""
    if not public:
        return None
    return PUBLIC_ROWS if source == RECORDED else PUBLIC_DIALOGUES


def describe(data: str) -> str:
    """The title of an evaluation's data."""
    return {SAMPLES: "Samples"}.get(data, SOURCES.get(data, data))
