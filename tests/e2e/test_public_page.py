"""A public app with two visitors: neither sees the other's uploads and runs, in the browser or through HTTP requests.

Through HTTP every event listener of the page can be called with any values.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Page, expect

from .conftest import ROOT, start_app

PATIENCE = 180_000  # milliseconds; a child imports torch first, and machines are shared
SECRETS = ("bluebird", "clinicnotes", "Zelda", "Quentin")
NOTES = "dialogue,summary\n" + "".join(
    f"Nurse: Zelda has scan {number} on Monday.,Zelda has scan {number}; Quentin drives.\n" for number in range(16)
)
TABS = ("Compare", "Evaluate", "Review", "Train", "Methods", "Models")
HTTP_SECRET = "secret of whoever calls by HTTP"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("public")


@pytest.fixture(scope="module")
def public_url(data, forked_python) -> Iterator[str]:
    environment = {
        **os.environ, "HF_HUB_OFFLINE": "1", "DSUM_PUBLIC": "1", "DSUM_DATA_DIR": str(data / "kept"),
        "GRADIO_TEMP_DIR": str(data / "gradio"), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    process, url = start_app(environment, (forked_python, "-m", "dsum_demo", "serve"))
    yield url
    process.terminate()
    assert process.wait(timeout=30) == 0


def visit(browser: Browser, url: str) -> Page:
    """A page in a new browser context, which is another visitor."""
    page = browser.new_context(viewport={"width": 1400, "height": 900}, accept_downloads=True).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    page.wait_for_selector("#start")
    return page


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def everything(page: Page) -> str:
    """The page's complete contents: every tab, and the choices of Compare's dropdowns."""
    for name in TABS:
        open_tab(page, name)
        page.wait_for_timeout(300)
    open_tab(page, "Evaluate")
    page.locator("#evaluation-new").click()
    open_tab(page, "Compare")
    # Tabs that were opened stay in the page; the last answers arrive.
    page.wait_for_timeout(1500)
    found = [page.content()]
    for kind in ("full", "adapter"):
        page.locator(f"#choose-{kind} input").click()
        found.append(" ".join(page.get_by_role("option").all_inner_texts()))
        page.keyboard.press("Escape")
    return "\n".join(found)


def secrets_in(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def train(page: Page, folder: Path) -> str:
    """Upload the notes, train on them long enough for another visitor to look and return the run's name."""
    file = folder / "clinicnotes.csv"
    file.write_text(NOTES)
    open_tab(page, "Train")
    page.get_by_label("Upload a file").check()
    page.locator("#train-file input[type=file]").set_input_files(file)
    expect(page.locator("#train-preview")).to_contain_text("16 rows")
    page.locator("#train-name input, #train-name textarea").first.fill("bluebird")
    page.locator("#train-settings button").first.click()
    for field, value in (("max_steps", "20"), ("evaluations", "1"), ("batch_size", "2")):
        page.locator(f"#field-{field} input").first.fill(value)
        page.keyboard.press("Tab")
    page.wait_for_timeout(500)
    page.locator("#train-start").click()
    expect(page.locator("#run-card h3")).to_contain_text("bluebird-", timeout=PATIENCE)
    return page.locator("#run-card h3").inner_text()


