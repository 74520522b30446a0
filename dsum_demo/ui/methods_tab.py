"""The Methods tab: quality and cost of each fine-tuning method, as measured by a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import log10
from pathlib import Path
from types import MethodType
from typing import Any

import gradio as gr
import numpy as np
import plotly.graph_objects as go

from dsum_demo.errors import DataError
from dsum_demo.judge.judges import judge_lines
from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.metrics.checks import Check
from dsum_demo.metrics.scores import HEADLINE, METRICS, MORE, Metric, shown_unit
from dsum_demo.study.report import (
    COSTS,
    STUDY_FILE,
    MethodCost,
    MethodRow,
    Study,
    finding,
    method_rows,
    original_means,
    pareto_front,
    qualities,
    ranked,
    read_study,
    recorded_qualities,
    seed_means,
)
from dsum_demo.ui.appearance import KINDS, LOOKS
from dsum_demo.ui.charts import GRID, dressed
from dsum_demo.ui.html import interval
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import CHOICE, QUIET
from dsum_demo.utils.files import child_folders

OTHER = "#7a5bc4"
# Pixels (width, height) of the plot area on a phone and on a desktop: names must be readable on both.
PLOTS = ((230.0, 350.0), (1240.0, 350.0))
LETTER, LINE = 6.3, 14.0  # pixels of a name at NAME_SIZE
NAME_SIZE = 11
# Offsets of a name's nearest edge from its point, in pixels; further ones get a leader line.
DISTANCES, ANGLES = (9, 20, 34, 50, 68), 16
Point = tuple[float, float]

EMPTY = (
    "No study yet. A study measures the quality and cost of each fine-tuning method on the same base model, data, "
    "budget and seeds. Run one with `dsum study --out dsum-data/studies/mine`."
)
ABOUT = (
    "Each point is a fine-tuning method: higher means better summaries, unless the axis is marked otherwise; further "
    "left means cheaper. On the dotted line (the Pareto front) are the methods that no other method beats in both."
)


def build_methods_tab(page: gr.Blocks, services: Services) -> None:
    about = gr.Markdown(EMPTY, elem_id="methods-about")
    with gr.Row(visible=False) as choices:
        study = gr.Dropdown(label="Study", elem_id="study", filterable=False, min_width=220)
        cost = gr.Radio(
            [(each.title, each.key) for each in COSTS], value=COSTS[0].key, label="Cost", elem_id="methods-cost",
            scale=3, min_width=300,
        )  # fmt: skip
        quality = gr.Dropdown(
            [(METRICS[HEADLINE].title, HEADLINE)], value=HEADLINE, label="Quality", elem_id="methods-quality",
            filterable=False, scale=2, min_width=260,
        )  # fmt: skip
    sentence = gr.HTML(elem_id="methods-finding")
    chart = gr.Plot(show_label=False, visible=False, elem_id="methods-chart")
    table = gr.HTML(elem_id="methods-table")
    shown = [sentence, chart, table]
    study.change(MethodType(choose_quality, services), [study, quality], quality, **QUIET).then(
        MethodType(show, services), [study, cost, quality], shown, **QUIET
    )
    gr.on([cost.change, quality.input], MethodType(show, services), [study, cost, quality], shown, **CHOICE)
    page.load(MethodType(choose_study, services), None, [about, choices, study], **QUIET)


def studies(services: Services) -> dict[str, Path]:
    """Study folders by name: those in the data folder, and the shipped ones."""
    own, shipped = (
        {folder.name: folder for folder in child_folders(parent / "studies") if (folder / STUDY_FILE).is_file()}
        for parent in (services.settings.data_dir, services.settings.root)
    )
    return own | {f"{name} (shipped)" if name in own else name: folder for name, folder in shipped.items()}


def choose_study(services: Services) -> tuple[Any, Any, Any]:
    """(description, visibility of the choosers, the study chooser) after the page was loaded."""
    names = list(studies(services))
    return (
        ABOUT if names else EMPTY,
        gr.update(visible=bool(names)),
        gr.update(choices=names, value=names[-1] if names else None, visible=len(names) > 1),
    )


def choose_quality(services: Services, name: str | None, chosen: str) -> Any:
    """The chooser of a metric or check, with those that the study has."""
    try:
        study = read_study(studies(services)[name or ""])
    except (KeyError, DataError):
        return gr.update()
    rows = method_rows(study)
    plotted = {name: quality for name, quality in recorded_qualities(study).items() if any(r.mean(name) for r in rows)}
    found = plotted or {HEADLINE: METRICS[HEADLINE]}
    choices = [(quality.heading, key) for key, quality in found.items()]
    return gr.update(choices=choices, value=chosen if chosen in found else next(iter(found)))


def show(services: Services, name: str | None, cost: str, quality: str) -> tuple[str, Any, str]:
    folder = studies(services).get(name or "")
    if folder is None:
        return "", gr.update(visible=False), ""
    try:
        study = read_study(folder)
    except DataError as error:
        return f'<div class="notice error">{escape(str(error))}</div>', gr.update(visible=False), ""
    rows = method_rows(study)
    if not rows:
        return "<p>This study has no finished methods yet.</p>", gr.update(visible=False), ""
    axis = next(each for each in COSTS if each.key == cost)
    figure = methods_chart(study, rows, axis, quality)
    return (
        f"<p>{escape(finding(study, rows))} {escape(budget(study))}</p>",
        gr.update(value=figure, visible=True),
        methods_table(study, rows, quality),
    )


def budget(study: Study) -> str:
    """Why the scores differ from those of the shipped models."""
    return (
        f"These models were trained for this study only, with {study.plan['steps']:,} steps of "
        f"{study.plan['batch_size']} dialogues; the models in Compare and Evaluate were trained separately and longer, "
        "so Evaluate shows different scores for the same methods."
    )


def methods_chart(study: Study, rows: list[MethodRow], cost: MethodCost, name: str = HEADLINE) -> go.Figure:
    """A metric or check (with 95 % intervals) against one cost, the Pareto front, and lines for original and full."""
    figure, quality = go.Figure(), qualities()[name]
    means = {row.method: _shown(mean, quality) for row in rows if (mean := row.mean(name))}
    measured = [row for row in rows if row.method in means and getattr(row, cost.key) is not None]
    front = pareto_front(measured, cost.key, name)
    wide = cost.key in ("trained_parameters", "checkpoint_bytes")
    original = original_means(study).get(name)
    levels = {"original": _shown(original, quality).mean} if original else {}
    levels |= {"full": means["full"].mean} if "full" in means else {}
    area = _area(measured, cost, means, list(levels.values()), logarithmic=wide)
    figure.add_scatter(
        name="Pareto front", mode="lines", hoverinfo="skip", line={"color": "#8a929e", "dash": "dot", "width": 2},
        x=[getattr(row, cost.key) * cost.scale for row in front], y=[means[row.method].mean for row in front],
    )  # fmt: skip
    for title, color, symbol, chosen in (
        ("Full fine-tuning", LOOKS[KINDS[1]].color, "square", [r for r in measured if r.method == "full"]),
        ("LoRA and variants", LOOKS[KINDS[2]].color, "diamond",
         [r for r in measured if r.parent.adds_to_base]),
        ("Other methods", OTHER, "circle",
         [r for r in measured if r.method != "full" and not r.parent.adds_to_base]),
    ):  # fmt: skip
        if not chosen:
            continue
        intervals = [means[row.method] for row in chosen]
        figure.add_scatter(
            name=title,
            mode="markers",
            x=[getattr(row, cost.key) * cost.scale for row in chosen],
            y=[each.mean for each in intervals],
            error_y={
                "array": [_above(each) for each in intervals],
                "arrayminus": [_below(each) for each in intervals],
                "thickness": 1, "width": 3, "color": color,
            },
            hovertext=[row.title for row in chosen],
            cliponaxis=False,
            marker={"color": color, "symbol": symbol, "size": 12},
            hovertemplate=f"%{{hovertext}}<br>{escape(quality.axis, quote=False)}: %{{y:.{quality.digits}f}}<br>"
            f"%{{x:.3g}} {cost.unit}<extra></extra>",
        )  # fmt: skip
    for title, level in levels.items():
        look, end = (LOOKS[KINDS[0]], "right") if title == "original" else (LOOKS[KINDS[1]], "left")
        figure.add_hline(
            y=level, line={"color": look.color, "dash": "dash", "width": 1},
            annotation={"text": title, "font": {"size": 12}, "xanchor": end, "x": float(end == "right")},
        )  # fmt: skip
    for row, text, (x, y) in zip(measured, area.names, name_offsets(area, front), strict=True):
        value = getattr(row, cost.key) * cost.scale
        figure.add_annotation(
            x=log10(value) if wide else value, y=means[row.method].mean, text=text, ax=x, ay=-y,
            font={"size": NAME_SIZE}, arrowhead=0, arrowwidth=1, arrowcolor="#8a929e", standoff=6, borderpad=0,
        )  # fmt: skip
    figure.update_xaxes(
        range=area.x_range, title={"text": f"{cost.title} ({cost.unit})"},
        type="log" if wide else "linear", dtick=1 if wide else None,
        gridcolor=GRID, zeroline=False,
    )  # fmt: skip
    figure.update_yaxes(range=area.y_range)
    marked = quality.axis if quality.direction == MORE else f"{quality.axis}, {quality.direction}"
    dressed(figure, marked, height=470, margin={"l": 48, "r": 12, "t": 12, "b": 48})
    # Points can be close together, so this chart can be zoomed.
    figure.update_xaxes(fixedrange=False)
    figure.update_yaxes(fixedrange=False)
    figure.update_layout(modebar={"remove": ["select2d", "lasso2d", "autoScale2d"]})
    return figure


@dataclass(frozen=True)
class Area:
    """The plot area with its points, all in the units of the axes (log10 on a logarithmic one). bars: the ends of each
    point's interval; levels: the horizontal lines; names: the texts to place.
    """

    x_range: Point
    y_range: Point
    points: tuple[Point, ...]
    bars: tuple[Point, ...]
    levels: tuple[float, ...]
    names: tuple[str, ...]
    methods: tuple[str, ...]

    def pixels(self, plot: Point, point: Point) -> Point:
        """From the lower left corner."""
        (left, right), (low, high) = self.x_range, self.y_range
        return plot[0] * (point[0] - left) / (right - left), plot[1] * (point[1] - low) / (high - low)


def _area(
    rows: list[MethodRow], cost: MethodCost, means: Mapping[str, Interval], levels: Sequence[float], logarithmic: bool
) -> Area:
    """means: by method, in the units of the axis."""
    xs = [getattr(row, cost.key) * cost.scale for row in rows]
    xs = [log10(x) for x in xs] if logarithmic else xs
    shown = [means[row.method] for row in rows]
    bars = [(mean.mean - _below(mean), mean.mean + _above(mean)) for mean in shown]
    return Area(
        _padded([*xs]), _padded([*levels, *(end for bar in bars for end in bar)]),
        tuple(zip(xs, (mean.mean for mean in shown), strict=True)), tuple(bars), tuple(levels),
        tuple(short_names(rows)), tuple(row.method for row in rows),
    )  # fmt: skip


def name_offsets(area: Area, front: Sequence[MethodRow] = ()) -> list[Point]:
    """Where to write each name: pixels right of and above its point. Chosen so that names cover neither points,
    intervals, lines nor each other at both sizes of PLOTS; repeated, because each place depends on the others.
    """
    on_front = {row.method for row in front}
    fixed = [np.array(list(_obstacles(area, plot, on_front))) for plot in PLOTS]
    centers = [[area.pixels(plot, point) for point in area.points] for plot in PLOTS]
    widths = [LETTER * len(name) for name in area.names]
    offsets = [_offsets(width) for width in widths]
    order = sorted(range(len(widths)), key=lambda i: (-area.points[i][1], area.points[i][0]))
    found: dict[int, Point] = {}
    for _ in range(3):
        for i in order:
            covered = 0.02 * np.hypot(*offsets[i].T)  # the nearest of equally good places
            for plot, obstacles, center in zip(PLOTS, fixed, centers, strict=True):
                boxes = name_boxes(center[i], offsets[i], widths[i])
                covered += 4 * (widths[i] * LINE - shared(boxes, np.array([(0, 0, *plot)])))  # outside the plot
                covered += shared(boxes, obstacles)
                others = [name_boxes(center[j], np.array([found[j]]), widths[j])[0] for j in found if j != i]
                covered += 4 * shared(boxes, np.array(others).reshape(-1, 4))
            x, y = offsets[i][covered.argmin()]
            found[i] = float(x), float(y)
    return [found[i] for i in range(len(widths))]


def _offsets(width: float) -> np.ndarray:
    """Candidates (x, y) around a point, the nearest first."""
    angles = 2 * np.pi * np.arange(ANGLES) / ANGLES
    rings = [
        np.stack([(width / 2 + distance) * np.cos(angles), (LINE / 2 + distance) * np.sin(angles)], axis=1)
        for distance in DISTANCES
    ]
    return np.concatenate(rings).round(1)


def name_boxes(center: Point, offsets: np.ndarray, width: float) -> np.ndarray:
    """The box of a name for each of `offsets`, a row each: left, low, right, high."""
    middle = np.asarray(center) + offsets
    half = np.array([width / 2, LINE / 2])
    return np.concatenate([middle - half, middle + half], axis=1)


def shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of `boxes`, the area that it has in common with `others`, summed."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=2).sum(axis=1)


def _obstacles(area: Area, plot: Point, front: set[str]) -> Iterator[tuple[float, float, float, float]]:
    """What a name should not cover: points, their intervals, the horizontal lines, and the Pareto front."""
    on_front = []
    for point, (low, high), method in zip(area.points, area.bars, area.methods, strict=True):
        x, y = area.pixels(plot, point)
        yield x - 9, y - 9, x + 9, y + 9
        yield x - 4, area.pixels(plot, (point[0], low))[1], x + 4, area.pixels(plot, (point[0], high))[1]
        if method in front:
            on_front.append((x, y))
    for level in area.levels:
        _, y = area.pixels(plot, (area.x_range[0], level))
        yield 0, y - 2, plot[0], y + 2
    for (x0, y0), (x1, y1) in pairwise(sorted(on_front)):
        for step in range(1, 12):
            x, y = x0 + (x1 - x0) * step / 12, y0 + (y1 - y0) * step / 12
            yield x - 3, y - 3, x + 3, y + 3


def _shown(mean: Interval, quality: Metric | Check) -> Interval:
    """The mean in the units of the axis."""
    low, high = (None if end is None else quality.factor * end for end in (mean.low, mean.high))
    return Interval(quality.factor * mean.mean, low, high, mean.n)


def short_names(rows: Sequence[MethodRow]) -> list[str]:
    """The names in the chart: of a variant's options only the first, unless two rows would have the same name."""
    names = [_short_name(row) for row in rows]
    return [row.title if names.count(name) > 1 else name for row, name in zip(rows, names, strict=True)]


