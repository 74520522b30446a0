"""Links to what the page shows, and the files of a comparison, in a real browser."""

from __future__ import annotations

import base64
import json
import zlib

from playwright.sync_api import Page, expect

from dsum_demo.evaluation.storage import SavedEvaluations
from dsum_demo.settings import PROJECT_ROOT
from tests.e2e.conftest import Problems

EVIL = '<img src=x onerror="window.hacked = 1">'


def packed(content: object) -> str:
    """What share.js makes of an object, or of bytes."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    deflate = zlib.compressobj(wbits=-15)
    return base64.urlsafe_b64encode(deflate.compress(data) + deflate.flush()).decode().rstrip("=")


def unpacked(link: str) -> dict:
    text = link.partition("#comparison=")[2]
    return json.loads(zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), -15))


def copied_link(page: Page) -> str:
    page.locator("[data-share=link]").click()
    expect(page.locator("#downloads .share-status")).to_have_text("Link copied.")
    return page.evaluate("navigator.clipboard.readText()")


def visit(page: Page, url: str, problems: Problems) -> None:
    """Open an address; errors of the old document, whose streams this interrupts, are ignored."""
    problems.leave(lambda: page.goto(url, wait_until="commit"))
    page.wait_for_load_state()


def test_a_copied_link_shows_the_same_comparison_in_another_browser(new_page, problems):
    page = new_page()
    link = copied_link(page)
    other, requests = new_page(), []
    other.on("request", lambda request: requests.append(request.url))
    other.locator("#dialogue textarea").fill("Ana: My own text.\nBo: Keep it.")
    expect(other.locator(".reading, .hint", has_text="2 turns")).to_be_visible()  # read, so saved before
    visit(other, link, problems)
    expect(other.locator("#warnings")).to_contain_text("Shared by link")
    for place in ("full", "adapter"):
        shown = page.locator(f"#card-{place} .text").inner_text()
        expect(other.locator(f"#card-{place} .text")).to_have_text(shown)
    dialogue = page.locator("#dialogue textarea").input_value()
    expect(other.locator("#dialogue textarea")).to_have_value(dialogue)
    expect(other.locator("#headline")).to_have_text(page.locator("#headline").inner_text())
    assert requests and not any("comparison=" in url for url in requests)
    other.locator("#undo").click()
    expect(other.locator("#dialogue textarea")).to_have_value("Ana: My own text.\nBo: Keep it.")
    other.locator("#clear").click()
    assert "#" not in other.url

    # Another link in the same tab.
    content = unpacked(link)
    content["systems"][1]["summary"] = "A summary of another link."
    other.evaluate("packed => { window.location.hash = `comparison=${packed}`; }", packed(content))
    expect(other.locator("#card-full .text")).to_have_text("A summary of another link.")


def test_texts_that_are_too_long_for_a_link_are_refused_with_the_numbers(new_page):
    page = new_page()
    expect(page.locator("#downloads a[download='comparison.json']")).to_be_visible()
    page.evaluate(
        """() => {
          const shown = dsum.shownComparison();
          shown.dialogue = Array.from({length: 9_000}, () => Math.random().toString(36)).join('');
          dsum.shownComparison = () => shown;
        }"""
    )
    page.locator("[data-share=link]").click()
    expect(page.locator("#downloads .share-status")).to_contain_text("too long for a link")
    expect(page.locator("[data-share=embed]")).to_be_hidden()  # this app is not public


def test_a_comparison_is_downloaded_as_an_image_and_as_a_page(new_page, browser, tmp_path):
    page = new_page(dark=True)
    with page.expect_download() as image:
        page.locator("[data-share=png]").click()
    assert image.value.suggested_filename == "comparison.png"
    data = image.value.path().read_bytes()
    assert data.startswith(b"\x89PNG") and len(data) > 20_000
    with page.expect_download() as file:
        page.locator("#downloads a", has_text="HTML").click()
    file.value.save_as(tmp_path / file.value.suggested_filename)
    alone = browser.new_page()
    alone.goto((tmp_path / "comparison.html").as_uri())
    expect(alone.locator(".card.full .text")).to_have_text(page.locator("#card-full .text").inner_text())
    alone.close()


def test_hostile_links_give_a_message_and_execute_nothing(new_page, app_url, problems):
    page = new_page()
    content = unpacked(copied_link(page))
    content["systems"] = [{"name": EVIL, "summary": f"Tom {EVIL}", "strength": 1}]
    evil = content | {"dialogue": f"Maya: {EVIL}\nTom: {EVIL}", "references": [EVIL]}
    refused = {
        "%25%25%25": "it is damaged or too long",
        packed(b"0" * 20_000_000): "it is damaged or too long",
        packed(content)[:60]: "it is damaged or too long",
        packed([EVIL]): "The link is",
        packed(evil | {"family": EVIL}): "There is no family",
        packed(evil | {"systems": evil["systems"] * 2}): "was chosen twice",
    }
    for number, (fragment, said) in enumerate(refused.items()):
        visit(page, f"{app_url}/?link={number}#comparison={fragment}", problems)
        expect(page.locator("#warnings .notice.error")).to_contain_text(said)
    visit(page, f"{app_url}/?link=evil#comparison={packed(evil)}", problems)
    expect(page.locator("#card-base .text")).to_have_text(f"Tom {EVIL}")
    expect(page.locator("#card-base h3")).to_have_text(EVIL)
    expect(page.locator("#chart .js-plotly-plot")).to_be_visible()
    page.locator("[data-share=png]").click()
    assert page.evaluate("window.hacked") is None


def test_links_to_an_evaluation_an_example_and_a_run(new_page, app_url, tmp_path, problems):
    saved = SavedEvaluations(tmp_path, PROJECT_ROOT / "evaluations")
    name = next(one.name for one in saved.list() if one.data == "samples")
    example = saved.open(name).examples[1]
    page = new_page()
    link = f"{app_url}/?evaluation={name}&example={example.id}"
    visit(page, link, problems)
    expect(page.locator("#example .example")).to_contain_text(example.outputs[next(iter(example.outputs))].text)
    page.locator("#example [data-link]").click()
    expect(page.locator("#example .share-status")).to_have_text("Link copied.")
    assert page.evaluate("navigator.clipboard.readText()") == link
    for query, place, said in (
        (f"evaluation={name}&example=gone", "#evaluation-notice", "has no example 'gone'"),
        ("evaluation=../../etc", "#evaluation-notice", "The link cannot be opened"),
        ("run=gone", "#run-notice", "The link cannot be opened: There is no run 'gone'"),
    ):
        visit(page, f"{app_url}/?{query}", problems)
        expect(page.locator(place)).to_contain_text(said)