def test_another_visitors_run_is_not_visible(browser, public_url, data, tmp_path):
    hers, other = visit(browser, public_url), visit(browser, public_url)
    name = train(hers, tmp_path)
    open_tab(other, "Train")
    expect(other.locator("#line")).to_contain_text("Another visitor’s run is training")
    assert secrets_in(everything(other)) == []
    expect(hers.locator("#run-zip")).to_be_visible(timeout=PATIENCE)
    expect(hers.locator("#learning")).to_contain_text("Zelda")

    # The owner has access to everything.
    with hers.expect_download() as download:
        hers.locator("#run-zip").click()
    address, packed = download.value.url, zipfile.ZipFile(download.value.path())
    texts = b"".join(packed.read(each) for each in packed.namelist())
    assert any(each.endswith(".safetensors") for each in packed.namelist()) and b"clinicnotes.csv" in texts
    for folder in (str(data), str(ROOT), str(Path.home())):
        assert f"{folder}/".encode() not in texts, folder
    found = everything(hers)
    assert secrets_in(found) == list(SECRETS) and found.count(name) > 5

    # The other visitor sees nothing, before and after a reload.
    for reloaded in (False, True):
        if reloaded:
            other.reload()
            other.wait_for_selector("#start")
        assert secrets_in(everything(other)) == []
        open_tab(other, "Train")
        expect(other.locator("#run-card")).to_contain_text("Train your own model")
        for button in ("zip", "open", "delete", "resume", "keep", "discard"):
            expect(other.locator(f"#run-{button}")).to_be_hidden()
    assert secrets_in(json.dumps(httpx.get(f"{public_url}/config").json())) == []
    calls_by_http(public_url, name)
    files_by_http(public_url, data, name)

    # After the owner deletes the run, its download address is also invalid.
    assert httpx.get(address).status_code == 200
    open_tab(hers, "Train")
    hers.locator("#run-delete").click()
    hers.locator("#answer-yes").click()
    expect(hers.locator("#run-card")).to_contain_text("Train your own model")
    assert httpx.get(address).status_code == 403
    other.reload()
    other.wait_for_selector("#start")
    assert secrets_in(everything(other)) == []
    assert list(data.rglob("*.zip")) == []


def files_by_http(url: str, data: Path, name: str) -> None:
    """Check that no file below the data folder is served."""
    files = [path for path in (data / "kept").rglob("*") if path.is_file()]
    assert any(path.name == f"{name}.zip" for path in files) and any("clinicnotes" in path.name for path in files)
    for path in files:
        for address in (f"{url}/gradio_api/file={path}", f"{url}/file={path}"):
            assert httpx.get(address).status_code in (403, 404), path


def calls_by_http(url: str, name: str) -> None:
    """Call every listener as another visitor, with the run's name wherever a name is expected."""
    client = Client(url, verbose=False)
    models = client.predict(api_name="/models")
    assert secrets_in(json.dumps(models)) == []
    assert not [row for row in models["models"] if str(row["source"] or "").startswith("/")]
    assert str(ROOT) not in json.dumps(models)
    assert secrets_in(json.dumps(client.predict("A: Hello.\nB: Hi.", [], None, api_name="/compare"))) == []

    config = httpx.get(f"{url}/config").json()
    parts = {part["id"]: part for part in config["components"]}
    by_id = {part["props"].get("elem_id"): number for number, part in parts.items()}
    takes_a_name = {by_id[each] for each in ("watching", "choose-full", "choose-adapter", "evaluation-systems")}
    tables = {by_id[each] for each in ("line", "history")}
    called = 0
    for dependency in config["dependencies"]:
        pressed = tables & {target for target, _ in dependency["targets"]}
        if not dependency["backend_fn"] or not (pressed or takes_a_name & set(dependency["inputs"])):
            continue
        events: list[Any] = [None]
        if pressed:
            events = [{key: name} for key in ("show", "remove", "choose")]
        for event in events:
            values = [
                _value(parts[number], name if number in takes_a_name else None) for number in dependency["inputs"]
            ]
            for given in (values, [None if value == name else value for value in values]) if pressed else (values,):
                answer = _call(url, dependency["id"], given, event)
                called += 1
                # An error may contain the name that was sent, but nothing else of the run.
                assert secrets_in(answer.replace(name, "")) == [], (dependency["id"], event, answer)
                assert ".zip" not in answer and "data-show" not in answer, (dependency["id"], event, answer)
    assert called > 20


def _value(part: dict[str, Any], name: str | None) -> Any:
    if name:
        return [name] if part["type"] == "checkboxgroup" else name
    if part["type"] == "browserstate":
        return HTTP_SECRET
    return part["props"].get("value")


def _call(url: str, number: int, values: list[Any], event: Any) -> str:
    """Return the server's complete response to one call."""
    session = f"stranger{number}{len(str(event))}"
    asked = {"data": values, "fn_index": number, "session_hash": session, "event_data": event, "trigger_id": None}
    httpx.post(f"{url}/gradio_api/queue/join", json=asked, timeout=60).raise_for_status()
    said = io.StringIO()
    with httpx.stream("GET", f"{url}/gradio_api/queue/data", params={"session_hash": session}, timeout=120) as stream:
        for line in stream.iter_lines():
            said.write(line)
            if '"process_completed"' in line or '"close_stream"' in line:
                break
    return said.getvalue()
