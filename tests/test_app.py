"""The running app through gradio_client: what programs can call, and what they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from dsum_demo.metrics.scores import score_summary
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
        ((None,), "dialogue is None; it must be a text"),
        ((5,), "dialogue is 5; it must be a text"),
        ((DIALOGUE, "one text"), "references is 'one text'; it must be a list"),
        ((DIALOGUE, ["a", 5]), "references is .* it must be a list"),
        ((DIALOGUE, None, 5), "family is 5; it must be the name of a family"),
        ((DIALOGUE, None, "flan-t5-base"), "HF_HUB_OFFLINE"),
    ],
)
def test_a_call_that_cannot_be_answered_fails_with_the_reason(client, arguments, said):
    with pytest.raises(AppError, match=said):
        client.predict(*arguments, api_name="/compare")


def test_a_text_that_is_not_a_dialogue_is_summarized_with_a_warning(client):
    answer = client.predict("hello there", api_name="/compare")
    assert "does not look like a dialogue" in answer["warnings"][0]
    assert [system["phase"] for system in answer["systems"]] == ["done"] * 3
    assert client.predict(DIALOGUE, api_name="/compare")["warnings"] == []


def test_models_lists_all_families(client):
    rows = client.predict(api_name="/models")["models"]
    assert {"dsum-t5", "flan-t5-base", "smollm2-135m-instruct"} <= {row["family"] for row in rows}


def test_the_pages_own_listeners_are_not_part_of_the_api(client):
    described = client.view_api(return_format="dict", print_info=False)
    assert set(described["named_endpoints"]) == {"/compare", "/models"}
    assert described["unnamed_endpoints"] == {}


def test_the_api_describes_its_parameters_and_names_its_answer(client):
    compare = client.view_api(return_format="dict", print_info=False)["named_endpoints"]["/compare"]
    described = {one["parameter_name"]: one["python_type"]["description"] for one in compare["parameters"]}
    assert list(described) == ["dialogue", "references", "family", "as_is"] and all(described.values())
    assert [one["label"] for one in compare["returns"]] == ["comparison"]


def test_a_wrong_setting_is_a_sentence():
    environment = {**os.environ, "DSUM_MEMORY_GB": "lots"}
    run = subprocess.run(
        [sys.executable, "app.py"], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 2
    assert run.stderr.strip() == "dsum: DSUM_MEMORY_GB is 'lots'; give a number of gigabytes, such as 6."
