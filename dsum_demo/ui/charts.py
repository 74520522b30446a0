"""The layout that all charts share: size, grid, fonts."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

CLEAR, GRID = "rgba(0,0,0,0)", "rgba(136,136,136,0.25)"


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
