"""The Review tab in a real browser, with recorded outputs: nothing is generated."""

from __future__ import annotations

import base64
import csv
import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from dsum_demo.ui.review.tab import PARTS

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "dialogues.jsonl"
SYSTEMS = ("first turn", "second summary", "last turn")


@pytest.fixture(scope="module")
def outputs_file(tmp_path_factory) -> Path:
    """Outputs of three made-up systems on five samples."""
    file = tmp_path_factory.mktemp("recorded") / "outputs.csv"
    rows = [json.loads(line) for line in SAMPLES.read_text(encoding="utf-8").splitlines()[:5]]
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "dialogue", "reference", *SYSTEMS])
        for row in rows:
            turns = row["dialogue"].split("\n")
            writer.writerow([row["id"], row["dialogue"], row["summary1"], turns[0], row["summary2"], turns[-1]])
    return file


def start_review(page: Page, file: Path, items: int = 5) -> None:
    """Start a review of the file, which reveals the systems at the end."""
    page.get_by_role("tab", name="Review").click()
    page.get_by_role("button", name="Start another review").click()
    page.get_by_label("A file of recorded outputs").click()
    page.locator("#review-file input[type=file]").set_input_files(file)
    expect(page.locator("#review-outputs")).to_contain_text("last turn")
    page.locator("#review-items input").fill(str(items))
    page.locator("#review-start").click()
    expect(page.locator(".review-item")).to_be_visible()


def answer_by_keyboard(page: Page, keys: str) -> None:
    """Rank the open item and submit; the next view is drawn when this returns."""
    section = page.locator("#review-desk section")
    serial = section.get_attribute("data-serial")
    for key in keys:
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(section).not_to_have_attribute("data-serial", serial)


def finish_by_keyboard(page: Page, keys: str) -> None:
    for _ in range(10):
        if page.locator(".review-end").count():
            return
        answer_by_keyboard(page, keys)
    raise AssertionError("the review has more items than expected")


def test_two_reviewers_judge_five_items_by_keyboard_only(new_page, outputs_file, reload_midway):
    ana = new_page()
    start_review(ana, outputs_file)
    expect(ana.locator(".progress-text").last).to_have_text("0 of 6 answered")  # one of five is repeated
    assert not any(name in ana.locator("#review-desk").inner_html() for name in SYSTEMS)
    link = ana.url.replace("__theme=light&", "")

    # A submission without ranks is answered with the rule, and nothing is lost.
    ana.keyboard.press("Enter")
    expect(ana.locator(".review-status")).to_contain_text("Rank every summary")
    ana.locator('.markable[data-source="0"]').focus()
    for key in ("ArrowRight", "Shift+ArrowRight", "i"):
        ana.keyboard.press(key)
    expect(ana.locator('[data-marks="0"]')).to_contain_text("invented")
    ana.locator('.markable[data-source="dialogue"]').focus()
    for key in ("ArrowDown", "m"):
        ana.keyboard.press(key)
    expect(ana.locator('[data-marks="dialogue"]')).to_contain_text("missing in all")
    ana.keyboard.press("c")
    ana.keyboard.type("Short.")
    ana.keyboard.press("Escape")
    answer_by_keyboard(ana, "2=13")

    # The previous verdict opens as it was submitted.
    serial = ana.locator("#review-desk section").get_attribute("data-serial")
    ana.keyboard.press("[")
    expect(ana.locator("#review-desk section")).not_to_have_attribute("data-serial", serial)
    expect(ana.locator(".review-status")).to_have_text("Ranks: A 1, B 1, C 2.")
    expect(ana.locator('[data-marks="0"]')).to_contain_text("invented")
    expect(ana.locator("#review-comment")).to_have_value("Short.")
    answer_by_keyboard(ana, "123")

    ben = new_page()
    ben.evaluate("address => history.replaceState(null, '', address)", link)
    reload_midway(ben)
    expect(ben.locator("#review-name")).to_be_visible()
    ben.locator("#review-name").focus()
    ben.keyboard.type("Ben")
    ben.keyboard.press("Enter")
    expect(ben.locator(".review-item")).to_be_visible()
    expect(ben.locator(".progress-text").last).to_have_text("0 of 6 answered")
    answer_by_keyboard(ben, "0")
    reload_midway(ben)
    expect(ben.locator(".progress-text").last).to_have_text("1 of 6 answered")

    for page in (ana, ben):
        finish_by_keyboard(page, "123")
        page.keyboard.press("Enter")
        expect(page.locator("#review-desk")).to_contain_text("Your mean rank")
        expect(page.locator("#review-desk")).to_contain_text("last turn")
    ben.keyboard.press("Enter")
    expect(ben.locator("#review-facts")).to_contain_text("2 reviewers on 5 of 5 dialogues")
    expect(ben.locator("#review-systems-chart .js-plotly-plot")).to_be_visible()
    lost = ben.locator("#review-pairs .number").filter(has_text=re.compile(r"^\d+$")).first
    lost.focus()
    ben.keyboard.press("Enter")
    shown = ben.locator("#review-results .items-shown")
    expect(shown).to_be_focused()
    expect(shown).to_contain_text(f"{lost.get_attribute('data-what')}: {lost.text_content()} verdict")
    expect(ben.locator("#review-results [data-verdict]:visible")).not_to_have_count(0)
    expect(ben.locator("#review-results section.example:visible")).to_have_count(1)
    ben.keyboard.press("Tab")
    ben.keyboard.press("Tab")
    ben.keyboard.press("Enter")
    expect(lost).to_be_focused()
    ben.get_by_role("button", name="Show all items").click()
    expect(ben.locator(".review-items > details:visible")).to_have_count(5)
    with ben.expect_download() as found:
        ben.locator('a[download="verdicts.csv"]').click()
    rows = list(csv.DictReader(Path(found.value.path()).read_text(encoding="utf-8").splitlines()))
    assert len({(row["item"], row["reviewer"], row["round"]) for row in rows}) == 12
    with ben.expect_download() as found:
        ben.get_by_role("button", name="report.html").click()
    assert found.value.suggested_filename == "report.html"
    page = Path(found.value.path()).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "2 reviewers on 5 of 5 dialogues" in page


