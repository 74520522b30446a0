"""Plotly figures of a review: worths, pairs, metrics against people. Shares are shown x 100."""

from __future__ import annotations

from html import escape
from textwrap import wrap

import plotly.graph_objects as go

from dsum_demo.review.metric_agreement import PEOPLE
from dsum_demo.review.records import Review
from dsum_demo.review.report import ReviewReport
from dsum_demo.ui.appearance import HUMAN, system_looks, system_titles
from dsum_demo.ui.charts import GRID, LINE, Chart, bar_marker, dressed, error_bars

TIE_COLOR = "rgba(136,136,136,0.45)"


def worths_chart(review: Review, report: ReviewReport) -> Chart:
    """Bars of the Davidson model's worths with intervals, and marks of the worths for texts of equal length."""
    if not report.systems:
        return Chart("There are no rankings yet.", None)
    names, looks = _titles(review), system_looks(review.systems)
    figure = go.Figure()
    for system in report.systems:
        figure.add_bar(
            x=[names[system.name]], y=[100 * system.worth.mean], error_y=error_bars([system.worth]),
            marker=bar_marker(looks[system.name]), width=0.55, showlegend=False,
            hovertemplate="%{x}: %{y:.1f} %<extra>worth</extra>",
        )  # fmt: skip
    figure.add_scatter(
        name="for texts of equal length", mode="markers",
        x=[names[system.name] for system in report.systems],
        y=[100 * system.adjusted_worth.mean for system in report.systems],
        marker={"symbol": "diamond-open", "size": 12, "color": LINE, "line": {"width": 2}},
        hovertemplate="%{x}: %{y:.1f} %<extra>for texts of equal length</extra>",
    )  # fmt: skip
    dressed(figure, "worth, %", height=320, margin={"l": 52, "r": 10, "t": 12, "b": 34})
    figure.update_layout(yaxis={"rangemode": "tozero"})
    best = max(report.systems, key=lambda system: system.worth.mean)
    return Chart(
        f"{names[best.name]} has the largest worth, {100 * best.worth.mean:.0f} %; it is the largest in "
        f"{100 * best.p_best:.0f} % of resamples.",
        figure,
    )


def pairs_chart(review: Review, report: ReviewReport) -> Chart:
    """One stacked bar per pair: verdicts for the first system, ties, verdicts for the second."""
    if not report.pairs:
        return Chart("There are no rankings yet.", None)
    names, looks = _titles(review), system_looks(review.systems)
    figure = go.Figure()
    shown: set[str] = set()
    for place, pair in enumerate(reversed(report.pairs)):
        total = pair.won + pair.tied + pair.lost
        for name, count, title in (
            (pair.first, pair.won, names[pair.first]),
            ("", pair.tied, "Tie"),
            (pair.second, pair.lost, names[pair.second]),
        ):  # fmt: skip
            marker = bar_marker(looks[name]) if name else {"color": TIE_COLOR}
            figure.add_bar(
                name=title, orientation="h", x=[100 * count / total], y=[place], width=0.6, marker=marker,
                text=[str(count) if count else ""], textposition="inside", insidetextanchor="middle", textangle=0,
                legendgroup=title, showlegend=title not in shown,
                hovertemplate=f"{title}: {count} of {total} verdict{'' if total == 1 else 's'}<extra></extra>",
            )  # fmt: skip
            shown.add(title)
    figure.update_xaxes(zeroline=False)
    dressed(figure, "", height=110 + 52 * len(report.pairs), margin={"l": 8, "r": 10, "t": 12, "b": 40})
    labels = [f"{names[pair.first]}<br>against {names[pair.second]}" for pair in reversed(report.pairs)]
    figure.update_layout(
        barmode="stack",
        uniformtext={"minsize": 11, "mode": "hide"},
        xaxis={"title": {"text": "verdicts, %"}, "range": [0, 100], "gridcolor": GRID},
        yaxis={"tickvals": list(range(len(labels))), "ticktext": labels, "showgrid": False, "automargin": True},
    )
    decided = sum(pair.decision.decided for pair in report.pairs)
    return Chart(f"{decided} of {len(report.pairs)} differences {'is' if decided == 1 else 'are'} decided.", figure)


def metrics_chart(report: ReviewReport) -> Chart:
    """How often each metric and check agrees with people, with intervals and a line at chance."""
    if not report.metrics:
        return Chart("No metric can be compared with people: there are no preferences yet.", None)
    rows = list(reversed(report.metrics))
    figure = go.Figure()
    figure.add_scatter(
        mode="markers", x=[100 * row.share.mean for row in rows], y=list(range(len(rows))), showlegend=False,
        error_x=error_bars([row.share for row in rows]),
        marker={
            "size": 10, "color": [HUMAN.color if row.name == PEOPLE else "#2b7bd6" for row in rows],
            "symbol": ["diamond" if row.name == PEOPLE else "circle" for row in rows],
        },
        customdata=[[escape(row.sentence, quote=False)] for row in rows],
        hovertemplate="%{customdata[0]}<extra></extra>",
    )  # fmt: skip
    figure.add_vline(x=50, line={"color": LINE, "width": 2, "dash": "dash"})
    figure.update_xaxes(zeroline=False)
    dressed(figure, "", height=80 + 36 * len(rows), margin={"l": 8, "r": 10, "t": 12, "b": 40})
    figure.update_layout(
        xaxis={"title": {"text": "% of pairs"}, "range": [0, 100], "gridcolor": GRID},
        yaxis={
            "tickvals": list(range(len(rows))), "ticktext": [_wrapped(row.title) for row in rows],
            "showgrid": False, "automargin": True, "range": [-0.6, len(rows) - 0.4],
        },
    )  # fmt: skip
    best = max((row for row in report.metrics if row.name != PEOPLE), key=lambda row: row.share.mean, default=rows[-1])
    return Chart(best.sentence, figure)


def _wrapped(title: str) -> str:
    """A title in short lines, so that the plot has room on a phone."""
    return "<br>".join(escape(line, quote=False) for line in wrap(title, 20))


def _titles(review: Review) -> dict[str, str]:
    """Titles by system name, escaped: plotly renders them as HTML."""
    return {name: escape(title, quote=False) for name, title in system_titles(review.systems).items()}
