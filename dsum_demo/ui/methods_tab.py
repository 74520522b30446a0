"""The Methods tab: what each fine-tuning method gives and what it costs, as a study measured it. Trains nothing."""

from __future__ import annotations

from html import escape
from math import log10
from pathlib import Path
from types import MethodType
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from dsum_demo.errors import DataError
from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.metrics.rouge import ROUGE_TITLES, ROUGE_TYPES
from dsum_demo.study.report import (
    COSTS,
    STUDY_FILE,
    MethodCost,
    MethodRow,
    Study,
    finding,
    method_rows,
    original_f1,
    pareto_front,
    read_study,
)
from dsum_demo.training.methods import METHODS
from dsum_demo.ui.appearance import KINDS, LOOKS
from dsum_demo.ui.charts import GRID, dressed
from dsum_demo.ui.html import interval
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import QUIET
from dsum_demo.utils.files import child_folders

OTHER = "#7a5bc4"
PLOT = (400.0, 220.0)  # pixels between the outermost points, of a figure that is rather narrow
Box = tuple[float, float, float, float]
# Where a name may stand, the best first: how many of its widths and pixels to the right of its point, how far above.
SIDES = {
    "middle right": (0.0, 10, -8), "middle left": (-1.0, -10, -8),
    "top right": (0.0, 0, 6), "top left": (-1.0, 0, 6), "bottom right": (0.0, 0, -22), "bottom left": (-1.0, 0, -22),
    "top center": (-0.5, 0, 6), "bottom center": (-0.5, 0, -22),
}  # fmt: skip
EMPTY = (
    "Here stands what each fine-tuning method gives and what it costs, once a study has measured it. "
    "`dsum study --out dsum-data/studies/mine` runs one: every method on the same base, data, budget and seeds."
)
ABOUT = (
    "Each point is a method: the higher the better its summaries, the further left the cheaper. Nothing on the dotted "
    "line is beaten by another method in both."
)


def build_methods_tab(page: gr.Blocks, services: Services) -> None:
    about = gr.Markdown(EMPTY, elem_id="methods-about")
    with gr.Row(visible=False) as choices:
        study = gr.Dropdown(label="Study", elem_id="study", filterable=False, min_width=220)
        cost = gr.Radio(
            [(each.title, each.key) for each in COSTS], value=COSTS[0].key, label="Cost", elem_id="methods-cost",
            scale=3, min_width=300,
        )  # fmt: skip
        rouge = gr.Radio(
            [(ROUGE_TITLES[name], name) for name in ROUGE_TYPES[:3]], value="rouge1", label="Quality",
            elem_id="methods-quality", scale=2, min_width=260,
        )  # fmt: skip
    sentence = gr.HTML(elem_id="methods-finding")
    chart = gr.Plot(show_label=False, visible=False, elem_id="methods-chart")
    table = gr.HTML(elem_id="methods-table")
    gr.on(
        [study.change, cost.change, rouge.change],
        MethodType(show, services), [study, cost, rouge], [sentence, chart, table], **QUIET,
    )  # fmt: skip
    page.load(MethodType(choose_study, services), None, [about, choices, study], **QUIET)


def studies(services: Services) -> dict[str, Path]:
    """Folders that hold a study, by name: those of the data folder, and the shipped one."""
    found: dict[str, Path] = {}
    for parent in (services.settings.data_dir / "studies", services.settings.root / "studies"):
        found |= {folder.name: folder for folder in child_folders(parent) if (folder / STUDY_FILE).is_file()}
    return found


def choose_study(services: Services) -> tuple[Any, Any, Any]:
    """What the tab begins with: its sentence, whether there is anything to choose, and the study that is shown."""
    names = list(studies(services))
    return (
        ABOUT if names else EMPTY,
        gr.update(visible=bool(names)),
        gr.update(choices=names, value=names[-1] if names else None, visible=len(names) > 1),
    )


def show(services: Services, name: str | None, cost: str, rouge: str) -> tuple[str, Any, str]:
    folder = studies(services).get(name or "")
    if folder is None:
        return "", gr.update(visible=False), ""
    try:
        study = read_study(folder)
    except DataError as error:
        return f'<div class="notice error">{escape(str(error))}</div>', gr.update(visible=False), ""
    rows = method_rows(study)
    if not rows:
        return "<p>No method of this study is done yet.</p>", gr.update(visible=False), ""
    axis = next(each for each in COSTS if each.key == cost)
    figure = methods_chart(study, rows, axis, rouge)
    return f"<p>{escape(finding(study, rows))}</p>", gr.update(value=figure, visible=True), methods_table(study, rows)


