"""Scores one output of one example."""

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
    """The reading "rows": every reference of a dialogue is an example of its own, numbered behind the id."""
    return [
        replace(example, id=f"{example.id}_{number}" if len(example.references) > 1 else example.id, references=(text,))
        for example in examples
        for number, text in enumerate(example.references, 1)
    ]


def check_reading(reading: str) -> None:
    """Raises InputError for a reading that is not in READINGS."""
    if reading not in READINGS:
        raise InputError(f"The reading is {reading!r}; choose one of: {', '.join(READINGS)}.")


def new_record(
    example: Example, row: int, policy: str = "mean", *, group: str = "", other_references: Sequence[str] = ()
) -> ExampleRecord:
    """An example before any system has written. A dialogue of "" is one that is not here.

    group: what rows of one dialogue have in common, its fingerprint where left empty. other_references: those of other
    rows about the same dialogue, which a human's agreement is taken from where the row has a single reference.
    """
    here = bool(example.dialogue)
    print_ = fingerprint(example.dialogue) if here else ""
    return ExampleRecord(
        id=example.id,
        row=row,
        fingerprint=print_,
        group=group or print_ or example.id,
        dialogue=example.dialogue or None,
        references=example.references,
        reference_count=len(example.references),
        topics=example.topics,
        words=len(words(example.dialogue)) if here else None,
        turns=len(example.dialogue.splitlines()) if here else None,
        speakers=len(speakers(example.dialogue)) if here else None,
        outputs={},
        lead3=_lead3(example, policy) if here else None,
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
    """One system's text for an example, scored and checked. Raises InputError for texts too long to be scored."""
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
    # A turn may be a whole book.
    return (
        None if any(too_long(text, r) for r in example.references) else score_summary(text, example.references, policy)
    )


def _agreement(references: Sequence[str], others: Sequence[str], policy: str) -> dict[str, Score] | None:
    """How each reference scores against the others by the same rule, on average; None where there are no others."""
    if len(references) > 1:
        return mean_scores(
            [score_summary(text, (*references[:i], *references[i + 1 :]), policy) for i, text in enumerate(references)]
        )
    return score_summary(references[0], others, policy) if references and others else None
