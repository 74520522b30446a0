"""The input side of the Compare tab: dialogue, examples, text file, reference summaries.

Replacing typed text can be undone, and the browser keeps it across reloads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import MethodType

import gradio as gr

from dsum_demo.comparison import MAX_REFERENCES
from dsum_demo.data.conversations.files import ENDINGS, read_file_text
from dsum_demo.data.dialogues import doubts, read_dialogue
from dsum_demo.data.examples import Example
from dsum_demo.errors import InputError
from dsum_demo.ui.assets import call
from dsum_demo.ui.html import notice
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import CHOICE, QUIET, Update

KEEP = "Use the text as it is"
SHOWN_TURNS = 200
PLACEHOLDER = "Maya: Are you coming on Friday?\nTom: Yes, after six. Shall I bring something?\n…"


@dataclass(frozen=True)
class DialogueInput:
    """The components and events that other parts of the tab use.

    as_is: the detected format that the user turned off, or "". before, undo: the replaced texts, and the button that
    restores them. chosen: the number of examples chosen so far.
    """

    dialogue: gr.Textbox
    as_is: gr.State
    references: list[gr.Textbox]
    before: gr.State
    undo: gr.Button
    examples: gr.Dropdown
    chosen: gr.State
    start: gr.Button
    stop: gr.Button
    problem: gr.HTML

    @property
    def typed(self) -> list[gr.Textbox]:
        return [self.dialogue, *self.references]


def build_dialogue_input(page: gr.Blocks, services: Services) -> DialogueInput:
    """Build the input side and its events, inside the caller's column."""
    sample = services.samples[0] if services.samples else None
    saved = gr.BrowserState(None, storage_key="dsum-input", secret="dsum")
    before = gr.State(None)
    dialogue = gr.Textbox(
        sample.dialogue if sample else "",
        label="Dialogue",
        info="One turn per line, “Name: text”, or a chat export or transcript. Press Shift+Enter to compare.",
        placeholder=PLACEHOLDER,
        lines=10,
        max_lines=16,
        elem_id="dialogue",
    )
    reading = gr.HTML(describe_reading(services, sample.dialogue if sample else "", "")[0], elem_id="reading")
    as_is = gr.State("")
    switch = gr.Button(KEEP, size="sm", visible=False, elem_id="as-is")
    with gr.Row():
        start = gr.Button("Compare", variant="primary", elem_id="start", scale=3, min_width=110)
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop", scale=1, min_width=70)
        clear = gr.Button("Clear", elem_id="clear", scale=1, min_width=70)
    problem = gr.HTML(elem_id="problem")
    undo = gr.Button("Undo: restore the previous text", size="sm", visible=False, elem_id="undo")
    examples = gr.Dropdown(
        example_choices(services), value=sample.id if sample else None, label="Examples by topic", elem_id="examples"
    )
    with gr.Accordion(f"Reference summaries (optional, up to {MAX_REFERENCES})", open=False, elem_id="references"):
        references = [
            gr.Textbox(text, label=f"Reference {number}", lines=2, max_lines=5)
            for number, text in enumerate(padded(sample.references if sample else ()), 1)
        ]
    drop = gr.File(
        label="Dialogue from a file (.txt, .vtt, .docx, …)",
        file_types=list(ENDINGS),
        type="filepath",
        height=104,
        elem_id="drop",
    )

    typed = [dialogue, *references]
    replaced = [*typed, before, undo, problem]
    chosen = gr.State(0)
    examples.input(MethodType(choose_example, services), [examples, chosen, *typed], [*replaced, chosen], **CHOICE)
    clear.click(MethodType(clear_texts, services), typed, [*replaced, examples], **QUIET)
    drop.upload(MethodType(read_drop, services), [drop, *typed], [*replaced, drop], **QUIET)
    described = [reading, switch]
    dialogue.change(
        MethodType(describe_text, services),
        [dialogue, as_is],
        [*described, examples],
        queue=False,
        **CHOICE,
    )
    switch.click(MethodType(switch_reading, services), [dialogue, as_is], [as_is, *described], queue=False, **QUIET)
    undo.click(put_back, [before, *typed], [*typed, before], **QUIET)

    # In the browser only: an answer from the server could overwrite what the user has typed in the meantime.
    page.load(None, [saved, *typed], [saved, *typed], js=call("restoreTexts"), **QUIET)
    gr.on([part.change for part in typed], None, [saved, *typed], saved, js=call("saveTexts"), **QUIET)
    return DialogueInput(dialogue, as_is, references, before, undo, examples, chosen, start, stop, problem)


def uses_as_is(dialogue: str, as_is: str) -> bool:
    """Whether the text is used as is: the user turned its detected format off."""
    return bool(as_is) and read_dialogue(dialogue).format == as_is


