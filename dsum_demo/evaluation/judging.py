"""Adds a judge's values to the checks of an evaluation's outputs; judged texts are cached."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

from dsum_demo.errors import InputError, ModelUnavailableError, Stopped
from dsum_demo.evaluation.output_cache import OutputCache, identify
from dsum_demo.evaluation.records import Evaluation, EvaluationProgress, ExampleRecord
from dsum_demo.judge.judges import Judges, JudgeSpec
from dsum_demo.judge.likelihood_judge import METHOD, Judgement

AT_ONCE = 4  # dialogues between two writes to the cache
Judged = Mapping[tuple[str, str], Judgement]


def judged(
    states: Iterator[EvaluationProgress],
    judges: Judges,
    name: str,
    cache: OutputCache,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[EvaluationProgress]:
    """Yield the states of an evaluation, and judge its outputs once it has finished.

    name: of the judge, "" for the default. Stopping keeps the judged outputs in the cache. Raises InputError for an
    unknown judge before anything is generated, and for an evaluation without dialogues.
    """
    spec = judges.find(name)
    progress = None
    for progress in states:
        yield progress
    if progress is not None and progress.evaluation.finished:
        yield from judge_evaluation(progress.evaluation, judges, spec, cache, should_stop)


def judge_evaluation(
    evaluation: Evaluation,
    judges: Judges,
    spec: JudgeSpec,
    cache: OutputCache,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[EvaluationProgress]:
    """Yield the evaluation after every AT_ONCE judged dialogues; the last one is complete unless it was stopped."""
    wanted: dict[str, list[str]] = {}
    for example in evaluation.examples:
        if example.dialogue is None:
            raise InputError("The judge needs the dialogues, which this evaluation does not have.")
        texts = wanted.setdefault(example.dialogue, [])
        texts += [o.text for o in example.outputs.values() if o.text not in texts]
    total = sum(map(len, wanted.values()))
    about = judges.describe(spec.name)

    def state(note: str, found: Judged, left: float | None = None, finished: bool = False) -> EvaluationProgress:
        seconds = [one.seconds for one in found.values()]
        now = replace(
            evaluation,
            examples=tuple(_with(example, found) for example in evaluation.examples),
            judge={**about, "seconds_per_100": 100 * fmean(seconds)} if seconds else about,
            finished=finished,
        )
        done = evaluation.total * len(evaluation.systems)
        return EvaluationProgress(done, done, left, note, now)

    yield state("Loading the judge", {})
    identity = _identity(judges, spec, cache, should_stop)
    keys = {(d, text): _key(identity, d, text) for d, texts in wanted.items() for text in texts}
    known = cache.get_judgements(list(keys.values()))
    found = {pair: known[key] for pair, key in keys.items() if key in known}
    missing = [(d, rest) for d, texts in wanted.items() if (rest := [t for t in texts if (d, t) not in found])]
    missing.sort(key=lambda item: len(item[0]))
    if missing:
        judge = judges.load(spec, should_stop)
        started, cached = time.monotonic(), len(found)
        try:
            for begin in range(0, len(missing), AT_ONCE):
                part, new = missing[begin : begin + AT_ONCE], dict[tuple[str, str], Judgement]()
                for place, judgements in judge.judge(part, should_stop=should_stop):
                    dialogue, texts = part[place]
                    new.update(zip(((dialogue, text) for text in texts), judgements, strict=True))
                cache.put_judgements({keys[pair]: judgement for pair, judgement in new.items()})
                found |= new
                left = (time.monotonic() - started) / (len(found) - cached) * (total - len(found))
                yield state(f"Judging: {len(found):,} of {total:,} summaries", found, left)
        except Stopped:
            yield state("Stopped", found)
            return
    yield state("Done", found, 0.0, finished=True)


def _with(example: ExampleRecord, judgements: Judged) -> ExampleRecord:
    outputs = {}
    for name, output in example.outputs.items():
        one = judgements.get((example.dialogue or "", output.text))
        if one is not None:
            values = {"faithfulness": one.faithfulness, "speakers": one.speakers, "coverage": one.coverage}
            checks = {**output.checks, **{f"judge_{value}": found for value, found in values.items()}}
            output = replace(output, checks=checks)
        outputs[name] = output
    return replace(example, outputs=outputs)


def _identity(judges: Judges, spec: JudgeSpec, cache: OutputCache, should_stop: Callable[[], bool]) -> list[Any]:
    """What identifies the judge in the cache's keys; downloads its model if necessary."""
    found = identify(spec.model, judges.registry, cache)
    if found is None:
        judges.load(spec, should_stop)
        found = identify(spec.model, judges.registry, cache)
    if found is None:
        raise ModelUnavailableError(f"The files of the judge {spec.name} are not on this machine.")
    adapter = sorted(spec.adapter.glob("adapter_*")) if spec.adapter else []
    return [METHOD, found.weights, found.dtype, cache.fingerprint(adapter)]


def _key(identity: list[Any], dialogue: str, text: str) -> str:
    return hashlib.sha256(json.dumps([*identity, dialogue, text]).encode()).hexdigest()
