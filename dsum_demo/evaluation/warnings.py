"""Warnings about the reliability of an evaluation, with the examples that they concern."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from statistics import fmean

from dsum_demo.data.conversations.reader import read_conversation
from dsum_demo.data.values import is_empty
from dsum_demo.evaluation.records import Evaluation, ExampleRecord, Output, SystemInfo
from dsum_demo.metrics.bootstrap import MIN_EXAMPLES
from dsum_demo.metrics.rouge import has_tokens, has_unread_letters
from dsum_demo.metrics.scores import HEADLINE, METRICS
from dsum_demo.utils.formatting import quantity

SMALL = 100  # dialogues; with fewer, a point or two of ROUGE is mostly chance
FORMATS_OF = 200  # dialogues; detecting a format takes about a millisecond


@dataclass(frozen=True)
class Warning:
    """kind: "length_limit", "empty", "trained_on", "few", "cut_source", "failed", "skipped",
    "incomplete", "unread", "no_tokens" or "chat_format".
    """

    kind: str
    text: str
    system: str = ""
    examples: tuple[str, ...] = ()


def warnings_of(evaluation: Evaluation, examples: Sequence[ExampleRecord], dialogues: int) -> tuple[Warning, ...]:
    """The warnings for the `examples` of the report, which have `dialogues` different dialogues."""
    of_systems = (warning for system in evaluation.systems for warning in _of_system(evaluation, system))
    whole = _of_the_whole(evaluation, len(examples), dialogues)
    return (*whole, *_chat_formats(examples), *unread_warnings(evaluation, examples), *of_systems)


def unread_warnings(evaluation: Evaluation, examples: Sequence[ExampleRecord]) -> Iterator[Warning]:
    """Warnings about references without a token, and about texts with letters that ROUGE does not read."""
    texts = [(e.id, text) for e in examples for text in e.references]
    if silent := [id_ for id_, text in texts if not has_tokens(text)]:
        yield Warning(
            "no_tokens",
            f"{len(silent):,} of {quantity(len(texts), 'reference')} have no letter a-z and no digit, which is all "
            "that ROUGE reads; they have no score and do not count in the means.",
            examples=tuple(dict.fromkeys(silent)),
        )
    outputs = [(e.id, e.outputs[s.name].text) for e in examples for s in evaluation.systems if s.name in e.outputs]
    for what, found in (("reference", texts), ("summary", outputs)):
        if unread := [id_ for id_, text in found if has_unread_letters(text)]:
            yield Warning(
                "unread",
                f"{len(unread):,} of {quantity(len(found), what)} have letters that ROUGE does not read (it reads a-z "
                "and 0-9 only); their scores ignore these letters. DSUM_UNICODE_ROUGE=1 adds a ROUGE that reads them.",
                examples=tuple(dict.fromkeys(unread)),
            )


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
        yield Warning("few", f"Only {quantity(dialogues, 'dialogue')}; intervals need at least {MIN_EXAMPLES}.")
    elif 0 < dialogues < SMALL:
        yield Warning("few", f"Only {dialogues} dialogues: a difference of a few points may be chance.")
    if evaluation.skipped:
        rows = ", ".join(str(row.row) for row in evaluation.skipped[:10])
        more = f" and {len(evaluation.skipped) - 10} more" if len(evaluation.skipped) > 10 else ""
        yield Warning("skipped", f"{quantity(len(evaluation.skipped), 'invalid row')} skipped: {rows}{more}.")


def _chat_formats(examples: Sequence[ExampleRecord]) -> Iterator[Warning]:
    """Compare converts pasted exports and transcripts; an evaluation does not change its data."""
    read = list(islice((e for e in examples if e.dialogue), FORMATS_OF))
    found = {e.id: form for e in read if (form := _format_of(e.dialogue))}
    if found:
        forms, some = ", ".join(sorted(set(found.values()))), "the first " if len(read) == FORMATS_OF else ""
        yield Warning(
            "chat_format",
            f"{len(found):,} of {some}{quantity(len(read), 'dialogue')} have the format of an export or transcript "
            f"({forms}) and are used unchanged; Compare would convert them to lines of the form “Name: text”.",
            examples=tuple(found),
        )


@lru_cache(maxsize=4 * FORMATS_OF)
def _format_of(dialogue: str) -> str:
    return read_conversation(dialogue).format


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
    yield from about("empty", "{} summaries are empty and score 0.", lambda o: is_empty(o.text))
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
            [o.scores[HEADLINE].fmeasure for e in part if (o := e.outputs.get(system.name)) and HEADLINE in o.scores]
            for part in ((*counted, *left_out), counted)
        )
        if without:
            effects.append(f"{100 * fmean(with_them):.2f} instead of {100 * fmean(without):.2f} for {system.title}")
    return (
        f"{quantity(len(left_out), 'example')} of {len(left_out) + len(counted):,} left out: a system was trained on "
        f"them. With them, {title} is {', '.join(effects)}."
    )
