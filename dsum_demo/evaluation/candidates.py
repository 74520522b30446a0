"""Best of n in an evaluation: for each system a second one, whose summaries a judge chose among candidates."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from dsum_demo.data.dialogues import clean_dialogue
from dsum_demo.errors import InputError, Stopped
from dsum_demo.evaluation.records import EvaluationProgress, ExampleRecord, Output
from dsum_demo.evaluation.scoring import score_output
from dsum_demo.judge.best_of import BestOf, best_of
from dsum_demo.judge.judges import Judges, JudgeSpec
from dsum_demo.models.decoding import DecodingConfig


def with_best_of(
    states: Iterator[EvaluationProgress],
    judges: Judges,
    spec: JudgeSpec,
    number: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[EvaluationProgress]:
    """Yield the states of an evaluation of models, and after it has finished, of it with the added systems.

    They are named like the system with "-best-of-4", so the report compares them in pairs. Not cached. Raises
    InputError for recorded outputs.
    """
    progress = None
    for progress in states:
        yield progress
    if progress is None or not progress.evaluation.finished:
        return
    evaluation = progress.evaluation
    if evaluation.recorded or evaluation.decode is None:
        raise InputError("Best of n generates summaries; it is not available for recorded outputs.")
    added = {system.name: f"{system.name}-best-of-{number}" for system in evaluation.systems if not system.error}
    infos = tuple(
        replace(evaluation.system(name), name=new, title=f"{evaluation.system(name).title}, best of {number}")
        for name, new in added.items()
    )
    decode = DecodingConfig(**evaluation.decode)  # type: ignore[arg-type]
    evaluation = replace(evaluation, systems=(*evaluation.systems, *infos), finished=False)
    total, done = len(evaluation.examples) * len(evaluation.systems), len(evaluation.examples) * len(added)
    examples = {example.id: example for example in evaluation.examples}
    started, before = time.monotonic(), done

    def state(note: str, left: float | None = None, finished: bool = False) -> EvaluationProgress:
        now = replace(evaluation, examples=tuple(examples.values()), finished=finished)
        return EvaluationProgress(done, total, left, note, now)

    yield state("Loading the judge")
    try:
        judge = judges.load(spec, should_stop)
        for name, new in added.items():
            model = judges.registry.spec(name)
            loaded, family = judges.store.load(model, should_stop=should_stop), judges.registry.family(model.family)
            for id, example in list(examples.items()):
                text = clean_dialogue(example.dialogue or "")
                prompt = loaded.fit(family.prompt, text, family.max_source_tokens, decode.max_new_tokens)
                found = best_of(judge, loaded, prompt, decode, number, should_stop)
                output = _output(example, evaluation.policy, found, prompt.turns_left_out)
                examples[id] = replace(example, outputs={**example.outputs, new: output})
                done += 1
                left = (time.monotonic() - started) / (done - before) * (total - done)
                yield state(f"Choosing the best of {number}", left)
    except Stopped:
        yield state("Stopped")
        return
    yield state("Done", 0.0, finished=True)


def _output(example: ExampleRecord, policy: str, found: BestOf, turns_left_out: int) -> Output:
    return score_output(
        example,
        found.best.text,
        policy,
        tokens=found.best.new_tokens,
        seconds=found.writing_seconds + found.judging_seconds,
        hit_length_limit=found.best.hit_length_limit,
        turns_left_out=turns_left_out,
    )
