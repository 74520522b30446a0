"""FLAN-T5 in the UI from a local Hub: size estimate, progress, stop, resume, and without a Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import start_app
from tests.hub.checkpoints import BASE, FULL
from tests.hub.conftest import (  # noqa: F401
    environment,
    flan_hub,
    flan_trio,
    hub,
    hub_environment,
    hub_python,
    hub_server,
)

PATIENCE = 120_000  # milliseconds; machines are shared
SYSTEMS = ("base", "full", "adapter")


@pytest.fixture
def silent_hub(hub) -> None:  # noqa: F811
    """A Hub that accepts connections and never responds. Request it before `page`, whose app checks the Hub once."""
    hub.fault("hang", "^/")


@pytest.fixture
def page(browser: Browser, environment, hub_python, tmp_path) -> Iterator[Page]:  # noqa: F811
    process, url = start_app(
        {**environment, "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}, (hub_python, "-m", "dsum_demo", "serve")
    )
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    page.locator("#dialogue textarea").fill("#Person1#: Are you free on Friday?\n#Person2#: Yes, after six.")
    yield page
    context.close()
    process.terminate()
    process.wait(timeout=30)


def choose(page: Page, family: str) -> None:
    page.locator("#family input").click()
    page.get_by_role("option", name=re.compile(family)).click()


def finished(page: Page) -> None:
    expect(page.locator("#start")).to_have_text("Compare", timeout=PATIENCE)


def test_a_download_shows_its_cost_and_progress_stops_and_resumes(flan_hub, page):  # noqa: F811
    flan_hub.remove(FULL)
    slow = flan_hub.fault("slow", "^/cdn/.*flan-t5-base/model", rate=15_000)
    choose(page, "FLAN-T5 base")
    note = page.locator("#family-note")
    expect(note).to_contain_text(
        "downloads 2.0 GB (Original 990 MB, Full fine-tune 990 MB, LoRA 14 MB)", timeout=PATIENCE
    )
    expect(note).to_contain_text(
        re.compile(r"In memory it will take about [\d.]+ [MG]B; [\d.]+ GB are free"), timeout=PATIENCE
    )

    page.locator("#start").click()
    expect(page.locator("#card-base")).to_contain_text(
        re.compile(r"Downloading flan-t5-base: \d\d+ kB of \d+ kB"), timeout=PATIENCE
    )
    assert 0 < float(page.locator("#card-base progress").get_attribute("value")) < 1
    page.locator("#stop").click()
    finished(page)
    expect(page.locator("#card-base")).to_contain_text(
        "The download of flan-t5-base was stopped; the next one resumes it."
    )

    slow.times = 0
    page.locator("#start").click()
    finished(page)
    for system in ("base", "adapter"):
        expect(page.locator(f"#card-{system} .text")).not_to_be_empty(timeout=PATIENCE)
    expect(page.locator("#card-full .failed")).to_contain_text(f"no public repository {FULL} (401)", timeout=PATIENCE)
    broken, again = flan_hub.requests(f"^/cdn/.*{BASE}/model", "GET")
    assert again.begin > 0 and broken.begin is None
    # Downloaded models are no longer announced; the refused one is.
    expect(note).to_contain_text("Full fine-tune: The Hub has no public repository", timeout=PATIENCE)
    expect(note).not_to_contain_text("downloads", timeout=PATIENCE)

    page.get_by_role("tab", name="Models").click()
    row = page.locator("#models tr", has_text="flan-t5-large-lora")
    expect(row).to_contain_text(
        re.compile(r"to download.*19 MB.*Takes about (9\.4|19) MB of memory on top", re.DOTALL), timeout=PATIENCE
    )
    # The speed is measured after the embedded family is loaded.
    timed = page.locator(
        "#models tr", has_text=re.compile(r"flan-t5-large-lora.*about [\d.]+ s per summary on this machine", re.DOTALL)
    )
    for _ in range(PATIENCE // 1000):
        if timed.count():
            return
        page.locator("#refresh-models").click()
        page.wait_for_timeout(1000)
    expect(timed).to_have_count(1)


def test_without_a_hub_the_family_is_unavailable_and_the_embedded_one_is_offered(silent_hub, page):
    choose(page, "FLAN-T5 base.*needs internet")
    note = page.locator("#family-note .warning")
    expect(note).to_contain_text("Not available here. The Hub did not answer within 1.5 s.", timeout=PATIENCE)
    expect(note).to_contain_text("The family dsum-t5 needs no network.", timeout=PATIENCE)
    choose(page, "dsum-t5")
    expect(page.locator("#family-note .warning")).to_have_count(0, timeout=PATIENCE)
    page.locator("#start").click()
    finished(page)
    for system in SYSTEMS:
        expect(page.locator(f"#card-{system} .text")).not_to_be_empty(timeout=PATIENCE)
