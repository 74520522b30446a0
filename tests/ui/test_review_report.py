"""The charts of a review and its HTML page."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape

import pytest

from dsum_demo.evaluation.records import SystemInfo
from dsum_demo.review.records import ErrorSpan
from dsum_demo.review.report import build_review_report
from dsum_demo.review.report_text import percent, quality_sentences, reviewer_sentences
from dsum_demo.review.storage import ReviewStore
from dsum_demo.ui.review.charts import metrics_chart, pairs_chart, worths_chart
from dsum_demo.ui.review.html_report import review_html
from tests.review.conftest import SYSTEMS, answer, make_draft


@pytest.fixture
def store(tmp_path):
    return ReviewStore(tmp_path / "reviews.sqlite")


def report_of(store, review):
    return build_review_report(review, store.items(review.id), store.verdicts(review.id), resamples=100)


def page_of(store, review):
    return review_html(review, store.items(review.id), store.verdicts(review.id), report_of(store, review))


@pytest.fixture
def answered(store):
    review = store.create(make_draft(12))
    task = store.next_task(review.id, "Ana")
    store.save_verdict(
        review.id, "Ana", task.item.id, ranks=[1, 2, 2], comment="<b>good</b>", seconds=1,
        spans=[ErrorSpan("invented", 0, 3, "lora")],
    )  # fmt: skip
    for reviewer in ("Ana", "Ben"):
        answer(store, review, reviewer)
    task = store.next_task(review.id, "Cem")
    store.save_verdict(review.id, "Cem", task.item.id, skipped="not my topic")
    return review


def test_the_page_contains_plotly_and_loads_nothing(store, answered):
    page = page_of(store, answered)
    assert page.startswith("<!doctype html>") and "Plotly.newPlot" in page
    outside_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!#)', outside_scripts)


def test_every_link_of_a_number_has_its_item(store, answered):
    page = page_of(store, answered)
    links, targets = set(re.findall(r'href="#(item-\d+)"', page)), set(re.findall(r'id="(item-\d+)"', page))
    assert links and links <= targets and len(targets) == 12


def test_numbers_and_sentences_lead_to_their_items(store, answered):
    page, report = page_of(store, answered), report_of(store, answered)
    folded = dict(re.findall(r"<details><summary>([^<]*)</summary>(<a [^\n]*?)</details>", page))
    wanted = [percent(system.first) for system in report.systems if system.first.mean]
    wanted += [str(number) for row in report.metrics for number in (row.pairs, row.equal) if number]
    wanted += [escape(text) for text in (*quality_sentences(report).values(), *reviewer_sentences(report).values())]
    assert [what for what in wanted if what not in folded] == []
    (skipped,) = report.skipped
    assert skipped.item in folded["1 skipped: not my topic."] and folded["1 skipped: not my topic."].count("<a") == 1
    ana = next(links for what, links in folded.items() if what.startswith("Ana: "))
    assert ana.count("<a") == 12


def test_texts_of_users_are_escaped(store):
    systems = (replace(SYSTEMS[0], title="<i>A</i>"), *SYSTEMS[1:])
    review = store.create(
        replace(make_draft(10, verdicts_per_item=1), systems=systems, name="<script>alert(1)</script>")
    )
    answer(store, review, "<img src=x>")
    page = page_of(store, review)
    assert "<script>alert" not in page and "<img src=x>" not in page and "<i>A</i>" not in page


def test_comments_skips_and_marks_are_on_the_page(store, answered):
    page = page_of(store, answered)
    for part in ("&lt;b&gt;good&lt;/b&gt;", "skipped: not my topic", "invented (1)", "Ana, faster than reading"):
        assert part in page


def test_one_answer_is_singular(store):
    review = store.create(make_draft(2))
    answer(store, review, "Ana", most=1)
    page = page_of(store, review)
    assert "(1 answer)" in page and "(0 answers)" in page and "1 verdicts" not in page


def test_a_review_without_verdicts_has_a_page(store):
    page = page_of(store, store.create(make_draft()))
    assert "There are no rankings yet." in page and "Agreement is undefined" in page


def test_the_charts_show_the_numbers_of_the_report(store, answered):
    report = report_of(store, answered)
    worths = worths_chart(answered, report)
    bars = [trace for trace in worths.figure.data if trace.type == "bar"]
    assert [bar.y[0] for bar in bars] == [100 * system.worth.mean for system in report.systems]
    assert worths.title.startswith("Full fine-tune has the largest worth")
    pairs = pairs_chart(answered, report).figure
    assert sum(int(bar.text[0] or 0) for bar in pairs.data) == sum(p.won + p.tied + p.lost for p in report.pairs)
    metrics = metrics_chart(report).figure
    assert list(metrics.data[0].x) == [100 * row.share.mean for row in reversed(report.metrics)]


def test_charts_without_verdicts_state_the_reason(store):
    review = store.create(make_draft())
    report = report_of(store, review)
    charts = (worths_chart(review, report), pairs_chart(review, report), metrics_chart(report))
    assert all(chart.figure is None and "yet" in chart.title for chart in charts)


def test_systems_with_the_same_title_are_shown_by_name(store):
    same = (*SYSTEMS[:2], SystemInfo("lora", "Full fine-tune", "adapter"))
    review = store.create(replace(make_draft(10), systems=same))
    answer(store, review, "Ana")
    bars = worths_chart(review, report_of(store, review)).figure.data[:3]
    assert [bar.x[0] for bar in bars] == ["Original", "full", "lora"]
