"""The ROUGE chart of the Compare tab and its headline."""

from __future__ import annotations

import plotly.graph_objects as go

from dsum_demo.comparison import Comparison, SystemResult
from dsum_demo.metrics.scores import HEADLINE, METRICS, shown_unit
from dsum_demo.ui.appearance import HUMAN, system_looks
from dsum_demo.ui.charts import bar_marker, dressed

MOST_WITH_DIFFERENCES = 4  # systems; the bars of more are too narrow for the difference to the original


def rouge_chart(comparison: Comparison) -> go.Figure:
    """Grouped bars, F1 x 100, one group per metric; with several references also the human agreement."""
    figure = go.Figure()
    groups = [metric.heading for metric in METRICS.values()]
    original = comparison.original
    looks = system_looks([system.spec for system in comparison.systems])
    few = sum(bool(system.scores) for system in comparison.systems) <= MOST_WITH_DIFFERENCES
    for system in comparison.systems:
        if not system.scores:
            continue
        name = comparison.title_of(system)
        values = [100 * system.scores[rouge].fmeasure if rouge in system.scores else None for rouge in METRICS]
        differences = [difference(system, original, rouge) for rouge in METRICS]
        figure.add_bar(
            name=name,
            x=groups,
            y=values,
            text=[
                "–" if value is None else _label(value, change if few else None)
                for value, change in zip(values, differences, strict=True)
            ],
            textposition="outside",
            textfont={"size": 12},
            cliponaxis=False,
            hovertemplate="%{x}: %{y:.2f}<extra>" + name + "</extra>",
            marker=bar_marker(looks[system.spec.name]),
        )
    agreement = comparison.human_agreement
    if agreement:
        figure.add_scatter(
            name="Human: each reference scored against the others",
            x=groups,
            y=[100 * agreement[rouge].fmeasure for rouge in METRICS],
            mode="markers",
            marker={"symbol": "line-ew", "size": 44, "line": {"color": HUMAN.color, "width": 3}},
            hovertemplate="%{x}: %{y:.2f}<extra>Human</extra>",
        )
    figure.update_layout(barmode="group", bargap=0.22, bargroupgap=0.06, yaxis={"range": [0, _top(figure)]})
    return dressed(figure, shown_unit(), height=330, margin={"l": 48, "r": 8, "t": 12, "b": 28})


def difference(system: SystemResult, original: SystemResult | None, rouge: str) -> float | None:
    """F1 x 100 above the original's; None for the original itself and if either has no score."""
    if original is None or system is original:
        return None
    of_system, of_original = ((one.scores or {}).get(rouge) for one in (system, original))
    if of_system is None or of_original is None:
        return None
    return 100 * (of_system.fmeasure - of_original.fmeasure)


def headline(comparison: Comparison) -> str:
    """The chart's main result in one sentence."""
    scored = [
        (100 * s.scores[HEADLINE].fmeasure, comparison.title_of(s))
        for s in comparison.systems
        if s.scores and HEADLINE in s.scores
    ]
    if not scored:
        return ""
    top, best = max(scored, key=lambda pair: pair[0])
    if len(scored) == 1:
        return f"{best}: ROUGE-1 {top:.1f}."
    changes = [
        f"{comparison.title_of(system)} {change:+.1f}"
        for system in comparison.systems
        if (change := difference(system, comparison.original, HEADLINE)) is not None
    ]
    against = f" Compared with the original: {', '.join(changes)} points." if changes else ""
    return f"{best} has the highest ROUGE-1 on this dialogue: {top:.1f}.{against}"


def _label(value: float, change: float | None) -> str:
    return f"{value:.1f}" if change is None else f"{value:.1f}<br>({change:+.1f})"


def _top(figure: go.Figure) -> float:
    highest = max((max(trace.y) for trace in figure.data), default=0.0)
    return min(118.0, max(20.0, highest * 1.25 + 4))
