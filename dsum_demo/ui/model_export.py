"""The part of the Models tab about models outside the app: the code that loads one, and its export."""

from __future__ import annotations

import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from types import MethodType

import gradio as gr

from dsum_demo.errors import DsumError, InputError, Stopped
from dsum_demo.export.formats import FORMATS, find_format, unavailable_because
from dsum_demo.export.runner import ExportReport, export
from dsum_demo.models.registry import Registry
from dsum_demo.models.snippet import snippet_of
from dsum_demo.ui.html import html_table, notice
from dsum_demo.ui.long_task import StopFlag, connect_long_task
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import CHOICE, QUIET, Update
from dsum_demo.utils.formatting import size

ABOUT = (
    "### Outside the app\n\nThis code loads a model with plain transformers and PEFT, and writes what the app "
    "writes. Paths are relative to the folder of dsum."
)
ABOUT_EXPORT = (
    "*Export* writes the model for other programs: safetensors with the adapter merged, or GGUF for llama.cpp and "
    "Ollama. It then loads the files in a process without dsum and compares 20 summaries with the app's."
)
REDRAW_SECONDS = 0.5


def build_model_export(tab: gr.Tab, services: Services, owner: gr.BrowserState) -> gr.Dropdown:
    """Build the part and its events, and return the chooser of the model.

    A public app shows the code only: an export takes gigabytes of its disk.
    """
    registry = services.registry.seen_by("")
    first = next(spec.name for spec in reversed(registry.default_family.variants) if spec.source)
    gr.Markdown(ABOUT)
    model = gr.Dropdown(model_names(registry), value=first, label="Model", elem_id="snippet-model", min_width=220)
    code = gr.HTML(show_code(services, first, ""), elem_id="snippet")
    model.change(MethodType(show_code, services), [model, owner], code, **QUIET)
    tab.select(MethodType(refresh_choices, services), owner, model, **QUIET)
    if services.settings.public:
        return model
    gr.Markdown(ABOUT_EXPORT)
    with gr.Row():
        form = gr.Dropdown(
            [(f"{name}: {each.title}", name) for name, each in FORMATS.items()], value="merged", label="Format",
            filterable=False, elem_id="export-format", min_width=260,
        )  # fmt: skip
        folder = gr.Textbox(
            default_folder(services, first, "merged"), label="Folder (new or empty, in the data folder)",
            elem_id="export-folder", min_width=260,
        )  # fmt: skip
        with gr.Column(scale=0, min_width=130):
            start = gr.Button("Export", variant="primary", elem_id="export-start")
            stop = gr.Button("Stop", interactive=False, elem_id="export-stop")
    result = gr.HTML(elem_id="export-result")
    gr.on(
        [model.change, form.change], MethodType(describe_format, services), [model, form], [folder, start, result],
        **CHOICE,
    )  # fmt: skip
    connect_long_task(start, stop, MethodType(run_export, services), [model, form, folder], result, "Exporting…")
    return model


def model_names(registry: Registry) -> list[str]:
    return [spec.name for family in registry.families() for spec in family.variants if spec.source]


def refresh_choices(services: Services, owner: str) -> Update:
    return gr.update(choices=model_names(services.registry.seen_by(owner)))


def show_code(services: Services, name: str, owner: str) -> str:
    """The code for a model that this visitor may see, with a Copy button, or the reason against it."""
    registry = services.registry.seen_by(owner)
    try:
        return code_block(snippet_of(registry, registry.spec(name)))
    except DsumError as error:
        return notice(services.told(error), "error")


def code_block(code: str) -> str:
    """Code or a command with a Copy button."""
    return (
        f'<div class="command"><code class="text">{escape(code)}</code>'
        '<button class="copy" type="button">Copy</button></div>'
    )


def default_folder(services: Services, name: str, form: str) -> str:
    return str(services.settings.data_dir / "exports" / f"{name}-{form}")


def own_folder(services: Services, folder: str) -> Path:
    """The folder in the app's data folder: a page that someone else opens must not write anywhere else. Raises
    InputError for one outside it.
    """
    data = services.settings.data_dir.resolve()
    try:
        found = (data / folder).resolve()
    except ValueError:  # a null character
        raise InputError(f"{folder!r} is not the name of a folder; give another one.") from None
    if not found.is_relative_to(data) or found == data:
        raise InputError(
            f"{found} is not in the app's data folder; give one in {data}. `dsum export --out` writes to any folder."
        )
    return found


def describe_format(services: Services, name: str, form: str) -> tuple[str, Update, str]:
    """(folder, Export button, the size or why the model cannot have this format)."""
    registry = services.registry
    spec = registry.spec(name)
    reason = unavailable_because(registry, spec, form)
    parameters = spec.parameters or registry.family(spec.family).parameters
    about = f"About {size(parameters * find_format(form).bytes_per_weight)}." if parameters else ""
    return (
        default_folder(services, name, form),
        gr.update(interactive=not reason),
        notice(reason, "warning") if reason else notice(about),
    )


def run_export(services: Services, name: str, form: str, folder: str, running: StopFlag | None) -> Iterator[str]:
    """Yield the progress, then the files and the check. A stop or an error leaves no files."""
    stop, drawn = running or StopFlag(), 0.0
    try:
        spec = services.registry.spec(name)
        out = own_folder(services, folder.strip() or default_folder(services, name, form))
        for progress in export(services.store, spec, form, out, services.samples, should_stop=stop.event.is_set):
            if progress.report:
                yield report_html(progress.report)
            elif time.monotonic() - drawn >= REDRAW_SECONDS:
                drawn = time.monotonic()
                share = "" if progress.share is None else f" ({100 * progress.share:.0f} %)"
                yield notice(f"{progress.text}{share}")
    except Stopped:
        yield notice("Stopped; no files were kept.")
    except DsumError as error:
        yield notice(services.told(error), "error")


def report_html(report: ExportReport) -> str:
    """The folder, its files with their sizes, the check, and the summaries that differ."""
    files = html_table(
        ("File", "Size"), [(f"<code>{escape(name)}</code>", size(count)) for name, count in report.files], "files"
    )
    folder = f'<p class="hint">Written to <code>{escape(str(report.folder))}</code></p>'
    different = [(pair.id, escape(pair.app), escape(pair.export)) for pair in report.check.different]
    rows = html_table(("Dialogue", "The app", "The export"), different) if different else ""
    return notice(report.check.text) + folder + files + rows
