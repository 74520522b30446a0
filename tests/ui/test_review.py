"""The Review tab's handlers, without a browser: a real store, recorded outputs."""

from __future__ import annotations

import csv
import json
import re
import threading
import time
from dataclasses import replace
from html import unescape
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from dsum_demo.comparison import RecordedSummary, compare
from dsum_demo.data.sources import SAMPLES
from dsum_demo.errors import InputError
from dsum_demo.evaluation.background import UPLOAD
from dsum_demo.evaluation.storage import write_evaluation
from dsum_demo.review.backup import ReviewBackup
from dsum_demo.review.records import Review, ReviewDraft
from dsum_demo.settings import Settings
from dsum_demo.ui.review import form as review_form
from dsum_demo.ui.review import tab
from dsum_demo.ui.review.results import write_page
from dsum_demo.ui.review.start import storage_notice, wanted_review
from dsum_demo.ui.review.visitor import Visitor
from dsum_demo.ui.services import Services

COLUMNS = ["human1", "human2", "human3"]
SYSTEMS = ["original", "full", "lora"]
SKIP = {"__type__": "update"}
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def services(tiny_root, tmp_path) -> Services:
    return Services.start(Settings(root=tiny_root, data_dir=tmp_path / "data", offline=True, family="dsum-t5"))


@pytest.fixture(scope="module")
def outputs_file(recorded_file, tmp_path_factory) -> Path:
    """The first five dialogues of the recorded outputs."""
    file = tmp_path_factory.mktemp("outputs") / "outputs.csv"
    with (
        recorded_file.open(encoding="utf-8", newline="") as stream,
        file.open("w", encoding="utf-8", newline="") as few,
    ):
        csv.writer(few).writerows(islice(csv.reader(stream), 6))
    return file


@pytest.fixture
def public(services) -> Services:
    return Services.start(replace(services.settings, public=True))


class Browser:
    """One browser: its secret and names, and the view that the app answered with last."""

    def __init__(self, services: Services, secret: str):
        self.services, self.secret, self.names = services, secret, {}
        self.said = self.view = self.listed = ""

    def see(self, answer: tuple) -> Browser:
        found = dict(zip(tab.PARTS, answer, strict=True))
        for part, name in (("notice", "said"), ("desk", "view"), ("list", "listed"), ("names", "names")):
            if found[part] != SKIP:
                setattr(self, name, found[part])
        return self

    def do(self, action: str, **data) -> Browser:
        event = SimpleNamespace(_data={**self.place, "do": action, **data})
        return self.see(tab.act(self.services, self.secret, self.names, event))

    def rank(self, *ranks: int, **data) -> Browser:
        return self.do("submit", ranks=list(ranks), spans=[], seconds=5, **data)

    def follow(self, token: str) -> Browser:
        return self.see(tab.follow_link(self.services, self.secret, self.names, token)[1:])

    @property
    def place(self) -> dict[str, str]:
        return {
            name: unescape(value) for name, value in re.findall(r'data-(token|item|round)="([^"]*)"', self.view)[:3]
        }

    @property
    def cards(self) -> int:
        return self.view.count("data-card=")

    @property
    def kind(self) -> str:
        return re.search(r'data-view="(\w+)"', self.view)[1]


def form(table: Path, **changes) -> list:
    values = {
        "source": review_form.FILE, "evaluation": None, "systems": [], "file": str(table),
        "references": COLUMNS, "outputs": SYSTEMS, "models": [], "name": "Fruit", "items": 3, "verdicts": 2,
        "reveal": "end", "judges": True, "shares": True, "reviewer": "Ana",
        "dialogue": "dialogue", "summary": None, "id": "id",
    }  # fmt: skip
    return list((values | changes).values())


def begin(services: Services, table: Path, secret: str = "secret of Ana", **changes) -> Browser:
    browser = Browser(services, secret)
    return browser.see(tab.start(services, secret, {}, *form(table, **changes)))


def only_review(services: Services) -> Review:
    (review,) = services.reviews.list()
    return review


def finish(browser: Browser) -> Browser:
    while browser.kind == "item":
        browser.rank(*range(1, browser.cards + 1))
    return browser


