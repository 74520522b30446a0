"""The app's API: what a person can do on the page, as documented endpoints and as MCP tools for agents."""

from __future__ import annotations

import inspect
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import wraps
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

import gradio as gr
from gradio.utils import get_function_description
from pydantic import TypeAdapter

from dsum_demo.comparison import clean_references
from dsum_demo.composition import make_sources
from dsum_demo.data.dialogues import read_dialogue
from dsum_demo.data.examples import Example, to_examples
from dsum_demo.data.sources import SAMPLES, regroup, source_names
from dsum_demo.data.tables import Row
from dsum_demo.errors import DataError, GenerationError, InputError
from dsum_demo.evaluation.background import most
from dsum_demo.evaluation.report import headline_report
from dsum_demo.metrics.checks import check_summary as run_checks
from dsum_demo.metrics.scores import score_summary as run_metrics
from dsum_demo.metrics.scores import signature as metric_signature
from dsum_demo.metrics.words import words
from dsum_demo.runs.store import Run
from dsum_demo.training.presets import requested_config
from dsum_demo.ui.answers import (
    ChecksAnswer,
    ComparisonAnswer,
    EvaluationAnswer,
    JudgeAnswer,
    ModelAnswer,
    ModelsAnswer,
    RunAnswer,
    ScoreAnswer,
    ScoredAnswer,
    SignatureAnswer,
    SummaryAnswer,
)
from dsum_demo.ui.checked_arguments import checked
from dsum_demo.ui.review.endpoints import REVIEW_ENDPOINTS
from dsum_demo.ui.services import COMPARISONS_AT_ONCE, Services

# A caller has no browser, and so no runs: it sees what every visitor sees.
NOBODY = ""
SHOWN_STEPS = 20


def add_api(page: gr.Blocks, services: Services) -> None:
    """Add the endpoints to `page`, inside its context."""
    for name, function in ENDPOINTS.items():
        if function in PRIVATE and services.settings.public:
            continue
        _add(page, _answering(function, services), name)


def _add(page: gr.Blocks, function: Callable[..., Any], name: str) -> None:
    """An endpoint with what gr.api leaves out: the descriptions of the docstring's “Args:”, and the answer's fields."""
    at_once = COMPARISONS_AT_ONCE if name in SHARING else 1
    listener = gr.api(function, api_name=name, concurrency_limit=at_once)
    described = get_function_description(function)[1]
    components: dict[int, Any] = page.blocks
    for key, (parameter, description) in zip(listener["inputs"], described.items(), strict=True):
        components[key].label = parameter
        components[key].api_info()["additional_description"] = description
    for key in listener["outputs"]:
        components[key].label = "result"
        components[key].api_info().update(TypeAdapter(answer_type(function)).json_schema())


def answer_type(function: Callable[..., Any]) -> Any:
    """The type of an endpoint's answer; of each one, if it yields several."""
    hint = get_type_hints(function)["return"]
    return get_args(hint)[0] if get_origin(hint) is Iterator else hint


def _answering(function: Callable[..., Any], services: Services) -> Callable[..., Any]:
    """`function` for callers: without its first parameter, and with checked arguments."""
    whole = inspect.signature(function)
    signature = whole.replace(parameters=list(whole.parameters.values())[1:])
    hints = get_type_hints(function)
    types = {name: TypeAdapter(hints[name]) for name in signature.parameters}

    def bound(arguments: tuple[Any, ...]) -> dict[str, Any]:
        given = signature.bind(*arguments).arguments
        return {name: checked(name, value, types[name]) for name, value in given.items()}

    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def answer(*arguments: Any) -> Any:
            yield from function(services, **bound(arguments))
    else:

        @wraps(function)
        def answer(*arguments: Any) -> Any:
            return function(services, **bound(arguments))

    answer.__signature__ = signature  # type: ignore[attr-defined]
    return answer


def summarize_dialogue(
    services: Services,
    dialogue: str,
    model: str | None = None,
    strength: float = 1.0,
    beams: int | None = None,
    max_new_tokens: int | None = None,
    as_is: bool = False,
) -> SummaryAnswer:
    """Summarize a dialogue with one model. The result has the summary, its time, and warnings about the input.

    Args:
        dialogue: The dialogue to summarize: one turn per line, "Name: text", or a chat export or transcript.
        model: The name of a model, as /models lists it. Default: the full fine-tune of the default family.
        strength: For an adapter, what its part is multiplied by, 0 to 2. Default: 1, as it was trained.
        beams: Beam search with this number of beams, 1 to 8. Default: greedy decoding.
        max_new_tokens: The maximum length of the summary, in tokens. Default: that of the model's family.
        as_is: Use the text as it is instead of reading it as a chat export or transcript. Default: false.
    """
    registry = services.registry.seen_by(NOBODY)
    spec = registry.spec(model) if model else (registry.default_family.default_trio()[1] or registry.systems()[0])
    family = registry.family(spec.family)
    given: dict[str, Any] = {"num_beams": beams, "max_new_tokens": max_new_tokens}
    decode = replace(family.decode, **{name: value for name, value in given.items() if value is not None})
    *_, done = services.compare(family, [spec], dialogue, (), decode, {spec.name: strength}, as_is=as_is)
    if done.failure:
        raise GenerationError(done.failure)
    found = cast(ComparisonAnswer, done.as_dict())
    return {**found["systems"][0], "warnings": found["warnings"], "reading": found["reading"]}


