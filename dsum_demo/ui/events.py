"""The data of a custom event that a script of the page triggers."""

from __future__ import annotations

from typing import Any

import gradio as gr


def clicked(event: gr.EventData) -> dict[str, Any]:
    """The data passed to `trigger` in a gr.HTML's js_on_load; empty if it is not an object. It comes from the browser,
    so it can be anything. gradio's documented access is by attribute, which raises for a missing name; `_data` is the
    whole object.
    """
    data = event._data
    return data if isinstance(data, dict) else {}