def test_started_review_opens_on_an_item_that_names_no_system(services, outputs_file):
    browser = begin(services, outputs_file)
    assert browser.kind == "item" and browser.cards == 3
    review = only_review(services)
    assert (review.name, review.items, review.settings.verdicts_per_item) == ("Fruit", 3, 2)
    assert not any(f">{name}" in browser.view or f'"{name}' in browser.view for name in SYSTEMS)
    assert list(services.reviews.reviewers(review.id)) == []
    task = services.reviews.next_task(review.id, Visitor.read(browser.secret, browser.names).reviewer(review))
    texts = [unescape(text) for text in re.findall(r'class="markable summary"[^>]*>([^<]*)<', browser.view)]
    assert texts == [card.text for card in task.cards]


def test_verdict_is_stored_before_the_next_item_is_shown(services, outputs_file):
    browser = begin(services, outputs_file)
    first = browser.place
    task_text = re.search(r'class="markable summary"[^>]*>([^<]*)<', browser.view)[1]
    browser.do(
        "submit", ranks=[2, 1, 1], comment="Short.", seconds=7.5,
        spans=[{"kind": "invented", "card": 0, "start": 0, "end": 3},
               {"kind": "missing", "card": None, "start": 1, "end": 4},
               {"kind": "missing", "card": 2, "start": 1, "end": 4}],
    )  # fmt: skip
    assert browser.place["item"] != first["item"]
    (verdict,) = services.reviews.verdicts(only_review(services).id)
    assert verdict.item == first["item"] and verdict.comment == "Short." and verdict.seconds == 7.5
    by_card = [verdict.ranks[systems[0]] for systems in verdict.order]
    assert by_card == [2, 1, 1]
    assert verdict.reviewer.startswith("Ana (")
    marks = {(span.kind, span.system, span.start, span.end) for span in verdict.spans}
    (first_card, *_, last_card) = (systems[0] for systems in verdict.order)
    assert marks == {("invented", first_card, 0, 3), ("missing", "", 1, 4), ("missing", last_card, 1, 4)}
    assert len(unescape(task_text)) > 3


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"ranks": [1, None, 2]}, "Rank every summary"),
        ({"ranks": "123"}, "Rank every summary"),
        ({"ranks": [1, 2]}, "ranks are [1, 2]"),
        ({"ranks": [1, 2, 9]}, "whole numbers from 1 to 4"),
        ({"ranks": [1, 2, 3], "spans": [{"kind": "rude", "card": 0, "start": 0, "end": 1}]}, "kind of error is"),
        ({"ranks": [1, 2, 3], "spans": [{"kind": "invented", "card": 0, "start": 0, "end": 10**6}]}, "marked error"),
        ({"ranks": [1, 2, 3], "spans": [{"kind": "invented", "card": 7, "start": 0, "end": 1}]}, "marked for system"),
        ({"ranks": [1, 2, 3], "spans": [{"kind": "invented", "start": 0, "end": 1}]}, "marked for system"),
        ({"ranks": [1, 2, 3], "spans": "all"}, "not a list"),
        ({"ranks": [1, 2, 3], "spans": [4]}, "A marked error is 4"),
        ({"ranks": [1, 2, 3], "spans": [{}] * 201}, "at most 200"),
        ({"ranks": [1, 2, 3], "comment": "x" * 2_001}, "shorten it"),
        ({"ranks": [1, 2, 3], "item": "sample_99"}, "was not asked"),
        ({"ranks": [1, 2, 3], "round": 1}, "was not asked"),
    ],
)  # fmt: skip
def test_invalid_verdict_is_refused_and_the_item_stays_open(services, outputs_file, data, said):
    browser = begin(services, outputs_file)
    before = browser.view
    browser.do("submit", **{"spans": [], **data})
    assert said in browser.said and 'role="alert"' in browser.said
    assert browser.view == before
    assert services.reviews.verdicts(only_review(services).id) == []


@pytest.mark.parametrize("seconds", [None, "7", -3, float("nan"), float("inf"), [1]])
def test_time_that_is_not_a_positive_number_counts_as_zero(services, outputs_file, seconds):
    begin(services, outputs_file).do("submit", ranks=[1, 2, 3], spans=[], seconds=seconds)
    (verdict,) = services.reviews.verdicts(only_review(services).id)
    assert verdict.seconds == 0


