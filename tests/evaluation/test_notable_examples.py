"""Lists of notable examples: order, length, and which lists exist for which systems."""

from __future__ import annotations

from dataclasses import replace

from dsum_demo.evaluation.notable_examples import LIST_LENGTH, differences, ready_lists
from dsum_demo.evaluation.report import build_report


def lists(evaluation):
    return {found.name: found for found in ready_lists(evaluation)}


def f1(evaluation, id_: str, system: str) -> float:
    return evaluation.example(id_).outputs[system].scores["rouge1"].fmeasure


def test_differences_are_paired_and_in_ascending_order(recorded):
    pairs = differences(recorded.examples, "full", "original", "rouge1")
    assert len(pairs) == len(recorded.examples) and [v for _, v in pairs] == sorted(v for _, v in pairs)
    for id_, value in pairs:
        assert value == f1(recorded, id_, "full") - f1(recorded, id_, "original")


def test_gains_and_losses_have_opposite_order(recorded):
    found = lists(recorded)
    gains = [entry.value for entry in found["gain"].entries]
    assert gains == sorted(gains, reverse=True) and gains[0] > 0 and found["gain"].entries[0].note.startswith("+")
    turned = replace(recorded, systems=(recorded.systems[1], recorded.systems[0]))
    turned = replace(turned, systems=tuple(
        replace(system, kind=kind) for system, kind in zip(turned.systems, ("base", "full"), strict=True)
    ))  # fmt: skip
    losses = lists(turned)["loss"]
    assert [(e.id, -e.value) for e in losses.entries] == [(e.id, e.value) for e in found["gain"].entries]
    assert found["gain"].total + found["loss"].total <= len(recorded.examples)


def test_lora_beats_full_lists_only_examples_with_a_higher_score(recorded):
    for entry in lists(recorded)["lora_beats_full"].entries:
        assert entry.system == "lora" and f1(recorded, entry.id, "lora") > f1(recorded, entry.id, "full")


def test_invented_names_are_listed_with_most_names_first(recorded):
    entries = lists(recorded)["invented"].entries
    assert [e.value for e in entries] == sorted((e.value for e in entries), reverse=True)
    for entry in entries:
        output = recorded.example(entry.id).outputs[entry.system]
        assert entry.note == ", ".join(output.ungrounded) and entry.value == len(output.ungrounded) > 0


def test_swapped_speakers_are_the_summaries_that_the_check_reports(recorded):
    def swapped(example):
        full = example.outputs["full"]
        return replace(
            example, outputs={**example.outputs, "full": replace(full, checks={**full.checks, "swapped": 1.0})}
        )

    spoilt = replace(recorded, examples=(swapped(recorded.examples[0]), *recorded.examples[1:]))
    before = {(e.id, e.system) for e in lists(recorded)["swapped"].entries}
    after = {(e.id, e.system) for e in lists(spoilt)["swapped"].entries}
    assert after == before | {(recorded.examples[0].id, "full")}


def test_the_swapped_list_and_the_check_count_the_same_summaries(recorded):
    """Otherwise the list shows 71 % of the examples and the check 24 % to 30 % per system."""
    swapped = next(one for one in build_report(recorded, resamples=50).lists if one.name == "swapped")
    systems = build_report(recorded, resamples=50).systems
    assert swapped.of == sum(system.checked["swapped"] for system in systems) > 0
    assert swapped.total == sum(
        round(system.checks["swapped"].mean * system.checked["swapped"])
        for system in systems
        if system.checks["swapped"]
    )


def test_a_list_is_truncated_and_has_the_total(recorded):
    many = replace(recorded, examples=tuple(
        replace(example, id=f"{example.id}-{copy}") for copy in range(4) for example in recorded.examples
    ))  # fmt: skip
    gain = lists(many)["gain"]
    assert len(gain.entries) == LIST_LENGTH < gain.total


def test_without_a_base_there_are_no_lists_of_gains(recorded):
    alone = replace(recorded, systems=(replace(recorded.systems[1], kind="recorded"),))
    assert list(lists(alone)) == ["invented", "swapped"]
    tuned = replace(recorded, systems=(recorded.systems[0], recorded.systems[2]))
    assert list(lists(tuned)) == ["gain", "loss", "invented", "swapped"]
