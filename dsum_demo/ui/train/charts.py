"""Plotly figures of training runs: loss, validation ROUGE, gradient norm, learning rate, and overlaid curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dsum_demo.metrics.scores import METRICS
from dsum_demo.models.catalog import Kind
from dsum_demo.training.events import Curve
from dsum_demo.training.sweep import SweepRow
from dsum_demo.ui.appearance import LOOKS
from dsum_demo.ui.charts import GRID, dressed

# Exponential moving average with bias correction, as in Adam (Kingma and Ba 2015, section 3). A point loses nine tenths
# of its weight within about 22 steps.
SMOOTHING = 0.9
MOST_POINTS = 600
SMALL_HEIGHT = 150  # pixels
SWEEP_SMOOTHING = 0.6  # a sweep has few steps
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")
# From Okabe and Ito's palette (2008), without the systems' blue and orange.
MORE_COLORS = ("#1f9d76", "#a05bb8", "#c99a00", "#b8495f")
MOST_OVERLAID = len(DASHES)


def run_color(method: str) -> str:
    """Blue for a full fine-tune, orange for other methods, as elsewhere in the app."""
    return LOOKS[Kind.FULL if method == "full" else Kind.ADAPTER].color


def smoothed(values: Sequence[float], weight: float = SMOOTHING) -> list[float]:
    """The exponential moving average, bias-corrected."""
    mean, sums, out = 0.0, 0.0, []
    for value in values:
        mean = weight * mean + (1 - weight) * value
        sums = weight * sums + (1 - weight)
        out.append(mean / sums)
    return out


def loss_figure(curve: Curve, method: str) -> go.Figure:
    """Training loss per step, raw and smoothed, and validation loss."""
    figure, color = go.Figure(), run_color(method)
    steps, losses = [e["step"] for e in curve.steps], [e["loss"] for e in curve.steps]
    figure.add_scatter(
        x=_thinned(steps), y=_thinned(losses), name="training, each step", mode="lines",
        line={"color": color, "width": 1}, opacity=0.35, hovertemplate="step %{x}: %{y:.3f}<extra>training</extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=_thinned(steps), y=_thinned(smoothed(losses)), name="training, smoothed", mode="lines",
        line={"color": color, "width": 2.5}, hovertemplate="step %{x}: %{y:.3f}<extra>smoothed</extra>",
    )  # fmt: skip
    evaluated = [e for e in curve.evaluations if e.get("loss") is not None]
    figure.add_scatter(
        x=[e["step"] for e in evaluated], y=[e["loss"] for e in evaluated], name="validation", mode="lines+markers",
        line={"color": "#8a929e", "width": 2, "dash": "dot"}, marker={"size": 8, "symbol": "diamond"},
        hovertemplate="step %{x}: %{y:.3f}<extra>validation</extra>",
    )  # fmt: skip
    return _dressed(figure, "loss", _planned(curve))


def score_figure(curve: Curve, method: str) -> go.Figure:
    """Validation ROUGE per evaluation, F1 x 100, with the best one marked; accuracy for preference training."""
    figure, color = go.Figure(), run_color(method)
    if any(e.get("accuracy") is not None for e in curve.evaluations):
        return _accuracy_figure(curve, color)
    for number, rouge in enumerate(("rouge1", "rouge2", "rougeL")):
        scored = [e for e in curve.evaluations if e.get(rouge) is not None]
        figure.add_scatter(
            x=[e["step"] for e in scored], y=[100 * e[rouge] for e in scored], name=METRICS[rouge].title,
            mode="lines+markers", line={"color": color, "width": 2.5 - 0.5 * number, "dash": DASHES[number]},
            marker={"size": 8, "symbol": SYMBOLS[number]},
            hovertemplate="step %{x}: %{y:.2f}<extra>" + METRICS[rouge].title + "</extra>",
        )  # fmt: skip
    best = curve.best
    if best and best.get("rouge1") is not None:
        figure.add_scatter(
            x=[best["step"]], y=[100 * best["rouge1"]], name="best", mode="markers",
            marker={"size": 16, "symbol": "circle-open", "color": "#1f9d76", "line": {"width": 3}},
            hovertemplate="step %{x}: these weights are kept<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(rangemode="tozero")
    return _dressed(figure, "F1 × 100", _planned(curve))


def _accuracy_figure(curve: Curve, color: str) -> go.Figure:
    figure = go.Figure()
    known = [e for e in curve.evaluations if e.get("accuracy") is not None]
    figure.add_scatter(
        x=[e["step"] for e in known], y=[100 * e["accuracy"] for e in known], name="held-out pairs",
        mode="lines+markers", line={"color": color, "width": 2.5}, marker={"size": 8},
        hovertemplate="step %{x}: %{y:.1f} %<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(range=[0, 105])
    return _dressed(figure, "accuracy (%)", _planned(curve))


def step_figure(curve: Curve, key: str, method: str) -> go.Figure | None:
    """A small chart of a value per step, such as "grad_norm"; None if the run did not record it."""
    recorded = [e for e in curve.steps if e.get(key) is not None]
    if not recorded:
        return None
    figure = go.Figure()
    figure.add_scatter(
        x=_thinned([e["step"] for e in recorded]), y=_thinned([e[key] for e in recorded]), mode="lines",
        line={"color": run_color(method), "width": 1.5}, hovertemplate="step %{x}: %{y:.3g}<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(rangemode="tozero", nticks=4)
    figure = _dressed(figure, "", _planned(curve))
    return figure.update_layout(height=SMALL_HEIGHT, showlegend=False)


def sweep_figure(rows: Sequence[SweepRow], steps: int) -> go.Figure:
    """The training loss per step of each learning rate of a sweep, smoothed over a few steps."""
    figure = go.Figure()
    for number, row in enumerate(rows):
        figure.add_scatter(
            x=list(range(1, len(row.losses) + 1)), y=smoothed(row.losses, SWEEP_SMOOTHING), name=f"{row.rate:g}",
            mode="lines+markers" if len(row.losses) < 40 else "lines",
            line={"color": MORE_COLORS[number % len(MORE_COLORS)], "width": 2, "dash": DASHES[number % len(DASHES)]},
            marker={"size": 5, "symbol": SYMBOLS[number % len(SYMBOLS)]},
            hovertemplate="step %{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    return _dressed(figure, "loss", steps)


def overlay_figures(curves: Mapping[str, Curve], methods: Mapping[str, str]) -> tuple[go.Figure, go.Figure]:
    """(smoothed training loss, validation ROUGE-1) of several runs, distinguished by color, dash and symbol. A sweep
    has a line per learning rate.
    """
    loss, score = go.Figure(), go.Figure()
    for number, (name, color) in enumerate(overlay_colors(methods).items()):
        curve, line = curves[name], {"color": color, "width": 2.5, "dash": DASHES[number % len(DASHES)]}
        for title, steps, losses in _loss_lines(name, curve):
            loss.add_scatter(
                x=_thinned(steps), y=_thinned(losses), name=title, legendgroup=name, mode="lines", line=line,
                hovertemplate="step %{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
            )  # fmt: skip
        scored = [e for e in curve.evaluations if e.get("rouge1") is not None]
        score.add_scatter(
            x=[e["step"] for e in scored], y=[100 * e["rouge1"] for e in scored], name=name, mode="lines+markers",
            line=line, marker={"size": 8, "symbol": SYMBOLS[number % len(SYMBOLS)]},
            hovertemplate="step %{x}: %{y:.2f}<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    return _dressed(loss, "loss", 0), _dressed(score, "F1 × 100", 0)


def overlay_colors(methods: Mapping[str, str]) -> dict[str, str]:
    """One color per run: the first full fine-tune is blue, the first other run orange, the rest use MORE_COLORS."""
    colors: dict[str, str] = {}
    for name, method in methods.items():
        own = run_color(method)
        taken = len(colors)
        colors[name] = own if own not in colors.values() else MORE_COLORS[taken % len(MORE_COLORS)]
    return colors


def _loss_lines(name: str, curve: Curve) -> list[tuple[str, list[int], list[float]]]:
    """(title, steps, smoothed losses) of a run, or of each learning rate of a sweep."""
    rates = dict.fromkeys(event["rate"] for event in curve.steps if "rate" in event)
    if not rates:
        return [(name, [e["step"] for e in curve.steps], smoothed([e["loss"] for e in curve.steps]))]
    parts = {rate: [event for event in curve.steps if event.get("rate") == rate] for rate in rates}
    return [
        (f"{name}, {rate:g}", list(range(1, len(part) + 1)), smoothed([e["loss"] for e in part], SWEEP_SMOOTHING))
        for rate, part in parts.items()
    ]


def _planned(curve: Curve) -> int:
    planned = [event for event in (curve.start, curve.latest, curve.end) if event and event.get("steps")]
    return int(planned[-1]["steps"]) if planned else 0


def _thinned(points: Sequence[float]) -> list[float]:
    """About MOST_POINTS of them, with the first and the last: a screen has no more columns."""
    stride = max(1, len(points) // MOST_POINTS)
    kept = list(points[::stride])
    return [*kept, points[-1]] if points and (len(points) - 1) % stride else kept


def _dressed(figure: go.Figure, unit: str, steps: int) -> go.Figure:
    figure.update_traces(cliponaxis=False)
    axis: dict[str, Any] = {"title": {"text": "step"}, "zeroline": False, "gridcolor": GRID}
    # Traces hidden in the legend stay hidden while the curve grows.
    figure.update_layout(xaxis={**axis, "range": [0, steps]} if steps else axis, showlegend=True, uirevision="run")
    return dressed(figure, unit, height=300, margin={"l": 52, "r": 12, "t": 8, "b": 40})