def test_all_bad_and_skipped_items(services, outputs_file):
    browser = begin(services, outputs_file)
    browser.do("submit", bad=True, ranks=[None] * 3, spans=[])
    browser.do("skip", reason="  ")
    assert "Give a reason" in browser.said
    browser.do("skip", reason="I know this dialogue.", seconds=2)
    bad, skipped = services.reviews.verdicts(only_review(services).id)
    assert bad.all_bad and not bad.ranks
    assert skipped.skipped == "I know this dialogue." and skipped.seconds == 2
    assert 'aria-label="Item 2, skipped, can be changed"' in browser.view


def test_verdict_can_be_revised_until_the_reveal(services, outputs_file):
    browser = begin(services, outputs_file)
    item = browser.place
    browser.rank(1, 2, 3)
    browser.do("open", item=item["item"], round="0")
    draft = json.loads(unescape(re.search(r'data-draft="([^"]*)"', browser.view)[1]))
    assert draft["ranks"] == [1, 2, 3] and "submit to change it" in browser.view
    browser.rank(3, 2, 1)
    (verdict,) = services.reviews.verdicts(only_review(services).id)
    assert verdict.revision == 1 and verdict.seconds == 10
    assert [verdict.ranks[systems[0]] for systems in verdict.order] == [3, 2, 1]
    finish(browser)
    assert browser.kind == "end" and "Reveal the systems" in browser.view
    browser.do("reveal")
    browser.do("open", item=item["item"], round="0")
    assert browser.kind == "revealed" and "can be changed" not in browser.view
    browser.rank(1, 1, 1, **item)
    assert "can no longer be changed" in browser.said


def test_reveal_before_the_end_is_refused(services, outputs_file):
    browser = begin(services, outputs_file)
    browser.rank(1, 2, 3).do("reveal")
    assert "items remain" in browser.said and browser.kind == "item"


def test_end_reveals_names_scores_and_checks(services, outputs_file):
    browser = finish(begin(services, outputs_file)).do("reveal")
    assert "Your mean rank" in browser.view
    answered = services.reviews.tasks(only_review(services).id, next(iter(services.reviews.reviewers(
        only_review(services).id))))  # fmt: skip
    assert len(answered) == 4  # three items, one of them twice
    browser.do("open", item=answered[0].item.id, round="0")
    for said in (*SYSTEMS, "R1", "Share copied", "your rank 1", "Human"):
        assert said in browser.view


def test_reveal_after_each_item(services, outputs_file):
    browser = begin(services, outputs_file, reveal="item")
    item = browser.place["item"]
    browser.rank(1, 1, 2)
    assert browser.kind == "revealed" and browser.place["item"] == item
    assert "your rank 1, shared" in browser.view and all(name in browser.view for name in SYSTEMS)
    browser.do("next")
    assert browser.kind == "item" and browser.place["item"] != item


def test_identical_texts_share_a_card_and_equal_items_are_left_out(services, tmp_path):
    file = tmp_path / "outputs.csv"
    rows = ["id,dialogue,reference,one,two,three"]
    rows += ["a,Tom: Hi.,Tom greets.,Hi.,Hi.,Hello."]
    rows += ["b,Ana: Yes.,Ana agrees.,Yes.,Yes.,Yes."]
    rows += [f"c,Ana: {EVIL}.,Ana agrees.,{EVIL}1,{EVIL}2,{EVIL}3"]
    file.write_text("\n".join(rows), encoding="utf-8")
    browser = begin(services, file, references=["reference"], outputs=["one", "two", "three"], items=0)
    assert "1 dialogue was left out because all systems wrote the same text." in browser.said
    seen = {}
    while browser.kind == "item":
        assert "<img" not in browser.view
        seen[browser.place["item"]] = browser.cards
        browser.rank(*range(1, browser.cards + 1))
    assert seen == {"a": 2, "c": 3}
    verdict = next(v for v in services.reviews.verdicts(only_review(services).id) if v.item == "a")
    assert verdict.ranks["one"] == verdict.ranks["two"] != verdict.ranks["three"]


