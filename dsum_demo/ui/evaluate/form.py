"""The form for a new evaluation: data, systems or columns, number of dialogues, and unusable rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.data.columns import EXPECTED_COLUMNS, guess_columns
from dsum_demo.data.sources import SAMPLES
from dsum_demo.data.tables import ENDINGS, read_rows
from dsum_demo.errors import DsumError, InputError
from dsum_demo.evaluation.background import RECORDED, SOURCES, UPLOAD, Wanted, broken_rows, most
from dsum_demo.models.catalog import Family
from dsum_demo.ui.best_of import CANDIDATES, best_of_choice
from dsum_demo.ui.columns import ROLES, column_choosers, fill_choosers, hide_choosers
from dsum_demo.ui.compare.families import family_choices
from dsum_demo.ui.html import notice
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import CHOICE, QUIET, Update

FILE_TYPES = [*ENDINGS, ".gz", ".zip"]
DEFAULT_LIMIT = 100
ALL = 0  # gradio shows an empty gr.Number as 0 after a redraw, so 0 means no limit
POLICIES = [("Mean over the references", "mean"), ("Best reference", "best"), ("First reference", "first")]
READINGS = [("A dialogue with all its references", "dialogues"), ("A row with its own reference", "rows")]
MOST_BROKEN_SHOWN = 100
SEVERAL = ("summary",)  # roles that may have several columns
FORM_OF_A_FILE = {
    UPLOAD: f"CSV, TSV, JSON, JSON Lines or Parquet, also in gzip or zip, with the columns {EXPECTED_COLUMNS}.",
    RECORDED: "CSV, TSV, JSON, JSON Lines or Parquet, also in gzip or zip, with reference columns and one column of "
    "outputs per system. Columns named id, dialogue and topic are used if present.",
}
REFERENCE_NAME = re.compile(
    r"human|reference|gold|target|baseline.?summ|^ref\d*$|^summary\d?$|^highlights$", re.IGNORECASE
)
NO_SYSTEM_NAME = re.compile(
    r"^(index|id|fname|dialogue|conversation|document|article|topic\d?)$|^unnamed", re.IGNORECASE
)


@dataclass(frozen=True)
class EvaluationForm:
    """The components that the tab connects. values: the inputs of `wanted`, in its order."""

    start: gr.Button
    close: gr.Button
    problem: gr.HTML
    family: gr.Dropdown
    systems: gr.CheckboxGroup
    judge: gr.Dropdown
    best: gr.Checkbox
    values: list[gr.components.Component]


def build_evaluation_form(services: Services, owner: gr.BrowserState) -> EvaluationForm:
    """Build and connect the form inside the caller's column."""
    first, public = services.registry.seen_by("").default_family, services.settings.public
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            source = gr.Radio(
                [(title, name) for name, title in SOURCES.items()],
                value=SAMPLES,
                label="Data",
                elem_id="evaluation-source",
            )
            file = gr.File(
                label="Drop a file",
                file_types=FILE_TYPES,
                type="filepath",
                visible=False,
                height=120,
                elem_id="evaluation-file",
            )
            form_of_file = gr.HTML(elem_classes="hint", visible=False)
            with gr.Row():
                choosers = column_choosers("evaluation-column", SEVERAL)
        with gr.Column(scale=4, min_width=300):
            family = gr.Dropdown(
                family_choices(services.registry.seen_by(""), ask=False),
                value=first.name,
                label="Model family",
                filterable=False,
                elem_id="evaluation-family",
            )
            systems = gr.CheckboxGroup(
                **system_choices(first),
                label="Systems",
                info="All use the same prompt and decoding settings.",
                elem_id="evaluation-systems",
            )
            with gr.Row(visible=False) as columns:
                references = gr.Dropdown(
                    [], multiselect=True, label="Reference columns", elem_id="evaluation-references", min_width=220
                )
                outputs = gr.Dropdown(
                    [],
                    multiselect=True,
                    label="Output columns, one per system",
                    elem_id="evaluation-columns",
                    min_width=220,
                )
            with gr.Row():
                limit = gr.Number(
                    DEFAULT_LIMIT,
                    label="Number of dialogues",
                    info=_limit_info(services, SAMPLES),
                    precision=0,
                    elem_id="evaluation-limit",
                    min_width=150,
                )
                seed = gr.Number(0, label="Seed", info="Used for sampling and bootstrap.", precision=0, min_width=150)
            judge = gr.Dropdown(
                judge_choices(services),
                value="",
                label="Judge, a language model that needs no references",
                info="It reads each dialogue once more after the summaries are generated.",
                elem_id="evaluation-judge",
            )
            best = best_of_choice(
                services,
                f"Also evaluate the best of {CANDIDATES}",
                "Each model becomes a second system.",
                "evaluation-best-of",
            )
            with gr.Accordion("Several references", open=False):
                policy = gr.Radio(POLICIES, value="mean", label="With several references, use")
                reading = gr.Radio(
                    READINGS, value="dialogues", label="Count as one example", elem_id="evaluation-reading"
                )
    broken = gr.HTML(elem_id="evaluation-broken")
    skip = gr.Checkbox(False, label="Skip these rows", visible=False, elem_id="evaluation-skip")
    problem = gr.HTML(elem_id="evaluation-problem")
    with gr.Row():
        start = gr.Button("Evaluate", variant="primary", elem_id="evaluation-start", scale=4, min_width=160)
        close = gr.Button("Close", elem_id="evaluation-close", scale=1, min_width=90)
    if public:
        gr.HTML(
            f"<p>On this public page an evaluation is limited to {most(UPLOAD, public)} dialogues or "
            f"{most(RECORDED, public):,} recorded rows, and is not saved: use the Download tab to keep it."
            "</p>",
            elem_classes="hint",
        )

    values = [source, systems, file, references, outputs, limit, seed, policy, reading, skip, *choosers.values()]
    source.change(offer_best_of, source, best, **QUIET)
    source.change(
        MethodType(choose_source, services),
        source,
        [file, form_of_file, family, systems, columns, limit, reading, broken, skip, problem, *choosers.values()],
        **QUIET,
    )
    family.change(MethodType(offer_systems, services), [family, owner], systems, **QUIET)
    found = [broken, skip, problem]
    # One event instead of two: gradio drops the second one while an earlier file is still being read.
    file.change(read_file, values, [references, outputs, *choosers.values(), *found], **QUIET)
    chosen = [part.input for part in (references, outputs, *choosers.values())]
    gr.on(chosen, list_broken, values, found, **CHOICE)
    return EvaluationForm(start, close, problem, family, systems, judge, best, values)


