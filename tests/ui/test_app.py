"""What the app's page does for every event."""

from __future__ import annotations

import asyncio

import gradio as gr
from gradio.state_holder import SessionState

from dsum_demo.ui.app import Page
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
