"""Records of examples, and scores of outputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from dsum_demo.data.dialogues import lead, speakers
from dsum_demo.data.examples import Example, fingerprint
from dsum_demo.errors import InputError
from dsum_demo.evaluation.records import READINGS, ExampleRecord, Output
from dsum_demo.metrics.checks import check_summary
from dsum_demo.metrics.rouge import too_long
from dsum_demo.metrics.scores import Score, combine, mean_scores, score_references, score_summary
from dsum_demo.metrics.words import words


def split_references(examples: Iterable[Example]) -> list[Example]:
    """The reading "rows": one example per reference, with its number appended to the id."""
    return [
        replace(example, id=f"{example.id}_{number}" if len(example.references) > 1 else example.id, references=(text,))
        for example in examples
        for number, text in enumerate(example.references, 1)
    ]


def check_reading(reading: str) -> None:
    """Raises InputError for an unknown reading."""
    if reading not in READINGS:
        raise InputError(f"The reading is {reading!r}; choose one of: {', '.join(READINGS)}.")


def new_record(
    example: Example, row: int, policy: str = "mean", *, group: str = "", other_references: Sequence[str] = ()
) -> ExampleRecord:
    """The record of an example without outputs. The dialogue may be "" if it is not available.

    group: equal for rows of the same dialogue; by default the dialogue's fingerprint. other_references: those of other
    rows of the same dialogue, for the human agreement of a row with a single reference.
    """
    has_dialogue = bool(example.dialogue)
    print_ = fingerprint(example.dialogue) if has_dialogue else ""
    return ExampleRecord(
        id=example.id,
        row=row,
        fingerprint=print_,
        group=group or print_ or example.id,
        dialogue=example.dialogue or None,
        references=example.references,
        reference_count=len(example.references),
        topics=example.topics,
        words=len(words(example.dialogue)) if has_dialogue else None,
        turns=len(example.dialogue.splitlines()) if has_dialogue else None,
        speakers=len(speakers(example.dialogue)) if has_dialogue else None,
        outputs={},
        lead3=_lead3(example, policy) if has_dialogue else None,
        human=_agreement(example.references, other_references, policy),
    )


def score_output(
    record: ExampleRecord,
    text: str,
    policy: str = "mean",
    *,
    tokens: int | None = None,
    seconds: float | None = None,
    hit_length_limit: bool = False,
    turns_left_out: int = 0,
    cached: bool = False,
) -> Output:
    """Score and check one system's output for an example. Raises InputError if the texts are too long."""
    by_reference = tuple(score_references(text, record.references))
    checked = check_summary(text, record.dialogue, record.references)
    return Output(
        text=text,
        scores=combine(by_reference, policy) if len(by_reference) > 1 else by_reference[0],
        by_reference=by_reference,
        checks=checked.values,
        ungrounded=checked.ungrounded,
        tokens=tokens,
        seconds=seconds,
        hit_length_limit=hit_length_limit,
        turns_left_out=turns_left_out,
        cached=cached,
    )


def _lead3(example: Example, policy: str) -> dict[str, Score] | None:
    text = lead(example.dialogue)
    # Turns can be very long.
    return (
        None if any(too_long(text, r) for r in example.references) else score_summary(text, example.references, policy)
    )


def _agreement(references: Sequence[str], others: Sequence[str], policy: str) -> dict[str, Score] | None:
    """The mean scores of each reference against the others by the same policy; None without others."""
    if len(references) > 1:
        return mean_scores(
            [score_summary(text, (*references[:i], *references[i + 1 :]), policy) for i, text in enumerate(references)]
        )
    return score_summary(references[0], others, policy) if references and others else None