def judge_choices(services: Services) -> list[tuple[str, str]]:
    """No judge, and every judge whose model is on this machine."""
    judges = services.evaluations.judges
    here = [spec.name for spec in judges.specs() if services.registry.folder_of(spec.model)]
    return [("No judge", ""), *((name, name) for name in here)]


def offer_best_of(source: str) -> Update:
    """Recorded outputs have no candidates."""
    return gr.update(visible=False, value=False) if source == RECORDED else gr.update(visible=True)


def system_choices(family: Family) -> dict[str, Any]:
    """`choices` and `value`: every available model of the family, with the default trio selected."""
    there = [spec for spec in family.variants if spec.source]
    titles = [spec.title for spec in there]
    choices = [(s.title if titles.count(s.title) == 1 else s.name, s.name) for s in there]
    return {"choices": choices, "value": [spec.name for spec in family.default_trio() if spec and spec.source]}


def offer_families(services: Services, owner: str = "") -> Update:
    """The families with their states, which may have changed."""
    return gr.update(choices=family_choices(services.registry.seen_by(owner)))


def offer_systems(services: Services, family: str, owner: str = "") -> Update:
    return gr.update(**system_choices(services.registry.seen_by(owner).family(family)))


def offer_new_systems(services: Services, family: str, owner: str = "") -> Update:
    """Add newly trained models to the choices; the selection is unchanged."""
    return gr.update(choices=system_choices(services.registry.seen_by(owner).family(family))["choices"])


def choose_source(services: Services, source: str) -> tuple[Update, ...]:
    """Show the inputs for this kind of data. By default all recorded rows are scored, each with its own reference, as
    in published figures; models run on a sample.
    """
    upload, recorded = source in (UPLOAD, RECORDED), source == RECORDED
    return (
        gr.update(visible=upload, value=None),
        gr.update(visible=upload, value=escape(FORM_OF_A_FILE.get(source, ""))),
        gr.update(visible=not recorded),
        gr.update(visible=not recorded),
        gr.update(visible=recorded),
        gr.update(value=ALL if recorded else DEFAULT_LIMIT, info=_limit_info(services, source)),
        "rows" if recorded else "dialogues",
        "",
        gr.update(visible=False, value=False),
        "",
        *hide_choosers(),
    )


