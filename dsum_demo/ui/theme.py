"""The page's theme, title and options that all event listeners share."""

from __future__ import annotations

from typing import Any

import gradio as gr

TITLE = "dsum"
# Every listener of the page: not part of the API, and no progress bars over what shows its own progress.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
TAGLINE = "One dialogue, three summaries: the original T5, fully fine-tuned, and LoRA."

THEME = gr.themes.Default(
    primary_hue="blue",
    neutral_hue="slate",
    # The 600 that gradio 6.31 bundles lacks most letters; the browser takes 700 for it.
    font=[gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"],
)