def test_carriage_returns_survive_the_html_parser(services, tmp_path):
    file = tmp_path / "outputs.jsonl"
    row = {"id": "a", "dialogue": "Tom: Hi.\r\nAna: Yes.", "reference": "They talk.", "one": "Hi.", "two": "Yes."}
    file.write_text(json.dumps(row), encoding="utf-8")
    browser = begin(services, file, references=["reference"], outputs=["one", "two"], items=0)
    dialogue = services.reviews.items(only_review(services).id)[0].dialogue
    shown = unescape(re.search(r'class="markable turns"[^>]*>([^<]*)<', browser.view)[1].replace("&#13;", "\r"))
    assert shown == dialogue


def test_second_reviewer_follows_the_link_and_sees_no_verdict_of_the_first(services, outputs_file):
    ana = finish(begin(services, outputs_file))
    review = only_review(services)
    ben = Browser(services, "secret of Ben").follow(review.token)
    assert ben.kind == "join" and "You see 3 dialogues" in ben.view
    ben.do("join", name="Ben")
    assert ben.kind == "item" and "Ana" not in ben.view
    finish(ben)
    names = services.reviews.reviewers(review.id)
    assert sorted(name.split(" (")[0] for name in names) == ["Ana", "Ben"]
    assert ana.kind == "end"


def test_same_name_in_another_browser_is_another_reviewer(services, outputs_file):
    begin(services, outputs_file).rank(1, 2, 3)
    review = only_review(services)
    other = Browser(services, "another secret").follow(review.token).do("join", name="Ana")
    assert "0 of 4 answered" in other.view
    other.rank(3, 2, 1)
    assert len(services.reviews.reviewers(review.id)) == 2


def test_reviewer_continues_on_another_day(services, outputs_file):
    browser = begin(services, outputs_file).rank(1, 2, 3)
    review, item = only_review(services), browser.place
    later = Browser(Services.start(services.settings), browser.secret)
    later.names = browser.names
    later.follow(review.token)
    assert later.place == item and "1 of 4 answered" in later.view


def test_reviewer_without_a_name_gets_a_random_id(services, outputs_file):
    begin(services, outputs_file, reviewer="").rank(1, 2, 3)
    (name,) = services.reviews.reviewers(only_review(services).id)
    assert re.fullmatch(r"reviewer-[0-9a-f]{6}", name)


@pytest.mark.parametrize(("name", "said"), [("x" * 61, "61 characters"), ("a\nb", "in one line")])
def test_invalid_name_is_refused(services, outputs_file, name, said):
    begin(services, outputs_file)
    browser = Browser(services, "b").follow(only_review(services).token).do("join", name=name)
    assert said in browser.said and browser.kind == "join"


def test_browser_that_keeps_no_data_cannot_review(services, outputs_file):
    begin(services, outputs_file)
    browser = Browser(services, "").follow(only_review(services).token).do("join", name="Eva")
    assert "keeps no data" in browser.said


def test_review_of_a_browser_that_keeps_no_data_is_not_stored(services, outputs_file):
    for answer in (tab.start(services, "", {}, *form(outputs_file)), tab.start_samples(services, "", {})):
        assert "keeps no data" in Browser(services, "").see(answer).said
    assert services.reviews.list() == []


@pytest.mark.parametrize("names", [None, [], {"token": 3}, "x"])
def test_whatever_the_browser_sends_as_names_is_read(names):
    assert Visitor.read("s", names).names == {}


def test_wrong_link_and_unknown_action(services, outputs_file):
    browser = begin(services, outputs_file)
    assert "belongs to no review" in Browser(services, "b").follow("nothing").said
    assert "Unknown action" in browser.do("explode").said
    assert "belongs to no review" in browser.do("submit", token=7).said
    assert tab.follow_link(services, "b", {}, "") == (SKIP, *tab.parts())