def test_unsent_answers_survive_a_reload(new_page, outputs_file, reload_midway):
    page = new_page()
    start_review(page, outputs_file)
    page.keyboard.press("2")
    page.locator('.markable[data-source="1"]').focus()
    for key in ("ArrowRight", "u", "c"):
        page.keyboard.press(key)
    page.keyboard.type("Half done.")
    reload_midway(page)
    expect(page.locator(".review-status")).to_have_text("Your unsent answer is restored.")
    expect(page.locator('[data-card="1"] input:checked')).to_have_value("1")
    expect(page.locator('[data-marks="1"]')).to_contain_text("unclear")
    expect(page.locator("#review-comment")).to_have_value("Half done.")
    page.locator("#review-desk section").focus()
    answer_by_keyboard(page, "31")

    # The second tab of the browser opens the next item, and the sent answer is not taken for an unsent one.
    expect(page.locator("#review-comment")).to_have_value("")
    page.keyboard.press("[")
    expect(page.locator(".review-status")).to_have_text("Ranks: A 3, B 1, C 2.")
    other = new_page(context=page.context)
    other.evaluate("address => history.replaceState(null, '', address)", page.url)
    reload_midway(other)
    expect(other.locator(".review-item")).to_contain_text("1 of 6 answered")
    expect(other.locator("#review-comment")).to_have_value("")
    expect(other.locator(".review-status")).to_contain_text("Give each summary a rank")


def test_another_browser_sees_a_review_only_through_its_link(new_page, outputs_file, reload_midway):
    owner, other = new_page(), new_page()
    start_review(owner, outputs_file)
    owner.get_by_role("button", name="All reviews").click()
    expect(owner.locator("#review-list")).to_contain_text("outputs.csv")
    expect(owner.locator("#review-list").get_by_role("button", name="Results")).to_have_count(0)
    token = owner.locator('#review-list [data-do="link"]').first.get_attribute("data-token")
    other.get_by_role("tab", name="Review").click()
    expect(other.locator("#review-list")).to_have_text("No reviews yet.")
    other.evaluate("token => history.replaceState(null, '', `?review=${token}`)", token)
    reload_midway(other)
    expect(other.locator("#review-name")).to_be_visible()
    expect(other.get_by_role("button", name="See the results")).to_have_count(0)


