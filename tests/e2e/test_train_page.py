"""The Train tab in a real browser, with real training of the shipped weights."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

PATIENCE = 120_000  # milliseconds; a child imports torch first, and machines are shared


def train_tab(page: Page) -> None:
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#train-start")).to_be_visible()


def fill(page: Page, field: str, value: str) -> None:
    page.locator(f"#{field} input, #{field} textarea").first.fill(value)
    page.keyboard.press("Tab")


CURVE = "#loss-curve .scatterlayer .trace path.js-line"
POINTS = f"(document.querySelector('{CURVE}')?.getAttribute('d') || '').split(/[ML]/).length"


def steps_drawn(page: Page) -> int:
    """Return the number of points of the training curve, from the path that plotly drew."""
    return page.evaluate(POINTS)


def wait_for_more(page: Page, before: int) -> None:
    page.wait_for_function(f"(before) => {POINTS} > before", arg=before, timeout=PATIENCE)


def wait_for_summaries(page: Page) -> None:
    """The speed is shown before generation ends; the Compare button returns afterwards."""
    expect(page.locator("#card-adapter footer")).to_contain_text("tokens/s", timeout=PATIENCE)
    expect(page.locator("#start")).to_have_text("Compare", timeout=PATIENCE)


def test_run_is_started_followed_over_a_reload_stopped_and_compared(new_page, reload_midway):
    page = new_page()
    train_tab(page)
    expect(page.locator("#run-card")).to_contain_text("Start training")
    # The smoke preset with more steps, so that the run does not end before it is stopped.
    fill(page, "train-name", "watched")
    page.locator("#train-settings button").first.click()
    fill(page, "field-max_steps", "400")
    fill(page, "field-evaluations", "80")
    page.wait_for_timeout(500)
    page.locator("#train-start").click()
    expect(page.locator("#cost")).to_contain_text("Trained parameters", timeout=PATIENCE)
    expect(page.locator("#command")).to_contain_text("dsum train --base dsum-t5-base --method lora")
    expect(page.locator("#run-card h3")).to_have_text("watched", timeout=PATIENCE)

    page.wait_for_selector(CURVE, timeout=PATIENCE)
    before = steps_drawn(page)
    wait_for_more(page, before)
    expect(page.locator("#learning tbody tr").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#learning tfoot").first).to_contain_text("Human")

    reload_midway(page)
    page.wait_for_selector("#start")
    # Compare can be used during training.
    page.locator("#start").click()
    wait_for_summaries(page)
    train_tab(page)
    expect(page.locator("#run-card h3")).to_have_text("watched")
    wait_for_more(page, before)
    expect(page.locator("#train-name input, #train-name textarea").first).to_have_value("watched")

    # A second run is queued and then removed from the queue.
    fill(page, "train-name", "waiting")
    page.wait_for_timeout(500)
    page.locator("#train-start").click()
    expect(page.locator("#line li")).to_have_count(2, timeout=PATIENCE)
    page.locator('#line [data-remove="waiting"]').click()
    expect(page.locator("#line li")).to_have_count(0)

    page.locator('#history [data-show="watched"]').click()
    page.locator("#run-keep").click()
    expect(page.locator("#run-card")).to_contain_text("the best weights were kept", timeout=PATIENCE)
    expect(page.locator("#run-resume")).to_be_visible()
    page.locator("#run-open").click()
    expect(page.locator("#choose-adapter input")).to_have_value("watched")
    expect(page.locator("#card-adapter")).to_contain_text("watched")
    page.locator("#start").click()
    wait_for_summaries(page)

    page.get_by_role("tab", name="Train").click()
    with page.expect_download() as download:
        page.locator("#run-zip").click()
    assert download.value.suggested_filename == "watched.zip"
    expect(page.locator("#run-code")).to_contain_text("that loads this model")
    page.locator("#run-export").click()
    expect(page.locator("#snippet-model input")).to_have_value("watched")
    expect(page.locator("#snippet")).to_contain_text("watched/best")
    page.get_by_role("tab", name="Train").click()
    page.locator("#run-delete").click()
    page.locator("#answer-yes").click()
    expect(page.locator("#run-card")).to_contain_text("Train your own model")


def test_adapter_at_strength_0_generates_the_base_models_output(new_page):
    page = new_page()
    page.get_by_label("number input for Adapter strength").fill("0")
    page.keyboard.press("Tab")
    page.wait_for_timeout(500)
    page.locator("#start").click()
    wait_for_summaries(page)
    expect(page.locator("#card-adapter .trained")).to_contain_text("strength 0 (same as the original)")
    original = page.locator("#card-base .text").inner_text()
    assert original and page.locator("#card-adapter .text").inner_text() == original
    expect(page.locator("#strength-full")).to_be_hidden()


def test_invalid_value_shows_an_error_and_survives_a_reload(new_page, reload_midway):
    page = new_page()
    train_tab(page)
    fill(page, "field-r", "0")
    page.wait_for_timeout(500)
    page.locator("#train-start").click()
    expect(page.locator("#train-problem")).to_contain_text("give a whole number from 1 to 512")
    expect(page.locator("#train-start")).to_be_enabled()
    reload_midway(page)
    page.wait_for_selector("#start")
    train_tab(page)
    expect(page.locator("#field-r input")).to_have_value("0")
    page.locator("#train-method input").click()
    page.get_by_role("option", name="IA3").click()
    expect(page.locator("#field-r")).to_be_hidden()
    expect(page.locator("#field-target_modules")).to_contain_text("wo")


def test_uploaded_file_is_previewed_and_its_columns_are_mapped(new_page, tmp_path):
    page = new_page()
    train_tab(page)
    file = tmp_path / "chats.csv"
    file.write_text("talk,gist\nA: hi there everyone,A greets.\nA: bye then everyone,\n")
    page.get_by_label("Upload a file").check()
    with page.expect_download() as download:
        page.locator("#train-data a", has_text="sample file").click()
    assert download.value.path().read_text().startswith("id,dialogue,summary")
    page.locator("#train-file input[type=file]").set_input_files(file)
    expect(page.locator("#train-preview")).to_contain_text("has no column dialogue")
    for role, column in (("dialogue", "talk"), ("summary", "gist")):
        page.locator(f"#column-{role} input").click()
        page.get_by_role("option", name=column).click()
        expect(page.get_by_role("option")).to_have_count(0)
    expect(page.locator("#train-preview")).to_contain_text("row 2: no summary")
    expect(page.locator("#train-preview")).to_contain_text("all fit")


@pytest.mark.parametrize(("width", "dark"), [(1400, True), (390, False)])
def test_the_train_tab_fits_the_screen(new_page, width, dark):
    page = new_page(width=width, height=844, dark=dark)
    train_tab(page)
    page.locator("#train-settings button").first.click()
    expect(page.locator("#field-seed")).to_be_visible()
    for theme in (dark, not dark):
        assert page.evaluate("document.body.classList.contains('dark')") is theme
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        assert page.evaluate("document.querySelector('#train-start').getBoundingClientRect().right") <= width
        page.locator("#theme-toggle").click()