def test_evaluations_with_texts_can_be_reviewed(services, recorded):
    write_evaluation(recorded, services.settings.evaluations_dir / "mine")
    chooser = review_form.offer_evaluations(services, None)
    assert "mine" in [value for _, value in chooser["choices"]]
    systems = review_form.systems_of(services, "mine")
    assert systems["value"] == SYSTEMS
    values = form(Path("unused"), source=review_form.EVALUATION, evaluation="mine", systems=["full", "lora"], name="")
    draft = wanted_review(services, review_form.FormValues(*values))
    assert [system.name for system in draft.systems] == ["full", "lora"] and len(draft.items) == 3


def test_samples_are_one_click_away(services, recorded):
    assert "no evaluation of the samples" in Browser(services, "s").see(tab.start_samples(services, "s", {})).said
    write_evaluation(replace(recorded, data="samples"), services.settings.evaluations_dir / "samples")
    browser = Browser(services, "s").see(tab.start_samples(services, "s", {}))
    assert browser.kind == "item" and "of 11" in browser.view


def test_comparison_with_a_pasted_summary_is_reviewed_blind(services, tiny_store):
    family = tiny_store.registry.default_family
    systems = [family.base, RecordedSummary("Mine", "They meet on Friday."), RecordedSummary("Yours", "They talk.")]
    comparison = compare(tiny_store, family, systems, "Anna: Are you free on Friday?\nBen: Yes, after six.")
    ana = Browser(services, "s").see(tab.review_comparison(services, comparison, "s", {})[1:])
    review = only_review(services)
    assert ana.kind == "item" and [bool(system.weights) for system in review.systems] == [True, False, False]
    more = [RecordedSummary(f"Text {number}", f"Text {number}.") for number in range(5)]
    ana.see(tab.review_comparison(services, compare(tiny_store, family, more, "A: Hi.\nB: Hello."), "s", {})[1:])
    assert "compare at most 4" in ana.said and services.reviews.list() == [review]


def test_evaluation_without_dialogues_is_refused(services, recorded):
    write_evaluation(replace(recorded, data="other"), services.settings.evaluations_dir / "bare", texts=False)
    values = form(Path("unused"), source=review_form.EVALUATION, evaluation="bare", systems=SYSTEMS)
    with pytest.raises(InputError, match="not available"):
        wanted_review(services, review_form.FormValues(*values))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file": None}, "No file is uploaded"),
        ({"source": review_form.EVALUATION}, "No evaluation is chosen"),
        ({"outputs": ["full"]}, "needs 2 to 4"),
        ({"outputs": ["full", "nothing"]}, "nothing"),
        ({"items": -1}, "number of items is -1"),
        ({"verdicts": 2_000}, "1 to 1000"),
        ({"reveal": "never"}, "reveal is"),
        ({"name": "x" * 81}, "1 to 80"),
    ],
)
def test_invalid_form_is_answered_with_the_reason(services, outputs_file, changes, said):
    browser = begin(services, outputs_file, **changes)
    assert said in browser.said and str(outputs_file.parent) not in browser.said
    assert services.reviews.list() == []


def test_columns_of_a_file_are_detected(outputs_file, tmp_path):
    references, outputs, *_, problem = review_form.read_columns(review_form.FILE, str(outputs_file))
    assert (references["value"], outputs["value"], problem) == (COLUMNS, SYSTEMS, "")
    western = tmp_path / "western.csv"
    western.write_bytes("reference,ours\ncafé,café\n".encode("cp1252"))
    references, *_, problem = review_form.read_columns(review_form.FILE, str(western))
    assert references["value"] == ["reference"] and "western.csv is not UTF-8" in problem and "alert" not in problem
    broken = tmp_path / "broken.csv"
    broken.write_text("", encoding="utf-8")
    *_, problem = review_form.read_columns(review_form.FILE, str(broken))
    assert 'role="alert"' in problem and str(tmp_path) not in problem
    assert review_form.read_columns(review_form.FILE, None)[0]["value"] == []


def test_list_leads_to_the_reviews_and_deletes_them(services, outputs_file):
    browser = begin(services, outputs_file).rank(1, 2, 3).do("leave")
    assert browser.view == "" and "Fruit" in browser.listed and "1 of 4" in browser.listed
    token = only_review(services).token
    browser.do("view", token=token)
    assert browser.kind == "item"
    browser.do("delete", token=token)
    assert services.reviews.list() == [] and "No reviews yet" in browser.listed