def methods_chart(study: Study, rows: list[MethodRow], cost: MethodCost, rouge: str) -> go.Figure:
    """Quality (F1 x 100, with 95 % intervals) against one cost, the Pareto front, and lines for original and full."""
    figure = go.Figure()
    measured = [row for row in rows if getattr(row, cost.key) is not None]
    front = pareto_front(measured, cost.key, rouge)
    wide = cost.key in ("trained_parameters", "checkpoint_bytes")
    sides = _sides(measured, cost, rouge, logarithmic=wide)
    figure.add_scatter(
        name="Pareto front", mode="lines", hoverinfo="skip", line={"color": "#8a929e", "dash": "dot", "width": 2},
        x=[getattr(row, cost.key) * cost.scale for row in front], y=[100 * row.f1[rouge].mean for row in front],
    )  # fmt: skip
    for title, color, symbol, chosen in (
        ("Full fine-tuning", LOOKS[KINDS[1]].color, "square", [r for r in measured if r.method == "full"]),
        ("LoRA and its kin", LOOKS[KINDS[2]].color, "diamond", [r for r in measured if METHODS[r.method].strength]),
        ("Other methods", OTHER, "circle",
         [r for r in measured if r.method != "full" and not METHODS[r.method].strength]),
    ):  # fmt: skip
        if not chosen:
            continue
        intervals = [row.f1[rouge] for row in chosen]
        figure.add_scatter(
            name=title,
            mode="markers+text",
            x=[getattr(row, cost.key) * cost.scale for row in chosen],
            y=[100 * each.mean for each in intervals],
            error_y={
                "array": [_above(each) for each in intervals],
                "arrayminus": [_below(each) for each in intervals],
                "thickness": 1, "width": 3, "color": color,
            },
            text=[_short(row) for row in chosen],
            hovertext=[row.title for row in chosen],
            textposition=[sides[row.method] for row in chosen],
            cliponaxis=False,
            marker={"color": color, "symbol": symbol, "size": 12},
            hovertemplate="%{hovertext}<br>%{y:.1f} F1 × 100<br>%{x:.3g} " + cost.unit + "<extra></extra>",
        )  # fmt: skip
    for name, f1, look, end in (
        ("original", original_f1(study), LOOKS[KINDS[0]], "right"),
        ("full", next((row.f1 for row in rows if row.method == "full"), {}), LOOKS[KINDS[1]], "left"),
    ):
        if f1:
            figure.add_hline(
                y=100 * f1[rouge].mean, line={"color": look.color, "dash": "dash", "width": 1},
                annotation={"text": name, "font": {"size": 12}, "xanchor": end, "x": float(end == "right")},
            )  # fmt: skip
    figure.update_xaxes(
        title={"text": f"{cost.title} ({cost.unit})"}, type="log" if wide else "linear", dtick=1 if wide else None,
        gridcolor=GRID, zeroline=False,
    )  # fmt: skip
    dressed(figure, f"{ROUGE_TITLES[rouge]} F1 × 100", height=440, margin={"l": 48, "r": 12, "t": 12, "b": 48})
    # Points may lie close together: this one can be zoomed.
    figure.update_xaxes(fixedrange=False)
    figure.update_yaxes(fixedrange=False)
    figure.update_layout(modebar={"remove": ["select2d", "lasso2d", "autoScale2d"]})
    return figure


def _sides(rows: list[MethodRow], cost: MethodCost, rouge: str, logarithmic: bool) -> dict[str, str]:
    """On which side of its point each method's name stands: one after the other, where least of it is covered.

    Reckoned for PLOT's size; on a wider figure there is more room.
    """
    across = [getattr(row, cost.key) for row in rows]
    xs = _spread([log10(value) for value in across] if logarithmic else across, PLOT[0])
    ys = _spread([row.f1[rouge].mean for row in rows], PLOT[1])
    covered = [(x - 8, y - 8, x + 8, y + 8) for x, y in zip(xs, ys, strict=True)]
    found = {}
    for row, x, y in sorted(zip(rows, xs, ys, strict=True), key=lambda each: -each[2]):
        width = 7.5 * len(_short(row))
        boxes = {
            side: (x + widths * width + aside, y + low, x + (1 + widths) * width + aside, y + low + 16)
            for side, (widths, aside, low) in SIDES.items()
        }
        lost = {side: sum(_shared(box, other) for other in covered) + _outside(box) for side, box in boxes.items()}
        side = min(lost, key=lost.__getitem__)
        found[row.method] = side
        covered.append(boxes[side])
    return found


