"""The charts of a review and its HTML page."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest

from dsum_demo.evaluation.records import SystemInfo
from dsum_demo.review.records import ErrorSpan
from dsum_demo.review.report import build_review_report
from dsum_demo.review.report_text import decimal, quality_sentences, reviewer_sentences, summary_line
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


def buttons_of(page: str) -> dict[tuple[str, str], list[str]]:
    """By title of the list and shown text of each button: the answers that it leaves in the list of items."""
    answers = dict(re.findall(r'<li data-verdict="(\d+)">(.*?)</li>', page))
    found = re.findall(r'class="number" data-verdicts="([\d ]+)" data-what="(.*?)">(.*?)</button>', page)
    return {(unescape(what), unescape(shown)): [answers[one] for one in ids.split()] for ids, what, shown in found}


def test_every_number_leads_to_the_verdicts_that_it_is_computed_from(store, answered):
    page, report = page_of(store, answered), report_of(store, answered)
    found = buttons_of(page)
    for cells in re.findall(r"<tr><th scope=\"row\">.*?</tr>", page):
        bare = [cell for cell in re.findall("<td>(.*?)</td>", cells) if not cell.startswith("<button")]
        # A direction is not a number, and a zero has no verdicts.
        assert [cell for cell in bare if re.search("[1-9]", cell)] == []
    sentences = [*quality_sentences(report).values(), *reviewer_sentences(report).values()]
    sentences += [pair.sentence for pair in report.pairs]
    assert {summary_line(report), *sentences} <= {shown for _, shown in found}
    wins = report.pairs[0]
    title = "Original against Full fine-tune"
    assert len(found[title, wins.sentence]) == wins.won + wins.tied + wins.lost
    assert len(found[f"{title}, Lost", str(wins.lost)]) == wins.lost
    rouge = next(row for row in report.metrics if row.name == "rouge1")
    assert set(rouge.verdicts) == {*rouge.agreeing, *rouge.undecided, *rouge.against}
    assert len(found["skipped", "1 skipped: not my topic."]) == 1
    assert len(next(answers for (what, _), answers in found.items() if what == "Ana")) == 12
    (marked,) = found["LoRA, invented: Per 100 words", decimal_of(report, "lora", "invented")]
    assert "“&lt;b&gt;good" in marked


def decimal_of(report, system, kind):
    (rate,) = [rate for rate in report.errors if (rate.system, rate.kind) == (system, kind)]
    return decimal(rate.per_100_words)


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
