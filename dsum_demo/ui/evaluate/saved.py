"""The Saved and Download views: list, compare and delete saved evaluations, and export the open one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.errors import DsumError, InputError
from dsum_demo.evaluation.background import WITH_TRAINING_DATA, Open, describe
from dsum_demo.evaluation.export import write_exports
from dsum_demo.evaluation.storage import SavedDifference, SavedEvaluation, compare_saved
from dsum_demo.metrics.scores import METRICS
from dsum_demo.ui.evaluate.html_report import html_report
from dsum_demo.ui.evaluate.tables import HOW_DIFFERENCES, day
from dsum_demo.ui.html import change, html_table, notice
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import QUIET, Update

# The files of `write_exports`, in its order, and the HTML report.
FILES = (
    ("CSV", "one row per example and system"),
    ("JSON Lines", "one object per example, with texts, scores and checks"),
    ("JSON", "the report: means, confidence intervals, differences, slices, warnings"),
    ("Markdown", "tables for a README or a pull request"),
    ("HTML", "a page with charts and texts that works offline"),
)
HOW_FILES = "Every file includes the ROUGE signature. Cells that a spreadsheet would run as a formula are escaped."
HOW_COMPARED = "Compares two evaluations of the same data per dialogue: the second minus the first."


def build_downloads(services: Services, key: gr.State) -> None:
    """The Download tab, inside the caller's gr.Tabs; files are written when it is opened."""
    with gr.Tab("Download", id="download") as tab:
        gr.HTML(f"<p>{HOW_FILES}</p>", elem_classes="hint")
        problem = gr.HTML(elem_id="download-problem")
        buttons = []
        for name, what in FILES:
            with gr.Row(equal_height=True, elem_classes="download-row"):
                buttons.append(
                    gr.DownloadButton(
                        name, interactive=False, size="sm", scale=0, min_width=150,
                        elem_id=f"download-{name.lower().replace(' ', '-')}",
                    )
                )  # fmt: skip
                gr.HTML(f"<p>{what}</p>", elem_classes="hint", min_width=200)
    tab.select(MethodType(write_files, services), key, [problem, *buttons], **QUIET)


def write_files(services: Services, key: str) -> Iterator[tuple[Update, ...]]:
    """The files of the open evaluation. gradio keeps a copy of each for an hour, so ours are deleted immediately."""
    waiting = [gr.update(interactive=False)] * len(FILES)
    try:
        opened = services.evaluations.get(key)
        if opened is None:
            yield (notice("No evaluation is open; choose one above."), *waiting)
            return
        yield (notice("Writing the files…"), *waiting)
        opened = services.evaluations.with_texts(opened)
        with tempfile.TemporaryDirectory() as folder:
            files = write_exports(opened.evaluation, opened.report, Path(folder))
            page = Path(folder, "report.html")
            page.write_text(html_report(opened.evaluation, opened.report), encoding="utf-8")
            yield ("", *(gr.update(value=str(file), interactive=True) for file in (*files[:4], page)))
    except (DsumError, OSError) as error:
        yield (notice(f"Cannot write the files: {error}", "error"), *waiting)


def build_saved(services: Services, key: gr.State, chooser: gr.Dropdown) -> list[Any]:
    """The Saved tab, inside the caller's gr.Tabs; returns the components that `fill_saved` updates."""
    public = services.settings.public
    with gr.Tab("Saved", id="saved") as tab:
        listed = gr.HTML(elem_id="saved-list")
        with gr.Row(equal_height=True):
            first = gr.Dropdown([], label="Compare", filterable=False, elem_id="saved-first", min_width=240)
            second = gr.Dropdown([], label="with", filterable=False, elem_id="saved-second", min_width=240)
            compare = gr.Button("Compare", elem_id="saved-compare", scale=0, min_width=120)
        gr.HTML(f"<p>{HOW_COMPARED}</p>", elem_classes="hint")
        compared = gr.HTML(elem_id="saved-compared")
        with gr.Row(visible=not public):
            delete = gr.Button(
                "Delete the open evaluation…", size="sm", variant="stop", elem_id="saved-delete", scale=0, min_width=240
            )
        with gr.Column(visible=False, elem_id="saved-question") as question:
            asked = gr.HTML()
            with gr.Row():
                yes = gr.Button("Delete it", variant="stop", size="sm", scale=0, min_width=120, elem_id="saved-yes")
                no = gr.Button("Keep it", size="sm", scale=0, min_width=120, elem_id="saved-no")
        said = gr.HTML(elem_id="saved-said")
    lists = [listed, first, second]
    tab.select(MethodType(fill_saved, services), None, lists, **QUIET)
    compare.click(MethodType(compare_two, services), [first, second], compared, **QUIET)
    delete.click(MethodType(ask_delete, services), key, [question, asked, said], **QUIET)
    no.click(lambda: gr.update(visible=False), None, question, **QUIET)
    yes.click(MethodType(delete_open, services), key, [question, said, *lists, chooser], **QUIET)
    return lists


