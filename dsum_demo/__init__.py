"""dsum: original, fully fine-tuned and LoRA summaries of a dialogue, side by side, with ROUGE.

The public API: `summarize`, `compare`, `score`, `evaluate` and `load`. Importing it loads neither torch, transformers
nor gradio; they are imported when a function needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsum_demo.comparison import Comparison
    from dsum_demo.evaluation.report import Report
    from dsum_demo.metrics.scores import Score
    from dsum_demo.models.decoding import DecodingConfig
    from dsum_demo.models.store import LoadedModel, ModelStore
    from dsum_demo.settings import Settings

__version__ = "0.2.0"
__all__ = ["__version__", "compare", "evaluate", "load", "score", "summarize"]


@cache
def _settings() -> Settings:
    from dsum_demo.composition import load_settings

    return load_settings()


@cache
def _store() -> ModelStore:
    from dsum_demo.composition import make_store

    return make_store(_settings())


def summarize(dialogue: str, model: str = "", decode: DecodingConfig | None = None) -> str:
    """One model's summary of one dialogue (one turn per line, "Name: text"); without a name, the default family's full
    fine-tune.

    Raises InputError for an invalid dialogue, UnknownModelError for a name that is not in the registry,
    and GenerationError, with the reason, if the model is not available or fails.
    """
    from dsum_demo.comparison import stream_comparison
    from dsum_demo.errors import GenerationError

    store = _store()
    full = store.registry.default_family.default_trio()[1]
    spec = store.registry.spec(model or (full.name if full else ""))
    *_, last = stream_comparison(store, store.registry.family(spec.family), [spec], dialogue, decode=decode)
    if last.systems[0].error:
        raise GenerationError(last.systems[0].error)
    return last.systems[0].summary


def compare(
    dialogue: str,
    references: Sequence[str] = (),
    family: str | None = None,
    decode: DecodingConfig | None = None,
) -> Comparison:
    """Original, full fine-tune and LoRA of one family on one dialogue, scored if references are given.

    A system that fails has an `error`; the others are complete. Raises GenerationError with the reasons if all of them
    fail, for example because the Hub is not reachable, and InputError for invalid input.
    """
    from dsum_demo.comparison import compare as run
    from dsum_demo.errors import GenerationError

    store = _store()
    specs = store.registry.systems(family=family)
    done = run(store, store.registry.family(specs[0].family), specs, dialogue, references, decode)
    if done.failure:
        raise GenerationError(done.failure)
    return done


def score(prediction: str, references: Sequence[str]) -> dict[str, Score]:
    """ROUGE-1/2/L/Lsum of one summary, mean over its references: precision, recall and F1, each from 0 to 1.

    Raises InputError without a reference.
    """
    from dsum_demo.metrics.scores import score_summary

    _settings()  # they may add metrics

    return score_summary(prediction, references)


def evaluate(
    data: str = "samples",
    systems: Sequence[str] = (),
    family: str | None = None,
    limit: int | None = None,
    policy: str = "mean",
    seed: int = 0,
) -> Report:
    """Evaluate models on a data set: means with confidence intervals, paired differences, checks and warnings.

    data: samples, dialogsum:validation, dialogsum:test, or a file with dialogues and summaries. systems: names of
    models; without names, a family's trio. limit: size of a random sample. policy: "mean", "best" or "first" of several
    references. Summaries are cached. Dialogues that a system was trained on are not counted.

    Raises InputError or DataError for invalid arguments or data, UnknownModelError for an unknown name, and
    GenerationError if no system could be evaluated.
    """
    from dsum_demo.composition import make_sources
    from dsum_demo.evaluation.output_cache import OutputCache
    from dsum_demo.evaluation.report import headline_report
    from dsum_demo.evaluation.runner import evaluate as run

    settings, store = _settings(), _store()
    specs, examples = store.registry.systems(systems, family), make_sources(settings).read(data)
    cache = OutputCache(settings.outputs_file)
    *_, last = run(store, specs, examples, data=data, policy=policy, seed=seed, limit=limit, cache=cache)
    _, report = headline_report(last.evaluation)
    return report


def load(model: str) -> LoadedModel:
    """A model in memory: the transformers model, its tokenizer, its counts of parameters, and for an adapter
    `at_strength`. Loading it again takes no time, and an adapter shares the memory of its base.

    Raises UnknownModelError for a name that is not in the registry, and ModelUnavailableError,
    IncompatibleAdapterError or UnsafeWeightsError with the fix.
    """
    store = _store()
    return store.load(store.registry.spec(model))
