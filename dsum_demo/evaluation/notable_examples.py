"""Lists of notable examples: largest gains and losses from tuning, invented names, swapped speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dsum_demo.evaluation.records import Evaluation, ExampleRecord, Output, SystemInfo
from dsum_demo.metrics.scores import HEADLINE

LIST_LENGTH = 50


@dataclass(frozen=True)
class Entry:
    """An example in a list. system: whose output is listed; value: the sort key."""

    id: str
    system: str
    value: float
    note: str = ""


@dataclass(frozen=True)
class ReadyList:
    """A list of notable examples.

    name: "gain", "loss", "lora_beats_full", "invented" or "swapped". how: a description. entries: at most LIST_LENGTH
    of the `total` found in `of`: the examples, or the summaries that have a value of the check.
    """

    name: str
    title: str
    how: str
    entries: tuple[Entry, ...]
    total: int = 0
    of: int = 0


def ready_lists(evaluation: Evaluation) -> tuple[ReadyList, ...]:
    """The lists for the evaluated systems: gains need a base and a tuned system, "lora_beats_full" both tuned ones."""
    base, full, lora = (evaluation.of_kind(kind) for kind in ("base", "full", "adapter"))
    tuned = full or lora
    lists = []
    if base and tuned:
        gains = differences(evaluation.examples, tuned.name, base.name)
        against = f"ROUGE-1 F1 of {tuned.title} minus {base.title}, × 100"
        lists += [
            _list("gain", "Biggest gain from tuning", f"{against}, the highest first.", tuned, gains, best=True),
            _list("loss", "Biggest loss from tuning", f"{against}, lowest first.", tuned, gains, best=False),
        ]
    if full and lora:
        over = differences(evaluation.examples, lora.name, full.name)
        how = f"ROUGE-1 F1 of {lora.title} minus {full.title}, × 100, highest first."
        lists.append(_list("lora_beats_full", "LoRA beats the full fine-tune", how, lora, over, best=True))
    return (*lists, _invented(evaluation), _swapped(evaluation))


def differences(
    examples: Sequence[ExampleRecord], system: str, baseline: str, metric: str = HEADLINE
) -> list[tuple[str, float]]:
    """(example id, F1 of system minus F1 of baseline) of the examples with both outputs, in ascending order."""
    pairs = [
        (
            example.id,
            example.outputs[system].scores[metric].fmeasure - example.outputs[baseline].scores[metric].fmeasure,
        )
        for example in examples
        if all(name in example.outputs and metric in example.outputs[name].scores for name in (system, baseline))
    ]
    return sorted(pairs, key=lambda pair: pair[1])


def _list(
    name: str, title: str, how: str, system: SystemInfo, pairs: list[tuple[str, float]], *, best: bool
) -> ReadyList:
    kept = [(id_, value) for id_, value in (reversed(pairs) if best else pairs) if (value > 0 if best else value < 0)]
    entries = (Entry(id_, system.name, value, f"{100 * value:+.1f}") for id_, value in kept[:LIST_LENGTH])
    return ReadyList(name, title, how, tuple(entries), len(kept), len(pairs))


def _invented(evaluation: Evaluation) -> ReadyList:
    checked = _checked(evaluation, "ungrounded")
    found = [
        Entry(id_, name, float(len(output.ungrounded)), ", ".join(output.ungrounded))
        for id_, name, output in checked
        if output.ungrounded
    ]
    found.sort(key=lambda entry: -entry.value)
    how = "Summaries with names or numbers that do not occur in the dialogue; most names and numbers first."
    return ReadyList(
        "invented", "Invented names and numbers", how, tuple(found[:LIST_LENGTH]), len(found), len(checked)
    )


def _swapped(evaluation: Evaluation) -> ReadyList:
    checked = _checked(evaluation, "swapped")
    found = [
        Entry(id_, name, score := output.scores[HEADLINE].fmeasure, f"ROUGE-1 {100 * score:.1f}")
        for id_, name, output in checked
        if output.checks["swapped"] and HEADLINE in output.scores
    ]
    found.sort(key=lambda entry: -entry.value)
    how = (
        "Summaries of all systems that probably swap two speakers. Only summaries with speaker labels whose references "
        "have labels too are checked. ROUGE-1 does not detect swaps; highest ROUGE-1 first."
    )
    return ReadyList("swapped", "Swapped speakers", how, tuple(found[:LIST_LENGTH]), len(found), len(checked))


def _checked(evaluation: Evaluation, check: str) -> list[tuple[str, str, Output]]:
    """(example id, system, output) of the summaries with a value of this check."""
    return [
        (example.id, name, output)
        for example in evaluation.examples
        for name, output in example.outputs.items()
        if output.checks.get(check) is not None
    ]