def fill_saved(services: Services) -> tuple[Update, ...]:
    """(the list, the two choosers)."""
    saved = services.evaluations.saved.list()
    choices = [(label(one), one.name) for one in saved if not one.reason]
    return saved_table(saved), gr.update(choices=choices), gr.update(choices=choices)


def label(saved: SavedEvaluation) -> str:
    """A line that distinguishes saved evaluations."""
    part = "" if saved.finished else ", incomplete"
    shipped = ", shipped" if saved.shipped else ""
    systems = f"{len(saved.systems)} system{'' if len(saved.systems) == 1 else 's'}"
    family = f" · {saved.family}" if saved.family else ""
    return f"{describe(saved.data)}{family} · n={saved.n:,}{part} · {systems} · {day(saved.created)}{shipped}"


def saved_table(saved: list[SavedEvaluation]) -> str:
    if not saved:
        return '<p class="empty">No saved evaluations yet. Evaluations are saved automatically.</p>'
    rows = []
    for one in saved:
        if one.reason:
            rows.append([escape(one.name), f'<span class="wrong">{escape(one.reason)}</span>', "", "", "", ""])
            continue
        scores = ", ".join(f"{escape(name)} {100 * value:.1f}" for name, value in one.rouge1)
        scores += f'<p class="hint signature">{escape(one.signature)}</p>'
        state = "shipped" if one.shipped else "yours" if one.finished else "yours, incomplete"
        rows.append(
            [escape(one.name), escape(describe(one.data)), f"{one.n:,}", scores, escape(day(one.created)), state]
        )
    return html_table(["Name", "Data", "n", "ROUGE-1", "Created", ""], rows, "saved")


def compare_two(services: Services, first: str | None, second: str | None) -> str:
    """Paired differences of two evaluations over their common examples."""
    try:
        if not first or not second:
            raise InputError("Choose two evaluations to compare.")
        if first == second:
            raise InputError("Both are the same evaluation; choose two different ones.")
        one, other = (_open(services, key) for key in (first, second))
        return differences(compare_saved(one.evaluation, other.evaluation), one, other)
    except DsumError as error:
        return notice(str(error), "error")


def _open(services: Services, key: str) -> Open:
    opened = services.evaluations.get(key)
    if opened is None:
        raise InputError(f"There is no evaluation {key!r}; choose one from the list.")
    return opened


def differences(found: list[SavedDifference], first: Open, second: Open) -> str:
    rows = [
        [
            escape(d.second if d.first == d.second else f"{d.second} − {d.first}"),
            f"{d.n:,}",
            *(change(d.f1.get(name)) for name in METRICS),
        ]
        for d in found
    ]
    signature = f"{first.report.signature.text}" if first.report.signature else ""
    return (
        html_table(["Second minus first", "n", *(escape(metric.heading) for metric in METRICS.values())], rows)
        + f'<p class="hint">{HOW_DIFFERENCES}</p><p class="hint signature">{escape(signature)}</p>'
    )


def ask_delete(services: Services, key: str) -> tuple[Update, ...]:
    """Ask for confirmation before deleting the open evaluation. Shipped ones cannot be deleted."""
    closed = gr.update(visible=False)
    try:
        opened = services.evaluations.get(key)
        if opened is None:
            return closed, "", notice("No evaluation is open.")
        if opened.shipped:
            return closed, "", notice(f"{opened.title} comes with the app and cannot be deleted.")
    except DsumError as error:
        return closed, "", notice(str(error), "error")
    n = len(opened.whole.examples)
    question = f"Delete {key.removesuffix(WITH_TRAINING_DATA)} ({opened.title}, {n:,} examples)? This cannot be undone."
    return gr.update(visible=True), notice(question, "warning"), ""


def delete_open(services: Services, key: str) -> tuple[Update, ...]:
    """Delete it and open the newest remaining one."""
    try:
        if services.settings.public:
            raise InputError("On a public page nothing is saved, so there is nothing to delete.")
        key = key.removesuffix(WITH_TRAINING_DATA)
        services.evaluations.saved.delete(key)
        services.evaluations.close(key)
    except DsumError as error:
        return (gr.update(visible=False), notice(str(error), "error"), *fill_saved(services), gr.skip())
    chooser = chooser_update(services, None)
    return gr.update(visible=False), notice(f"Deleted {key}."), *fill_saved(services), chooser


def chooser_update(services: Services, wanted: str | None, run_key: str = "", run_title: str = "") -> Update:
    """The chooser of evaluations with `wanted` selected, or the newest one if it does not exist."""
    choices = [(label(one), one.name) for one in services.evaluations.saved.list() if not one.reason]
    if run_key.startswith("run:"):
        choices.insert(0, (f"{run_title}, new and not saved", run_key))
    names = [name for _, name in choices]
    value = wanted if wanted in names else names[0] if names else None
    return gr.update(choices=choices, value=value)
