"""A judge's scores of the summaries on the screen, computed on request, with how far to trust each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from types import MethodType

import gradio as gr
from gradio.events import Dependency

from dsum_demo.comparison import Comparison, shown_bits
from dsum_demo.errors import DsumError, InputError
from dsum_demo.judge.judged_texts import TITLES, JudgedTexts
from dsum_demo.judge.judges import DO_NOT_RANK, judge_lines
from dsum_demo.ui.evaluate.form import judge_choices
from dsum_demo.ui.html import html_table, notice
from dsum_demo.ui.long_task import StopFlag, connect_long_task
from dsum_demo.ui.services import Services

ABOUT = (
    "A language model on this machine scores the summaries without references: by how much likelier the dialogue makes "
    "them, and whether they fit it better than with two speakers exchanged."
)


@dataclass(frozen=True)
class JudgingPanel:
    """found: the latest values, which are added to the comparison if it still is on the screen."""

    panel: gr.Accordion
    result: gr.HTML
    judge: gr.Dropdown
    start: gr.Button
    stop: gr.Button
    found: gr.State


def build_judging(services: Services, comparison: Comparison | None) -> JudgingPanel:
    choices = [(title, name) for title, name in judge_choices(services) if name]
    first = services.chooser.name if services.chooser else choices[0][1] if choices else None
    with gr.Accordion(
        "Judge without references", open=False, visible=comparison is not None, elem_id="judging"
    ) as panel:
        gr.Markdown(ABOUT, elem_classes="hint")
        with gr.Row():
            judge = gr.Dropdown(choices, value=first, label="Judge", elem_id="judging-judge", min_width=200)
            start = gr.Button(
                "Judge these summaries", interactive=bool(choices), elem_id="judging-start", scale=0, min_width=230
            )
            stop = gr.Button("Stop", interactive=False, elem_id="judging-stop", scale=0, min_width=90)
        result = gr.HTML(elem_id="judging-result")
    return JudgingPanel(panel, result, judge, start, stop, gr.State(None))


def connect_judging(services: Services, panel: JudgingPanel, comparison: gr.State) -> Dependency:
    """Returns the event after which `found` is complete."""
    return connect_long_task(
        panel.start, panel.stop, MethodType(run_judging, services), [panel.judge, comparison],
        [panel.result, panel.found], "Judging…",
    )  # fmt: skip


def run_judging(
    services: Services, name: str | None, comparison: Comparison | None, running: StopFlag | None
) -> Iterator[tuple[str, JudgedTexts | None]]:
    """Yield progress, then the values with the result's HTML; an error or a stop is shown instead."""
    stop = running or StopFlag()
    if comparison is None:
        yield "", None
        return
    texts = comparison.judgeable
    yield notice(f"Judging {len(texts)} texts with {name}, which may take a minute."), None
    try:
        if not texts:
            raise InputError("There is no complete summary to judge.")
        for found in services.judge(
            name or "", comparison.dialogue, list(texts.values()), should_stop=stop.event.is_set
        ):
            yield judged_table(replace(comparison, judged=found)), found
    except DsumError as error:
        yield notice(services.told(error), "" if stop.event.is_set() else "error"), None


def with_judged(comparison: Comparison | None, found: JudgedTexts | None) -> Comparison | None:
    """The comparison with the judge's values; None if they are of another dialogue or of other summaries."""
    if comparison is None or found is None or comparison.dialogue != found.dialogue:
        return None
    complete = found.judgements.keys() >= set(comparison.judgeable.values())
    return replace(comparison, judged=found) if complete else None


def judged_table(comparison: Comparison) -> str:
    """A row per summary and reference; below each value's title the share of swapped speakers that it finds."""
    judged = comparison.judged
    if judged is None:
        return ""
    heads, gray = ["Bits per token, more is better"], set()
    for value, title in TITLES.items():
        share = judged.test.shares.get(value, {}).get("speakers") if judged.test else None
        if share is None:
            trust = "not tested"
        elif share.above_chance:
            trust = f"catches {share.text} of swapped speakers"
        else:
            trust = f"{share.text} of swapped speakers: not better than chance"
        if share is None or not share.above_chance:
            gray.add(value)
        heads.append(f'{escape(title)}<br><span class="hint">{escape(trust)}</span>')
    rows = []
    for title, text in comparison.judgeable.items():
        cells = [(value, shown_bits(bits)) for value, bits in judged.values(text).items()]
        shown = [f'<span class="chance">{bits}</span>' if value in gray else bits for value, bits in cells]
        rows.append([escape(title), *shown])
    verdict = ""
    if not judged.about["can_rank"]:
        verdict = notice(DO_NOT_RANK, "warning")
    elif comparison.preferred:
        verdict = f"<p>The judge prefers the summary of <b>{escape(comparison.preferred)}</b>.</p>"
    lines = "".join(f"<li>{escape(line)}</li>" for line in judge_lines(judged.about))
    return (
        html_table(heads, rows)
        + verdict
        + f'<p class="hint">Judge {escape(judged.about["name"])}, {judged.seconds:.1f} s. In gray: not shown to be '
        "better than chance. Choice is log p(summary | dialogue) + speakers, by which summaries are ranked.</p>"
        f'<details class="how"><summary>How far to trust this judge</summary><ul>{lines}</ul></details>'
    )