def _short_name(row: MethodRow) -> str:
    title = row.parent.title.removesuffix(" tuning").removesuffix(" fine-tuning")
    for name, value in row.variant.given.items():
        return f"{title} {name}={value}" if value[:1].isdigit() else f"{title} {value}"
    return title


def _padded(values: Sequence[float]) -> Point:
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.1 * (high - low) or 1.0
    return low - room, high + room


def methods_table(study: Study, rows: list[MethodRow], chosen: str = HEADLINE) -> str:
    """The numbers behind the chart, best first; the untuned base model is the last row."""
    found = recorded_qualities(study)
    quality = qualities()[chosen]
    others = [each for each in found.values() if isinstance(each, Metric) and each.name != chosen]
    # Not measured by older studies, and not defined for encoder-decoder models.
    forgets = any(row.forgetting is not None for row in rows)
    body = "".join(
        f'<tr><td title="{escape(row.parent.explanation)}"><b>{escape(row.title)}</b><br>'
        f"<small>{escape(row.parent.paper)}</small></td>"
        f'<td class="whole">{interval(row.mean(chosen), quality.factor, quality.digits)}'
        f"{_seeds(seed_means(study, row.method, chosen), quality)}</td>"
        + "".join(f"<td>{_plain(row.mean(each.name))}</td>" for each in others)
        + f"<td>{_recovered(row.recovered) if row.method != 'full' else '–'}</td>"
        f"<td>{_count(row.trained_parameters)}<br><small>{100 * row.share:.2f} %</small></td>"
        f"<td>{_times(row.checkpoint_bytes, 1e-6, 'MB', 2)}</td><td>{_times(row.peak_memory_bytes, 1e-9, 'GB', 2)}</td>"
        f"<td>{_times(row.samples_per_second, 1, '/s', 1)}</td><td>{row.learning_rate:g}</td>"
        + (f"<td>{_signed(row.forgetting)}</td>" if forgets else "")
        + "</tr>"
        for row in ranked(rows, chosen)
        if row.share is not None
    )
    original = original_means(study)
    if original:
        body += (
            "<tr><td><b>Original</b><br><small>not fine-tuned</small></td>"
            f'<td class="whole">{interval(original.get(chosen), quality.factor, quality.digits)}</td>'
            + "".join(f"<td>{_plain(original.get(each.name))}</td>" for each in others)
            + "<td>–</td>" * (6 + forgets)
            + "</tr>"
        )
    first = quality.axis if isinstance(quality, Check) else quality.heading
    heads = (
        "Share of full’s ROUGE-1 gain", "Trained", "Checkpoint", "Peak memory", "Dialogues", "Learning rate",
        *(["Forgetting"] if forgets else []),
    )  # fmt: skip
    said = study.signature.get("text", "")
    more = " Forgetting: how much the loss on a general text rose." if forgets else ""
    return (
        '<div class="scroll" tabindex="0"><table class="scores methods"><thead><tr><th>Method</th>'
        + f"<th>{escape(first)}, 95 % interval</th>"
        + "".join(f'<th class="whole">{escape(each.heading)}</th>' for each in others)
        + "".join(f"<th>{escape(head)}</th>" for head in heads)
        + f"</tr></thead><tbody>{body}</tbody></table></div>"
        + "".join(f'<p class="hint">{escape(line)}</p>' for line in _about(study, quality))
        + f'<p class="hint">{shown_unit()}. {escape(said)}. {escape(_where(study))}{more}</p>'
    )