def compare_dialogue(
    services: Services,
    dialogue: str,
    references: list[str] | None = None,
    family: str | None = None,
    as_is: bool = False,
    systems: list[str] | None = None,
) -> ComparisonAnswer:
    """Summarize a dialogue by greedy decoding with a family's original, full fine-tune and LoRA, or with other models.

    The result has every summary, its time and its ROUGE scores. A model that fails has an error; if all fail, the call
    fails.

    Args:
        dialogue: The dialogue to summarize: one turn per line, "Name: text", or a chat export or transcript.
        references: Up to three human summaries. With references, each summary gets ROUGE scores.
        family: The name of a model family, as /models lists it. Default: the family that the page starts with.
        as_is: Use the text as it is instead of reading it as a chat export or transcript. Default: false.
        systems: Instead of a family: up to six names of models, as /models lists them.
    """
    if systems and family:
        raise InputError("Give either family or systems, not both.")
    registry = services.registry.seen_by(NOBODY)
    specs = registry.systems(systems, family)
    *_, done = services.compare(registry.family(specs[0].family), specs, dialogue, references or (), as_is=as_is)
    if done.failure:
        raise GenerationError(done.failure)
    return cast(ComparisonAnswer, done.as_dict())


def score_summary(services: Services, summary: str, references: list[str]) -> ScoredAnswer:
    """Score a summary against human references: ROUGE precision, recall and F1 from 0 to 1, mean over references.

    Args:
        summary: The summary to score.
        references: One to three human summaries of the same dialogue.
    """
    kept = clean_references(references)
    _check_length(services, summary)
    scores = run_metrics(summary, kept)
    return {
        "scores": {name: cast(ScoreAnswer, asdict(score)) for name, score in scores.items()},
        "signature": cast(SignatureAnswer, metric_signature(n=1, references=len(kept)).as_dict()),
    }


def check_summary(
    services: Services,
    summary: str,
    dialogue: str | None = None,
    references: list[str] | None = None,
    judge: str | None = None,
) -> ChecksAnswer:
    """Check a summary beyond ROUGE: length, copying, repetition, speakers, names and numbers that are not in the text.

    A check that needs a missing dialogue or reference is null.

    Args:
        summary: The summary to check.
        dialogue: The dialogue that it summarizes.
        references: Up to three human summaries of the same dialogue.
        judge: The name of a judge, as `dsum judge list` prints it, or "" for the default one: a language model that
            scores the summary with the dialogue and without references. The result has how far to trust it. Default:
            no judge.
    """
    _check_length(services, summary)
    _check_length(services, dialogue or "")
    checked = run_checks(summary, dialogue, clean_references(references or ()))
    found: ChecksAnswer = {"checks": checked.values, "not_in_dialogue": list(checked.ungrounded)}
    return found if judge is None else {**found, "judge": _judged(services, judge, summary, dialogue or "")}


def _judged(services: Services, name: str, summary: str, dialogue: str) -> JudgeAnswer:
    if not (words(summary) and words(dialogue)):
        raise InputError("The judge needs a summary and its dialogue, both with words.")
    read = read_dialogue(dialogue, services.settings.max_input_chars).dialogue
    (judged,) = services.judge(name, read, [summary])
    values = {"seconds": judged.seconds, "bits_per_token": judged.values(summary)}
    return cast(JudgeAnswer, {**judged.about, **values})


def evaluate_models(
    services: Services,
    rows: list[dict[str, Any]] | None = None,
    data: str | None = None,
    systems: list[str] | None = None,
    limit: int | None = None,
    policy: Literal["mean", "best", "first"] = "mean",
    seed: int = 0,
) -> Iterator[EvaluationAnswer]:
    """Evaluate models on a data set: means with confidence intervals, paired differences, checks and warnings.

    Until the end each result is the progress: done, total and note. The last result has the report.

    Args:
        rows: The data set: objects with dialogue and summary (or summary1 to summary3), and optionally id.
        data: Instead of rows: samples, dialogsum:validation or dialogsum:test. Default: samples.
        systems: Names of models, as /models lists them. Default: the default family's original, full and LoRA.
        limit: Evaluate a random sample of this many examples. Default: all that this app allows.
        policy: With several references: mean over them, the best one, or the first.
        seed: Seeds the sample and the confidence intervals.
    """
    registry = services.registry.seen_by(NOBODY)
    specs = registry.systems(systems)
    if rows is not None and data is not None:
        raise InputError("Give either rows or data, not both.")
    if data is not None and data not in source_names():
        raise InputError(f"data is {data!r}; give one of: {', '.join(source_names())}. Send other data as rows.")
    source = "rows" if rows is not None else data or SAMPLES
    examples = make_sources(services.settings).read(source) if rows is None else _examples(rows)
    allowed = most(source, services.settings.public)
    limit = allowed if limit is None else min(limit, allowed or limit)
    for progress in services.evaluate(specs, examples, source, policy, seed, limit):
        state: EvaluationAnswer = {"done": progress.done, "total": progress.total, "note": progress.note}
        yield state
    counted, report = headline_report(progress.evaluation)
    yield {**state, "report": report.as_dict(), "examples": [example.as_dict() for example in counted.examples]}