def test_a_phone_reviews_by_touch(browser: Browser, new_page, outputs_file):
    owner = new_page()
    start_review(owner, outputs_file)
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    phone = context.new_page()
    phone.goto(owner.url)
    phone.locator('[data-do="join"]').tap()
    expect(phone.locator(".review-item")).to_be_visible()
    assert phone.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for card in range(3):
        rank = phone.locator(f'[data-card="{card}"] label').nth(card)
        assert rank.bounding_box()["width"] >= 44
        rank.tap()
    phone.locator('[data-do="submit"]').tap()
    expect(phone.locator(".progress-text").last).to_have_text("1 of 6 answered")
    context.close()


def test_review_of_new_summaries_opens_when_the_models_are_done(new_page, reload_midway):
    page = new_page(height=700)
    page.get_by_role("tab", name="Review").click()
    page.get_by_role("button", name="Start another review").click()
    page.get_by_label("New summaries of the samples").click()
    expect(page.locator("#review-models input:checked")).to_have_count(3)
    page.locator("#review-items input").fill("2")
    for number in (2, 1):
        page.locator("#review-models input").nth(number).uncheck()
    page.locator("#review-start").click()
    expect(page.locator("#review-notice")).to_contain_text("A review has 2 to 4 systems, not 1")
    expect(page.locator("#review-notice .notice")).to_be_in_viewport()
    page.locator("#review-models input").nth(1).check()
    page.locator("#review-start").click()
    expect(page.locator("#review-progress [role=progressbar]")).to_be_in_viewport()
    reload_midway(page)
    page.get_by_role("tab", name="Review").click()
    expect(page.locator("#review-desk .review-item")).to_be_visible()
    expect(page.locator("#review-progress")).to_be_hidden()


# As on a machine that takes a second to answer the page's first events.
SLOW_SECRET = """() => new Promise((done) => {
  const timer = setInterval(() => {
    if (typeof dsum === 'undefined') return;
    clearInterval(timer);
    const newOwner = dsum.newOwner;
    dsum.newOwner = (known) => new Promise((made) => setTimeout(() => made(newOwner(known)), 1000));
    done();
  }, 1);
})"""
CLICK_AT_ONCE = """name => new Promise((done) => {
  const timer = setInterval(() => {
    const buttons = [...document.querySelectorAll('[role=tab], #review-samples')];
    const button = buttons.find((one) => one.textContent.trim() === name && one.offsetParent);
    if (button) { clearInterval(timer); button.click(); done(); }
  }, 1);
})"""


def test_click_right_after_loading_starts_a_review(browser: Browser, app_url):
    context = browser.new_context()
    page = context.new_page()
    page.goto(app_url, wait_until="commit")
    page.evaluate(SLOW_SECRET)
    for name in ("Review", "Review the samples now"):
        page.evaluate(CLICK_AT_ONCE, name)
    expect(page.locator(".review-item")).to_be_visible()
    # A reload keeps the secret of the browser, and with it the review.
    page.reload()
    expect(page.locator(".review-item")).to_be_visible()
    page.get_by_role("button", name="All reviews").click()
    expect(page.locator("#review-list").get_by_role("button", name="Delete")).to_have_count(1)
    context.close()


def test_every_view_is_accessible(new_page, outputs_file, check_accessibility):
    page = new_page()
    page.get_by_role("tab", name="Review").click()
    page.get_by_role("button", name="Start another review").click()
    expect(page.locator("#review-systems")).to_be_visible()
    check_accessibility(page)
    page.get_by_role("button", name="Start another review").click()
    start_review(page, outputs_file)
    page.locator('.markable[data-source="0"]').focus()
    for key in ("ArrowRight", "i", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator(".review-marking")).to_be_visible()
    page.locator(".review-skip summary").click()
    check_accessibility(page)
    page.locator("#review-desk section").focus()
    finish_by_keyboard(page, "123")
    check_accessibility(page)
    page.locator('[data-do="reveal"]').click()
    expect(page.locator("#review-desk")).to_contain_text("Your mean rank")
    page.locator('[data-do="open"]').first.click()
    expect(page.locator(".review-revealed")).to_be_visible()
    check_accessibility(page)
    page.locator('[data-do="end"]').click()
    page.get_by_role("button", name="See the results").click()
    expect(page.locator("#review-metrics-chart .js-plotly-plot")).to_be_visible()
    page.evaluate("document.querySelectorAll('#review-results details').forEach((one) => { one.open = true; })")
    page.locator("#review-systems .number").first.click()
    check_accessibility(page)
    page.get_by_role("button", name="All reviews").click()
    expect(page.locator("#review-list table")).to_be_visible()
    check_accessibility(page)
    page.evaluate("history.replaceState(null, '', '?review=unknown')")
    page.reload()
    expect(page.locator("#review-notice")).to_contain_text("belongs to no review")
    check_accessibility(page)


