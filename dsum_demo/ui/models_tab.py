"""The Models tab: which models there are, whether they can be had, and if not, why. Loads nothing."""

from __future__ import annotations

from html import escape
from types import MethodType

import gradio as gr

from dsum_demo.models.estimates import Speed, estimate
from dsum_demo.models.registry import Registry, State
from dsum_demo.ui.html import millions, notice
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import QUIET
from dsum_demo.utils.path_redaction import hide_paths

HOW_TO_ADD = (
    "An adapter that PEFT saved appears here once its folder lies in `adapters/`; it has to name one of the originals "
    "as its base. Weights are read as safetensors, or weights-only; nothing that could run code is opened."
)


def build_models_tab(tab: gr.Tab, services: Services, owner: gr.BrowserState) -> None:
    """Lay the tab out; its table is made anew each time that it is opened."""
    gr.Markdown(HOW_TO_ADD)
    table = gr.HTML(elem_id="models")
    again = gr.Button("Look again", elem_id="look-again", size="sm")
    again.click(MethodType(look_again, services), owner, table, **QUIET)
    tab.select(MethodType(show_models, services), owner, table, **QUIET)


def look_again(services: Services, owner: str) -> str:
    """Read the disk again and ask the Hub again."""
    services.registry.ask_hub_again()
    services.registry.refresh()
    return show_models(services, owner)


def show_models(services: Services, owner: str) -> str:
    return models_table(services.registry.seen_by(owner), services.speed)


def models_table(registry: Registry, speed: Speed | None = None) -> str:
    rows = []
    for family in registry.families():
        rows.append(f'<tr><th colspan="5" scope="rowgroup">{escape(family.title)}</th></tr>')
        for spec in family.variants:
            availability = registry.availability(spec)
            size = f"{spec.size_bytes / 1e6:,.0f} MB" if spec.size_bytes else "–"
            cost = estimate(registry, spec, speed) if availability.state is State.DOWNLOADABLE else None
            about = availability.reason or f"{spec.note} {f'Takes {cost.text}.' if cost else ''}"
            trained = millions(spec.trained_parameters) if spec.trained_parameters else "–"
            rows.append(
                f"<tr><td>{escape(spec.title)}<br><code>{escape(spec.name)}</code></td>"
                f'<td><span class="state {availability.state}">{availability.state}</span></td>'
                f"<td>{trained}</td><td>{size}</td>"
                f"<td>{escape(about.strip())}"
                f"{f'<br>Licence: {escape(spec.licence)}' if spec.licence else ''}</td></tr>"
            )
    head = "".join(f"<th>{name}</th>" for name in ("Model", "State", "Trained parameters", "Size", "About"))
    misfits = " ".join(f"{misfit.name}: {misfit.reason}" for misfit in registry.misfits)
    if registry.settings.public:
        misfits = hide_paths(misfits, registry.settings)
    return (
        f'<div class="scroll"><table class="scores models"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{notice(misfits, 'warning')}"
    )
