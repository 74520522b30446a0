"""Warnings about the reliability of an evaluation, with the examples that they concern."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from dsum_demo.evaluation.records import Evaluation, ExampleRecord, Output, SystemInfo
from dsum_demo.metrics.bootstrap import MIN_EXAMPLES
from dsum_demo.metrics.scores import HEADLINE, METRICS

SMALL = 100  # dialogues; with fewer, a point or two of ROUGE is mostly chance


@dataclass(frozen=True)
class Warning:
    """kind: "length_limit", "empty", "trained_on", "few", "cut_source", "failed", "skipped" or "incomplete"."""

    kind: str
    text: str
    system: str = ""
    examples: tuple[str, ...] = ()


def warnings_of(evaluation: Evaluation, examples: Sequence[ExampleRecord], dialogues: int) -> tuple[Warning, ...]:
    """The warnings for the `examples` of the report, which have `dialogues` different dialogues."""
    of_systems = (warning for system in evaluation.systems for warning in _of_system(evaluation, system))
    return (*_of_the_whole(evaluation, len(examples), dialogues), *of_systems)


def _of_the_whole(evaluation: Evaluation, n: int, dialogues: int) -> Iterator[Warning]:
    if evaluation.set_aside:
        yield Warning("trained_on", _set_aside(evaluation))
    if not evaluation.finished:
        done = (
            f"{sum(system.name in e.outputs for e in evaluation.examples):,} by {system.title}"
            for system in evaluation.systems
        )
        yield Warning("incomplete", f"Incomplete: {', '.join(done)}, of {evaluation.total:,} examples.")
    if 0 < dialogues < MIN_EXAMPLES:
        yield Warning("few", f"Only {_count(dialogues, 'dialogue')}; intervals need at least {MIN_EXAMPLES}.")
    elif 0 < dialogues < SMALL:
        yield Warning("few", f"Only {dialogues} dialogues: a difference of a few points may be chance.")
    if evaluation.skipped:
        rows = ", ".join(str(row.row) for row in evaluation.skipped[:10])
        more = f" and {len(evaluation.skipped) - 10} more" if len(evaluation.skipped) > 10 else ""
        yield Warning("skipped", f"{_count(len(evaluation.skipped), 'invalid row')} skipped: {rows}{more}.")


def _of_system(evaluation: Evaluation, system: SystemInfo) -> Iterator[Warning]:
    done = [(e.id, e.outputs[system.name]) for e in evaluation.examples if system.name in e.outputs]

    def about(kind: str, message: str, found: Callable[[Output], bool]) -> Iterator[Warning]:
        ids = tuple(id_ for id_, output in done if found(output))
        if ids:
            share = f"{len(ids):,} of {len(done):,}"
            yield Warning(kind, f"{system.title}: {message.format(share)}", system.name, ids)

    if system.error:
        yield Warning("failed", f"{system.title} failed: {system.error}", system.name)
    limit = (evaluation.decode or {}).get("max_new_tokens")
    yield from about("length_limit", f"{{}} summaries were truncated at {limit} tokens.", lambda o: o.hit_length_limit)
    yield from about("empty", "{} summaries are empty and score 0.", lambda o: not o.text.strip())
    too_long = "{} dialogues were too long for the model, so their last turns were truncated."
    yield from about("cut_source", too_long, lambda o: o.turns_left_out > 0)
    trained_on = set(evaluation.trained_on.get(system.name, ()))
    ids = [id_ for id_, _ in done if id_ in trained_on]
    if ids:
        yield Warning(
            "trained_on",
            f"{system.title}: {len(ids):,} of {len(done):,} dialogues were in its training data; their scores measure "
            "memorization.",
            system.name,
            tuple(ids),
        )


def _set_aside(evaluation: Evaluation) -> str:
    """What was left out because a system was trained on it, and its effect on each system's headline metric."""
    left_out, counted = evaluation.set_aside, evaluation.examples
    title, effects = METRICS[HEADLINE].title, []
    for system in evaluation.systems:
        with_them, without = (
            [e.outputs[system.name].scores[HEADLINE].fmeasure for e in part if system.name in e.outputs]
            for part in ((*counted, *left_out), counted)
        )
        if without:
            effects.append(f"{100 * fmean(with_them):.2f} instead of {100 * fmean(without):.2f} for {system.title}")
    return (
        f"{_count(len(left_out), 'example')} of {len(left_out) + len(counted):,} left out: a system was trained on "
        f"them. With them, {title} is {', '.join(effects)}."
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
