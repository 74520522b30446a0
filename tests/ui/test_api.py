"""The endpoints of the running app, called through gradio_client, curl and the official MCP client."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from pydantic import TypeAdapter

from dsum_demo.evaluation.background import PUBLIC_DIALOGUES
from dsum_demo.evaluation.storage import write_evaluation
from dsum_demo.metrics.scores import score_summary
from dsum_demo.settings import PROJECT_ROOT
from dsum_demo.ui import api
from dsum_demo.ui.app import build_demo, launch_options
from dsum_demo.ui.services import Services

DIALOGUE = "Maya: Are you free on Friday?\nTom: Yes, after six."
REFERENCE = "Tom is free on Friday after six."
ROW = {"dialogue": DIALOGUE, "summary": REFERENCE}
GUIDE = (PROJECT_ROOT / "docs" / "api.md").read_text(encoding="utf-8")


class CheckingClient(Client):
    """Validates every answer against the published schema of its endpoint, which must name each of its fields."""

    def submit(self, *arguments: Any, api_name: str, **options: Any) -> Any:
        job = super().submit(*arguments, api_name=api_name, **options)
        answered = job.result

        def result(*waiting: Any) -> Any:
            answer = answered(*waiting)
            for state in [*job.outputs(), answer]:
                check_answer(self, api_name, state)
            return answer

        job.result = result
        return job

    def predict(self, *arguments: Any, api_name: str, **options: Any) -> Any:
        return self.submit(*arguments, api_name=api_name, **options).result()


def check_answer(client: Client, endpoint: str, answer: Any) -> None:
    (returned,) = endpoints(client)[endpoint]["returns"]
    jsonschema.validate(answer, returned["type"])
    assert set(answer) <= set(returned["type"]["properties"])
    TypeAdapter(api.answer_type(api.ENDPOINTS[endpoint.lstrip("/")])).validate_python(answer, extra="forbid")


def served(settings) -> Iterator[Client]:
    demo = build_demo(Services.start(settings))
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launch_options())
    yield CheckingClient(url, verbose=False)
    demo.close()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def client(tiny_settings, data_dir) -> Iterator[Client]:
    yield from served(replace(tiny_settings, data_dir=data_dir))


@pytest.fixture(scope="module")
def public(tiny_settings, tmp_path_factory) -> Iterator[Client]:
    yield from served(
        replace(tiny_settings, data_dir=tmp_path_factory.mktemp("public"), public=True, max_input_chars=50_000)
    )


def endpoints(client: Client) -> dict[str, Any]:
    return client.view_api(return_format="dict", print_info=False)["named_endpoints"]


def test_only_the_documented_endpoints_can_be_called(client):
    described = client.view_api(return_format="dict", print_info=False)
    assert set(described["named_endpoints"]) == {f"/{name}" for name in api.ENDPOINTS}
    assert described["unnamed_endpoints"] == {}
    assert set(re.findall(r"^\| `(/\w+)`", GUIDE, re.MULTILINE)) == set(described["named_endpoints"])


def test_a_public_app_has_no_training_endpoints(public):
    assert set(endpoints(public)) == {
        f"/{name}" for name, function in api.ENDPOINTS.items() if function not in api.PRIVATE
    }
    for name in ("train", "run", "stop_run"):
        assert httpx.post(f"{public.src}gradio_api/call/{name}", json={"data": []}).is_error


def test_every_argument_is_typed_and_described_and_listed_in_the_guide(client):
    rows = re.findall(r"^\| `/(\w+)` \| `(\w+)` \| (.*?) ?\|$", GUIDE, re.MULTILINE)
    listed = {name: (tool, re.findall(r"\w+", arguments)) for name, tool, arguments in rows}
    for name, endpoint in endpoints(client).items():
        arguments = [one["parameter_name"] for one in endpoint["parameters"]]
        assert listed[name.lstrip("/")] == (api.ENDPOINTS[name.lstrip("/")].__name__, arguments)
        assert all(one["type"] and one["python_type"]["description"] for one in endpoint["parameters"])


def test_every_answer_has_its_fields_and_their_types(client):
    for name, endpoint in endpoints(client).items():
        (returned,) = endpoint["returns"]
        assert returned["type"]["properties"] and returned["type"]["description"], name
        assert returned["python_type"]["type"].startswith("dict(") and returned["python_type"]["description"], name
    (compared,) = endpoints(client)["/compare"]["returns"]
    assert "systems: list[dict(name: str, kind: str (base, full" in compared["python_type"]["type"]


def test_summarize_uses_the_full_fine_tune_by_default(client):
    answer = client.predict(DIALOGUE, api_name="/summarize")
    (full,) = [s for s in client.predict(DIALOGUE, api_name="/compare")["systems"] if s["kind"] == "full"]
    assert (answer["name"], answer["summary"]) == (full["name"], full["summary"])
    assert answer["seconds"] > 0 and answer["warnings"] == []


def test_summarize_with_strength_0_writes_the_text_of_the_base(client):
    base = client.predict(DIALOGUE, "dsum-t5-base", api_name="/summarize")["summary"]
    assert client.predict(DIALOGUE, "dsum-t5-lora", 0.0, api_name="/summarize")["summary"] == base
    assert client.predict(DIALOGUE, "dsum-t5-lora", api_name="/summarize")["summary"] != base


def test_compare_answers_like_the_command_line(client):
    answer = client.predict(DIALOGUE, [REFERENCE], None, api_name="/compare")
    assert [system["kind"] for system in answer["systems"]] == ["base", "full", "adapter"]
    for system in answer["systems"]:
        expected = score_summary(system["summary"], [REFERENCE]) if system["summary"] else {}
        assert system["rouge"] == {name: score.fmeasure for name, score in expected.items()}
    assert answer["signature"]["n"] == 1


def test_compare_takes_chosen_systems_in_their_order(client):
    answer = client.predict(DIALOGUE, systems=["dsum-t5-lora", "dsum-t5-base"], api_name="/compare")
    assert [system["name"] for system in answer["systems"]] == ["dsum-t5-lora", "dsum-t5-base"]


def test_compare_without_references_has_no_scores(client):
    answer = client.predict(DIALOGUE, api_name="/compare")
    assert answer["signature"] is None and answer["systems"][0]["rouge"] is None


def test_a_text_that_is_not_a_dialogue_is_summarized_with_a_warning(client):
    answer = client.predict("hello there", api_name="/compare")
    assert "does not look like a dialogue" in answer["warnings"][0]
    assert [system["phase"] for system in answer["systems"]] == ["done"] * 3


def test_score_has_precision_recall_and_f1_over_references(client):
    answer = client.predict("Tom is free.", [REFERENCE, "Tom is free."], api_name="/score")
    assert answer["scores"]["rouge1"]["precision"] == 1
    expected = score_summary("Tom is free.", [REFERENCE, "Tom is free."])["rouge1"].fmeasure
    assert answer["scores"]["rouge1"]["fmeasure"] == expected and answer["signature"]["references"] == 2


def test_check_names_what_is_not_in_the_dialogue(client):
    answer = client.predict("Tom is free on Monday.", DIALOGUE, api_name="/check")
    assert answer["not_in_dialogue"] == ["Monday"] and answer["checks"]["ungrounded"] == 1
    assert answer["checks"]["length"] is None


def test_evaluate_reports_its_progress_and_ends_with_the_report(client):
    job = client.submit([ROW, {**ROW, "dialogue": DIALOGUE.replace("Maya", "Ana")}], api_name="/evaluate")
    states = list(job)
    for state in states:
        check_answer(client, "/evaluate", state)
    assert states[0]["done"] == 0 and states[-1]["done"] == states[-1]["total"] == 6
    assert "report" not in states[0] and states[-1]["report"]["n"] == 2
    assert [one["name"] for one in states[-1]["report"]["systems"]] == ["dsum-t5-base", "dsum-t5-full", "dsum-t5-lora"]
    assert {row["id"] for row in states[-1]["examples"]} == {"row 1", "row 2"}


def test_evaluate_takes_chosen_systems_and_a_sample(client):
    *_, last = client.submit(None, "samples", ["dsum-t5-lora"], 2, "best", 5, api_name="/evaluate")
    assert [system["name"] for system in last["report"]["systems"]] == ["dsum-t5-lora"]
    assert last["report"]["n"] == 2 and last["report"]["signature"]["policy"] == "best"


def test_evaluate_is_limited_on_a_public_app(public):
    rows = [{**ROW, "dialogue": f"{DIALOGUE}\nMaya: At {n}."} for n in range(PUBLIC_DIALOGUES + 5)]
    *_, last = public.submit(rows, None, ["dsum-t5-base"], api_name="/evaluate")
    assert last["report"]["n"] == PUBLIC_DIALOGUES


@pytest.mark.parametrize("call", [("/summarize",), ("/compare",), ("/score", ["a"]), ("/check",)])
def test_a_text_above_the_limit_of_a_public_app_is_refused(public, call):
    with pytest.raises(AppError, match=r"\d+,\d+ characters.* limit is \d+,000"):
        public.predict("Maya: Hi. " * 10_000, *call[1:], api_name=call[0])


def test_models_lists_all_families(client):
    rows = client.predict(api_name="/models")["models"]
    assert {"dsum-t5", "flan-t5-base", "smollm2-135m-instruct"} <= {row["family"] for row in rows}


def test_train_queues_a_run_that_can_be_shown_and_stopped(client):
    queued = client.predict(
        [ROW, {"dialogue": f"{DIALOGUE} Bye.", "summary": "Bye."}] * 4, None, None, None, "lora",
        ["max_steps=2", "r=4"], "by-api", api_name="/train",
    )  # fmt: skip
    assert (queued["run"], queued["state"]) == ("by-api", "queued")
    assert queued["config"]["training"]["options"]["r"] == 4
    assert Path(queued["config"]["data"]["source"]).is_file()
    assert client.predict("by-api", api_name="/run") == queued
    # It has not started, so it has no weights to keep.
    assert client.predict("by-api", api_name="/stop_run") == {"run": "by-api", "state": "deleted"}


OWNER, ANA, BEN, EVE = ("o" * 16, "a" * 16, "b" * 16, "e" * 16)
OUTPUTS = {"first system": "Tom is free on Friday.", "second system": "Maya is free on Friday."}
REVIEW_ROWS = [
    {"dialogue": f"{DIALOGUE}\nMaya: {n}.", "outputs": OUTPUTS, "references": [REFERENCE], "id": f"row {n}"}
    for n in range(3)
]


def started(client: Client, **options: Any) -> str:
    return client.predict(OWNER, REVIEW_ROWS, **options, api_name="/review_start")["review"]


def ask(client: Client, endpoint: str, review: str, secret: str, *arguments: Any, **options: Any) -> dict[str, Any]:
    return client.submit(review, secret, *arguments, **options, api_name=f"/review_{endpoint}").result()


def judge(client: Client, review: str, secret: str, name: str, most: int = 9) -> int:
    """Rank the first system first; the number of answers."""
    for done in range(most):
        task = ask(client, "next", review, secret, name)
        if task["item"] is None:
            return done
        assert not any(system in str(task) for system in OUTPUTS)
        ranks = [1 + (one["text"] != OUTPUTS["first system"]) for one in task["summaries"]]
        ask(client, "answer", review, secret, task["item"], ranks, round=task["round"], seconds=30)
    return most


def test_two_callers_judge_a_review_blind_and_its_owner_gets_the_results(public):
    review = started(public, name="Two", owner_reviews=False)
    assert judge(public, review, ANA, "Ana") == 4  # one of three items is repeated
    judge(public, review, BEN, "")
    revealed = ask(public, "reveal", review, ANA)["verdicts"]
    assert [sorted(chain(*one["systems"].values())) for one in revealed] == [sorted(OUTPUTS)] * 4
    report = ask(public, "results", review, OWNER)["report"]
    assert (report["verdicts"], report["pairs"][0]["won"], report["pairs"][0]["lost"]) == (6, 6, 0)
    assert {one["name"].split()[0].split("-")[0] for one in report["reviewers"]} == {"Ana", "reviewer"}
    assert ask(public, "results", review, ANA)["report"] == report
    texts = {name: ask(public, "results", review, OWNER, name)["text"] for name in ("markdown", "csv", "jsonl")}
    assert "first system against second system" in texts["markdown"] and texts["csv"].count("\n") == 9
    assert '"type": "verdict"' in texts["jsonl"] and review not in "".join(texts.values())
    preferences = ask(public, "results", review, OWNER, "preferences")["text"].splitlines()
    assert len(preferences) == 3 and '"chosen": "Tom is free on Friday."' in preferences[0]
    (listed,) = [one for one in public.predict(OWNER, api_name="/review_list")["reviews"] if one["review"] == review]
    assert sorted(listed["answers"].values()) == [4, 4] and listed["results_open"]
    assert ask(public, "delete", review, OWNER) == {"deleted": "Two"}


def test_a_review_and_its_verdicts_are_closed_too_early_and_without_the_token(public):
    review = started(public, share_results=True)
    first = ask(public, "next", review, ANA, "Ana")
    assert ask(public, "next", review, ANA, "Another name")["reviewer"] == first["reviewer"]
    judge(public, review, BEN, "Ben", most=1)
    refusals = [
        (("results", review, ANA), "open when you have answered"), (("results", review, BEN), "open when you have"),
        (("results", review, OWNER), "open when you have answered"), (("results", review, EVE), "open when you"),
        (("delete", review, ANA), "Only the browser that started"), (("reveal", review, ANA), "items remain"),
        (("answer", review, EVE, first["item"], [1, 2]), "was not asked"),
        (("results", "guessed", OWNER), "belongs to no review"), (("next", "", EVE), "belongs to no review"),
    ]  # fmt: skip
    for (endpoint, *arguments), said in refusals:
        with pytest.raises(AppError, match=said):
            ask(public, endpoint, *arguments)
    assert public.predict(EVE, api_name="/review_list") == {"reviews": []}
    kept = started(public, share_results=False)
    judge(public, kept, ANA, "Ana")
    ask(public, "reveal", kept, ANA)
    with pytest.raises(AppError, match="only for the browser that started it"):
        ask(public, "results", kept, ANA)
    unjudged = started(public, owner_reviews=False)
    with pytest.raises(AppError, match="cannot judge it blind"):
        ask(public, "next", unjudged, OWNER)


def test_a_review_by_api_takes_marked_errors_and_reveals_after_each_item(client):
    review = started(client, reveal="item")
    task = ask(client, "next", review, ANA)
    label, text = task["summaries"][1]["label"], task["summaries"][1]["text"]
    errors = [{"kind": "invented", "label": label, "quote": "Friday"}, {"kind": "missing", "quote": "after six"}]
    answer = ask(client, "answer", review, ANA, task["item"], [1, 1], errors=errors, comment="Same.")
    assert OUTPUTS[answer["systems"][label][0]] == text and answer["progress"] == {"answered": 1, "remaining": 2}
    with pytest.raises(AppError, match="can no longer be changed"):
        ask(client, "answer", review, ANA, task["item"], [1, 2])
    task = ask(client, "next", review, ANA)
    for given, said in (
        ({"ranks": [1]}, "give 2 whole numbers"), ({}, "Give one of: a rank"),
        ({"ranks": [1, 2], "skip": "x"}, "Give one"),
        ({"all_bad": True, "errors": [{"kind": "invented", "quote": "a"}]}, "needs the label"),
        ({"all_bad": True, "errors": [{"kind": "invented", "quote": "a", "label": "Z"}]}, "'Z'; give one of: A, B"),
        ({"all_bad": True, "errors": [{"kind": "missing", "quote": "not there"}]}, "not in the text"),
        ({"all_bad": True, "errors": [{"kind": "boring", "quote": "o", "label": "A"}]}, "kind of error is 'boring'"),
        ({"all_bad": True, "errors": [{"kind": "missing"}]}, "errors.0.quote"),
        ({"skip": "x", "round": 1}, "not asked"),
    ):  # fmt: skip
        with pytest.raises(AppError, match=said):
            ask(client, "answer", review, ANA, task["item"], **given)
    ask(client, "answer", review, ANA, task["item"], skip="I know it.")
    assert ask(client, "next", review, ANA)["progress"]["answered"] == 2


def test_a_saved_evaluation_is_reviewed_by_its_name(client, data_dir, recorded):
    write_evaluation(recorded, data_dir / "evaluations" / "mine")
    review = client.predict(OWNER, None, "mine", ["full", "lora"], 3, api_name="/review_start")
    assert (review["systems"], review["items"]) == (["full", "lora"], 3)


@pytest.mark.parametrize(
    ("endpoint", "arguments", "said"),
    [
        ("review_start", ("short", REVIEW_ROWS), "secret has 5 characters; give 16"),
        ("review_start", (OWNER,), "either rows or evaluation"),
        ("review_start", (OWNER, []), "needs 2 to 4"),
        ("review_start", (OWNER, [{"dialogue": DIALOGUE}]), "rows.0.outputs"),
        ("review_start", (OWNER, [{"dialogue": DIALOGUE, "outputs": {"a": 5, "b": "x"}}]), "rows.0.outputs.a is 5"),
        ("review_start", (OWNER, [{"dialogue": DIALOGUE, "outputs": {"a": "x"}}]), "needs 2 to 4"),
        ("review_start", (OWNER, [*REVIEW_ROWS, {**REVIEW_ROWS[0], "outputs": {"c": "x"}}]), "Row 4 has outputs of c"),
        ("review_start", (OWNER, REVIEW_ROWS, None, None, 0), "limit is 0"),
        ("review_start", (OWNER, REVIEW_ROWS, None, ["a"]), "systems chooses"),
        ("review_start", (OWNER, None, "../../etc"), "etc"),
        ("compare", ("",), "no dialogue"),
        ("compare", (DIALOGUE, ["a"] * 4), "at most 3"),
        ("compare", (DIALOGUE, None, "gpt"), "no family 'gpt'"),
        ("compare", (None,), "dialogue is None: input should be a valid string"),
        ("compare", (DIALOGUE, "one text"), "references is 'one text': input should be a valid list"),
        ("compare", (DIALOGUE, ["a", 5]), "references.1 is 5: input should be a valid string"),
        ("compare", (DIALOGUE, None, "flan-t5-base"), "HF_HUB_OFFLINE"),
        ("compare", (DIALOGUE, None, None, "yes"), "as_is is 'yes': input should be a valid boolean"),
        ("compare", (DIALOGUE, None, None, False, ["gpt"]), "no model 'gpt'"),
        ("compare", (DIALOGUE, None, None, False, ["dsum-t5-lora"] * 2), "dsum-t5-lora"),
        ("compare", (DIALOGUE, None, "dsum-t5", False, ["dsum-t5-lora"]), "either family or systems"),
        ("summarize", (5,), "dialogue is 5: input should be a valid string"),
        ("summarize", (DIALOGUE, "gpt"), "no model 'gpt'"),
        ("summarize", (DIALOGUE, "dsum-t5-lora", 9.0), "strength is 9"),
        ("summarize", (DIALOGUE, None, 1.0, 99), "num_beams is 99"),
        ("score", ("Tom is free.", []), "no reference|empty"),
        ("score", (["a"], ["b"]), "summary is .*: input should be a valid string"),
        ("check", ({}, DIALOGUE), "summary is {}"),
        ("evaluate", ([],), "rows is empty"),
        ("evaluate", ([5],), "rows.0 is 5"),
        ("evaluate", ([{"text": "a"}],), "no column summary"),
        ("evaluate", ([ROW], "samples"), "either rows or data"),
        ("evaluate", (None, "/etc/passwd"), "data is '/etc/passwd'; give one of: samples"),
        ("evaluate", (None, None, ["gpt"]), "no model 'gpt'"),
        ("evaluate", (None, None, None, 0), "limit is 0"),
        ("evaluate", (None, None, None, 1, "worst"), "policy is 'worst': input should be 'mean'"),
        ("train", (None, "/etc/passwd"), "data is '/etc/passwd'; give samples or dialogsum"),
        ("train", ([ROW], None, "dsum-t5-full"), "fine-tuned already"),
        ("train", ([ROW], None, None, "best"), "no preset 'best'"),
        ("train", ([ROW], None, None, None, "magic"), "magic"),
        ("train", ([ROW], None, None, None, "lora", ["r=x"]), "r is 'x'"),
        ("run", ("../../etc",), "no run '../../etc'"),
        ("stop_run", ("missing",), "no run 'missing'"),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_answered_fails_with_the_reason(client, endpoint, arguments, said):
    with pytest.raises(AppError, match=said):
        client.submit(*arguments, api_name=f"/{endpoint}").result()


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.+?)```", GUIDE, re.DOTALL)


def test_the_python_example_of_the_guide_runs(client):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(python_blocks()[0].replace("http://127.0.0.1:7860", client.src), "docs/api.md", "exec"), {})
    assert "3 of 3 Done" in printed.getvalue() and "dsum-t5-lora" in printed.getvalue()


def test_the_review_example_of_the_guide_runs(client):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(python_blocks()[1].replace("http://127.0.0.1:7860", client.src), "docs/api.md", "exec"), {})
    assert "model A is preferred to model B in 1 of 1 dialogues" in printed.getvalue()


def test_the_library_example_of_the_guide_runs(tiny_environment):
    code = python_blocks()[-1].replace("smollm2-135m-dialogsum-lora", "dsum-t5-lora")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=tiny_environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "LoRA" in done.stdout


def test_the_curl_example_of_the_guide_runs(client):
    script = re.search(r"```bash\n(.+?)```", GUIDE, re.DOTALL)[1].replace("http://127.0.0.1:7860/", client.src)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert "event: complete" in done.stdout and '"fmeasure"' in done.stdout, done.stdout + done.stderr


def with_mcp(client: Client, ask: Any) -> Any:
    async def session() -> Any:
        async with (
            streamable_http_client(f"{client.src}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as one,
        ):
            await one.initialize()
            return await ask(one)

    return asyncio.run(session())


def test_agents_find_every_endpoint_as_a_tool_with_described_arguments(client):
    tools = with_mcp(client, lambda session: session.list_tools()).tools
    assert {tool.name for tool in tools} == {function.__name__ for function in api.ENDPOINTS.values()}
    for tool in tools:
        assert tool.description
        assert all(one["description"] for one in tool.inputSchema["properties"].values())
    (summarize,) = [tool for tool in tools if tool.name == "summarize_dialogue"]
    assert summarize.inputSchema["required"] == ["dialogue"]


def test_an_agents_call_answers_like_the_endpoint(client):
    arguments = {"summary": "Tom is free.", "references": [REFERENCE]}
    result = with_mcp(client, lambda session: session.call_tool("score_summary", arguments))
    assert not result.isError
    assert ast.literal_eval(result.content[0].text) == client.predict(*arguments.values(), api_name="/score")


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("compare_dialogue", {"dialogue": ""}, "There is no dialogue"),
        ("compare_dialogue", {"dialogue": 5}, "not of type 'string'"),
        ("summarize_dialogue", {"dialogue": DIALOGUE, "model": "gpt"}, "no model 'gpt'"),
        ("delete_everything", {}, "Unknown tool"),
    ],
)
def test_an_agents_call_that_cannot_be_answered_is_an_error_with_the_reason(client, tool, arguments, said):
    result = with_mcp(client, lambda session: session.call_tool(tool, arguments))
    assert result.isError and said in result.content[0].text
