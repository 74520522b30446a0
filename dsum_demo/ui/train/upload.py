"""Uploaded training data: stores the file, maps its columns, and previews its rows and their problems."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Callable, Mapping
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from dsum_demo.data.columns import describe_guess, guess_columns, map_columns
from dsum_demo.data.sources import DIALOGSUM
from dsum_demo.data.tables import PACKED_ENDINGS, read_table
from dsum_demo.errors import DataError, DsumError, ModelError
from dsum_demo.models.loading import load_tokenizer
from dsum_demo.models.registry import Registry
from dsum_demo.runs.limits import PUBLIC
from dsum_demo.runs.queue import source_title
from dsum_demo.training.dataset import Preview, preview, sample_csv
from dsum_demo.ui.columns import ROLES, fill_choosers, hide_choosers
from dsum_demo.ui.html import notice
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import Update
from dsum_demo.ui.train.form import PLACE, UPLOAD
from dsum_demo.utils.files import safe_name
from dsum_demo.utils.formatting import quantity

SHOWN_PROBLEMS = 30
SHOWN_CHARS = 160


def keep_upload(file: Path, folder: Path, max_rows: int | None = None) -> Path:
    """A permanent copy in `folder`, because gradio deletes uploads after an hour. The same file is stored once.

    Raises DataError for a file that is not a table or has more than `max_rows` rows.
    """
    ending = next(
        (kind for kind in sorted(PACKED_ENDINGS, key=len, reverse=True) if file.name.lower().endswith(kind)), None
    )
    if ending is None:
        raise DataError(f"{file.name} has an unsupported file type; use one of: {', '.join(PACKED_ENDINGS)}.")
    rows = len(read_table(file))
    if max_rows is not None and rows > max_rows:
        raise DataError(f"{file.name} has {rows:,} rows; this Space allows at most {max_rows:,}.")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    stem = safe_name(file.name[: -len(ending)]) or "dialogues"
    kept = folder / f"{digest}__{stem}{ending}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not kept.exists():
        shutil.copyfile(file, kept)
    return kept


def take_upload(
    services: Services,
    file: str | None,
    owner: str,
    described: Mapping[str, Any],
    source: str,
    uploaded: str,
    *form: Any,
) -> tuple[Update, ...]:
    """(stored path, then as `describe_own_file`) for an uploaded file. After an error the previous one stays.

    Another path than before is only returned: its change is the event that describes the file.
    """
    nothing = (gr.skip(),) * len(ROLES)
    if not file:
        return (gr.skip(), *nothing, gr.skip(), gr.skip())
    try:
        max_rows = PUBLIC["uploaded_rows"] if services.settings.public else None
        kept = str(keep_upload(Path(file), services.uploads_dir(owner), max_rows))
    except DsumError as error:
        said = notice(str(error).replace(str(Path(file).parent) + "/", ""), "error")
        return (gr.skip(), *nothing, said, gr.skip())
    if kept != uploaded:
        return (kept, *nothing, gr.skip(), gr.skip())
    return (gr.skip(), *describe_own_file(services, owner, described, source, uploaded, *form))


def describe_own_file(
    services: Services,
    owner: str,
    described: Mapping[str, Any],
    source: str,
    uploaded: str,
    place: str,
    base: str,
    limit: float | None,
    *given: str | None,
) -> tuple[Update, ...]:
    """`describe_file` of the form, and the file that the column choosers show now, which is the next `described`.

    The selected columns are those of `described["file"]`: in another file they are detected again. After a reload the
    choosers may still be empty; `described["columns"]` are those saved with the file. A selection that stays is left
    out of the updates, because the visitor may have changed it in the meantime.
    """
    file = typed_file(source, uploaded, place)
    if not _file(services, source, uploaded, place, owner):
        return (*describe_file(services, source, uploaded, place, base, limit, *given, owner=owner), gr.skip())
    known = described.get("columns", {})
    selected = [name or known.get(role) for role, name in zip(ROLES, given, strict=True)]
    if file != described.get("file"):
        selected = [None] * len(ROLES)
    *choosers, shown = describe_file(services, source, uploaded, place, base, limit, *selected, owner=owner)
    for chooser, name in zip(choosers, given, strict=True):
        if chooser.get("value") == name:
            chooser.pop("value", None)
    return (*choosers, shown, {"file": file})


def typed_file(source: str, uploaded: str, place: str) -> str:
    """The file of the form as the browser sends it; empty for a source without one."""
    return {UPLOAD: uploaded, PLACE: place}.get(source, "")


def describe_file(
    services: Services,
    source: str,
    uploaded: str,
    place: str,
    base: str,
    limit: float | None,
    *given: str | None,
    owner: str = "",
) -> tuple[Update, ...]:
    """(the three column choosers, preview) for the file in the form; hidden without a file.

    given: the columns selected for dialogue, summary and id; columns missing in the file are detected again.
    """
    file = _file(services, source, uploaded, place, owner)
    if file is None:
        return (*hide_choosers(), _about(services, source))
    try:
        columns = tuple(read_table(file)[0])
        chosen = {role: name for role, name in zip(ROLES, given, strict=True) if name in columns}
    except (DsumError, OSError) as error:
        return (*hide_choosers(), notice(str(error).replace(str(file), source_title(str(file))), "error"))
    guessed = guess_columns(columns, chosen)
    mapping = {role: guessed[role][0] for role in ROLES if guessed[role]}
    choosers = fill_choosers(columns, guessed)
    guess = notice(described) if (described := describe_guess(columns, chosen)) else ""
    try:
        map_columns(columns, source_title(str(file)), mapping)
    except DataError as error:
        return (*choosers, notice(str(error), "warning"))
    try:
        found = preview(file, mapping, _length(services.registry, base), int(limit or 512))
    except DsumError as error:
        return (*choosers, notice(str(error).replace(str(file), source_title(str(file))), "error"))
    guess += notice(" ".join(found.notes), "warning")
    return (*choosers, guess + preview_html(found, source_title(str(file))))


def preview_html(found: Preview, name: str) -> str:
    """Number of rows, token lengths, problems by row, and the first rows."""
    left_out = sum(problem.fatal for problem in found.problems)
    usable = found.count - left_out
    rows = quantity(found.count, "row") + (f", {usable:,} of them usable." if left_out else ".")
    count = f"<b>{escape(name)}</b>: {rows}"
    lengths = f'<p class="hint">{escape(found.lengths.note)}</p>' if found.lengths else ""
    head = "".join(f"<th>{role}</th>" for role in found.mapping)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cut(row.get(role, '')))}</td>" for role in found.mapping) + "</tr>"
        for row in found.rows
    )
    table = (
        f'<div class="scroll" tabindex="0"><table class="scores rows"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
    return f'<p class="hint">{count}</p>{lengths}{_problems(found)}{table}'


def sample_file_link() -> str:
    """A link with a small sample file as its data."""
    data = base64.b64encode(sample_csv().encode()).decode()
    return (
        '<p class="hint">CSV, TSV, JSON, JSON Lines or Parquet, also in gzip or zip, with a dialogue and a '
        "summary in each row. "
        f'<a download="dialogues.csv" href="data:text/csv;charset=utf-8;base64,{data}">Download a small sample file</a>'
        "</p>"
    )


def _problems(found: Preview) -> str:
    if not found.problems:
        return '<p class="hint">No empty fields, no duplicate dialogues.</p>'
    items = "".join(
        f"<li>row {problem.row}: {escape(problem.text)}{' (skipped)' if problem.fatal else ''}</li>"
        for problem in found.problems[:SHOWN_PROBLEMS]
    )
    more = len(found.problems) - SHOWN_PROBLEMS
    rest = f"<li>and {more:,} more</li>" if more > 0 else ""
    one = len(found.problems) == 1
    title = "1 row has a problem" if one else f"{len(found.problems):,} rows have problems"
    return f'<details class="problems" open><summary>{title}</summary><ul>{items}{rest}</ul></details>'


def _file(services: Services, source: str, uploaded: str, place: str, owner: str) -> Path | None:
    if source == UPLOAD and uploaded:
        # The value comes from the browser and is not trusted.
        return Path(uploaded) if services.is_own_upload(uploaded, owner) else None
    if source == PLACE and place and not services.settings.public:
        file = Path(place.strip()).expanduser()
        return file if file.is_file() else None
    return None


def _about(services: Services, source: str) -> str:
    """A description of a source without a file, or why it is not available."""
    if source == DIALOGSUM:
        if services.settings.dialogsum_dir is None and (why := services.registry.hub_unreachable_because()):
            return notice(
                f"DialogSum is downloaded from the Hub. {why} Or set DSUM_DIALOGSUM to a folder with its splits.",
                "warning",
            )
        return '<p class="hint">Trains on the train split and validates on the validation split.</p>'
    if source == PLACE:
        return (
            '<p class="hint">A file, or a folder with train.csv (or .jsonl, .parquet and so on) and validation.csv.</p>'
        )
    return ""


def _length(registry: Registry, base: str) -> Callable[[str], int] | None:
    try:
        spec = registry.seen_by("").spec(base)
        folder = registry.folder_of(spec)
        if folder is None:
            return None
        tokenizer = _tokenizer(folder)
    except ModelError:
        return None
    prompt = registry.family(spec.family).prompt
    return lambda dialogue: len(prompt.encode(tokenizer, dialogue))


@lru_cache(maxsize=4)
def _tokenizer(folder: Path) -> Any:
    return load_tokenizer(folder)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
