"""Direct requests with seeded arguments to every handler of the page and every endpoint of the API.

gradio answers such requests for handlers that it calls private too. DSUM_FUZZ_CASES sets the number of requests.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest

from dsum_demo.settings import PROJECT_ROOT
from dsum_demo.ui.app import build_demo, launch_options, valid_unicode
from dsum_demo.ui.services import Services

CASES = int(os.environ.get("DSUM_FUZZ_CASES", "100"))
WRONG: list[Any] = [
    None, 5, -1, 3.7, True, "", "x", "../../etc/passwd", "/etc/passwd", "<script>alert(1)</script>", "=1+1", "\ud800",
    "A: hi\nB: there", [], ["a"], [None], [[["a"]]], {}, {"a": 1}, {"path": "/etc/passwd"}, "9" * 400, 2**70,
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, {"__type__": "update", "value": "x"}, "samples",
    "dsum-t5", "dsum-t5-full", "x" * 100_000,
]  # fmt: skip


@pytest.fixture(params=[False, True], ids=["private", "public"])
def page(request, tiny_settings, tmp_path) -> Iterator[tuple[gr.Blocks, str]]:
    settings = replace(tiny_settings, data_dir=tmp_path / "data", public=request.param)
    demo = build_demo(Services.start(settings))
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launch_options(settings.public))
    yield demo, url
    demo.close()


def argument(component: Any, rng: random.Random) -> Any:
    """Often a value that the component accepts, because gradio refuses most others before they reach a handler."""
    if rng.random() < 0.3:
        return rng.choice(WRONG)
    choices = getattr(component, "choices", None)
    if choices and rng.random() < 0.6:
        value = rng.choice(choices)[1]
        return [value] if getattr(component, "multiselect", False) else value
    value = getattr(component, "value", None)
    try:
        json.dumps(value)
    except TypeError:
        return None
    return value


def answer(client: httpx.Client, session: str) -> dict[str, Any]:
    """The last message of the session's only call."""
    with client.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as lines:
        for line in lines.iter_lines():
            if line.startswith("data:"):
                message = json.loads(line.removeprefix("data:"))
                if message["msg"] == "process_completed":
                    return message
    raise AssertionError("the call has no answer")


def test_arbitrary_arguments_give_a_result_or_an_error_and_never_a_traceback_or_a_file(page, tmp_path):
    demo, url = page
    before = sorted(Path.cwd().iterdir())
    rng = random.Random(1)
    handlers = [(number, one) for number, one in demo.fns.items() if one.fn is not None]
    rng.shuffle(handlers)  # all are called before one is called again
    with httpx.Client(base_url=url, timeout=120) as client:
        for case in range(CASES):
            number, handler = handlers[case % len(handlers)]
            arguments = [argument(component, rng) for component in handler.inputs]
            event = rng.choice([None, {"a": 1}, "x", [1], {"index": [0, 0], "value": "x"}])
            current = f"case {case}, {getattr(handler.fn, '__name__', handler.fn)}{arguments!r:.300}"
            body = {"fn_index": number, "data": arguments, "session_hash": f"s{case}", "event_data": event}
            sent = client.post(
                "gradio_api/queue/join", content=json.dumps(body), headers={"content-type": "application/json"}
            )
            assert sent.status_code == 200, f"{current}: {sent.status_code} {sent.text}"
            told = json.dumps(answer(client, f"s{case}"))
            assert "Traceback" not in told, f"{current}: {told}"
            assert "root:x:0" not in told, f"{current}: a file outside the data folder"
        assert client.get("gradio_api/info").is_success
    assert sorted(path.name for path in tmp_path.iterdir()) in ([], ["data"])
    assert sorted(Path.cwd().iterdir()) == before


@pytest.mark.parametrize("path", ["/etc/passwd", str(PROJECT_ROOT / "app.py"), "../../../etc/passwd", "//etc/passwd"])
def test_files_outside_the_uploads_cannot_be_downloaded(page, path):
    assert httpx.get(f"{page[1]}gradio_api/file={path}").status_code in (403, 404)


def test_an_error_of_a_handler_reaches_the_page(page):
    demo, url = page
    (number,) = [n for n, one in demo.fns.items() if getattr(one.fn, "__name__", "") == "summarize_dialogue"]
    call = {"fn_index": number, "data": ["A: Hi.\nB: Hi.", "gpt", 1.0, None, None, False], "session_hash": "s"}
    with httpx.Client(base_url=url) as client:
        client.post("gradio_api/queue/join", json=call)
        assert "There is no model 'gpt'" in answer(client, "s")["output"]["error"]


def test_lone_surrogates_are_replaced_and_other_texts_are_not_changed():
    assert valid_unicode({"a\ud800": ["x\udfff", "😀 né", 5, None]}) == {"a\ufffd": ["x\ufffd", "😀 né", 5, None]}
    assert valid_unicode("\ud83d\ude00") == "😀"
