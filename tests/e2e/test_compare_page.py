"""The Compare tab in a real browser, with the shipped weights."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.metrics.scores import score_summary

DIALOGUE = (
    "Maya: Hi Tom, can you lend me thirty dollars until Friday?\n"
    "Tom: Sure, but why? Didn't you get paid on Monday?\n"
    "Maya: I did, but my car broke down and the repair was expensive.\n"
    "Tom: All right. I'll bring the money to the office tomorrow."
)
REFERENCE = "Maya borrows thirty dollars from Tom until Friday because her car broke down."
SYSTEMS = ("base", "full", "adapter")
PATIENCE = 60_000  # milliseconds; machines are shared


def open_references(page: Page) -> None:
    if not page.get_by_label("Reference 1").is_visible():
        page.locator("#references button").first.click()


def choose_example(page: Page, number: int) -> None:
    before = page.locator("#dialogue textarea").input_value()
    page.locator("#examples input").click()
    page.get_by_role("option").nth(number).click()
    expect(page.locator("#dialogue textarea")).not_to_have_value(before)


def paste(page: Page, dialogue: str = DIALOGUE, reference: str = "") -> None:
    page.locator("#dialogue textarea").fill(dialogue)
    open_references(page)
    for number in (1, 2, 3):
        page.get_by_label(f"Reference {number}").fill(reference if number == 1 else "")
    page.wait_for_timeout(300)


def start(page: Page) -> None:
    """Press Compare and record in the page that the comparison started: a short one may end before the next check."""
    page.evaluate(
        """() => { window.began = false;
        new MutationObserver(() => {
          if (document.querySelector('#start').innerText.includes('Comparing')) window.began = true;
        }).observe(document.querySelector('#start'), {subtree: true, childList: true, characterData: true}); }"""
    )
    page.locator("#start").click()


def wait(page: Page) -> None:
    page.wait_for_function(
        "window.began && document.querySelector('#start').innerText.trim() === 'Compare'", timeout=PATIENCE
    )


def compare(page: Page) -> None:
    start(page)
    wait(page)


def until_kept(page: Page, act: Callable[[Page], object]) -> None:
    """Do something and wait until the browser has saved the comparison that results from it.

    All that changes a comparison before it needs this too: its save may come later.
    """
    # An earlier change may not have been saved yet.
    page.evaluate("window.kept = undefined")
    page.wait_for_function(
        """() => {
          const now = localStorage.getItem('dsum-comparison');
          if (now !== window.kept) [window.kept, window.since] = [now, Date.now()];
          return Date.now() - window.since > 1000;
        }""",
        timeout=PATIENCE,
    )
    act(page)
    page.wait_for_function("localStorage.getItem('dsum-comparison') !== window.kept", timeout=PATIENCE)


def summary(page: Page, system: str) -> str:
    return page.locator(f"#card-{system} .text").inner_text()


def choose_long_sampling(page: Page) -> None:
    """Settings under which generation takes long enough to be watched and stopped."""
    page.locator("#decoding button").first.click()
    page.get_by_label("Sampling").check()
    page.get_by_label("number input for Temperature").fill("2")
    page.get_by_label("number input for Maximum length (tokens)").fill("256")
    page.keyboard.press("Tab")
    page.wait_for_timeout(500)


def test_the_page_opens_on_recorded_summaries_and_a_reload_keeps_generated_ones(new_page, reload_midway):
    page = new_page()
    expect(page.locator("#warnings")).to_contain_text("recorded on", timeout=PATIENCE)
    for system in SYSTEMS:
        expect(page.locator(f"#card-{system} .text")).not_to_be_empty()
    expect(page.locator("#headline")).to_contain_text("highest ROUGE-1")
    expect(page.locator("#examples input")).not_to_have_value("")
    page.locator("#add-system").click()
    page.locator("#choose-added-1 input").click()
    recorded = page.get_by_role("option", name=re.compile(r"^LoRA · recorded \S+ · samples$"))
    until_kept(page, lambda page: recorded.click())
    expect(page.locator("#card-added-1")).to_contain_text("not generated here")
    expect(page.locator("#chart .trace.bars")).to_have_count(4)

    paste(page, DIALOGUE, REFERENCE)
    expect(page.locator("#card-full")).to_contain_text("The summary appears here.", timeout=PATIENCE)
    expect(page.locator("#warnings")).not_to_contain_text("recorded on")
    until_kept(page, compare)
    expect(page.locator("#headline")).to_contain_text("highest ROUGE-1", timeout=PATIENCE)
    before = [summary(page, system) for system in SYSTEMS]
    expect(page.locator("#card-added-1")).to_contain_text("samples has no summary of this dialogue by LoRA")
    reload_midway(page)
    for system, text in zip(SYSTEMS, before, strict=True):
        expect(page.locator(f"#card-{system} .text")).to_have_text(text, timeout=PATIENCE)
    expect(page.locator("#card-added-1")).to_contain_text("samples has no summary of this dialogue by LoRA")
    expect(page.locator("#dialogue textarea")).to_have_value(DIALOGUE)
    expect(page.locator("#examples input")).to_have_value("", timeout=PATIENCE)


def test_three_summaries_stream_and_the_bars_have_the_heights_of_the_scores(new_page):
    page = new_page()
    paste(page, reference=REFERENCE)
    choose_long_sampling(page)
    page.evaluate(
        """() => { window.seen = [];
        new MutationObserver(() => {
          const text = document.querySelector('#card-base .text')?.innerText;
          if (text && text !== window.seen.at(-1)) window.seen.push(text);
        }).observe(document.body, {subtree: true, childList: true, characterData: true}); }"""
    )
    compare(page)
    texts = {system: summary(page, system) for system in SYSTEMS}
    assert all(texts.values())
    grown = page.evaluate("window.seen")
    assert len(grown) > 2, "the summary did not stream"
    for system in SYSTEMS:
        expect(page.locator(f"#card-{system} footer")).to_contain_text("tokens/s")
    expect(page.locator("#card-human")).to_contain_text(REFERENCE)
    expect(page.locator("#signature")).to_contain_text("rouge_score")

    page.wait_for_selector("#chart .bars .point path")
    heights = page.evaluate(
        """() => [...document.querySelectorAll('#chart .trace.bars')].map((trace) =>
        [...trace.querySelectorAll('.point path')].map((path) => path.getBBox().height))"""
    )
    expected = [
        [100 * score_summary(texts[system], [REFERENCE])[rouge].fmeasure for rouge in ROUGE_TYPES] for system in SYSTEMS
    ]
    assert [len(trace) for trace in heights] == [4, 4, 4]
    highest = max(max(row) for row in expected)
    assert highest > 0
    pixels = next(
        height / value
        for trace, row in zip(heights, expected, strict=True)
        for height, value in zip(trace, row, strict=True)
        if value == highest
    )
    for trace, row in zip(heights, expected, strict=True):
        assert trace == pytest.approx([value * pixels for value in row], abs=1.5)

    # A dropdown that is opened and left without a choice reports one all the same.
    for chooser in ("#family input", "#examples input"):
        page.locator(chooser).click()
        page.keyboard.press("Tab")
    page.wait_for_timeout(1500)
    assert {system: summary(page, system) for system in SYSTEMS} == texts


@pytest.mark.parametrize("width", [1400, 390])
def test_added_systems_are_compared_beside_the_others_and_can_be_removed(new_page, reload_midway, width):
    page = new_page(width=width, height=844)
    paste(page, reference=REFERENCE)
    page.locator("#add-system").click()
    expect(page.locator("#card-added-1")).to_contain_text("smollm2-135m-dialogsum")
    page.locator("#add-system").click()
    expect(page.locator("#card-added-2")).to_contain_text("The summary appears here.")
    page.locator("#choose-added-2 input").click()
    page.get_by_role("option", name="Summary from elsewhere").click()
    page.locator("#paste-added-2 textarea").fill(REFERENCE)
    until_kept(page, compare)
    expect(page.locator("#card-added-2 .text")).to_have_text(REFERENCE)
    expect(page.locator("#card-added-1 footer")).to_contain_text("tokens/s")
    expect(page.locator("#chart .trace.bars")).to_have_count(5)
    # The columns scroll to the side or are stacked; the page itself stays as wide as the screen.
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    tops = [page.locator(f"#card-{name}").bounding_box()["y"] for name in ("base", "added-2")]
    assert (tops[0] == tops[1]) is (width == 1400)

    until_kept(page, lambda page: page.locator("#remove-added-1").click())
    expect(page.locator("#column-added-2")).to_be_hidden()
    expect(page.locator("#card-added-1 .text")).to_have_text(REFERENCE)
    expect(page.locator("#chart .trace.bars")).to_have_count(4)
    reload_midway(page)
    expect(page.locator("#card-added-1 .text")).to_have_text(REFERENCE, timeout=PATIENCE)
    expect(page.locator("#paste-added-1 textarea")).to_have_value(REFERENCE)


def test_without_a_reference_the_page_explains_why_there_is_no_rouge(shared_page):
    page = shared_page
    paste(page)
    compare(page)
    expect(page.locator("#no-rouge")).to_contain_text("add a reference summary")
    expect(page.locator("#scores")).to_be_hidden()
    assert summary(page, "full")


def test_stop_keeps_partial_summaries_and_the_next_comparison_is_complete(new_page):
    page = new_page()
    paste(page)
    choose_long_sampling(page)
    page.locator("#start").click()
    expect(page.locator("#choose-full input")).to_be_disabled()
    page.wait_for_function("document.querySelector('#card-base .text')?.innerText.length > 20", timeout=PATIENCE)
    page.locator("#stop").click()
    expect(page.locator("#start")).to_have_text("Compare", timeout=PATIENCE)
    expect(page.locator("#choose-full input")).to_be_enabled()
    assert len(summary(page, "base")) > 20
    # A sampled summary may end before the stop arrives.
    cards = [page.locator(f"#card-{system}").inner_text() for system in SYSTEMS]
    stopped = next(index for index, card in enumerate(cards) if "stopped" in card.lower())
    assert all("Stopped before the first word" in card for card in cards[stopped + 1 :])
    expect(page.locator("#stop")).to_be_disabled()
    page.locator("#dialogue textarea").fill("Ana: Lunch at one?\nBo: Yes, in room 12.")
    expect(page.locator("#other-text")).to_contain_text("of another text")
    paste(page)
    expect(page.locator("#other-text")).to_be_empty()
    page.get_by_label("Greedy").check()
    compare(page)
    for system in SYSTEMS:
        expect(page.locator(f"#card-{system} footer")).not_to_contain_text("stopped")


def test_switching_the_highlighting_does_not_change_the_text(shared_page):
    page = shared_page
    paste(page, reference=REFERENCE)
    compare(page)
    before = summary(page, "full")
    expect(page.locator("#card-full mark")).to_have_count(0)
    page.get_by_label("Words shared with the reference").check()
    expect(page.locator("#legend")).to_contain_text("ROUGE-1")
    expect(page.locator("#card-full mark.shared").first).to_be_visible()
    assert summary(page, "full") == before
    page.get_by_label("Copied from the dialogue").check()
    expect(page.locator("#legend")).to_contain_text("three or more words")
    expect(page.locator("mark.shared")).to_have_count(0)
    page.get_by_label("Off").check()
    expect(page.locator("mark")).to_have_count(0)
    assert summary(page, "full") == before


def test_a_reload_during_a_comparison_keeps_typed_texts(new_page, reload_midway):
    page = new_page()
    paste(page, reference=REFERENCE)
    page.locator("#start").click()
    reload_midway(page)
    page.wait_for_selector("#start")
    expect(page.locator("#dialogue textarea")).to_have_value(DIALOGUE)
    expect(page.locator("#start")).to_have_text("Compare")
    compare(page)
    expect(page.locator("#card-human")).to_contain_text(REFERENCE)


def test_an_examples_references_are_ignored_for_a_dialogue_pasted_over_it(shared_page):
    page = shared_page
    paste(page)  # the page may show the example already
    choose_example(page, 0)
    page.locator("#dialogue textarea").fill(DIALOGUE)
    open_references(page)
    page.get_by_label("Reference 1").fill(REFERENCE)
    compare(page)
    expect(page.locator("#warnings")).to_contain_text("References 2 and 3 belong to an example")
    expect(page.locator("#card-human .text")).to_have_text(REFERENCE)


def test_a_text_over_a_megabyte_is_refused_and_a_shorter_one_is_truncated(shared_page):
    page = shared_page
    paste(page, dialogue="word " * 210_000)
    start(page)
    wait(page)
    expect(page.locator("#problem")).to_contain_text("1,050,000 characters")
    assert page.locator("#dialogue textarea").input_value() == "word " * 210_000
    paste(page, dialogue="word " * 190_000)
    compare(page)
    expect(page.locator("#warnings")).to_contain_text("was truncated")


def test_an_unusable_dialogue_gives_an_error_and_stays_in_the_box(shared_page):
    page = shared_page
    for text in ("   \n ", "!!! ???"):
        paste(page)
        compare(page)
        expect(page.locator("#problem")).not_to_contain_text("There is no dialogue")
        paste(page, dialogue=text)
        page.locator("#start").click()
        expect(page.locator("#problem")).to_contain_text("There is no dialogue to summarize", timeout=PATIENCE)
        expect(page.locator("#dialogue textarea")).to_have_value(text)
        expect(page.locator("#start")).to_have_text("Compare")


def test_unusual_texts_are_summarized_without_a_failure(shared_page):
    page = shared_page
    endless = "Maya: " + "endless " * 3000
    right_to_left = "مايا: هل أنت متفرغ يوم الجمعة؟\nتوم: نعم، بعد السادسة."
    emoji = "Ana 😀: 👩‍👩‍👧‍👦 tomorrow? 🎉\nBo: 👍 yes at 6"
    for text in (endless, right_to_left, emoji, "one endless line without any speaker at all " * 20):
        paste(page, dialogue=text)
        compare(page)
        for system in SYSTEMS:
            expect(page.locator(f"#card-{system}")).not_to_contain_text("Traceback")
            expect(page.locator(f"#card-{system} .failed")).to_have_count(0)
        expect(page.locator("#dialogue textarea")).to_have_value(text)


def test_a_dialogue_that_is_too_long_shows_how_many_turns_were_left_out(shared_page):
    page = shared_page
    paste(
        page,
        dialogue="\n".join(f"{name}: This is what I said in the turn before that." for name in ("Ann", "Bob") * 40),
    )
    compare(page)
    expect(page.locator("#warnings")).to_contain_text("turns were left out")


def test_choosing_an_example_over_typed_text_can_be_undone(shared_page):
    page = shared_page
    paste(page)
    expect(page.locator("#examples input")).to_have_value("")
    choose_example(page, 3)
    expect(page.locator("#examples input")).not_to_have_value("")
    page.locator("#undo").click()
    expect(page.locator("#dialogue textarea")).to_have_value(DIALOGUE)
    expect(page.locator("#examples input")).to_have_value("")
    page.locator("#undo").click()
    expect(page.locator("#dialogue textarea")).not_to_have_value(DIALOGUE)


def test_a_chat_export_is_read_on_the_page_and_can_be_used_as_it_is(shared_page):
    page = shared_page
    chat = "[18:03] Ana: Lunch at one?\n[18:04] Bo: Yes, see you there.\n[18:05] Ana: image omitted"
    paste(page, chat)
    expect(page.locator("#reading")).to_contain_text("Read as chat with times: 2 turns, 2 speakers (Ana, Bo)")
    page.locator("#reading summary").click()
    expect(page.locator("#reading pre")).to_have_text("Ana: Lunch at one?\nBo: Yes, see you there.")
    page.locator("#as-is").click()
    expect(page.locator("#reading")).to_contain_text("Used as it is")
    expect(page.locator("#dialogue textarea")).to_have_value(chat)
    page.locator("#as-is").click()
    expect(page.locator("#as-is")).to_have_text("Use the text as it is")
    paste(page, "It rained all day.")
    expect(page.locator("#reading .notice")).to_be_visible()
    expect(page.locator("#reading .notice")).to_contain_text("does not look like a dialogue")
    expect(page.locator("#as-is")).to_be_hidden()
    paste(page)
    expect(page.locator("#reading")).to_contain_text("4 turns, 2 speakers (Maya, Tom)")


def test_a_text_file_becomes_the_dialogue_and_a_binary_file_is_refused(shared_page, tmp_path):
    page = shared_page
    paste(page)
    wrong = tmp_path / "photo.txt"
    wrong.write_bytes(b"\x89PNG\0\0\0\rIHDR")
    page.locator("#drop input[type=file]").set_input_files(wrong)
    expect(page.locator("#problem")).to_contain_text("photo.txt is not a text file")
    expect(page.locator("#dialogue textarea")).to_have_value(DIALOGUE)
    right = tmp_path / "chat.txt"
    right.write_text("[12:03] Ana: Lunch?\n[12:04] Bo: Yes, at one.\n", encoding="utf-8-sig")
    page.locator("#drop input[type=file]").set_input_files(right)
    expect(page.locator("#dialogue textarea")).to_have_value("[12:03] Ana: Lunch?\n[12:04] Bo: Yes, at one.\n")
    page.locator("#undo").click()
    expect(page.locator("#dialogue textarea")).to_have_value(DIALOGUE)


def test_copy_and_downloads_contain_the_summaries_on_the_page(shared_page):
    page = shared_page
    paste(page, reference=REFERENCE)
    compare(page)
    page.locator("#card-full .copy").click()
    expect(page.locator("#card-full .copy")).to_have_text("Copied")
    text = summary(page, "full")
    assert page.evaluate("navigator.clipboard.readText()") == text
    files = {}
    for label in ("JSON", "CSV", "Markdown"):
        with page.expect_download() as download:
            page.locator("#downloads a", has_text=label).click()
        files[label] = download.value.path().read_text(encoding="utf-8")
    systems = json.loads(files["JSON"])["systems"]
    assert [system["summary"] for system in systems] == [summary(page, system) for system in SYSTEMS]
    assert next(csv.DictReader(io.StringIO(files["CSV"])))["name"] == systems[0]["name"]
    assert text in files["Markdown"] and "rouge_score" in files["Markdown"]


def test_two_tabs_at_the_same_time_get_their_own_summaries(new_page):
    first = new_page()
    paste(first)
    second = new_page(context=first.context)
    paste(second, dialogue="Ana: The train leaves at 7:40.\nBo: Then I'll wake you at six.")
    start(first)
    start(second)
    for page in (first, second):
        wait(page)
        assert all(summary(page, system) for system in SYSTEMS)
    expect(first.locator("#dialogue textarea")).to_have_value(DIALOGUE)


def test_the_page_stays_usable_after_an_invalid_value(new_page, allow_errors):
    page = new_page()
    paste(page)
    page.locator("#decoding button").first.click()
    page.get_by_label("Sampling").check()
    page.get_by_label("Seed").fill("-1")
    page.keyboard.press("Tab")
    start(page)
    wait(page)
    page.get_by_label("Seed").fill("1")
    page.keyboard.press("Tab")
    compare(page)
    assert summary(page, "full")


def test_shift_enter_starts_a_comparison_and_does_not_interrupt_a_running_one(new_page):
    page = new_page()
    paste(page)
    choose_long_sampling(page)
    page.locator("#dialogue textarea").press("Shift+Enter")
    page.wait_for_function("document.querySelector('#card-base .text')?.innerText.length > 20", timeout=PATIENCE)
    page.locator("#dialogue textarea").press("Shift+Enter")
    page.wait_for_timeout(500)
    expect(page.locator("#card-base footer")).not_to_contain_text("stopped")
    page.locator("#stop").click()
    expect(page.locator("#start")).to_have_text("Compare", timeout=PATIENCE)


def test_an_unavailable_family_gives_the_reason_in_each_card(shared_page):
    page = shared_page
    paste(page)
    before = page.locator("#family input").input_value()
    page.locator("#family input").click()
    page.get_by_role("option", name="FLAN-T5 base").click()
    expect(page.locator("#family-note")).to_contain_text("HF_HUB_OFFLINE")
    compare(page)
    for system in SYSTEMS:
        expect(page.locator(f"#card-{system} .failed")).to_contain_text("cannot be downloaded")
    page.locator("#family input").click()
    page.get_by_role("option", name=before, exact=True).click()
    expect(page.locator("#family-note")).not_to_contain_text("HF_HUB_OFFLINE")


DRAW_A_CARD_LATE = """document.querySelector('#start').addEventListener('click', () => {
  setTimeout(() => document.querySelector('#cards').append(''), 20);
}, {once: true})"""


def test_on_a_phone_compare_scrolls_to_the_first_card_or_to_the_error(new_page):
    page = new_page(width=390, height=844)
    for name in ("Compare", "Evaluate", "Review", "Train", "Methods", "Models"):
        expect(page.get_by_role("tab", name=name, exact=True)).to_be_in_viewport()
    paste(page, dialogue="")
    page.evaluate(DRAW_A_CARD_LATE)
    page.locator("#start").click()
    expect(page.locator("#problem")).to_contain_text("There is no dialogue")
    page.wait_for_timeout(1000)  # smooth scrolling
    expect(page.locator("#problem .notice")).to_be_in_viewport(ratio=1)
    assert page.evaluate("window.scrollY") < 844
    paste(page, reference=REFERENCE)
    compare(page)
    expect(page.locator("#card-base")).to_be_in_viewport()
    page.wait_for_selector("#chart .bars .point path")
    first, last = page.locator("#cards").bounding_box(), page.locator("#parts").bounding_box()
    assert last["y"] + last["height"] - first["y"] <= 3 * 844, "the result is longer than three screens"
    assert page.locator("#drop").bounding_box()["height"] < 60


def test_no_text_is_clipped_at_any_width_in_either_theme(shared_page):
    page = shared_page
    paste(page, reference=REFERENCE)
    compare(page)
    page.wait_for_selector("#chart .bars .point path")
    for width, dark in ((1400, True), (390, False), (390, True), (1400, False)):
        page.set_viewport_size({"width": width, "height": 900})
        if page.evaluate("document.body.classList.contains('dark')") is not dark:
            page.locator("#theme-toggle").click()
        assert page.evaluate("document.body.classList.contains('dark')") is dark
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        highlight, downloads = (page.locator(one).bounding_box() for one in ("#highlight", "#downloads"))
        beside = highlight["x"] + highlight["width"] <= downloads["x"]
        assert beside or highlight["y"] + highlight["height"] <= downloads["y"], "the downloads cover the highlighting"


def test_the_models_tab_lists_states_refreshes_and_fits_the_page_without_tall_rows(shared_page):
    page = shared_page
    page.get_by_role("tab", name="Models").click()
    table = page.locator("#models")
    expect(table.locator(".state.shipped")).to_have_count(6)
    expect(table.locator(".state.unreachable").first).to_be_visible()
    page.locator("#refresh-models").click()
    expect(table.locator(".state.shipped")).to_have_count(6)
    for width in (390, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        scroll = page.locator("#models .scroll")
        # What is outside the page without a scroll bar is clipped.
        assert scroll.evaluate("table => table.getBoundingClientRect().right") <= width
        assert scroll.evaluate("table => table.scrollWidth - table.clientWidth") <= 0
        rows = "table => Math.max(...[...table.querySelectorAll('tr')].map(row => row.offsetHeight))"
        assert scroll.evaluate(rows) < 200
    page.get_by_role("tab", name="Compare").click()


def test_an_address_with_view_api_opens_the_api_documentation(new_page, allow_errors):
    page = new_page()  # the documentation asks for an MCP server, which the app does not have
    page.goto(f"{page.url}&view=api")
    docs = page.locator(".api-docs")
    expect(docs).to_contain_text("/compare")
    expect(docs).to_contain_text("one turn per line")
