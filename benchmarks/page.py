"""Measures the browser's processor time for opening the page and for a comparison, as the app serves the page and as
gradio would do it by default (the status of each event in each of its outputs), in the same run:

    python benchmarks/page.py [--rounds 3] [--family dsum-t5]

One app serves both sides; on gradio's side the browser gets the page's events without `show_progress_on`. Each page is
opened in a new context, so that nothing is in its cache. The comparison is of the example that the page opens with.
"""

from __future__ import annotations

import argparse
import shutil
import statistics

import psutil
from load import running_app
from playwright.sync_api import Browser, Route, sync_playwright

SETTLE = 4_000  # milliseconds after which a page has finished loading
CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)


def browser_seconds() -> float:
    """The processor time of all of the browser's processes so far."""
    browser = [one for one in psutil.Process().children(recursive=True) if "chrom" in one.name().lower()]
    return sum(sum(process.cpu_times()[:2]) for process in browser)


def with_status_in_outputs(route: Route) -> None:
    response = route.fetch()
    route.fulfill(response=response, body=response.text().replace('"show_progress_on":[]', '"show_progress_on":null'))


def measure(browser: Browser, url: str, as_gradio: bool) -> tuple[float, float]:
    """Seconds of the browser's processor time for opening the page and for one comparison."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    if as_gradio:
        for path in ("", "config"):
            page.route(url + path, with_status_in_outputs)
    begun = browser_seconds()
    page.goto(url)
    page.wait_for_selector("#start")
    page.wait_for_timeout(SETTLE)
    opened = browser_seconds()
    page.locator("#start").click()
    page.wait_for_function("document.querySelector('#start').innerText.includes('Comparing')")
    page.wait_for_function("document.querySelector('#start').innerText.trim() === 'Compare'", timeout=120_000)
    page.wait_for_timeout(SETTLE // 4)
    compared = browser_seconds()
    context.close()
    return opened - begun, compared - opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--family", default="dsum-t5")
    arguments = parser.parse_args()
    measured: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with running_app(arguments.family) as app, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        measure(browser, app.url, False)  # warms up
        for _ in range(arguments.rounds):
            for as_gradio in (True, False):
                measured[as_gradio].append(measure(browser, app.url, as_gradio))
        browser.close()
    print("| browser's processor time | gradio's default | dsum | ratio |\n|---|---|---|---|")
    for place, name in enumerate(("opening the page", "a comparison")):
        plain, ours = (statistics.median(one[place] for one in measured[side]) for side in (True, False))
        print(f"| {name} | {plain:.2f} s | {ours:.2f} s | {ours / plain:.2f} |")


if __name__ == "__main__":
    main()
