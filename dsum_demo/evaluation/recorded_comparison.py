"""Comparisons from saved evaluations: one example's summaries as the Compare tab shows them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from dsum_demo.comparison import Comparison, RecordedSummary, SystemResult
from dsum_demo.data.dialogues import read_dialogue
from dsum_demo.data.examples import fingerprint
from dsum_demo.data.sources import SAMPLES
from dsum_demo.errors import DsumError, InputError
from dsum_demo.evaluation.records import Evaluation, ExampleRecord
from dsum_demo.evaluation.storage import EXAMPLES, SavedEvaluations, read_evaluation
from dsum_demo.generation.streaming import Generation
from dsum_demo.metrics.scores import signature
from dsum_demo.metrics.words import words
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import FittedDialogue
from dsum_demo.models.registry import Registry


def recorded_comparison(evaluation: Evaluation, example: ExampleRecord, registry: Registry) -> Comparison:
    """The outputs of `example` as a finished comparison, with the date on which they were recorded.

    Raises InputError for an example without texts, UnknownModelError for a model that the registry does not have.
    """
    if example.dialogue is None:
        raise InputError(f"Example {example.id} was saved without its texts.")
    reading = read_dialogue(example.dialogue)
    results = []
    for system in evaluation.systems:
        output = example.outputs[system.name]
        left_out = output.turns_left_out
        results.append(
            SystemResult(
                registry.spec(system.name),
                phase="done",
                generation=Generation(
                    output.text,
                    output.tokens or 0,
                    output.seconds or 0.0,
                    finished=True,
                    hit_length_limit=output.hit_length_limit,
                ),
                parameters=system.parameters,
                trained_parameters=system.trained_parameters,
                scores=dict(output.scores) or None,
                fitted=FittedDialogue(reading.dialogue, (), (example.turns or 0) - left_out, left_out),
            )
        )
    return Comparison(
        registry.family(evaluation.family),
        reading.dialogue,
        example.references,
        DecodingConfig(**dict[str, Any](evaluation.decode or {})),
        tuple(results),
        signature(n=1, references=len(example.references)) if example.references else None,
        reading,
        recorded=evaluation.created[:10],
    )


def recorded_samples(saved: SavedEvaluations, registry: Registry) -> Mapping[tuple[str, str], Comparison]:
    """The comparisons of every shipped evaluation of the samples, by family and dialogue.

    Evaluations that cannot be read, or name a model that the registry does not have, are left out.
    """
    found: dict[tuple[str, str], Comparison] = {}
    for one in saved.list():
        if not (one.shipped and one.data == SAMPLES and one.family):
            continue
        with contextlib.suppress(DsumError):
            evaluation = read_evaluation(one.folder)
            for example in evaluation.examples:
                comparison = recorded_comparison(evaluation, example, registry)
                found[one.family, comparison.dialogue] = comparison
    return found


def recorded_summary(saved: SavedEvaluations, origin: str, dialogue: str) -> RecordedSummary:
    """The summary of `dialogue` by a system of a saved evaluation. origin: EVALUATION:SYSTEM."""
    evaluation, _, system = origin.partition(":")
    title, made = system, ""
    try:
        one = saved.find(evaluation)
        with contextlib.suppress(ValueError):
            made = date.fromisoformat(one.created[:10]).isoformat()
        titles = dict(zip(one.names, one.systems, strict=True))
        if system not in titles:
            names = ", ".join(titles)
            raise InputError(f"The evaluation {evaluation} has no system {system!r}; choose one of: {names}.")
        title = titles[system]
        text = _outputs(one.folder, (one.folder / EXAMPLES).stat().st_mtime_ns, system).get(_key(dialogue))
        missing = ""
        if text is None:
            missing = f"The evaluation {evaluation} has no summary of this dialogue by {title}."
        elif not words(text):
            missing = f"In the evaluation {evaluation}, {title} wrote nothing for this dialogue."
    except DsumError as error:
        text, missing = None, str(error)
    except OSError as error:  # its text has the folder, which a visitor must not see
        text, missing = None, f"The evaluation {evaluation} cannot be read ({error.strerror})."
    return RecordedSummary(f"{title} of {evaluation}", text or "", origin, made, missing)


@lru_cache(maxsize=8)
def _outputs(folder: Path, changed: int, system: str) -> Mapping[str, str]:
    """The system's summaries by the dialogue's fingerprint. changed: when the file was written."""
    examples = read_evaluation(folder).examples
    return {example.fingerprint: example.outputs[system].text for example in examples if system in example.outputs}


def _key(dialogue: str) -> str:
    with contextlib.suppress(InputError):
        dialogue = read_dialogue(dialogue).dialogue
    return fingerprint(dialogue)
