"""The page is sent compressed, browsers may keep gradio's assets, and events are not announced to all components."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from dsum_demo.ui.app import app_options, build_demo, launch_options
from dsum_demo.ui.services import Services


@pytest.fixture(scope="module")
def url(tiny_settings) -> Iterator[str]:
    services = Services.start(tiny_settings)
    demo = build_demo(services)
    _, url, _ = demo.launch(
        prevent_thread_lock=True, quiet=True, app_kwargs=app_options(services), **launch_options()
    )  # fmt: skip
    yield url.rstrip("/")
    demo.close()


@pytest.mark.parametrize("path", ["/", "/config"])
def test_the_page_is_sent_in_less_than_a_quarter_of_its_bytes_to_a_browser_that_accepts_gzip(url, path):
    packed, plain = (httpx.get(url + path, headers={"Accept-Encoding": kind}) for kind in ("gzip, br", "identity"))
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert int(packed.headers["content-length"]) < len(plain.content) / 4
    assert len(packed.content) == pytest.approx(len(plain.content), rel=0.01)  # two sessions


def test_hashed_assets_may_be_kept_and_other_answers_not(url):
    asset = re.search(r'src="\.?(/assets/[^"]+\.js)"', httpx.get(url + "/").text)[1]
    assert httpx.get(url + asset).headers["cache-control"] == "public, max-age=31536000, immutable"
    missing = httpx.get(url + "/assets/missing.js")
    assert missing.status_code == 404 and "cache-control" not in missing.headers
    assert "cache-control" not in httpx.get(url + "/config").headers


def test_no_event_of_the_page_sends_its_status_to_components(url):
    """Gradio would draw each status of each event in all components that were ever an output."""
    events = [event for event in httpx.get(url + "/config").json()["dependencies"] if event["targets"]]
    assert len(events) > 100
    assert [event["id"] for event in events if event["show_progress_on"] != [] and event["outputs"]] == []