def _short(row: MethodRow) -> str:
    return row.title.removesuffix(" tuning").removesuffix(" fine-tuning")


def _spread(values: list[float], size: float) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [size * (value - low) / (high - low) if high > low else size / 2 for value in values]


def _shared(one: Box, other: Box) -> float:
    """How much two boxes (left, low, right, high) cover of each other."""
    return max(0.0, min(one[2], other[2]) - max(one[0], other[0])) * max(
        0.0, min(one[3], other[3]) - max(one[1], other[1])
    )


def _outside(box: Box) -> float:
    """What would be cut off by the figure's edges counts like being covered."""
    return (max(0.0, -box[0] - 20) + max(0.0, box[2] - PLOT[0] - 20)) * (box[3] - box[1])


def methods_table(study: Study, rows: list[MethodRow]) -> str:
    """The figures behind the chart, best ROUGE-1 first; the base as it is in the last line."""
    body = "".join(
        f'<tr><td title="{escape(METHODS[row.method].explanation)}"><b>{escape(row.title)}</b><br>'
        f"<small>{escape(METHODS[row.method].paper)}</small></td>"
        f"<td>{interval(row.f1['rouge1'])}<br><small>seeds {' / '.join(f'{100 * each:.1f}' for each in row.spread)}"
        f"</small></td><td>{_plain(row.f1['rouge2'])}</td><td>{_plain(row.f1['rougeL'])}</td>"
        f"<td>{_recovered(row.recovered) if row.method != 'full' else '–'}</td>"
        f"<td>{_count(row.trained_parameters)}<br><small>{100 * row.share:.2f} %</small></td>"
        f"<td>{_times(row.checkpoint_bytes, 1e-6, 'MB', 2)}</td><td>{_times(row.peak_memory_bytes, 1e-9, 'GB', 2)}</td>"
        f"<td>{_times(row.samples_per_second, 1, '/s', 1)}</td><td>{row.learning_rate:g}</td></tr>"
        for row in rows
        if row.share is not None
    )
    original = original_f1(study)
    if original:
        body += (
            f"<tr><td><b>Original</b><br><small>as it is, untuned</small></td><td>{interval(original['rouge1'])}</td>"
            f"<td>{_plain(original['rouge2'])}</td><td>{_plain(original['rougeL'])}</td>" + "<td>–</td>" * 6 + "</tr>"
        )
    heads = (
        "Method", "ROUGE-1 (95 % interval)", "ROUGE-2", "ROUGE-L", "Recovers of full’s gain", "Trained", "Checkpoint",
        "Peak memory", "Dialogues", "Learning rate",
    )  # fmt: skip
    said = study.signature.get("text", "")
    return (
        '<div class="scroll"><table class="scores methods"><thead><tr>'
        + "".join(f"<th>{escape(head)}</th>" for head in heads)
        + f'</tr></thead><tbody>{body}</tbody></table></div><p class="hint">F1 × 100. {escape(said)}. '
        + f"{escape(_where(study))}</p>"
    )


def _where(study: Study) -> str:
    """What trained, and, where that was another device, what memory and speed were measured on."""
    made = study.environment
    device = made.get("cpu") if made.get("device", "CPU") == "CPU" else made["device"]
    trained = [part for part in (device, made.get("precision")) if part]
    text = f"Trained on {', '.join(trained)}, torch {made.get('torch', 'unknown')}." if trained else ""
    measured = {(cost["device"], cost["precision"]) for cost in study.costs.values() if "device" in cost}
    elsewhere = sorted(f"{device}, {precision}" for device, precision in measured if device != made.get("device"))
    return f"{text} Memory and speed: {'; '.join(elsewhere)}." if elsewhere else text


def _plain(interval: Interval) -> str:
    return f"{100 * interval.mean:.1f}"


def _recovered(share: Interval | None) -> str:
    return "–" if share is None else f"{interval(share, digits=0)} %"


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _times(value: float | None, scale: float, unit: str, digits: int) -> str:
    return "–" if value is None else f"{value * scale:,.{digits}f} {unit}"


def _above(interval: Interval) -> float:
    return 0.0 if interval.high is None else 100 * (interval.high - interval.mean)


def _below(interval: Interval) -> float:
    return 0.0 if interval.low is None else 100 * (interval.mean - interval.low)
