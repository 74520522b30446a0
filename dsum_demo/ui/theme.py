"""The page's theme and title, and what all event listeners share."""

from __future__ import annotations

from typing import Any

import gradio as gr

TITLE = "dsum"
Update = Any  # gradio's updates are plain dictionaries
# For all event listeners of the page: not part of the API, and no progress bar, because the page shows progress itself.
# Otherwise gradio sends the status of each event to each component that was ever an output: most of the browser's work.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "show_progress_on": []}
# For a choice whose listener only redraws: without it, gradio ignores a choice made before the answer to the last one.
# A dropdown triggers `input` twice per choice, and once when it is left without one: a listener that replaces what may
# have been edited checks first whether the page shows the choice already.
CHOICE: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
TAGLINE = "See what fine-tuning changes: one dialogue, summarized by the original model, a full fine-tune and LoRA."

THEME = gr.themes.Default(
    primary_hue="blue",
    neutral_hue="slate",
    # The weight 600 that gradio 6.31 bundles lacks most letters; the browser uses 700 instead.
    font=[gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"],
).set(
    # Text needs a contrast of 4.5:1 (WCAG 2.2, 1.4.3); the default theme's muted text has 2.6:1, its buttons 3.7:1.
    body_text_color_subdued="*neutral_600",
    block_info_text_color="*neutral_600",
    input_placeholder_color="*neutral_500",
    # The ring of a focused input needs 3:1 (1.4.11); the default theme's has 1.8:1, and 1.7:1 in the dark.
    input_border_color_focus="*primary_600",
    input_border_color_focus_dark="*primary_400",
    input_shadow_focus="0 0 0 1px *primary_600, *shadow_inset",
    input_shadow_focus_dark="0 0 0 1px *primary_400, *shadow_inset",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_dark="*primary_600",
    button_primary_background_fill_hover_dark="*primary_700",
    button_cancel_background_fill="#dc2626",
    button_cancel_background_fill_hover="#b91c1c",
)
