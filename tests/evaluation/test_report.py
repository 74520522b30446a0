"""The report compared with means of the records; pairing, partial evaluations, groups and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import fmean

import pytest

from dsum_demo.evaluation.notable_examples import differences
from dsum_demo.evaluation.recorded import evaluate_recorded
from dsum_demo.evaluation.records import Published
from dsum_demo.evaluation.report import build_report
from dsum_demo.metrics.checks import CHECKS
from dsum_demo.metrics.rouge import ROUGE_TYPES

RESAMPLES = 500


@pytest.fixture(scope="module")
def report(recorded):
    return build_report(recorded, RESAMPLES)


def f1(evaluation, system: str, rouge: str) -> list[float]:
    return [e.outputs[system].scores[rouge].fmeasure for e in evaluation.examples if system in e.outputs]


def test_means_equal_those_of_the_records_and_are_inside_their_intervals(recorded, report):
    assert [system.name for system in report.systems] == ["original", "full", "lora"] and report.n == report.total == 29
    for system in report.systems:
        for rouge in ROUGE_TYPES:
            interval = system.f1[rouge]
            assert interval.mean == pytest.approx(fmean(f1(recorded, system.name, rouge)))
            assert system.means[rouge].fmeasure == pytest.approx(interval.mean)
            assert interval.low < interval.mean < interval.high and interval.n == 29
        for check in CHECKS:
            values = [e.outputs[system.name].checks[check.name] for e in recorded.examples]
            kept = [value for value in values if value is not None]
            if check.needs == "judge":
                assert system.checks[check.name] is None and not kept
                continue
            assert system.checks[check.name].mean == pytest.approx(fmean(kept))
            assert system.checks[check.name].n == len(kept) == system.checked[check.name]
    assert report.systems[0].tokens is None and report.systems[0].seconds is None


def test_differences_compare_tuned_systems_with_the_original_and_lora_with_full(recorded, report):
    assert [(d.system, d.baseline) for d in report.differences] == [
        ("full", "original"), ("lora", "original"), ("lora", "full")
    ]  # fmt: skip
    for difference in report.differences:
        pairs = [value for _, value in differences(recorded.examples, difference.system, difference.baseline)]
        assert difference.f1["rouge1"].mean == pytest.approx(fmean(pairs))
    assert report.differences[0].f1["rouge1"].excludes_zero


def test_the_headline_is_the_ratio_of_the_gains(recorded, report):
    base, full, lora = (fmean(f1(recorded, system, "rouge1")) for system in ("original", "full", "lora"))
    assert report.recovery.share.mean == pytest.approx((lora - base) / (full - base))
    assert report.recovery.sentence.startswith("LoRA recovers ")


def test_lead_3_and_human_agreement_are_means_of_the_records(recorded, report):
    assert report.lead3["rouge1"].mean == pytest.approx(fmean(e.lead3["rouge1"].fmeasure for e in recorded.examples))
    assert report.human["rouge2"].mean == pytest.approx(fmean(e.human["rouge2"].fmeasure for e in recorded.examples))


def test_the_signature_names_references_examples_resamples_and_seed(recorded, report):
    text = report.signature.text
    assert "mean over 3 references" in text and "n=29" in text and "500 resamples, seed 0" in text
    assert report.signature.as_dict()["text"] == text and report.signature.as_dict()["reading"] == "rows"
    assert build_report(replace(recorded, seed=5), RESAMPLES).signature.text.endswith("seed 5")


def test_the_same_evaluation_gives_the_same_report(recorded, report):
    assert build_report(recorded, RESAMPLES) == report
    assert build_report(replace(recorded, seed=1), RESAMPLES).systems[0].f1 != report.systems[0].f1


def test_examples_without_all_outputs_are_ignored(recorded):
    half = tuple(
        replace(e, outputs={"original": e.outputs["original"]}) if place % 2 else e
        for place, e in enumerate(recorded.examples)
    )
    report = build_report(replace(recorded, examples=half, finished=False), RESAMPLES)
    assert report.n == 15 and {system.n for system in report.systems} == {15}
    assert any(warning.kind == "incomplete" for warning in report.warnings)


def test_a_failed_system_does_not_reduce_the_examples_of_the_others(recorded):
    systems = (*recorded.systems[:2], replace(recorded.systems[2], error="The disk is full."))
    half = tuple(
        replace(e, outputs={name: o for name, o in e.outputs.items() if name != "lora"}) if place >= 12 else e
        for place, e in enumerate(recorded.examples)
    )
    evaluation = replace(recorded, systems=systems, examples=half)
    report = build_report(evaluation, RESAMPLES)
    assert report.n == 29 and [system.n for system in report.systems] == [29, 29, 12]
    lora = report.differences[1]
    assert lora.f1["rouge1"].n == 12
    pairs = [value for _, value in differences(evaluation.examples, "lora", "original")]
    assert lora.f1["rouge1"].mean == pytest.approx(fmean(pairs))
    assert report.recovery.gain.n == 12


def test_a_system_without_outputs_is_not_in_the_report(recorded):
    bare = tuple(
        replace(e, outputs={name: o for name, o in e.outputs.items() if name != "lora"}) for e in recorded.examples
    )
    report = build_report(replace(recorded, examples=bare), RESAMPLES)
    assert [system.name for system in report.systems] == ["original", "full"] and report.recovery is None


def test_a_report_without_outputs_has_no_scores(recorded):
    report = build_report(replace(recorded, examples=(), finished=False))
    assert report.n == 0 and report.signature is None and report.systems == ()
    assert json.loads(json.dumps(report.as_dict()))["signature"] is None


def test_rows_of_one_dialogue_do_not_narrow_the_interval(recorded_file):
    columns = ["human1", "human2", "human3"]

    def width(evaluation) -> float:
        interval = build_report(evaluation, 2000).systems[0].f1["rouge1"]
        return interval.high - interval.low

    *_, last = evaluate_recorded(recorded_file, columns, ["original"])
    once = last.evaluation
    thrice = replace(once, examples=tuple(replace(e, id=f"{e.id}{k}") for e in once.examples for k in range(3)))
    report = build_report(thrice, 2000)
    assert (report.n, report.dialogues) == (87, 29) and "rows of 29 dialogues" in report.signature.text
    assert width(thrice) == pytest.approx(width(once), rel=1e-6)
    apart = replace(thrice, examples=tuple(replace(e, group=e.id) for e in thrice.examples))
    assert width(apart) < 0.75 * width(once)


def test_the_first_system_is_the_baseline_without_an_original(recorded):
    others = tuple(replace(system, kind="recorded") for system in recorded.systems)
    report = build_report(replace(recorded, systems=others), RESAMPLES)
    assert [(d.system, d.baseline) for d in report.differences] == [("full", "original"), ("lora", "original")]
    assert report.recovery is None


def test_the_json_has_f1_and_descriptions_of_checks_but_no_texts(recorded):
    published = Published("FLAN-T5 base", "a paper", {"base": (23.3, 7.6, 20.2)})
    raw = json.loads(json.dumps(build_report(replace(recorded, published=published), RESAMPLES).as_dict()))
    assert set(raw["systems"][0]["means"]["rouge1"]) == {"precision", "recall", "f1"}
    assert raw["checks"]["swapped"]["misses"] and raw["published"]["scores"]["base"] == [23.3, 7.6, 20.2]
    assert raw["slices"] and "ids" not in raw["slices"][0] and recorded.examples[0].dialogue not in json.dumps(raw)