@pytest.mark.parametrize("app", ["services", "public"])
def test_visitors_reach_their_own_reviews_and_those_of_their_links(app, outputs_file, request):
    services = request.getfixturevalue(app)
    ana = begin(services, outputs_file)
    review = only_review(services)
    ben = Browser(services, "secret of Ben")
    assert "Fruit" not in ben.do("leave").listed
    assert "Fruit" in ana.do("leave").listed and "Delete" in ana.listed
    ben.do("view", token=review.id)
    assert "belongs to no review" in ben.said
    ben.follow(review.token).do("join", name="")
    ben.do("leave")
    assert "Fruit" in ben.listed and "Delete" not in ben.listed and "Results" not in ben.listed
    ben.do("delete", token=review.token)
    assert "Only the browser that started" in ben.said and services.reviews.list() == [review]
    eve = Browser(services, "")
    eve.do("delete", token=review.token)
    assert "Only the browser that started" in eve.said
    ana.do("delete", token=review.token)
    assert services.reviews.list() == []
    assert "No reviews yet" in ben.do("leave").listed


def test_results_open_to_reviewers_who_have_finished(services, outputs_file):
    ana = begin(services, outputs_file, name="Fruit")
    token = only_review(services).token
    ana.do("results", token=token)
    assert "The results open when" in ana.said and ana.kind == "item"
    finish(ana)
    ana.do("results", token=token)
    assert "The results open when" in ana.said  # the systems are not revealed
    ana.do("reveal")
    answer = tab.act(services, ana.secret, ana.names, SimpleNamespace(_data={"do": "results", "token": token}))
    found = dict(zip(tab.PARTS, answer, strict=True))
    assert "4 verdicts of 1 reviewer" in found["facts"] or "3 verdicts of 1 reviewer" in found["facts"]
    assert found["systems_chart"]["value"].data and "full" in found["pairs"]
    assert all(f'download="{name}"' in found["facts"] for name in ("verdicts.csv", "report.json", "report.md"))
    assert 'data-verdict="0"' in found["others"] and token not in found["others"]


def results_of(browser: Browser, token: str) -> dict:
    """All parts of the answer to a direct request for the results."""
    event = SimpleNamespace(_data={"do": "results", "token": token})
    return dict(zip(tab.PARTS, tab.act(browser.services, browser.secret, browser.names, event), strict=True))


def downloaded_page(browser: Browser, token: str) -> str:
    (update,) = (
        Path(update["value"]).read_text(encoding="utf-8")
        for update in write_page(browser.services, browser.secret, browser.names, token)
    )
    return update


def test_results_are_closed_until_a_reviewer_has_finished(services, outputs_file):
    ana = begin(services, outputs_file)
    token = only_review(services).token
    ben = Browser(services, "secret of Ben").follow(token).do("join", name="Ben").rank(1, 2, 3)
    for browser in (Browser(services, "secret of Eve"), Browser(services, ""), ben, ana):
        found = results_of(browser, token)
        assert "The results open when" in found["notice"]
        assert all(found[part] == SKIP for part in tab.PARTS if part != "notice")
        with pytest.raises(gr.Error, match="The results open when"):
            downloaded_page(browser, token)
    finish(ben).do("reveal")
    found = results_of(ben, token)
    assert "of 1 reviewer" in found["facts"] and 'data-do="page"' in found["facts"]
    page = downloaded_page(ben, token)
    assert page.startswith("<!doctype html>") and "Plotly.newPlot" in page and token not in page
    assert "Results" in ben.do("leave").listed


def test_reviewer_cannot_evade_the_rule_by_another_name_or_none(services, outputs_file):
    ana = finish(begin(services, outputs_file)).do("reveal")
    token = only_review(services).token
    ana.names = {token: "Another"}
    ana.follow(token)  # asked of another reviewer now
    assert ana.kind == "item" and "The results open when" in results_of(ana, token)["notice"]
    ben = begin(services, outputs_file, secret="secret of Ben", name="Second")
    ben.names = {}  # the owner who has open items is no visitor without any
    second = next(review for review in services.reviews.list() if review.name == "Second")
    assert "The results open when" in results_of(ben, second.token)["notice"]