def list_models(services: Services) -> ModelsAnswer:
    """List every model of every family with its state and, if it is not available, the reason."""
    return {"models": cast(list[ModelAnswer], services.registry.seen_by(NOBODY).as_rows())}


def train_model(
    services: Services,
    rows: list[dict[str, Any]] | None = None,
    data: str | None = None,
    base: str | None = None,
    preset: str | None = None,
    method: str | None = None,
    settings: list[str] | None = None,
    name: str | None = None,
) -> RunAnswer:
    """Queue a training run. The result has its name; /run shows its progress. Its model appears in /models at the end.

    Args:
        rows: The training data: objects with dialogue and summary, and optionally id; a part is for validation.
        data: Instead of rows: samples or dialogsum. Default: samples.
        base: The name of a base model, as /models lists it. Default: the base that the Train tab starts with.
        preset: The name of a preset, such as smoke, good-lora or good-full. Default: the method's defaults.
        method: full, lora, dora, ia3 or another PEFT method. Default: that of the preset, else lora.
        settings: Training settings and options of the method as FIELD=VALUE, such as max_steps=100 or r=8.
        name: The name of the run and of its model.
    """
    if rows is not None and data is not None:
        raise InputError("Give either rows or data, not both.")
    if data is not None and data not in (SAMPLES, "dialogsum"):
        raise InputError(f"data is {data!r}; give samples or dialogsum. Send other data as rows.")
    registry = services.registry.seen_by(NOBODY)
    source = data or ("" if preset else SAMPLES)
    config = requested_config(
        registry, base=base or "", preset_name=preset or "", method=method or "",
        data={"source": source} if source else {}, settings=settings or (),
    )  # fmt: skip
    if rows is not None:
        _examples(rows)
        file = services.uploads_dir(NOBODY) / f"api-{secrets.token_hex(8)}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows), encoding="utf-8")
        config = replace(config, data=replace(config.data, source=str(file)))
    return _run_state(services, services.jobs.submit(config, name or ""))


def show_run(services: Services, run: str) -> RunAnswer:
    """Show a training run: its state, its latest steps, its validation results and, at the end, its result.

    Args:
        run: The name of the run, as /train returns it.
    """
    return _run_state(services, services.jobs.get(run, NOBODY))


def stop_run(services: Services, run: str, keep: bool = True) -> RunAnswer:
    """Stop a training run. It ends after the current step and can be resumed on the page; a queued run is deleted.

    Args:
        run: The name of the run, as /train returns it.
        keep: Keep the best weights so far. Default: true.
    """
    found = services.jobs.get(run, NOBODY)
    services.jobs.stop(found.name, keep)
    # A run that has not started has nothing to show.
    return _run_state(services, found) if found.folder.exists() else {"run": found.name, "state": "deleted"}


def _run_state(services: Services, run: Run) -> RunAnswer:
    status, curve = run.status(), services.jobs.curve(run)
    return {
        "run": run.name,
        "state": str(status.state),
        "reason": status.reason,
        "config": run.config(),
        "steps": curve.steps[-SHOWN_STEPS:],
        "evaluations": curve.evaluations[-SHOWN_STEPS:],
        "result": run.result(),
    }


def _examples(rows: Sequence[Row]) -> list[Example]:
    """The examples of rows, like those of a file. Raises DataError."""
    if not rows:
        raise DataError("rows is empty; give objects with dialogue and summary.")
    columns = dict.fromkeys(name for row in rows for name in row)
    return regroup(to_examples([{name: row.get(name) for name in columns} for row in rows], "rows"))


def _check_length(services: Services, text: str) -> None:
    limit = services.settings.max_input_chars
    if len(text) > limit:
        raise InputError(f"The text has {len(text):,} characters; the limit is {limit:,}. Shorten it.")


ENDPOINTS: dict[str, Callable[..., Any]] = {
    "summarize": summarize_dialogue,
    "compare": compare_dialogue,
    "score": score_summary,
    "check": check_summary,
    "evaluate": evaluate_models,
    "models": list_models,
    "train": train_model,
    "run": show_run,
    "stop_run": stop_run,
    **REVIEW_ENDPOINTS,
}
# Those that generate with the scheduler.
SHARING = {"summarize", "compare"}
# A public app does not have these: runs belong to a visitor's browser there.
PRIVATE = {train_model, show_run, stop_run}