def describe_reading(services: Services, dialogue: str, as_is: str) -> tuple[str, Update]:
    """(format, turns and warnings of the text as HTML; the button that turns the format on or off)."""
    hidden = gr.update(visible=False)
    try:
        read = read_dialogue(dialogue, services.settings.max_input_chars)
    except InputError:
        return "", hidden  # Compare shows the error
    used = read
    if kept := uses_as_is(dialogue, as_is):
        used = read_dialogue(dialogue, as_is=True)
    doubtful = "".join(notice(doubt, "warning") for doubt in doubts(used.dialogue, used.turns))
    if not read.format:
        return doubtful or f'<p class="hint">{escape(used.sentence)}</p>', hidden
    title = f"Used as it is, not read as {read.format}: {used.sentence}" if kept else used.sentence
    turns = f"<details><summary>Show the turns</summary><pre>{escape(_first_turns(used.dialogue))}</pre></details>"
    shown = f'<div class="reading" role="status"><p>{escape(title)}</p>{"" if kept else turns}</div>'
    return shown + doubtful, gr.update(visible=True, value=f"Read as {read.format}" if kept else KEEP)


def describe_text(services: Services, dialogue: str, as_is: str) -> tuple[str, Update, str | None]:
    """`describe_reading` and `example_of`."""
    return (*describe_reading(services, dialogue, as_is), example_of(services, dialogue))


def example_of(services: Services, dialogue: str) -> str | None:
    """The id of the example with this dialogue."""
    return next((sample.id for sample in services.samples if sample.dialogue == dialogue), None)


def switch_reading(services: Services, dialogue: str, as_is: str) -> tuple[str, str, Update]:
    """Switch between the detected format and the text as is; the typed text does not change."""
    try:
        form = read_dialogue(dialogue, services.settings.max_input_chars).format
    except InputError:
        form = ""
    chosen = "" if form == as_is else form
    return (chosen, *describe_reading(services, dialogue, chosen))


def _first_turns(dialogue: str) -> str:
    lines = dialogue.split("\n")
    more = [f"… and {len(lines) - SHOWN_TURNS:,} more"] if len(lines) > SHOWN_TURNS else []
    return "\n".join([*lines[:SHOWN_TURNS], *more])


def example_choices(services: Services) -> list[tuple[str, str]]:
    """(label, id), grouped by topic in the samples' order."""
    order = list(dict.fromkeys(sample.topics[0] for sample in services.samples if sample.topics))
    grouped = sorted(services.samples, key=lambda s: order.index(s.topics[0]) if s.topics else len(order))
    return [(" · ".join(sample.topics[:2]) or sample.id, sample.id) for sample in grouped]


def choose_example(services: Services, name: str | None, chosen: int, *typed: str) -> tuple[Update, ...]:
    """(`replace_texts` with the example's, chosen + 1), or nothing if its dialogue is typed already: references may
    have been edited since it was chosen.
    """
    sample = next((sample for sample in services.samples if sample.id == name), None)
    if sample is None or typed[0] == sample.dialogue:
        return (gr.skip(),) * (len(typed) + 4)
    return (*replace_texts(services, typed, (sample.dialogue, *padded(sample.references))), chosen + 1)


def clear_texts(services: Services, *typed: str) -> tuple[Update, ...]:
    """Clear all texts and the selected example."""
    return (*replace_texts(services, typed, [""] * len(typed)), None)


def references_of_others(services: Services, dialogue: str, references: Sequence[str]) -> list[int]:
    """Indexes of the references that belong to an example with another dialogue than this one.

    The page starts with an example, so a dialogue pasted over it would be scored against that example's summaries. An
    edited example counts as another dialogue if it shares less than half of the turns with the original.
    """
    owners = {text.strip(): sample for sample in services.samples for text in sample.references}
    turns = {line.strip() for line in dialogue.splitlines() if line.strip()}

    def is_other(sample: Example) -> bool:
        own = set(sample.dialogue.splitlines())
        return len(own & turns) < len(own | turns) / 2

    found = [owners.get(reference.strip()) for reference in references]
    return [index for index, sample in enumerate(found) if sample and is_other(sample)]


def read_drop(services: Services, file: str | None, *typed: str) -> tuple[Update, ...]:
    """Use a file's text as the dialogue; an invalid file changes nothing."""
    if file is None:
        return (*typed, gr.skip(), gr.skip(), "", None)
    name, limit = Path(file).name, services.settings.max_input_chars
    try:
        read = read_file_text(Path(file).read_bytes(), name)
        if len(read.text) > limit:
            raise InputError(
                f"{name} has {len(read.text):,} characters; the limit is {limit:,}. Choose a shorter file."
            )
    except InputError as error:
        return (*typed, gr.skip(), gr.skip(), notice(str(error), "error"), None)
    *replaced, _ = replace_texts(services, typed, (read.text, *padded(())))
    return (*replaced, notice(read.notice, "warning"), None)


def put_back(before: Sequence[str], *typed: str) -> tuple[Update, ...]:
    """Swap the current texts and the previous ones, so that undo can itself be undone."""
    return (*before, tuple(typed))


def replace_texts(services: Services, old: Sequence[str], new: Sequence[str]) -> tuple[Update, ...]:
    """(new texts, replaced texts, undo button, no problem). An unedited example needs no undo."""
    samples = {(sample.dialogue, *padded(sample.references)) for sample in services.samples}
    if not any(text.strip() for text in old) or tuple(old) in samples:
        return (*new, gr.skip(), gr.skip(), "")
    return (*new, tuple(old), gr.update(visible=True), "")


def padded(texts: Sequence[str]) -> tuple[str, ...]:
    return (*texts, *[""] * MAX_REFERENCES)[:MAX_REFERENCES]
