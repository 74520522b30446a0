"""The Models tab: all models, with their state and, if one is not available, the reason."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.errors import DsumError
from dsum_demo.models.estimates import estimate
from dsum_demo.models.registry import State
from dsum_demo.ui.assets import call
from dsum_demo.ui.compare.families import STATES
from dsum_demo.ui.html import notice
from dsum_demo.ui.judge_test import build_judge_test
from dsum_demo.ui.model_export import build_model_export, model_names
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import QUIET
from dsum_demo.ui.train.run_view import model_of
from dsum_demo.utils.formatting import millions, size

HOW_TO_ADD = (
    "To add an adapter, put the folder that PEFT saved into `adapters/` and press Refresh. Its base model must be one "
    "of the original models below. Weights are loaded from safetensors files or with `weights_only=True`: loading them "
    "runs no code."
)

TRAIN_ONE = "the catalog has none. Train one in the Train tab or with <code>dsum train</code>."


def build_models_tab(
    services: Services, tabs: gr.Tabs, tab: gr.Tab, run: Mapping[str, Any], owner: gr.BrowserState
) -> None:
    """Build `tab` of `tabs`. Its table is drawn each time that the tab is opened.

    run: the components of the Train tab's selected run, whose Export button chooses its model here.
    """
    with gr.Row():
        gr.Markdown(HOW_TO_ADD, min_width=260)
        refresh = gr.Button("Refresh", elem_id="refresh-models", size="sm", scale=0, min_width=110)
    table = gr.HTML(elem_id="models")
    model = build_model_export(tab, services, owner)
    build_judge_test(services)
    refresh.click(MethodType(refresh_models, services), owner, table, **QUIET)
    tab.select(MethodType(show_models, services), owner, table, **QUIET)
    run["export"].click(
        MethodType(open_run, services), [run["watching"], owner], [run["notice"], tabs, table, model], **QUIET
    ).success(None, None, None, js=call("scrollTo", "#export-start"), **QUIET)


def open_run(services: Services, name: str | None, owner: str) -> tuple[Any, ...]:
    """(error, selected tab, table, chooser of the model) for the export of a run; without an error they show it."""
    try:
        spec = model_of(services, name or "", owner)
    except DsumError as error:
        return notice(services.told(error), "error"), gr.skip(), gr.skip(), gr.skip()
    names = model_names(services.registry.seen_by(owner))
    # With the table, whose height decides where the export is.
    return "", gr.update(selected="models"), show_models(services, owner), gr.update(choices=names, value=spec.name)


def refresh_models(services: Services, owner: str) -> str:
    """Rescan the disk and query the Hub again."""
    services.registry.ask_hub_again()
    services.registry.refresh()
    return show_models(services, owner)


def show_models(services: Services, owner: str) -> str:
    registry, speed = services.registry.seen_by(owner), services.speed
    rows, offline = [], ""
    for family in registry.families():
        rows.append(f'<tr><th colspan="5" scope="rowgroup">{escape(family.title)}</th></tr>')
        untrained = [spec.title for spec in family.variants if spec.source is None]
        for spec in family.variants:
            if spec.source is None:
                continue
            availability = registry.availability(spec)
            weights = size(spec.size_bytes) if spec.size_bytes else "–"
            cost = estimate(registry, spec, speed) if availability.state is State.DOWNLOADABLE else None
            reason = availability.reason
            if availability.state is State.UNREACHABLE:  # the same reason for every such model: given once
                reason, offline = "", reason
            about = reason or f"{spec.note} {f'Takes {cost.text}.' if cost else ''}"
            trained = millions(spec.trained_parameters) if spec.trained_parameters else "–"
            rows.append(
                f"<tr><td>{escape(spec.title)}<br><code>{escape(spec.name)}</code></td>"
                f'<td><span class="state {availability.state}">{STATES[availability.state]}</span></td>'
                f"<td>{trained}</td><td>{weights}</td>"
                f"<td>{escape(about.strip())}"
                f"{f'<br>License: {escape(spec.licence)}' if spec.licence else ''}</td></tr>"
            )
        if untrained:
            titles = escape(" and ".join(untrained))
            rows.append(f'<tr><td colspan="5" class="hint">{titles}: {STATES[State.MISSING]}; {TRAIN_ONE}</td></tr>')
    head = "".join(f"<th>{name}</th>" for name in ("Model", "State", "Trained parameters", "Size", "About"))
    if offline:
        offline = f"{offline} Models marked “{STATES[State.UNREACHABLE]}” must be downloaded from the Hugging Face Hub."
    misfits = " ".join(f"{misfit.name}: {misfit.reason}" for misfit in registry.misfits)
    return (
        f'{notice(offline, "warning")}<div class="scroll" tabindex="0"><table class="scores models">'
        f"<thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>{notice(services.told(misfits), 'warning')}"
    )
