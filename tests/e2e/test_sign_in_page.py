"""Signing in with a Hugging Face account: gradio's flow for apps outside of a Space, with a Hub on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from dsum_demo.runs.store import Runs, RunState
from dsum_demo.ui.account import account_secret
from dsum_demo.utils.ownership import set_owner
from tests.e2e.conftest import start_app
from tests.hub.conftest import environment, hub, hub_environment, hub_server  # noqa: F401

SUBJECT, TOKEN = "11111111111111111111111", "mock-oauth-token-for-local-dev"  # gradio's


@pytest.fixture
def oauth(monkeypatch) -> dict[str, str]:
    variables = {"OAUTH_CLIENT_ID": "id", "OAUTH_CLIENT_SECRET": "secret", "SPACE_ID": "someone/dsum"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def loaded_again(page: Page) -> None:
    """The page that was drawn for the previous owner has been loaded again for the new one."""
    page.wait_for_function("performance.getEntriesByType('navigation')[0].type === 'reload'")
    page.wait_for_selector("#start")


def test_an_account_sees_its_runs_in_a_new_browser_pushes_one_and_signs_out(
    browser: Browser,
    oauth,
    hub,  # noqa: F811
    environment,  # noqa: F811
    tmp_path,
):
    run = Runs(Path(environment["DSUM_DATA_DIR"]) / "runs").create(
        {"base": "dsum-t5-base", "training": {"method": "lora", "options": {}}, "data": {"source": "samples"}}, "mine"
    )
    run.best.mkdir()
    (run.best / "adapter_config.json").write_text("{}")
    run.write_json("result.json", {"base": "dsum-t5-base", "config": run.config()})
    run.write_status(RunState.FINISHED)
    set_owner(run.folder, account_secret(SUBJECT))
    process, url = start_app(
        {**environment, **oauth, "HF_TOKEN": "hf_of_the_owner", "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    )
    try:
        page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
        page.set_default_timeout(60_000)
        page.goto(url)
        runs, history = page.get_by_role("tab", name="Train", exact=True), page.locator("#history")
        runs.click()
        expect(page.locator("#push")).to_be_hidden()
        expect(history).not_to_contain_text("mine")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("button", name="Sign out (maya)")).to_be_visible()
        loaded_again(page)
        runs.click()
        expect(history).to_contain_text("mine")
        page.locator("#history").get_by_text("mine").first.click()
        page.get_by_role("button", name="Push to the Hub").click()
        page.locator("#push-to input, #push-to textarea").fill("maya/mine")
        page.locator("#push-start").click()
        expect(page.locator("#push-result a")).to_have_text(f"{hub.url}/models/maya/mine")
        assert {request.token for request in hub.requests("create|commit", "POST")} == {f"Bearer {TOKEN}"}
        page.get_by_role("tab", name="Review", exact=True).click()
        page.get_by_role("button", name="Start another review").click()
        expect(page.get_by_label("Your name as a reviewer")).to_have_value("maya")
        page.get_by_role("button", name="Sign out (maya)").click()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        loaded_again(page)
        runs.click()
        expect(page.locator("#push")).to_be_hidden()
        expect(history).not_to_contain_text("mine")
    finally:
        process.terminate()
        process.wait(timeout=30)