def test_owner_who_keeps_the_results_closes_them_to_all_others(services, outputs_file):
    ana = begin(services, outputs_file, shares=False, verdicts=3)
    token = only_review(services).token
    ben = finish(Browser(services, "secret of Ben").follow(token).do("join", name="Ben")).do("reveal")
    assert "only for the browser that started" in ben.view and "See the results" not in ben.view
    assert "only for the browser that started" in results_of(ben, token)["notice"]
    assert "Results" not in ben.do("leave").listed
    finish(ana).do("reveal")
    assert "See the results" in ana.view and "of 2 reviewers" in results_of(ana, token)["facts"]


def test_owner_who_does_not_judge_sees_the_results_and_cannot_join(services, outputs_file):
    ana = begin(services, outputs_file, judges=False)
    token = only_review(services).token
    assert ana.kind == "owner" and "No verdicts yet" in ana.view
    Browser(services, "secret of Ben").follow(token).do("join", name="Ben").rank(1, 2, 3)
    assert "Ben (" in ana.follow(token).view
    assert "1 verdict of 1 reviewer" in results_of(ana, token)["facts"]
    assert "cannot judge it blind" in ana.do("join", token=token, name="Ana").said
    ana.names = {token: "Ana"}
    ana.do("submit", token=token, item="sample_1", round=0, ranks=[1, 2, 3], spans=[])
    assert "was not asked" in ana.said and len(services.reviews.reviewers(only_review(services).id)) == 1


def test_review_without_an_owner_is_reached_by_its_link(services, outputs_file):
    begin(services, outputs_file)
    first = only_review(services)
    items = services.reviews.items(first.id)
    draft = ReviewDraft("Imported", "file", first.systems, items, settings=first.settings)
    review = services.reviews.create(draft)
    ben = Browser(services, "secret of Ben")
    assert "Imported" not in ben.do("leave").listed and "The results open" in results_of(ben, review.token)["notice"]
    assert ben.follow(review.token).kind == "join"
    assert "Only the browser that started" in ben.do("delete", token=review.token).said


def test_public_review_is_limited(public, outputs_file):
    begin(public, outputs_file, items=0)
    assert only_review(public).items <= review_form.MOST_PUBLIC_ITEMS


