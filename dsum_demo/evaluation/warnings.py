"""Warnings about the reliability of an evaluation, with the examples that they concern."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dsum_demo.evaluation.records import Evaluation, ExampleRecord, Output, SystemInfo
from dsum_demo.metrics.bootstrap import MIN_EXAMPLES

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
    ids = evaluation.trained_on.get(system.name, ())
    if ids:
        yield Warning(
            "trained_on",
            f"{system.title}: {len(ids):,} of {len(done):,} dialogues were in its training data; their scores measure "
            "memorization.",
            system.name,
            tuple(ids),
        )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
