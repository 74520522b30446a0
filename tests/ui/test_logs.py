"""The app's log as JSON lines: request ids, no text of a user, also if a handler or a model fails."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from dsum_demo.ui import api
from dsum_demo.ui.app import app_options, build_demo, launch_options
from dsum_demo.ui.logs import log_as_json
from dsum_demo.ui.services import Services

SECRET = "Zwiebelkuchen"
DIALOGUE = f"Anna: Do you like {SECRET}?\nBen: Yes, I like {SECRET}."


@pytest.fixture
def stream(monkeypatch) -> Iterator[io.StringIO]:
    """The lines of the log."""
    root, package = logging.getLogger(), logging.getLogger("dsum_demo")
    before = (root.handlers, root.level, package.level)
    lines = io.StringIO()
    log_as_json().setStream(lines)
    yield lines
    logging.captureWarnings(False)
    root.handlers = before[0]
    root.setLevel(before[1])
    package.setLevel(before[2])


@pytest.fixture
def services(tiny_settings, tmp_path) -> Services:
    return Services.start(replace(tiny_settings, data_dir=tmp_path / "data"))


@pytest.fixture
def url(services) -> Iterator[str]:
    demo: gr.Blocks = build_demo(services)
    _, url, _ = demo.launch(
        prevent_thread_lock=True, quiet=True, app_kwargs=app_options(services), **launch_options()
    )  # fmt: skip
    yield url
    demo.close()


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_answer_has_a_request_id_and_a_pasted_dialogue_is_never_logged(url, services, stream, capfd, monkeypatch):
    answer = httpx.get(f"{url}healthz", headers={"X-Request-ID": "caller-1"})
    assert answer.headers["x-request-id"] == "caller-1"
    own = httpx.get(f"{url}healthz", headers={"X-Request-ID": "no spaces!"}).headers["x-request-id"]
    assert len(own) == 16 and own != httpx.get(f"{url}healthz").headers["x-request-id"]
    (line,) = [line for line in lines_of(stream) if line["request"] == "caller-1"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/healthz", 200)

    client = Client(url, verbose=False, headers={"X-Request-ID": "caller-2"})
    assert client.predict(DIALOGUE, [SECRET], api_name="/compare")["systems"][0]["phase"] == "done"

    def fail(*arguments, **options):
        raise ValueError(f"{SECRET} is broken")

    monkeypatch.setattr(services.store, "load", fail)
    with pytest.raises(AppError, match="failed unexpectedly"):
        client.predict(DIALOGUE, api_name="/summarize")
    monkeypatch.setattr(api, "run_metrics", fail)
    with pytest.raises(AppError, match=r"unexpectedly \(ValueError\).*under the request caller-2"):
        client.predict(SECRET, [SECRET], api_name="/score")
    with pytest.raises(AppError, match="There is no model"):
        client.predict(DIALOGUE, None, None, False, [SECRET] * 7, api_name="/compare")
    httpx.get(f"{url}gradio_api/file=/tmp/{SECRET}.csv")
    warnings.warn(f"first line\n{SECRET}", stacklevel=1)

    found = lines_of(stream)
    failures = [line for line in found if line.get("error") == "ValueError"]
    assert {line["logger"] for line in failures} == {"dsum_demo.comparison", "dsum_demo.ui.app"}
    assert {line["request"] for line in failures} == {"caller-2"}
    assert any("score_summary" in frame for line in failures for frame in line["traceback"])
    assert "/gradio_api/queue/join" in {line.get("path") for line in found}
    assert SECRET not in stream.getvalue()
    assert SECRET not in "".join(capfd.readouterr())