class HttpReviewer:
    """A reviewer without a browser, who sends what the page sends."""

    def __init__(self, url: str, secret: str):
        self.http = httpx.Client(base_url=f"{url}/gradio_api", timeout=60)
        self.secret, self.names, self.session = secret, {}, uuid4().hex
        config = httpx.get(f"{url}/config").json()
        ids = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
        (self.event,) = (
            one for one in config["dependencies"] if any(ids.get(t[0]) == "review-desk" for t in one["targets"])
            and one["backend_fn"]
        )  # fmt: skip
        self.outputs = [ids.get(one) for one in self.event["outputs"]]
        self.view = self.said = self.facts = ""

    def do(self, action: str, **data) -> HttpReviewer:
        body = {
            "data": [self.secret, self.names], "event_data": {"do": action, **data}, "fn_index": self.event["id"],
            "session_hash": self.session, "trigger_id": None,
        }  # fmt: skip
        self.http.post("/queue/join", json=body).raise_for_status()
        with self.http.stream("GET", "/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                said = json.loads(line.removeprefix("data: ") or "{}")
                if said.get("msg") == "process_completed":
                    break
        assert said["success"], said
        values = dict(zip(self.outputs, said["output"]["data"], strict=True))
        self.view = values["review-desk"] if isinstance(values["review-desk"], str) else self.view
        self.said = values["review-notice"] if isinstance(values["review-notice"], str) else ""
        self.facts = values["review-facts"] if isinstance(values["review-facts"], str) else ""
        names = said["output"]["data"][PARTS.index("names")]
        self.names = names if "__type__" not in names else self.names
        return self

    def place(self) -> dict[str, str]:
        return dict(re.findall(r'data-(token|item|round)="([^"]*)"', self.view)[:3])


def test_twenty_reviewers_vote_at_once(new_page, outputs_file, app_url):
    owner = new_page()
    owner.get_by_role("tab", name="Review").click()
    owner.get_by_role("button", name="Start another review").click()
    owner.locator("#review-verdicts input").fill("30")
    owner.get_by_role("button", name="Start another review").click()
    start_review(owner, outputs_file, items=3)
    token = owner.locator("#review-desk section").get_attribute("data-token")
    sent: dict[tuple[str, str, str], list[int]] = {}
    finished: list[HttpReviewer] = []

    def review(number: int) -> None:
        reviewer = HttpReviewer(app_url, f"secret {number}").do("join", token=token, name=f"R{number:02}")
        shuffled = random.Random(number)
        if number == 0:  # its requests are refused by the handler, not only absent from the page
            assert "The results open when" in reviewer.do("results", token=token).said and not reviewer.facts
            assert "Only the browser that started" in reviewer.do("delete", token=token).said
        while 'data-view="item"' in reviewer.view:
            place = reviewer.place()
            ranks = shuffled.sample([1, 2, 3], 3)
            sent[f"R{number:02}", place["item"], place["round"]] = ranks
            answer = {"ranks": ranks, "spans": [], "comment": "", "seconds": 9}
            reviewer.do("submit", **place, **answer)
            view = reviewer.view
            reviewer.do("submit", **place, **answer)  # as a double click
            reviewer.view = view
        reviewer.do("reveal", token=token)
        finished.append(reviewer)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(review, range(20)))
    answer_by_keyboard(owner, "123")
    answer = finished[0].do("results", token=token)
    found = re.search(r'download="verdicts.csv" href="data:text/csv;charset=utf-8;base64,([^"]+)"', answer.facts)
    assert found, (answer.said, answer.view)
    table = base64.b64decode(found[1])
    rows = [row for row in csv.DictReader(table.decode().splitlines()) if row["reviewer"].startswith("R")]
    stored = {}
    for row in rows:
        ranks = json.loads(row["ranks"])
        by_card = [ranks[names[0]] for names in json.loads(row["order"])]
        stored[row["reviewer"].split(" (")[0], row["item"], row["round"]] = by_card
    assert len(rows) == len(stored) == 20 * 4 and stored == sent  # one of three items is asked twice
