"""Runs the app (`python app.py`, offline, with the shipped weights) and a real Chromium.

Without Chromium these tests are skipped with a reason; with CI=true they fail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# The first takes less processor time: it has no window.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)

FAILED = pytest.StashKey[bool]()
# Machines are shared, so a slow response is not a failure.
expect.set_options(timeout=60_000)


COLD = (sys.executable, "-u", "app.py")


def start_app(environment: dict[str, str], command: tuple[str, ...] = COLD) -> tuple[subprocess.Popen[str], str]:
    """Start the app and return its process and its address when it is ready."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            # A full pipe would block the app.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return process, found[0]
    raise AssertionError("the app did not start:\n" + "".join(said))


@pytest.fixture(scope="session", autouse=True)
def fill_after_two_frames() -> Iterator[None]:
    """Let Locator.fill wait for two frames, as Locator.click does.

    One frame after a tab or an accordion was opened, gradio 6.31 sets its fields to their first values again.
    """
    fill, two_frames = Locator.fill, "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"

    def waiting(field: Locator, value: str, **options: Any) -> None:
        field.wait_for()
        field.page.evaluate(two_frames)
        fill(field, value, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Locator, "fill", waiting)
        yield


@pytest.fixture(scope="session")
def app_url(tmp_path_factory, forked_python) -> Iterator[str]:
    data = tmp_path_factory.mktemp("data")
    environment = {
        **os.environ, "HF_HUB_OFFLINE": "1", "DSUM_DATA_DIR": str(data), "GRADIO_TEMP_DIR": str(data / "gradio"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    # Its child processes, which train, are forked too.
    process, url = start_app(environment, (forked_python, "-m", "dsum_demo", "serve"))
    yield url
    process.terminate()
    assert process.wait(timeout=30) == 0


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI runs the browser tests, and no Chromium was found")
        pytest.skip("no Chromium found: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def allow_errors() -> None:
    """For tests that cause console errors on purpose."""


# What gradio's client reports, sometimes late, if a page is left while its streams are open.
INTERRUPTED = ("AbortError: signal is aborted", "Connection errored out")


class Problems(list[str]):
    """Console errors of the test's pages, and requests to other servers."""

    interrupted = False

    def leave(self, go: Callable[[], object]) -> None:
        """Leave a document by `go`, which returns at its end, ignoring the errors of its streams."""
        before = list(self)
        self.interrupted = True
        go()
        self[:] = before


@pytest.fixture
def problems() -> Problems:
    return Problems()


# Of each page, which a test may share with others.
PROBLEMS: dict[Page, Problems] = {}


@pytest.fixture
def reload_midway() -> Callable[[Page], None]:
    """reload_midway(page): reload while a response is streaming, ignoring console errors of the old document.

    The server drops the session before the stream is closed, which gradio's client reports on a slow machine. Errors of
    the new document are kept.
    """

    def reload(page: Page) -> None:
        PROBLEMS[page].leave(lambda: page.reload(wait_until="commit"))
        page.wait_for_load_state()

    return reload


@pytest.fixture
def check_accessibility() -> Callable[[Page], None]:
    """check_accessibility(page): axe-core finds no violation in what the page shows, light and dark, on a wide screen
    and on a phone's. The footer, which gradio draws, is left out. Contrast depends on the theme alone, all other rules
    on the width.
    """

    def check(page: Page) -> None:
        # The colors of a transition are not those that a reader sees.
        page.add_style_tag(content="*, ::before, ::after { transition: none !important; animation: none !important; }")
        before, found = page.viewport_size, []
        contrast = "color-contrast"
        for width, dark, rules in (
            (1400, True, {"runOnly": {"type": "rule", "values": [contrast]}}),
            (1400, False, {}),
            (390, False, {"rules": {contrast: {"enabled": False}}}),
        ):
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
            result = Axe().run(page, {"exclude": [["footer"]]}, rules)
            for violation in result.response["violations"]:
                found += [
                    f"{violation['id']} at {width} px{', dark' * dark}: {node['target']}: {node['failureSummary']}"
                    for node in violation["nodes"]
                ]
        page.set_viewport_size(before)
        assert found == []

    return check


def open_page(context: BrowserContext, app_url: str, problems: Problems, dark: bool = False) -> Page:
    """Open the app in a context, recording console errors and external requests in `problems`."""
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=app_url)
    page = context.new_page()
    PROBLEMS[page] = problems
    page.set_default_timeout(60_000)  # as `expect`
    page.on("console", lambda said: said.type == "error" and problems.append(f"console: {said.text}"))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("request", lambda request: _leaves(request.url, app_url) and problems.append(f"request: {request.url}"))
    page.goto(f"{app_url}/?__theme={'dark' if dark else 'light'}")
    page.wait_for_selector("#start")
    return page


def check_problems(problems: Problems, request: pytest.FixtureRequest) -> None:
    found = list(problems)
    if problems.interrupted:
        found = [problem for problem in found if not any(known in problem for known in INTERRUPTED)]
    if "allow_errors" in request.fixturenames:
        found = [problem for problem in found if problem.startswith("request")]
    assert found == []


@pytest.fixture
def new_page(browser: Browser, app_url: str, problems: Problems, request: pytest.FixtureRequest) -> Iterator:
    """new_page(width=…, dark=…): opens the app; afterwards there must be no console errors or external requests."""
    contexts: list[BrowserContext] = []

    def opened(width: int = 1400, height: int = 900, dark: bool = False, context: BrowserContext | None = None) -> Page:
        if context is None:
            context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
            contexts.append(context)
        return open_page(context, app_url, problems, dark)

    yield opened
    try:
        check_problems(problems, request)  # before closing, which interrupts streams
    finally:
        for context in contexts:
            context.close()


@pytest.fixture(scope="module")
def kept_pages() -> Iterator[list[tuple[Page, Problems]]]:
    """The page of `shared_page`, while it is open."""
    kept: list[tuple[Page, Problems]] = []
    yield kept
    for page, _ in kept:
        page.context.close()


@pytest.fixture
def shared_page(
    browser: Browser, app_url: str, kept_pages: list[tuple[Page, Problems]], request: pytest.FixtureRequest
) -> Iterator[Page]:
    """A page that the tests of a file use one after the other, 1400 pixels wide; opening one takes seconds.

    A test sets what it depends on and leaves the decoding settings and the family as they were. After a test that
    failed the next one gets a new page.
    """
    if not kept_pages:
        problems = Problems()
        context = browser.new_context(viewport={"width": 1400, "height": 900}, accept_downloads=True)
        kept_pages.append((open_page(context, app_url, problems), problems))
    page, problems = kept_pages[0]
    yield page
    if request.node.stash.get(FAILED, False) or problems:
        kept_pages.clear()
        page.context.close()
    check_problems(problems, request)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


def _leaves(url: str, app_url: str) -> bool:
    return not url.startswith((app_url, "data:", "blob:"))