def _about(study: Study, quality: Metric | Check) -> list[str]:
    """What a check computes, what it misses, and how far to trust the judge that computes it."""
    if isinstance(quality, Metric):
        return []
    judge = judge_lines(study.judge) if study.judge and quality.needs == "judge" else []
    return [f"{quality.title}, {quality.direction}: {quality.how} What it misses: {quality.misses}", *judge]


def _seeds(means: Sequence[float], quality: Metric | Check) -> str:
    """The mean of each seed; nothing for a single one, whose mean is the row's."""
    if len(means) < 2:
        return ""
    return f"<br><small>seeds {' / '.join(f'{quality.factor * mean:.{quality.digits}f}' for mean in means)}</small>"


def _where(study: Study) -> str:
    """The training device, and the device of the memory and speed measurements if it is another one."""
    made = study.environment
    device = made.get("cpu") if made.get("device", "CPU") == "CPU" else made["device"]
    trained = [part for part in (device, made.get("precision")) if part]
    text = f"Trained on {', '.join(trained)}, torch {made.get('torch', 'unknown')}." if trained else ""
    measured = {(cost["device"], cost["precision"]) for cost in study.costs.values() if "device" in cost}
    elsewhere = sorted(f"{device}, {precision}" for device, precision in measured if device != made.get("device"))
    return f"{text} Memory and speed: {'; '.join(elsewhere)}." if elsewhere else text


def _plain(mean: Interval | None) -> str:
    return "–" if mean is None else f"{100 * mean.mean:.1f}"


def _recovered(share: Interval | None) -> str:
    return "–" if share is None else f"{interval(share, digits=0)} %"


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _times(value: float | None, scale: float, unit: str, digits: int) -> str:
    return "–" if value is None else f"{value * scale:,.{digits}f} {unit}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


def _above(interval: Interval) -> float:
    return 0.0 if interval.high is None else interval.high - interval.mean


def _below(interval: Interval) -> float:
    return 0.0 if interval.low is None else interval.mean - interval.low
