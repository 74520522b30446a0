"""The Review tab in a real browser, with recorded outputs: nothing is generated."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

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


def start_review(page: Page, file: Path) -> None:
    """Start a review of the file, which reveals the systems at the end."""
    page.get_by_role("tab", name="Review").click()
    page.get_by_role("button", name="Start another review").click()
    page.get_by_label("A file of recorded outputs").click()
    page.locator("#review-file input[type=file]").set_input_files(file)
    expect(page.locator("#review-outputs")).to_contain_text("last turn")
    page.locator("#review-items input").fill("5")
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
    ben.locator('#review-results a[href^="#item-"]').last.evaluate("link => link.click()")
    expect(ben.locator("#review-results section.example:visible")).to_have_count(1)
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
