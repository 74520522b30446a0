"""The Evaluate tab in a real browser, with the shipped weights."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

PATIENCE = 240_000  # milliseconds for a whole evaluation; machines are shared
SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "dialogues.jsonl"
EVIL = "<img src=x onerror=alert(1)> {{constructor}} ${1+1}"


def open_tab(page: Page) -> None:
    page.get_by_role("tab", name="Evaluate").click()
    expect(page.locator("#evaluation-new")).to_be_visible()


def view(page: Page, name: str) -> None:
    page.locator("#evaluation-views").get_by_role("tab", name=name, exact=True).click()


def open_form(page: Page) -> None:
    open_tab(page)
    page.wait_for_timeout(500)
    if not page.locator("#evaluation-form").is_visible():
        page.locator("#evaluation-new").click()
    expect(page.locator("#evaluation-start")).to_be_visible()


def evaluate(page: Page, said: str) -> None:
    """Press Evaluate and wait until the result is open."""
    page.locator("#evaluation-start").click()
    expect(page.locator("#evaluation-facts")).to_contain_text(said, timeout=PATIENCE)
    expect(page.locator("#evaluation-run")).to_be_hidden()


def chosen(page: Page) -> str:
    return page.locator("#evaluation-chooser input").input_value()


@pytest.fixture
def evaluated(shared_page) -> Page:
    """A page with six samples evaluated."""
    open_tab(shared_page)
    if "6 examples" not in shared_page.locator("#evaluation-facts").inner_text():
        open_form(shared_page)
        shared_page.locator("#evaluation-limit input").fill("6")
        shared_page.keyboard.press("Tab")
        evaluate(shared_page, "6 examples")
    return shared_page


@pytest.fixture
def many_dialogues(tmp_path) -> Path:
    """Enough dialogues that the evaluation is still running when the test stops it."""
    rows = [json.loads(line) for line in SAMPLES.read_text(encoding="utf-8").splitlines()]
    file = tmp_path / "many.jsonl"
    copies = [
        {**row, "id": f"{row['id']}_copy{n}", "dialogue": f"{row['dialogue']}\n#Person1#: Number {n}."}
        for n in range(12)
        for row in rows
    ]
    file.write_text("\n".join(map(json.dumps, copies)), encoding="utf-8")
    return file


def test_run_shows_partial_results_survives_a_reload_and_stops(new_page, many_dialogues, reload_midway):
    page = new_page()
    open_form(page)
    page.get_by_label("A file of dialogues and references").check()
    page.locator("#evaluation-file input[type=file]").set_input_files(many_dialogues)
    expect(page.locator("#evaluation-file")).to_contain_text("many")
    page.locator("#evaluation-limit input").fill("")
    page.keyboard.press("Tab")
    page.locator("#evaluation-start").click()
    expect(page.locator("#evaluation-progress")).to_contain_text("of 1,044 summaries")
    expect(page.locator("#evaluation-so-far")).to_contain_text("So far")
    expect(page.locator("#evaluation-partial .bars").first).to_be_attached()
    expect(page.locator("#evaluation-progress")).to_contain_text("left")

    reload_midway(page)
    open_tab(page)
    expect(page.locator("#evaluation-progress")).to_contain_text("many.jsonl")
    page.locator("#evaluation-stop").click()
    expect(page.locator("#evaluation-notice")).to_contain_text("of 1,044 summaries")
    expect(page.locator("#evaluation-facts")).to_contain_text("of 348 examples")
    expect(page.locator("#evaluation-warnings")).to_contain_text("Incomplete")
    assert "incomplete" in chosen(page)


def test_row_opens_its_example_and_arrow_keys_navigate(evaluated):
    page = evaluated
    view(page, "Examples")
    rows = page.locator("#example-table tr[data-example]")
    expect(rows).to_have_count(6)
    rows.nth(1).click()
    example = page.locator("#example .example")
    expect(example).to_be_visible()
    expect(example.locator(".turns p").first).to_be_visible()
    expect(example.locator(".example-cards .card")).to_have_count(3)
    expect(example.locator(".card.human li")).to_have_count(3)
    expect(example.locator("mark.shared").first).to_be_visible()
    first = example.locator("h3").first.inner_text()
    page.keyboard.press("ArrowRight")
    expect(example.locator("h3").first).not_to_have_text(first)
    page.keyboard.press("ArrowLeft")
    expect(example.locator("h3").first).to_have_text(first)
    page.locator("#evaluate-page").get_by_label("Copied from the dialogue").check()
    expect(example.locator("mark.shared")).to_have_count(0)

    page.locator("#example-table button[data-sort='words']").click()
    expect(page.locator("#example-table th[aria-sort=descending]")).to_contain_text("Words")
    words = [int(text) for text in page.locator("#example-table tbody td:nth-child(4)").all_inner_texts()]
    assert words == sorted(words, reverse=True)
    rows.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(example).to_contain_text("2 of 6")
    page.locator("#example-next").click()
    expect(example).to_contain_text("3 of 6")
    page.locator("#example-search textarea, #example-search input").fill("nothing like this stands anywhere")
    expect(page.locator("#example-table")).to_contain_text("No matching examples")
    page.locator("#example-search textarea, #example-search input").fill("")
    expect(rows).to_have_count(6)


def test_highlights_filter_the_table_and_show_a_description(evaluated):
    page = evaluated
    view(page, "Examples")
    page.locator("#example-lists").get_by_label("Biggest gain").check()
    expect(page.locator("#example-how")).to_contain_text("highest first")
    whys = page.locator("#example-table tbody td:nth-child(2)").all_inner_texts()
    gains = [float(text.split(": ")[1]) for text in whys]
    assert gains and gains == sorted(gains, reverse=True)
    page.locator("#example-lists input").first.check()
    expect(page.locator("#example-how")).to_have_text("")
    expect(page.locator("#example-table tbody tr")).to_have_count(6)


def test_every_export_downloads_and_opens(evaluated, browser):
    page = evaluated
    view(page, "Download")
    files = {}
    for name in ("csv", "json-lines", "json", "markdown", "html"):
        button = page.locator(f"#download-{name}")
        expect(button).to_be_enabled()
        with page.expect_download() as download:
            button.click()
        files[name] = download.value.path()
    assert len(list(csv.DictReader(io.StringIO(files["csv"].read_text(encoding="utf-8"))))) == 18
    assert json.loads(files["json"].read_text(encoding="utf-8"))["report"]["n"] == 6
    assert "rouge_score" in files["markdown"].read_text(encoding="utf-8")
    alone = browser.new_context(offline=True, color_scheme="dark")
    report, problems = alone.new_page(), []
    report.on("console", lambda said: said.type == "error" and problems.append(said.text))
    report.on("pageerror", lambda error: problems.append(str(error)))
    report.set_content(files["html"].read_text(encoding="utf-8"))
    expect(report.locator(".js-plotly-plot .bars").first).to_be_attached()
    report.locator("th[scope=col]", has_text="Words").click()
    words = [int(text) for text in report.locator("tr[data-example] td:nth-child(4)").all_inner_texts()]
    assert words == sorted(words)
    report.locator("tr[data-example]").first.click()
    expect(report.locator(".example-cards .card").first).to_be_visible()
    assert problems == []
    alone.close()


def test_every_view_fits_the_screen(evaluated):
    page = evaluated
    for width, dark in ((390, True), (1400, False)):
        page.set_viewport_size({"width": width, "height": 900})
        page.locator("#theme-toggle").click()
        assert page.evaluate("document.body.classList.contains('dark')") is dark
        for name in ("Scores", "Differences", "Slices", "Checks", "Examples", "Download", "Saved"):
            view(page, name)
            page.wait_for_timeout(200)
            wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wider <= 0, f"{name} is {wider} pixels wider than the screen"
            for box in page.locator("#evaluation .scroll").all():
                if box.is_visible():
                    assert box.bounding_box()["x"] + box.bounding_box()["width"] <= width, name


def test_saved_evaluation_survives_a_reload_and_is_deleted_after_confirmation(evaluated, reload_midway):
    page = evaluated
    reload_midway(page)
    open_tab(page)
    expect(page.locator("#evaluation-facts")).to_contain_text("6 examples")
    view(page, "Saved")
    name = page.locator("#saved-list tbody tr", has_text="yours").first.locator("th").inner_text()
    count = page.locator("#saved-list tbody tr").count()
    page.locator("#saved-compare").click()
    expect(page.locator("#saved-compared")).to_contain_text("Choose two")
    page.locator("#saved-delete").click()
    expect(page.locator("#saved-question")).to_contain_text(f"Delete {name}")
    page.locator("#saved-no").click()
    expect(page.locator("#saved-question")).to_be_hidden()
    expect(page.locator("#saved-list tbody tr")).to_have_count(count)
    page.locator("#saved-delete").click()
    page.locator("#saved-yes").click()
    expect(page.locator("#saved-said")).to_contain_text("Deleted")
    expect(page.locator("#saved-list tbody tr")).to_have_count(count - 1)
    expect(page.locator("#saved-list")).not_to_contain_text(f"{name}\t")


def test_recorded_outputs_are_mapped_and_unusable_rows_skipped_if_checked(shared_page, tmp_path):
    file = tmp_path / "outputs.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["dialogue", "human_summary", "base_model", "lora_model"])
        for n in range(12):
            reference = "" if n == 3 else f"Tom wants {n} apples."
            writer.writerow([f"Tom: {EVIL}\nAna: {n} apples.", reference, f"{n} apples. {EVIL}", f"Tom wants {n}."])
    page = shared_page
    page.on("dialog", lambda dialog: pytest.fail(f"the page ran a text: {dialog.message}"))
    open_form(page)
    page.get_by_label("A file of recorded outputs").check()
    page.locator("#evaluation-file input[type=file]").set_input_files(file)
    expect(page.locator("#evaluation-broken")).to_contain_text("1 row cannot be used")
    expect(page.locator("#evaluation-broken li")).to_have_attribute("value", "4")
    page.locator("#evaluation-start").click()
    expect(page.locator("#evaluation-notice")).to_contain_text("row 4")
    expect(page.locator("#evaluation-start")).to_be_visible()
    page.locator("#evaluation-skip input").check()
    evaluate(page, "11 examples")
    view(page, "Examples")
    page.locator("#example-table tr[data-example]").first.click()
    expect(page.locator("#example .turns")).to_contain_text(EVIL)
    expect(page.locator("#example .example-cards .card").first).to_contain_text(EVIL)


def test_columns_with_other_names_are_chosen_below_the_file(shared_page, tmp_path):
    file = tmp_path / "talks.csv"
    file.write_text("text,chat,gist\nAna: Six?,x,Ana asks.\nTom: No.,y,Tom refuses.\n", encoding="utf-8")
    page = shared_page
    open_form(page)
    page.get_by_label("A file of dialogues and references").check()
    page.locator("#evaluation-file input[type=file]").set_input_files(file)
    expect(page.locator("#evaluation-problem")).to_contain_text("no column summary; its columns are: text, chat, gist")
    expect(page.locator("#evaluation-problem")).to_contain_text("“chat” would fit too")
    page.locator("#evaluation-column-summary input").click()
    page.get_by_role("option", name="gist").click()
    page.keyboard.press("Escape")
    expect(page.locator("#evaluation-problem")).to_be_empty()
    page.locator("#evaluation-systems label").nth(2).click()
    page.locator("#evaluation-systems label").nth(1).click()
    evaluate(page, "2 examples")
