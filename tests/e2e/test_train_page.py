"""The Train tab in a real browser, with real training of the shipped weights."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Page, expect

from dsum_demo.models.prompts import PROMPT_TEMPLATE

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


def pairs_file(folder: Path, count: int) -> Path:
    file = folder / f"{count}-pairs.jsonl"
    prompt = PROMPT_TEMPLATE.format(dialogue="A: hi")
    rows = [{"prompt": prompt, "chosen": f"A greets {n}.", "rejected": "No."} for n in range(count)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_invalid_values_are_kept_and_a_sweep_and_preference_training_start_and_stop(new_page, reload_midway, tmp_path):
    page = new_page()
    train_tab(page)
    fill(page, "field-r", "0")
    page.locator("#train-preset input").click()
    page.keyboard.press("Tab")  # a dropdown that is left without a choice reports one all the same
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

    problem = page.locator("#train-problem")
    page.locator("#train-sweep button").first.click()
    fill(page, "sweep-steps", "1")
    page.wait_for_timeout(500)
    page.locator("#start-sweep").click()
    expect(problem).to_contain_text("sweep steps is 1; give a whole number from 2 to 1000")
    expect(page.locator("#sweep-steps input")).to_have_value("1")
    fill(page, "sweep-steps", "1000")
    page.wait_for_timeout(500)
    page.locator("#start-sweep").click()
    expect(page.locator("#run-card h3")).to_have_text("sweep-ia3-samples")
    expect(problem).to_have_text("")

    page.locator("#train-preferences button").first.click()
    file = page.locator("#preferences-file")
    for count in (12, 60):
        file.locator("input[type=file]").set_input_files(pairs_file(tmp_path, count))
        expect(file.get_by_label("Clear")).to_be_visible()
        page.locator("#start-preferences").click()
        if count == 12:
            expect(problem).to_contain_text("12-pairs.jsonl has 12 different pairs; preference training needs at least")
            expect(file).to_contain_text("12-pairs")
            file.get_by_label("Clear").click()
    # While the sweep trains; preference training itself is tested without a browser.
    expect(page.locator("#run-card")).to_contain_text("number 1 in the queue")
    expect(page.locator("#run-card")).to_contain_text("Preference training of LoRA on smollm2-135m")
    page.locator("#line [data-remove]").click()
    expect(page.locator("#line li")).to_have_count(0)
    expect(page.locator("#history tr", has_text="LoRA, DPO")).to_have_count(0)
    page.locator('#history [data-show="sweep-ia3-samples"]').click()
    page.locator("#run-keep").click()
    expect(page.locator("#run-card")).to_contain_text(
        "the learning rates that were complete are kept", timeout=PATIENCE
    )


def test_uploaded_file_is_previewed_and_its_columns_are_mapped(shared_page, reload_midway, tmp_path):
    page = shared_page
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
    page.wait_for_timeout(500)
    reload_midway(page)
    train_tab(page)
    expect(page.locator("#train-preview")).to_contain_text("row 2: no summary")
    for role, column in (("dialogue", "talk"), ("summary", "gist")):
        expect(page.locator(f"#column-{role} input")).to_have_value(column)
    expect(page.locator("#train-preview")).to_contain_text("all fit")
    page.get_by_label("The samples").check()
    expect(page.locator("#train-file")).to_be_hidden()


def test_the_train_tab_fits_the_screen(shared_page):
    page = shared_page
    train_tab(page)
    page.locator("#train-settings button").first.click()
    expect(page.locator("#field-seed")).to_be_visible()
    for width, dark in ((390, True), (1400, False)):
        page.set_viewport_size({"width": width, "height": 900})
        page.locator("#theme-toggle").click()
        assert page.evaluate("document.body.classList.contains('dark')") is dark
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        assert page.evaluate("document.querySelector('#train-start').getBoundingClientRect().right") <= width
