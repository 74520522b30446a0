"""The page's style sheets and scripts, which are files in static/."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

STATIC = Path(__file__).with_name("static")


def read(*names: str) -> str:
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)


# In the order in which their rules apply.
STYLE_SHEETS = [STATIC / name for name in ("shared.css", "evaluate.css", "page.css", "train.css", "review.css")]
# For the document's head: gradio runs it before it draws the page, so that every event finds its function.
SCRIPTS = f"<script>{read('page.js', 'evaluate.js', 'train.js', 'review.js', 'drilldown.js', 'share.js')}</script>"


def call(function: str, *first: object) -> str:
    """The `js` of a gradio event: `dsum.function` of static/*.js with `first`, then the event's inputs."""
    arguments = "".join(f"{json.dumps(value)}, " for value in first)
    return f"(...values) => dsum.{function}({arguments}...values)"


def html_page(title: str, body: str, style_sheets: Sequence[str], scripts: Sequence[str] = ()) -> str:
    """A self-contained page, with plotly.js if it has scripts. title: plain text. body: HTML. The others are files in
    static/.
    """
    plotly = ""
    if scripts:
        from plotly.offline import get_plotlyjs

        plotly = f"<script>{get_plotlyjs()}</script>"
    code = f"<script>{read(*scripts)}</script>" if scripts else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{read(*style_sheets)}</style>{plotly}</head><body>{body}{code}</body></html>\n"
    )
