"""The running app through gradio_client: what programs can call, and what they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from dsum_demo.metrics.rouge import score_summary
from dsum_demo.settings import PROJECT_ROOT
from dsum_demo.ui.app import build_demo, launch_options, warm_up
from dsum_demo.ui.services import Services

DIALOGUE = "Maya: Are you free on Friday?\nTom: Yes, after six."


@pytest.fixture(scope="module")
def client(tiny_settings) -> Iterator[Client]:
    services = Services.start(tiny_settings)
    warm_up(services)
    assert len(services.store.loaded()) == 3
    demo = build_demo(services)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launch_options())
    yield Client(url, verbose=False)
    demo.close()


def test_compare_answers_like_the_command_line(client):
    answer = client.predict(DIALOGUE, ["Tom is free on Friday after six."], None, api_name="/compare")
    assert [system["kind"] for system in answer["systems"]] == ["base", "full", "adapter"]
    for system in answer["systems"]:
        expected = score_summary(system["summary"], ["Tom is free on Friday after six."]) if system["summary"] else {}
        assert system["rouge"] == {name: score.fmeasure for name, score in expected.items()}
    assert answer["signature"]["n"] == 1


def test_compare_without_references_has_no_scores(client):
    answer = client.predict(DIALOGUE, api_name="/compare")
    assert answer["signature"] is None and answer["systems"][0]["rouge"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("",), "no dialogue"),
        ((DIALOGUE, ["a"] * 4), "at most 3"),
        ((DIALOGUE, None, "gpt"), "no family 'gpt'"),
    ],
)
def test_mistakes_are_sentences(client, arguments, said):
    with pytest.raises(AppError, match=said):
        client.predict(*arguments, api_name="/compare")


def test_an_unreachable_family_fails_in_each_system(client):
    answer = client.predict(DIALOGUE, None, "flan-t5-base", api_name="/compare")
    assert [system["phase"] for system in answer["systems"]] == ["failed"] * 3
    assert "HF_HUB_OFFLINE" in answer["systems"][0]["error"]


def test_models_lists_all_families(client):
    rows = client.predict(api_name="/models")["models"]
    assert {row["family"] for row in rows} == {"dsum-t5", "flan-t5-small", "flan-t5-base", "flan-t5-large"}


def test_the_pages_own_listeners_are_not_part_of_the_api(client):
    described = client.view_api(return_format="dict", print_info=False)
    assert set(described["named_endpoints"]) == {"/compare", "/models"}
    assert described["unnamed_endpoints"] == {}


def test_a_wrong_setting_is_a_sentence():
    environment = {**os.environ, "DSUM_MEMORY_GB": "lots"}
    run = subprocess.run(
        [sys.executable, "app.py"], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 2
    assert run.stderr.strip() == "dsum: DSUM_MEMORY_GB is 'lots'; give a number of gigabytes, such as 6."
