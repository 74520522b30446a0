"""Push to the Hub: uploads the selected run with the app's token, or on a public app with the visitor's own."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.composition import hub_probe
from dsum_demo.errors import DsumError, InputError
from dsum_demo.runs.publish import push
from dsum_demo.ui.account import can_sign_in
from dsum_demo.ui.html import notice
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import QUIET
from dsum_demo.utils.formatting import duration, size
from dsum_demo.utils.threads import run_in_thread

ABOUT = "Uploads the best weights, the model card and result.json."
OWN_TOKEN = "The token is read from HF_TOKEN or <code>hf auth login</code> where the app runs, never from this page."
ACCOUNT_TOKEN = "The upload uses your Hugging Face account: sign in at the top of the page."
PRIVATE, PUBLIC = "private", "public"
REDRAW_SECONDS = 1.0


def can_push(services: Services) -> bool:
    """False on a public app where visitors cannot sign in: its token is that of its owner."""
    return not services.settings.public or can_sign_in(services.settings)


def build_push(public: bool) -> tuple[gr.Accordion, dict[str, Any]]:
    """(the part, its components by name); hidden until a finished run is selected."""
    with gr.Accordion("Push to the Hub", open=False, visible=False, elem_id="push") as box:
        gr.HTML(f'<p class="hint">{ABOUT} {ACCOUNT_TOKEN if public else OWN_TOKEN}</p>')
        with gr.Row():
            repository = gr.Textbox(label="Repository", placeholder="owner/name", elem_id="push-to", min_width=200)
            access = gr.Radio(
                [PRIVATE, PUBLIC], value=PRIVATE, label="Visible to", elem_id="push-access", min_width=160
            )
            start = gr.Button("Push", variant="primary", elem_id="push-start", scale=0, min_width=100)
        result = gr.HTML(elem_id="push-result")
    return box, {"repository": repository, "access": access, "start": start, "result": result}


def connect_push(services: Services, made: dict[str, Any], watching: gr.Dropdown, owner: gr.BrowserState) -> None:
    """Nothing on an app where runs cannot be pushed."""
    if not can_push(services):
        return
    start, result = made["start"], made["result"]
    begun = start.click(lambda: gr.update(interactive=False, value="Pushing…"), None, start, queue=False, **QUIET)
    pushed = begun.then(
        MethodType(push_run, services),
        [watching, owner, made["repository"], made["access"]],
        result,
        concurrency_limit=1,
        **QUIET,
    )
    pushed.then(lambda: gr.update(interactive=True, value="Push"), None, start, queue=False, **QUIET)
    watching.change(lambda: "", None, result, **QUIET)


def push_run(
    services: Services,
    name: str | None,
    owner: str,
    repository: str,
    access: str,
    account: gr.OAuthToken | None = None,
) -> Iterator[str]:
    """Yield the time so far, then a link to the repository or the error. account: of the visitor."""
    repository = repository.strip()
    try:
        if services.settings.public and account is None:
            raise InputError("Sign in with your Hugging Face account to push a run.")
        token = account.token if account else None
        run = services.jobs.get(name or "", owner)
        hub, private = hub_probe(services.settings), access != PUBLIC
        uploading = run_in_thread(
            lambda stop: push(run, repository, hub, private=private, token=token), "push", REDRAW_SECONDS
        )
        weights = size(sum(file.stat().st_size for file in run.best.glob("*"))) if run.best.is_dir() else ""
        yield notice(f"Uploading {run.name} to {repository}: {weights}.")
        while True:
            try:
                seconds = next(uploading)
            except StopIteration as done:
                page = escape(str(done.value))
                yield (
                    f'<div class="notice" role="status">{escape(run.name)} is on the Hub: '
                    f'<a href="{page}" target="_blank" rel="noopener">{page}</a></div>'
                )
                return
            yield notice(f"Uploading {run.name} to {repository}: {weights}, {duration(seconds)}.")
    except DsumError as error:
        yield notice(services.told(error), "error")