def test_reviewers_who_vote_at_once_lose_no_verdict(services, outputs_file):
    begin(services, outputs_file, verdicts=50)
    review = only_review(services)

    def vote(number: int) -> None:
        browser = Browser(services, f"secret {number}").follow(review.token).do("join", name=f"R{number}")
        finish(browser)

    threads = [threading.Thread(target=vote, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verdicts = services.reviews.verdicts(review.id)
    assert len(verdicts) == 6 * 4 == len({(v.reviewer, v.item, v.round) for v in verdicts})


MODELS = ["dsum-t5-base", "dsum-t5-full", "dsum-t5-lora"]


def tick(browser: Browser, shown: str = "") -> dict:
    """One tick of the page's timer, until the run is over."""
    answer = tab.tick(browser.services, browser.secret, browser.names, shown)
    browser.see(answer)
    return dict(zip(tab.PARTS, answer, strict=True))


def wait_for_run(browser: Browser) -> None:
    run = browser.services.review_runs[browser.secret].run
    for _ in range(1_200):
        if run.over:
            return
        time.sleep(0.05)
    raise AssertionError("the run did not end")


def begin_run(services: Services, secret: str = "secret of Ana", **changes) -> Browser:
    changes = {
        "source": SAMPLES,
        "file": None,
        "models": MODELS,
        "name": "Fresh",
        "dialogue": None,
        "id": None,
    } | changes
    browser = Browser(services, secret)
    return browser.see(tab.start(services, secret, {}, *form(Path("unused"), **changes)))


def test_review_of_new_summaries_opens_when_the_run_is_done(services):
    ana = begin_run(services)
    opened = dict(zip(tab.PARTS, tab.open_tab(services, ana.secret, ana.names, None)[2:], strict=True))
    assert opened["running"]["visible"] and opened["timer"]["active"]  # after a reload too
    assert 'role="progressbar"' in opened["bar"] and services.reviews.list() == []
    other = tick(Browser(services, "secret of Ben"))
    assert not other["running"]["visible"] and not other["timer"]["active"]
    wait_for_run(ana)
    found = tick(ana)
    assert not found["running"]["visible"] and not found["timer"]["active"]
    review = only_review(services)
    assert ana.kind == "item" and review.name == "Fresh" and review.source == "Samples" and review.decode
    assert 1 <= review.items <= 3 and [system.name for system in review.systems] == MODELS
    assert all(system.weights for system in review.systems)
    assert Visitor.read(ana.secret, ana.names).reviewer(review).startswith("Ana (")
    tick(ana)
    assert services.reviews.list() == [review]


def test_run_that_ends_during_another_review_does_not_replace_it(services, outputs_file):
    ana = begin(services, outputs_file)
    view = ana.view
    begin_run(services, ana.secret)
    wait_for_run(ana)
    tick(ana, shown="yes")
    assert ana.view == view and "Fresh is ready" in ana.said and "Fresh" in ana.listed
    assert {review.name for review in services.reviews.list()} == {"Fruit", "Fresh"}


def test_stopped_run_is_no_review(services):
    ana = begin_run(services, items=0)
    assert not tab.ask_to_stop(services, ana.secret)["interactive"]
    tab.ask_to_stop(services, "secret of Ben")
    wait_for_run(ana)
    assert not tick(ana)["running"]["visible"] and "Stopped" in ana.said
    assert services.reviews.list() == [] and not services.review_runs


def test_new_summaries_of_an_upload(services, tmp_path):
    file = tmp_path / "calls.csv"
    rows = [f"{n},Ana: Is it {n} o'clock?\\nBen: Yes.,Ben tells Ana the time." for n in range(4)]
    file.write_text("\n".join(["nr,talk,gist", *rows]), encoding="utf-8")
    chosen = {"dialogue": "talk", "summary": "gist", "id": "nr"}
    ana = begin_run(services, source=UPLOAD, file=str(file), items=2, name="", **chosen)
    wait_for_run(ana)
    tick(ana)
    assert only_review(services).name == "Review of calls.csv" and only_review(services).items <= 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": MODELS[:1]}, "A review has 2 to 4 systems, not 1"),
        ({"source": UPLOAD}, "No file is uploaded"),
        ({"name": "x" * 81}, "1 to 80"),
        ({"reviewer": "x" * 61}, "61 characters"),
        ({"items": -1}, "number of items is -1"),
        ({"verdicts": 2_000}, "1 to 1000"),
        ({"source": "other"}, "No evaluation is chosen"),
    ],
)
def test_invalid_run_is_refused_before_it_starts(services, changes, said):
    assert said in begin_run(services, **changes).said
    assert services.evaluations.run is None and not services.review_runs


def test_failed_run_shows_the_reason(services, tmp_path):
    assert "is already running" in [begin_run(services, items=0), begin_run(services, "secret of Ben")][1].said
    ana = Browser(services, "secret of Ana")
    wait_for_run(ana)
    file = tmp_path / "calls.csv"
    file.write_text("dialogue,summary\n,Nothing.\n", encoding="utf-8")
    ben = begin_run(services, "secret of Ben", source=UPLOAD, file=str(file))
    wait_for_run(ben)
    tick(ben)
    assert "calls.csv" in ben.said and 'role="alert"' in ben.said and str(tmp_path) not in ben.said


def test_notice_about_the_storage(services, tmp_path):
    assert storage_notice(services.settings, None) == ""
    space = replace(services.settings, space="someone/dsum", data_dir=Path("/no such folder"))
    assert "lost when it restarts" in storage_notice(space, None)
    backup = ReviewBackup(services.reviews, "someone/reviews", every=3)
    assert "after every 3 verdicts" in storage_notice(space, backup)
    backup.problem = "401"
    assert "failed, and is retried" in storage_notice(space, backup)
    assert "failed, and is retried" in storage_notice(services.settings, backup)
    assert "someone/reviews" not in storage_notice(space, backup)
