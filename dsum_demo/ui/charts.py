"""What all charts share: layout, bars with a pattern, error bars, and a chart as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.ui.appearance import Look

CLEAR, GRID = "rgba(0,0,0,0)", "rgba(136,136,136,0.25)"
LINE = "rgba(136,136,136,0.9)"


@dataclass(frozen=True)
class Chart:
    """A figure and its finding in one sentence. figure: None if there is nothing to draw; `title` then states why."""

    title: str
    figure: go.Figure | None

    def html(self, name: str) -> str:
        """The chart for a page that contains plotly.js. name: unique on the page."""
        heading = f"<h3>{escape(self.title)}</h3>"
        if self.figure is None:
            return heading
        config = {"displayModeBar": False, "responsive": True}
        drawn = self.figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"chart-{name}", config=config)
        return f'{heading}<div class="chart">{drawn}</div>'


def bar_marker(look: Look) -> dict[str, Any]:
    """The color and pattern of a system's bars."""
    return {
        "color": look.color,
        "line": {"color": look.color, "width": 1},
        "pattern": {"shape": look.pattern, "fgcolor": "white", "size": 7, "solidity": 0.2},
    }


def error_bars(means: Sequence[Interval]) -> dict[str, Any]:
    """Error bars to the ends of each interval, x 100; none for a mean without an interval."""
    return {
        "type": "data", "symmetric": False, "color": LINE, "thickness": 1.8, "width": 4,
        "array": [100 * (mean.high - mean.mean) if mean.high is not None else 0 for mean in means],
        "arrayminus": [100 * (mean.mean - mean.low) if mean.low is not None else 0 for mean in means],
    }  # fmt: skip


def dressed(figure: go.Figure, y_title: str, *, height: int, margin: Mapping[str, int]) -> go.Figure:
    """Apply the page's layout: transparent, legend above, no zoom. `height` and `margin` are in pixels."""
    figure.update_layout(
        height=height,
        margin=margin,
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        font={"family": "Source Sans Pro, sans-serif", "size": 13},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": CLEAR},
        modebar={"remove": ["select2d", "lasso2d", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]},
    )
    figure.update_xaxes(fixedrange=True)
    figure.update_yaxes(fixedrange=True, zeroline=False, gridcolor=GRID, title={"text": y_title})
    return figure