def read_file(source: str, systems: Sequence[str], file: str | None, *values: Any) -> tuple[Update, ...]:
    """The column choosers, filled with columns that are detected by name, and the result of `list_broken`."""
    references: list[str] = []
    outputs: list[str] = []
    names: list[str] = []
    problem, choosers = "", hide_choosers()
    if file is not None:
        try:
            names = list(next(iter(read_rows(Path(file), {}).values())))
        except DsumError as error:
            problem = notice(_without_folder(str(error), file), "error")
        else:
            if source == RECORDED:
                references, outputs = guess_outputs(names)
            guessed = guess_columns(names, taken=[*references, *outputs])
            choosers = fill_choosers(names, guessed, SEVERAL, ["summary"] if source == RECORDED else ())
    chosen = gr.update(choices=names, value=references), gr.update(choices=names, value=outputs), *choosers
    if problem:
        return (*chosen, "", gr.update(visible=False, value=False), problem)
    _, _, *rest = values
    # Without the columns that were chosen for an earlier file.
    broken, skip, said = list_broken(source, systems, file, references, outputs, *rest[:5])
    if source == RECORDED and names and not (references and outputs):
        said = notice(
            f"No column of {'outputs' if references else 'references'} was recognized by its name. The columns are: "
            f"{', '.join(names)}. Choose the columns above, or name references human, reference or summary."
        )
    # Clear the notice of an earlier file.
    return (*chosen, broken, skip, said if isinstance(said, str) else "")


def guess_outputs(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(references, outputs). Names such as human, reference or summary1 are references; other columns are outputs,
    except the id, the dialogue and its topic.
    """
    references = [name for name in names if REFERENCE_NAME.search(name)]
    outputs = [name for name in names if name not in references and not NO_SYSTEM_NAME.search(name)]
    return references, outputs


def list_broken(*values: Any) -> tuple[Update, ...]:
    """Rows that cannot be used, with their numbers and reasons, a checkbox to skip them if other rows remain, and notes
    about the file.
    """
    hidden = gr.update(visible=False, value=False)
    notes: list[str] = []
    try:
        asked = wanted(*values)
        if asked.file is None or (asked.source == RECORDED and not (asked.references and asked.systems)):
            return "", hidden, gr.skip()
        broken = broken_rows(asked, notes)
    except DsumError as error:
        return "", hidden, notice(" ".join([str(error), *notes]), "error")
    noted = notice(" ".join(notes))
    if not broken:
        return "", hidden, noted
    shown = "".join(
        f"<li value='{row}'>{escape(reason)}</li>" for row, reason in list(broken.items())[:MOST_BROKEN_SHOWN]
    )
    more = f"<p>And {len(broken) - MOST_BROKEN_SHOWN:,} more.</p>" if len(broken) > MOST_BROKEN_SHOWN else ""
    usable = read_rows(asked.file, {}).keys() - broken.keys()
    if usable:
        what = "row cannot" if len(broken) == 1 else "rows cannot"
        said = f"{len(broken):,} {what} be used, for the reasons below. Fix the file or skip these rows."
    else:
        said = "No row of this file can be used, for the reasons below. Fix the file."
    return (
        f'<div class="notice {"warning" if usable else "error"}" role="status"><p>{said}</p>'
        f'<ol class="broken">{shown}</ol>{more}</div>',
        gr.update(visible=bool(usable), value=False),
        noted,
    )


def wanted(
    source: str,
    systems: Sequence[str],
    file: str | None,
    references: Sequence[str],
    outputs: Sequence[str],
    limit: float | None,
    seed: float | None,
    policy: str,
    reading: str,
    skip_broken: bool,
    *columns: Any,
) -> Wanted:
    """The evaluation in the form. Raises InputError for a negative limit or seed."""
    if limit and limit < 0:
        raise InputError(f"The number of dialogues is {limit:g}; give 1 or more, or 0 for all.")
    if seed is not None and seed < 0:
        raise InputError(f"The seed is {seed:g}; give 0 or more.")
    recorded = source == RECORDED
    return Wanted(
        source,
        tuple(outputs or ()) if recorded else tuple(systems or ()),
        Path(file) if file and source in (UPLOAD, RECORDED) else None,
        tuple(references or ()) if recorded else (),
        int(limit) if limit else None,
        int(seed or 0),
        policy,
        reading,
        bool(skip_broken),
        {
            role: column
            for role, column in zip(ROLES, columns, strict=False)
            if column and (role, recorded) != ("summary", True)
        },
    )


def _limit_info(services: Services, source: str) -> str:
    most_here = most(source, services.settings.public)
    return f"A random sample; at most {most_here:,} here." if most_here else "A random sample; 0 uses everything."


def _without_folder(text: str, file: str) -> str:
    return text.replace(file, Path(file).name)
