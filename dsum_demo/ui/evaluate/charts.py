"""Plotly figures of an evaluation: means with intervals, paired differences, score against length, slices.

Scores are shown x 100. Systems differ in pattern and symbol as well as in color.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from statistics import fmean
from typing import Any

import plotly.graph_objects as go

from dsum_demo.evaluation.export import scale
from dsum_demo.evaluation.notable_examples import differences
from dsum_demo.evaluation.records import Evaluation, SystemInfo
from dsum_demo.evaluation.report import Report
from dsum_demo.evaluation.slices import Slice
from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.metrics.scores import HEADLINE, METRICS, shown_unit
from dsum_demo.ui.appearance import HUMAN, system_looks, system_titles
from dsum_demo.ui.charts import GRID, LINE, Chart, bar_marker, dressed, error_bars

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
LEAD3_COLOR = "#7d6b9e"
MOST_POINTS = 1_500  # per system; more are slow and unreadable
MOST_RANKS = 1_000
SLICE_TITLES = {
    "topic": "By topic", "length": "By the dialogue’s length", "speakers": "By number of speakers",
}  # fmt: skip


def means_chart(evaluation: Evaluation, report: Report) -> Chart:
    """Bars with 95 % intervals, one group per metric; LEAD-3, human agreement and published scores as marks."""
    names, styles = _names(evaluation), system_looks(evaluation.systems)
    # Reserve a place for every system, so that bars do not move during a run.
    figure, width = go.Figure(), 0.8 / max(1, len(evaluation.systems))
    places = {s.name: (i - (len(evaluation.systems) - 1) / 2) * width for i, s in enumerate(evaluation.systems)}
    titles = [escape(metric.heading, quote=False) for metric in METRICS.values()]
    for system in report.systems:
        look, means = styles[system.name], [system.f1.get(name) for name in METRICS]
        kept = [(i, mean) for i, mean in enumerate(means) if mean]
        figure.add_bar(
            name=names[system.name],
            x=[i + places[system.name] for i, _ in kept],
            y=[100 * mean.mean for _, mean in kept],
            width=width * 0.92,
            error_y=error_bars([mean for _, mean in kept]),
            customdata=[[titles[i], _interval_text(mean)] for i, mean in kept],
            hovertemplate="%{customdata[0]}: %{customdata[1]}<extra>" + names[system.name] + "</extra>",
            marker=bar_marker(look),
        )
    for title, levels in scale(report):
        is_human = levels is report.human
        _add_levels(figure, title, levels, HUMAN.color if is_human else LEAD3_COLOR, "solid" if is_human else "dot")
    _add_published(figure, evaluation, report, places)
    _lay_out(figure, shown_unit(), height=380)
    figure.update_layout(
        barmode="overlay",
        xaxis={
            "tickvals": list(range(len(METRICS))),
            "ticktext": titles,
            "tickangle": 0,
            "tickfont": {"size": 11},
            "showgrid": False,
        },
        yaxis={"rangemode": "tozero"},
    )
    if not report.systems or not any(system.f1 for system in report.systems):
        return Chart("No scores yet.", None)
    return Chart(_best(report, names), figure)


def differences_chart(evaluation: Evaluation, system: str, baseline: str, rouge: str) -> Chart:
    """The difference per dialogue, sorted, with a zero line."""
    pairs = differences(evaluation.examples, system, baseline, rouge)
    names, styles = _names(evaluation), system_looks(evaluation.systems)
    if not pairs:
        return Chart(f"{names[system]} and {names[baseline]} have no dialogues in common yet.", None)
    total = len(pairs)
    kept = (
        range(total)
        if total <= MOST_RANKS
        else sorted({round(i * (total - 1) / (MOST_RANKS - 1)) for i in range(MOST_RANKS)})
    )
    points = [(100 * (rank + 0.5) / total, pairs[rank][0], 100 * pairs[rank][1]) for rank in kept]
    better = sum(change > 0 for _, change in pairs)
    worse = sum(change < 0 for _, change in pairs)
    figure = go.Figure()
    for ahead, side in ((baseline, [p for p in points if p[2] < 0]), (system, [p for p in points if p[2] >= 0])):
        figure.add_bar(
            name=f"{names[ahead]} scores higher",
            x=[p[0] for p in side],
            y=[p[2] for p in side],
            customdata=[[p[1]] for p in side],
            width=100 / len(points),
            hovertemplate="%{customdata[0]}: %{y:+.1f} points<extra></extra>",
            marker={"color": styles[ahead].color, "line": {"width": 0}},
        )
    mean = 100 * fmean(change for _, change in pairs)
    figure.add_hline(y=0, line={"color": LINE, "width": 2})
    figure.add_hline(
        y=mean, line={"color": LINE, "width": 1.5, "dash": "dash"},
        annotation={"text": f"mean {mean:+.1f}", "xanchor": "left", "yanchor": "bottom"},
        annotation_position="top left",
    )  # fmt: skip
    _lay_out(figure, f"{METRICS[rouge].title} difference, points", height=340)
    figure.update_layout(
        barmode="overlay", bargap=0,
        xaxis={"title": {"text": "dialogues, sorted by difference"}, "range": [0, 100],
               "ticksuffix": " %", "showgrid": False},
    )  # fmt: skip
    some = "" if total <= MOST_RANKS else f" The chart shows {len(points):,} of them, evenly spaced."
    return Chart(
        f"{names[system]} scores higher than {names[baseline]} on {better:,} of {total:,} dialogues "
        f"({100 * better / total:.0f} %) and lower on {worse:,}.{some}",
        figure,
    )


def length_chart(evaluation: Evaluation, rouge: str) -> Chart:
    """Score against the dialogue's length in words: one point per example, and a line of means of up to ten groups."""
    known = sorted((e for e in evaluation.examples if e.words is not None), key=lambda e: (e.words or 0, e.id))
    if not known:
        return Chart("This file has no dialogues, so scores cannot be plotted against their length.", None)
    names, styles = _names(evaluation), system_looks(evaluation.systems)
    figure = go.Figure()
    changes: list[str] = []
    drawn = known
    if len(known) > MOST_POINTS:
        drawn = random.Random(evaluation.seed).sample(known, MOST_POINTS)
    for system, symbol in zip(evaluation.systems, _symbols(len(evaluation.systems)), strict=True):
        scored = [
            (e.words or 0, 100 * e.outputs[system.name].scores[rouge].fmeasure, e.id)
            for e in drawn
            if _scored(e, system.name, rouge)
        ]
        every = [
            (e.words or 0, 100 * e.outputs[system.name].scores[rouge].fmeasure)
            for e in known
            if _scored(e, system.name, rouge)
        ]
        if not every:
            continue
        color = styles[system.name].color
        figure.add_scatter(
            x=[p[0] for p in scored], y=[p[1] for p in scored], customdata=[[p[2]] for p in scored], mode="markers",
            marker={"color": color, "symbol": symbol, "size": 5, "opacity": 0.35}, legendgroup=system.name,
            showlegend=False,
            hovertemplate="%{customdata[0]}: %{x} words, %{y:.1f}<extra>" + names[system.name] + "</extra>",
        )  # fmt: skip
        groups = _groups(every, min(10, max(1, len(every) // 5)))
        figure.add_scatter(
            name=names[system.name], x=[fmean(x for x, _ in group) for group in groups],
            y=[fmean(y for _, y in group) for group in groups], mode="lines+markers", legendgroup=system.name,
            line={"color": color, "width": 3, "dash": ("solid", "dash", "dot", "dashdot")[len(changes) % 4]},
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertemplate="about %{x:.0f} words: mean %{y:.1f}<extra>" + names[system.name] + "</extra>",
        )  # fmt: skip
        changes.append(f"{names[system.name]} {_end_to_end(every):+.1f}")
    if not changes:
        return Chart("No scores yet.", None)
    _lay_out(figure, METRICS[rouge].axis, height=360)
    figure.update_layout(
        xaxis={"title": {"text": "words of the dialogue"}, "showgrid": False}, yaxis={"rangemode": "tozero"}
    )
    some = (
        f" Points show {MOST_POINTS:,} of {len(known):,} dialogues; lines use all of them."
        if drawn is not known
        else ""
    )
    return Chart(
        f"Change from the shortest to the longest third of the dialogues: {', '.join(changes)} points.{some}", figure
    )


def slices_chart(evaluation: Evaluation, report: Report, by: str, rouge: str) -> Chart:
    """Means with intervals, one row per slice."""
    parts = [part for part in report.slices if part.by == by]
    if not parts:
        reason = {
            "topic": "No topic has enough dialogues for a mean.",
            "length": "This file has no dialogues, so their length is unknown.",
            "speakers": "This file has no dialogues, so their speakers are unknown.",
        }[by]
        return Chart(reason, None)
    names, styles = _names(evaluation), system_looks(evaluation.systems)
    figure, rows = go.Figure(), len(parts)
    shown = [system for system in evaluation.systems if any(system.name in part.f1 for part in parts)]
    for place, (system, symbol) in enumerate(zip(shown, _symbols(len(shown)), strict=True)):
        kept = [(row, part) for row, part in enumerate(parts) if rouge in part.f1.get(system.name, {})]
        means = [part.f1[system.name][rouge] for _, part in kept]
        figure.add_scatter(
            name=names[system.name], mode="markers", x=[100 * mean.mean for mean in means],
            y=[rows - 1 - row - (place - (len(shown) - 1) / 2) * 0.22 for row, _ in kept],
            error_x=error_bars(means), marker={"color": styles[system.name].color, "symbol": symbol, "size": 10},
            customdata=[[part.name, _interval_text(mean)] for (_, part), mean in zip(kept, means, strict=True)],
            hovertemplate="%{customdata[0]}: %{customdata[1]}<extra>" + names[system.name] + "</extra>",
        )  # fmt: skip
    _lay_out(figure, "", height=110 + 46 * rows)
    figure.update_layout(
        xaxis={"title": {"text": METRICS[rouge].axis}, "rangemode": "tozero", "gridcolor": GRID},
        yaxis={"tickvals": [rows - 1 - row for row in range(rows)], "ticktext": [_row_label(part) for part in parts],
               "range": [-0.6, rows - 0.4], "showgrid": False, "automargin": True},
        margin={"l": 8},
    )  # fmt: skip
    return Chart(f"{SLICE_TITLES[by]}: {_widest_gap(parts, shown, names, rouge)}", figure)


def _names(evaluation: Evaluation) -> dict[str, str]:
    """Titles by system name, escaped: plotly renders them as HTML."""
    return {name: escape(title, quote=False) for name, title in system_titles(evaluation.systems).items()}


def _scored(example: Any, system: str, rouge: str) -> bool:
    return system in example.outputs and rouge in example.outputs[system].scores


def _add_levels(figure: go.Figure, title: str, means: Mapping[str, Interval], color: str, dash: str) -> None:
    """A line over each group, in one trace: plotly interrupts it at None."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    texts: list[list[str]] = []
    for i, (name, metric) in enumerate(METRICS.items()):
        if name in means:
            xs += [i - 0.44, i, i + 0.44, None]
            ys += [100 * means[name].mean] * 3 + [None]
            texts += [[metric.title, _interval_text(means[name])]] * 4
    figure.add_scatter(
        name=title, x=xs, y=ys, mode="lines", line={"color": color, "width": 3, "dash": dash}, customdata=texts,
        hovertemplate="%{customdata[0]}: %{customdata[1]}<extra>" + title.split(",")[0] + "</extra>",
    )  # fmt: skip


def _add_published(figure: go.Figure, evaluation: Evaluation, report: Report, places: Mapping[str, float]) -> None:
    if report.published is None:
        return
    xs: list[float] = []
    ys: list[float] = []
    texts: list[str] = []
    for kind, scores in report.published.scores.items():
        system = evaluation.of_kind(kind)
        if system is None or system.name not in places:
            continue
        xs += [i + places[system.name] for i in range(len(scores))]
        ys += list(scores)
        texts += [f"{metric.title}: {y:.1f}" for metric, y in zip(METRICS.values(), scores, strict=False)]
    figure.add_scatter(
        name=f"Published: {report.published.title}", x=xs, y=ys, mode="markers", customdata=[[text] for text in texts],
        marker={"symbol": "diamond-open", "size": 11, "color": LINE, "line": {"width": 2}},
        hovertemplate="%{customdata[0]}<extra>published</extra>",
    )  # fmt: skip


def _interval_text(mean: Interval) -> str:
    if mean.low is None or mean.high is None:
        return f"{100 * mean.mean:.1f}, n={mean.n}"
    return f"{100 * mean.mean:.1f} ({100 * mean.low:.1f} to {100 * mean.high:.1f}), n={mean.n}"


def _lay_out(figure: go.Figure, y_title: str, height: int) -> None:
    dressed(figure, y_title, height=height, margin={"l": 52, "r": 10, "t": 12, "b": 34})
    figure.update_xaxes(zeroline=False, automargin=True)


def _best(report: Report, names: Mapping[str, str]) -> str:
    scored = [(system.f1[HEADLINE].mean, system.name) for system in report.systems if HEADLINE in system.f1]
    top, best = max(scored)
    over = f"Over {report.n:,} dialogue{'s' if report.n != 1 else ''} {names[best]} "
    if len(scored) == 1:
        return f"{over}reaches {100 * top:.1f} in ROUGE-1."
    rest = ", ".join(f"{names[name]} {100 * mean:.1f}" for mean, name in sorted(scored, reverse=True) if name != best)
    return f"{over}scores highest in ROUGE-1: {100 * top:.1f} ({rest})."


def _groups(points: Sequence[tuple[float, float]], count: int) -> list[Sequence[tuple[float, float]]]:
    """The sorted points in `count` groups of about the same size."""
    edges = [round(i * len(points) / count) for i in range(count + 1)]
    return [points[a:b] for a, b in pairwise(edges) if b > a]


def _end_to_end(points: Sequence[tuple[float, float]]) -> float:
    third = max(1, len(points) // 3)
    return round(fmean(y for _, y in points[-third:]) - fmean(y for _, y in points[:third]), 1) + 0.0


def _symbols(count: int) -> list[str]:
    return [SYMBOLS[i % len(SYMBOLS)] for i in range(count)]


def _row_label(part: Slice) -> str:
    name = part.name if len(part.name) <= 28 else part.name[:27] + "…"
    return f"{escape(name, quote=False)} (n={part.n})"


def _widest_gap(parts: Sequence[Slice], shown: Sequence[SystemInfo], names: Mapping[str, str], rouge: str) -> str:
    """The highest and lowest mean of the last system, of the slices with an interval."""
    name = shown[-1].name if shown else ""
    scored = [(part.f1[name][rouge], part.name) for part in parts if rouge in part.f1.get(name, {})]
    means = sorted((mean.mean, part) for mean, part in scored if mean.low is not None)
    if len(means) < 2:
        return "too few dialogues per slice to compare them."
    (low, lowest), (high, highest) = means[0], means[-1]
    return f"{names[name]} scores highest on {highest} ({100 * high:.1f}), lowest on {lowest} ({100 * low:.1f})."
