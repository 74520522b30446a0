"""Links that contain a comparison, without a browser."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from dsum_demo.comparison import RecordedSummary
from dsum_demo.errors import DsumError
from dsum_demo.metrics.scores import score_summary
from dsum_demo.ui.compare import cards, tab
from dsum_demo.ui.compare.links import LONGEST_TEXT, linked_comparison
from dsum_demo.ui.services import Services

DIALOGUE = "Maya: Are you free on Friday?\nTom: Yes, after six."
REFERENCE = "Tom is free on Friday after six."
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def services(tiny_settings) -> Services:
    return Services.start(tiny_settings)


def content(**changes) -> str:
    systems = [
        {"name": name, "summary": f"Tom is free, {number}.", "strength": 1}
        for number, name in enumerate(("dsum-t5-base", "dsum-t5-full", "dsum-t5-lora"))
    ]
    given = {
        "family": "dsum-t5", "dialogue": DIALOGUE, "references": [REFERENCE], "decode": {"max_new_tokens": 96},
        "made": "2026-05-04", "systems": systems,
    }  # fmt: skip
    return json.dumps(given | changes)


def opened(services, link: str, broken: str = "", typed=("mine", "", "", "")) -> dict:
    """The updates of the tab by name."""
    answer = tab.open_link(services, link, broken, "", *typed)
    names = [*(f"typed{n}" for n in range(4)), "before", "undo", "example", "family"]
    return dict(zip(names, answer, strict=False)) | dict(
        zip(tab.RESULTS, answer[-len(tab.RESULTS) :], strict=True)
    )  # fmt: skip


def test_a_link_opens_as_a_recorded_comparison_whose_scores_are_computed_again(services):
    shown = opened(services, content())
    assert (shown["typed0"], shown["typed1"], shown["family"]) == (DIALOGUE, REFERENCE, "dsum-t5")
    assert shown["before"] == ("mine", "", "", "") and shown["undo"]["visible"]
    assert "Shared by link" in shown["warnings"] and "4 May 2026" in shown["warnings"]
    assert [f"Tom is free, {n}." in shown[place] for n, place in enumerate(("base", "full", "adapter"))] == [True] * 3
    comparison = shown["comparison"]
    assert [one.scores for one in comparison.systems] == [
        score_summary(one.summary, [REFERENCE]) for one in comparison.systems
    ]
    # It is not kept in the browser, where it would lose its label.
    assert tab.keep(comparison) is None


def test_a_linked_comparison_stays_until_its_dialogue_is_edited(services):
    sample, request = services.samples[0], SimpleNamespace(session_hash="s")
    # References of an example with another dialogue, and a text that would be read as a chat export.
    export = "[12:03] Ana: Lunch?\n[12:04] Bo: Yes, at one."
    shown = opened(services, content(dialogue=export, references=list(sample.references[:1])))
    typed = [shown[f"typed{number}"] for number in range(4)]
    follow = [services, request, shown["comparison"], None, "dsum-t5", ""]
    assert all(update == {"__type__": "update"} for update in tab.follow_dialogue(*follow, *typed))
    changed = dict(zip(tab.RESULTS, tab.follow_dialogue(*follow, f"{export} Bye.", *typed[1:]), strict=True))
    assert changed["comparison"] is None and changed["warnings"] == ""


def test_an_unknown_model_is_a_recorded_summary_and_its_column_keeps_its_default(services):
    raw = json.loads(content())["systems"]
    raw[1]["name"] = "of-somebody-else"
    shown = opened(services, content(systems=raw))
    assert isinstance(shown["comparison"].systems[1].spec, RecordedSummary)
    assert "of-somebody-else" in shown["full"] and "not generated here" in shown["full"]
    *_, full, _ = tab.open_link(services, content(systems=raw), "", "", "", "", "", "")[8:12]
    assert full["value"] == "dsum-t5-full"


def test_texts_of_a_link_are_escaped_everywhere(services):
    systems = [{"name": EVIL, "summary": f"Tom {EVIL}", "strength": 1}]
    shown = opened(services, content(dialogue=f"Maya: {EVIL}\nTom: {EVIL}", references=[EVIL], systems=systems))
    page = cards.comparison_page(shown["comparison"])
    drawn = [page, *(shown[part] for part in tab.RESULTS if isinstance(shown[part], str))]
    assert len(drawn) > 5 and not any("<img" in one for one in drawn)


def test_a_page_of_a_comparison_loads_nothing(services):
    page = cards.comparison_page(linked_comparison(content(), services.registry, 1_000))
    assert page.startswith("<!doctype html>") and "Tom is free, 1." in page and "rouge_score" in page
    assert not re.search(r'(src|href)="', page) and "<script" not in page


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("{", "damaged"),
        ("[" * 50_000, "damaged"),
        ('"text"', "The link is 'text'"),
        ("{}", "The link.family"),
        ('{"family": "\\ud800"}', "damaged"),
        ("x" * (LONGEST_TEXT + 1), "characters; the limit is 400,000"),
        (content(extra=1), "The link.extra is 1: extra inputs"),
        (content(dialogue=5), "The link.dialogue is 5"),
        (content(dialogue=""), "no dialogue"),
        (content(family="gpt"), "no family 'gpt'"),
        (content(references=["a"] * 4), "at most 3"),
        (content(decode={"num_beams": 99}), "num_beams is 99"),
        (content(decode={"command": "rm"}), "damaged"),
        (content(made="yesterday"), "damaged"),
        (content(systems=[]), "There are 0 systems"),
        (content(systems=[{"name": "a", "summary": "b", "strength": 1}] * 2), "chosen twice"),
        (content(systems=[{"name": "a", "summary": " ", "strength": 1}]), "has no words"),
        (content(systems=[{"name": "a", "summary": "b" * 9_999, "strength": 1}]), "limit is 5,000"),
        (content(systems=[{"name": "a" * 99, "summary": "b", "strength": 1}]), "99 characters"),
        (content(systems=[{"name": "a", "summary": "b", "strength": float("nan")}]), "strength is nan"),
    ],
    ids=lambda value: value[:30],
)
def test_other_contents_are_refused_with_the_reason(services, link, said):
    with pytest.raises(DsumError, match=re.escape(said)):
        linked_comparison(link, services.registry, 1_000)
    shown = opened(services, link)
    assert "cannot be opened" in shown["warnings"] and shown["comparison"] == {"__type__": "update"}


def test_a_dialogue_above_the_apps_limit_is_refused(services):
    with pytest.raises(DsumError, match="limit is 1,000"):
        linked_comparison(content(dialogue="Maya: Hi. " * 200), services.registry, 1_000)


def test_a_page_without_a_link_changes_nothing(services):
    assert all(update == {"__type__": "update"} for update in tab.open_link(services, "", "", "", "a", "", "", ""))
    assert "it is damaged" in opened(services, "", "it is damaged")["warnings"]
