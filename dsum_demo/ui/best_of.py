"""The option to generate several candidates and keep the one that a judge prefers, for Compare and Evaluate."""

from __future__ import annotations

import gradio as gr

from dsum_demo.ui.services import CANDIDATES, Services


def best_of_choice(services: Services, label: str, here: str, elem_id: str) -> gr.Checkbox:
    """here: a sentence about what the option does on this page."""
    return gr.Checkbox(
        False,
        label=label,
        info=best_of_info(services, here),
        interactive=services.chooser is not None,
        elem_id=elem_id,
    )


def best_of_info(services: Services, here: str) -> str:
    """What the option does, with a sentence about this page, and how far to trust the judge."""
    spec = services.chooser
    if spec is None:
        return "Not available: no judge on this machine is shown to find wrong speakers."
    trust = " ".join(test.sentence("choice") for test in services.evaluations.judges.tests(spec.name))
    return (
        f"Generates {CANDIDATES} candidates, the greedy one and samples, and keeps the one that a language model "
        f"judges most faithful to the dialogue. It takes several times as long. {here} The judge "
        f"{spec.name} {trust}."
    )
