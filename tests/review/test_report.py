"""The report: numbers against verdicts that are known, drill-down, notes, and reviews without verdicts."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from dsum_demo.review.records import ErrorSpan
from dsum_demo.review.report import build_review_report, plain
from tests.review.conftest import answer, item, make_draft, verdict

ITEMS = tuple(map(item, range(20)))


def report_of(store, verdicts, items=ITEMS, **options):
    review = store.create(replace(make_draft(1), items=items, **options.pop("draft", {})))
    return build_review_report(review, items, verdicts, resamples=200, **options)


@pytest.fixture
def clear(store):
    """Full wins 15 of 20 dialogues and the original 5; LoRA is always last but for ties in the first three."""
    ranks = lambda n: [1, 2, 3] if n < 5 else [2, 1, 3]  # noqa: E731
    verdicts = [verdict(f"item{n}", "Ana", [1, 2, 2] if n < 3 else ranks(n)) for n in range(20)]
    return report_of(store, verdicts)


def test_pairs_have_wins_ties_losses_and_their_verdicts(clear):
    pairs = {(pair.first, pair.second): pair for pair in clear.pairs}
    first = pairs["original", "full"]
    assert (first.won, first.tied, first.lost) == (5, 0, 15)
    assert first.verdicts["won"] == tuple(f"item{n}-Ana-0" for n in range(5)) and len(first.verdicts["lost"]) == 15
    assert first.preferred.mean == pytest.approx(0.25) and first.preferred.low < 0.25 < first.preferred.high
    second = pairs["full", "lora"]
    assert (second.won, second.tied, second.lost) == (17, 3, 0)
    assert second.verdicts["tied"] == ("item0-Ana-0", "item1-Ana-0", "item2-Ana-0")


def test_the_sentence_names_the_systems_and_whether_the_difference_is_decided(clear):
    pairs = {(pair.first, pair.second): pair for pair in clear.pairs}
    assert pairs["original", "full"].sentence.startswith(
        "Decided: Full fine-tune is preferred to Original in 15 of 20 dialogues with a preference"
    )
    assert "Decided: Full fine-tune is preferred to LoRA in 17 of 17" in pairs["full", "lora"].sentence


def test_an_undecided_difference_has_the_number_of_dialogues_that_it_needs(store):
    verdicts = [verdict(f"item{n}", "Ana", [1, 2, 3] if n < 12 else [2, 1, 3]) for n in range(20)]
    pair = report_of(store, verdicts).pairs[0]
    assert pair.sentence.startswith("Not decided: Original is preferred to Full fine-tune in 12 of 20")
    assert "about 179 more dialogues are needed for 80 % power" in pair.sentence
    even = [verdict(f"item{n}", "Ana", [1, 2, 3] if n < 10 else [2, 1, 3]) for n in range(20)]
    assert "each preferred in 10 dialogues" in report_of(store, even).pairs[0].sentence


def test_systems_have_worths_places_and_intervals(clear):
    original, full, lora = clear.systems
    assert full.worth.mean > original.worth.mean > lora.worth.mean
    assert sum(system.worth.mean for system in clear.systems) == pytest.approx(1)
    assert full.p_best > 0.9 and sum(system.p_best for system in clear.systems) == pytest.approx(1)
    assert full.first.mean == pytest.approx(0.75) and original.first.mean == pytest.approx(0.25)
    assert original.mean_rank.mean == pytest.approx((5 * 1 + 15 * 2) / 20)
    assert lora.mean_rank.mean == pytest.approx((3 * 2.5 + 17 * 3) / 20)
    assert all(s.worth.low < s.worth.mean < s.worth.high for s in clear.systems)
    assert sum(system.adjusted_worth.mean for system in clear.systems) == pytest.approx(1)


def test_all_bad_is_counted_separately_and_does_not_change_the_ranking(store):
    verdicts = [verdict(f"item{n}", "Ana", [2, 1, 3]) for n in range(15)]
    bad = [verdict(f"item{n}", "Ana", [], all_bad=True) for n in range(15, 20)]
    report, without = report_of(store, [*verdicts, *bad]), report_of(store, verdicts)
    assert report.all_bad.mean == pytest.approx(0.25) and report.all_bad_verdicts == tuple(v.id for v in bad)
    assert report.systems == without.systems and (report.verdicts, without.verdicts) == (20, 15)


def test_several_reviewers_of_a_dialogue_are_one_vote_and_do_not_narrow_the_intervals(store):
    one = [verdict(f"item{n}", "A", [1, 2, 3] if n < 12 else [2, 1, 3]) for n in range(20)]
    copies = [replace(v, reviewer=who, id=f"{v.id}{who}") for v in one for who in "ABCDE"]
    single, several = report_of(store, one), report_of(store, copies)
    assert several.pairs[0].decision == single.pairs[0].decision
    assert several.pairs[0].preferred == single.pairs[0].preferred
    assert several.agreement.alpha.mean == pytest.approx(1)


def test_hasty_verdicts_are_flagged_and_can_be_left_out(store):
    verdicts = [verdict(f"item{n}", "Ana", [1, 2, 3], seconds=1.0 if n < 4 else 60.0) for n in range(20)]
    report = report_of(store, verdicts)
    assert report.reviewers[0].hasty == tuple(v.id for v in verdicts[:4]) and report.verdicts == 20
    assert "4 verdicts took less time than reading the texts; included" in report.notes[0]
    left_out = report_of(store, verdicts, without_hasty=True)
    assert left_out.verdicts == 16 and "left out" in left_out.notes[0]


def test_reviewers_and_skipped_items_are_listed(store):
    verdicts = [verdict("item0", "Ana", [1, 2, 3], seconds=40.0), verdict("item1", "Ana", [], skipped="not clear")]
    report = report_of(store, verdicts)
    (ana,) = report.reviewers
    assert (ana.verdicts, ana.skipped, ana.median_seconds) == (1, 1, 40.0)
    assert [(one.item, one.skipped) for one in report.skipped] == [("item1", "not clear")]


def test_marked_errors_and_metrics_are_in_the_report(store):
    spans = (ErrorSpan("invented", 0, 3, "lora"),)
    report = report_of(store, [verdict(f"item{n}", "Ana", [2, 1, 3], spans=spans) for n in range(12)])
    assert {(rate.system, rate.marked) for rate in report.errors if rate.kind == "invented"} == {
        ("original", 0), ("full", 0), ("lora", 12),
    }  # fmt: skip
    assert {"rouge1", "copied"} <= {row.name for row in report.metrics}


def test_a_simulated_review_and_left_out_dialogues_are_noted(store):
    draft = {"simulated": True, "identical": 1, "without_dialogue": 2}
    notes = report_of(store, [], draft=draft).notes
    assert "simulated by a program; they are not people’s" in notes[0]
    assert notes[1].startswith("1 dialogue on which all systems wrote the same text was not reviewed")
    assert notes[2] == "2 examples without a dialogue were not reviewed."


def test_without_verdicts_the_report_is_empty_and_has_the_reasons(store):
    report = report_of(store, [])
    assert (report.systems, report.pairs, report.ties, report.position) == ((), (), None, None)
    assert report.agreement.alpha is None and "undefined" in report.agreement.sentence
    json.dumps(report.as_dict(), allow_nan=False)


def test_only_bad_or_skipped_verdicts_make_no_ranking(store):
    verdicts = [verdict("item0", "A", [], all_bad=True), verdict("item1", "A", [], skipped="no")]
    report = report_of(store, verdicts)
    assert report.systems == () and report.all_bad.mean == 1


def test_a_report_is_the_same_for_the_same_seed_and_is_valid_json(clear, store):
    raw = json.loads(json.dumps(clear.as_dict(), allow_nan=False))
    assert raw["pairs"][0]["verdicts"]["won"] == [f"item{n}-Ana-0" for n in range(5)] and raw["how"]["decided"]
    assert raw["systems"][1]["worth"]["n"] == 20
    assert plain({"a": math.nan, "b": [math.inf, 1]}) == {"a": None, "b": [None, 1]}


def test_four_systems_and_two_systems_are_ranked(store):
    from dsum_demo.evaluation.records import SystemInfo
    from tests.review.conftest import SYSTEMS

    four = (*SYSTEMS, SystemInfo("other", "Other", "recorded"))
    for systems in (SYSTEMS[:2], four):
        names = [system.name for system in systems]
        made = item(0).texts | {"other": item(0).texts["full"].__class__("Something else entirely.")}
        items = [replace(item(n), texts={name: made[name] for name in names}) for n in range(12)]
        review = store.create(replace(make_draft(), systems=systems, items=tuple(items)))
        answer(store, review, "Ana")
        report = build_review_report(review, items, store.verdicts(review.id), resamples=100)
        assert [system.name for system in report.systems] == names
        assert len(report.pairs) == math.comb(len(names), 2)
