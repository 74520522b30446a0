"""Leaves dialogues out of an evaluation that were in a system's training data."""

from __future__ import annotations

from dataclasses import replace

from dsum_demo.evaluation.records import Evaluation


def without_training_data(evaluation: Evaluation) -> Evaluation:
    """The evaluation with those examples set aside. Unchanged if there are none, or if no other example has outputs."""
    trained_on = {id for ids in evaluation.trained_on.values() for id in ids}
    kept = tuple(example for example in evaluation.examples if example.id not in trained_on)
    if not kept or len(kept) == len(evaluation.examples):
        return evaluation
    set_aside = tuple(example for example in evaluation.examples if example.id in trained_on)
    return replace(evaluation, examples=kept, total=evaluation.total - len(set_aside), set_aside=set_aside)
