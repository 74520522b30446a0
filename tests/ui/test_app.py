"""What the app's page does for every event."""

from __future__ import annotations

import asyncio

import gradio as gr
from gradio.state_holder import SessionState

from dsum_demo.ui.app import Page, build_demo
from dsum_demo.ui.services import Services


def test_a_session_does_not_grow_with_its_events(tiny_settings):
    with Page(Services.start(tiny_settings)) as page:
        text, press = gr.HTML(), gr.Button()
        press.click(lambda: gr.update(value="an update", visible=False), None, text)
        press.click(lambda: "a value", None, text)
    session = SessionState(page)
    for _ in range(3):
        for event in page.fns.values():
            asyncio.run(page.process_api(event, [], session))
    assert session.blocks_config.blocks.keys() == page.blocks.keys() == session.config_values.keys()
    assert session.blocks_config.blocks[text._id].visible is False


def test_a_choice_made_before_the_answer_to_the_last_one_counts(tiny_settings):
    demo = build_demo(Services.start(tiny_settings))
    pressed = [
        (block.elem_id or block.label, event.trigger_mode)
        for event in demo.fns.values()
        for number, name in event.targets
        if name == "input" and isinstance(block := demo.blocks.get(number), gr.Radio | gr.Checkbox)
    ]
    assert ("example-lists", "always_last") in pressed
    assert {mode for _, mode in pressed} == {"always_last"}
