"""The Compare tab: a dialogue on the left, up to six summaries of it on the right, and their scores."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any, ClassVar

import gradio as gr

from dsum_demo.comparison import (
    MAX_REFERENCES,
    Comparison,
    RecordedSummary,
    clean_references,
)
from dsum_demo.data.dialogues import read_dialogue
from dsum_demo.errors import DsumError, InputError
from dsum_demo.evaluation.model_proof import prove_model
from dsum_demo.judge.judged_texts import JudgedTexts
from dsum_demo.models.catalog import Family, Kind, ModelSpec
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.registry import Registry
from dsum_demo.ui import html
from dsum_demo.ui.appearance import KINDS
from dsum_demo.ui.assets import call
from dsum_demo.ui.best_of import best_of_choice
from dsum_demo.ui.compare import cards
from dsum_demo.ui.compare.added_columns import add_system, choose_system, remove_system, with_recorded
from dsum_demo.ui.compare.columns import (
    ADDED,
    LAYOUT,
    PLACES,
    added_systems,
    build_columns,
    connect_columns,
    known_systems,
    laid_out,
    values_of,
)
from dsum_demo.ui.compare.dialogue_input import (
    build_dialogue_input,
    example_of,
    padded,
    references_of_others,
    replace_texts,
    uses_as_is,
)
from dsum_demo.ui.compare.families import family_choices, family_note, variants
from dsum_demo.ui.compare.judging import build_judging, connect_judging, judged_table, with_judged
from dsum_demo.ui.compare.links import linked_comparison
from dsum_demo.ui.compare.results import (
    OTHER_TEXT,
    RESULTS,
    drawn_texts,
    emptied,
    finished,
    ignored_note,
    redraw,
    results,
    show_again,
    shown_results,
    warnings_of,
)
from dsum_demo.ui.services import CANDIDATES, COMPARISONS_AT_ONCE, Services
from dsum_demo.ui.theme import CHOICE, QUIET, Update
from dsum_demo.ui.zero_gpu import on_gpu

GREEDY, BEAMS, SAMPLING = "Greedy", "Beam search", "Sampling"
# Drawing takes time from generation: with more than a few comparisons, each is drawn less often.
REDRAW_SECONDS = 0.2
FEW = 4
PROOF_SECONDS = 60  # on ZeroGPU
TYPED = 1 + MAX_REFERENCES  # the texts that a user types

# The family, the highlighting, the buttons that add and remove systems, and the choosers but the first.
CONTROLS = 3 + len(ADDED) + len(PLACES) - 1


@dataclass(frozen=True)
class CompareTab:
    """shown: the outputs of `show_model`, which are the family dropdown and everything that depends on the family.
    comparison: the one on the screen. review: the button that starts a review of it.
    """

    shown: list[Any]
    comparison: gr.State
    review: gr.Button
    PARTS: ClassVar[int] = 2 + len(KINDS) + 2 + LAYOUT + len(RESULTS)


def build_compare_tab(page: gr.Blocks, services: Services, owner: gr.BrowserState) -> CompareTab:
    """Build the tab and its events. `owner` is the visitor's secret."""
    registry = services.registry.seen_by("")  # the page is built once, for all visitors
    first = registry.default_family
    sample = services.samples[0] if services.samples else None
    recorded = services.recorded.get((first.name, sample.dialogue)) if sample else None
    shown = dict(zip(RESULTS, shown_results(first, recorded), strict=True))
    kept = gr.BrowserState(None, storage_key="dsum-comparison", secret="dsum")
    with gr.Row():
        with gr.Column(scale=4, min_width=310):
            typing = build_dialogue_input(page, services)
            with gr.Accordion("Decoding settings, the same for all models", open=False, elem_id="decoding"):
                decoding = _build_decoding(first.decode)
                best = best_of_choice(services, f"Best of {CANDIDATES}", "It does not stream.", "best-of")
        with gr.Column(scale=9, min_width=310):
            with gr.Row(elem_id="models-row"):
                family = gr.Dropdown(
                    family_choices(registry, ask=False),
                    value=first.name,
                    label="Model family",
                    elem_id="family",
                    filterable=False,
                    scale=4,
                    min_width=240,
                )
                add = gr.Button("Add a system", size="sm", elem_id="add-system", scale=0, min_width=130)
            note = gr.HTML(family_note(registry, first, ask=False), elem_classes="family-note", elem_id="family-note")
            right: dict[str, Any] = {"problem": typing.problem, "comparison": gr.State(recorded)}
            right["other_text"] = gr.HTML(elem_id="other-text")
            right["warnings"] = gr.HTML(shown["warnings"], elem_id="warnings")
            with gr.Row(elem_id="cards"):
                columns = build_columns(registry, first, shown, add)
            right |= columns.cards
            right["proof"] = gr.HTML(elem_id="proof")
            right["human"] = gr.HTML(shown["human"], elem_id="card-human")
            with gr.Row(visible=recorded is not None, elem_id="options") as right["options"]:
                highlight = gr.Radio(
                    cards.HIGHLIGHTS,
                    value=html.NO_HIGHLIGHT,
                    label="Highlight",
                    elem_id="highlight",
                    scale=2,
                )
                review = gr.Button("Review this blind", size="sm", elem_id="review-this", scale=0, min_width=150)
                prove = gr.Button("Check the models", size="sm", elem_id="prove", scale=0, min_width=150)
                right["downloads"] = gr.HTML(
                    shown["downloads"],
                    elem_id="downloads",
                    elem_classes="embeddable" if services.settings.public else "",
                    scale=1,
                    min_width=290,
                )
            right["legend"] = gr.HTML(elem_id="legend", elem_classes="hint")
            with gr.Column(visible=recorded is not None, elem_id="scores") as right["scores"]:
                right["headline"] = gr.HTML(shown["headline"], elem_id="headline")
                right["chart"] = gr.Plot(shown["chart"], show_label=False, container=False, elem_id="chart")
                right["signature"] = gr.HTML(shown["signature"], elem_classes="hint", elem_id="signature")
                with gr.Accordion("Precision, recall and F1", open=False, elem_id="parts"):
                    right["table"] = gr.HTML(shown["table"])
            right["no_rouge"] = gr.HTML(elem_id="no-rouge")
            judging = build_judging(services, recorded)
            right |= {"judging": judging.panel, "judged": judging.result}

    outputs = [right[name] for name in RESULTS]
    shown_by = [family, owner, *typing.typed, *columns.more]
    # Controls that would change a comparison are disabled while it runs.
    controls = [typing.start, typing.stop, family, highlight, add, *columns.removes, *columns.choosers[1:]]
    run = typing.start.click(MethodType(begin, services), None, controls, queue=False, **QUIET).then(
        MethodType(run_comparison, services),
        [
            *typing.typed,
            typing.as_is,
            family,
            highlight,
            *decoding,
            owner,
            best,
            *columns.choosers[1:],
            *columns.pasted,
            *columns.strengths,
        ],
        outputs,
        concurrency_limit=COMPARISONS_AT_ONCE,
        **QUIET,
    )
    run.success(end, None, controls, queue=False, **QUIET)
    # A late answer for the example that was shown before may have emptied or hidden some of it.
    run.success(show_again, [right["comparison"], highlight], outputs, **QUIET)
    # The text may have changed meanwhile.
    run.success(compare_texts, [right["comparison"], typing.dialogue], right["other_text"], **QUIET)
    run.success(keep, right["comparison"], kept, **QUIET)
    proven = on_gpu(MethodType(prove_models, services), lambda comparison: PROOF_SECONDS)
    prove.click(proven, right["comparison"], right["proof"], **QUIET)
    judged = connect_judging(services, judging, right["comparison"])
    judged.success(add_judged, [right["comparison"], judging.found], outputs, **QUIET)
    # A download may have changed which models are available.
    run.success(MethodType(note_family, services), [family, owner], note, **QUIET)
    run.failure(end, None, controls, queue=False, **QUIET)
    typing.start.click(None, None, None, js=call("scrollToCards"), **QUIET)
    # The key presses the button, which is disabled during a comparison.
    typing.dialogue.submit(None, None, None, js=call("compare"), **QUIET)
    typing.stop.click(MethodType(ask_to_stop, services), None, typing.stop, queue=False, **QUIET)
    highlight.change(redraw, [right["comparison"], highlight], outputs, **QUIET)
    trio = columns.choosers[: len(KINDS)]
    dependent = [note, *trio, *decoding[-2:], *columns.layout, *outputs]
    # Not `change`: `show_model` also changes the family and updates the rest itself.
    family.input(MethodType(choose_family, services), [family, trio[0], *shown_by[1:]], dependent, **CHOICE)
    connect_columns(services, columns, owner)
    relaid, chosen_now = [*columns.layout, *outputs], [*trio, *columns.more]
    added = add.click(
        MethodType(add_system, services),
        [right["comparison"], family, owner, typing.dialogue, *chosen_now],
        relaid,
        **QUIET,
    )
    added.then(None, None, None, js=call("showLastColumn"), **QUIET)
    for number, remove in enumerate(columns.removes):
        asked = [gr.State(number), right["comparison"], highlight, owner, typing.dialogue, *chosen_now]
        removed = remove.click(MethodType(remove_system, services), asked, relaid, **QUIET)
        removed.then(keep, right["comparison"], kept, **QUIET)
    gr.on(
        [chooser.input for chooser in columns.choosers[1:]],
        MethodType(choose_system, services),
        [right["comparison"], highlight, owner, typing.dialogue, *chosen_now],
        outputs,
        **QUIET,
    ).then(keep, right["comparison"], kept, **QUIET)
    opened = page.load(MethodType(refresh, services), None, family, **QUIET).then(
        MethodType(describe_own_family, services), [owner, family, *trio], [note, *trio], **QUIET
    )
    everything = CompareTab([family, *dependent], right["comparison"], review)
    reopened = [typing.examples, *everything.shown]
    opened = opened.then(
        MethodType(reopen, services), [kept, right["comparison"], family, owner, *typing.typed], reopened, **QUIET
    )
    link, broken = gr.Textbox(visible=False), gr.Textbox(visible=False)
    opened.then(
        MethodType(open_link, services),
        [link, broken, owner, *typing.typed],
        [*typing.typed, typing.before, typing.undo, typing.examples, *everything.shown],
        js=call("readLink"),
        **QUIET,
    )
    typing.chosen.change(MethodType(show_example, services), shown_by, outputs, **QUIET)
    typing.dialogue.change(
        MethodType(follow_dialogue, services),
        [right["comparison"], kept, *shown_by],
        outputs,
        queue=False,
        **CHOICE,
    )
    page.unload(MethodType(say_goodbye, services))
    return everything


def _build_decoding(decode: DecodingConfig) -> list[gr.components.Component]:
    strategy = gr.Radio(
        [GREEDY, BEAMS, SAMPLING],
        value=GREEDY,
        label="Strategy",
        info="Greedy picks the most likely token and streams; beam search keeps several candidates; sampling draws "
        "at random.",
        elem_id="strategy",
    )
    beams = gr.Slider(2, 8, 4, step=1, label="Number of beams", visible=False)
    temperature = gr.Slider(0.1, 2.0, 1.0, step=0.1, label="Temperature", visible=False)
    seed = gr.Number(0, label="Seed", precision=0, minimum=0, visible=False)
    strategy.change(
        lambda chosen: [gr.update(visible=chosen == BEAMS), *[gr.update(visible=chosen == SAMPLING)] * 2],
        strategy,
        [beams, temperature, seed],
        **QUIET,
    )
    length = gr.Slider(8, 256, decode.max_new_tokens, step=1, label="Maximum length (tokens)")
    ngram = gr.Slider(
        0,
        10,
        decode.no_repeat_ngram_size,
        step=1,
        label="No-repeat n-gram size",
        info="Blocks repeated n-grams of this length; 0 turns it off.",
    )
    return [strategy, beams, temperature, seed, length, ngram]


def begin(services: Services, request: gr.Request) -> tuple[Update, ...]:
    services.begin(request.session_hash or "")
    fixed = [gr.update(interactive=False)] * CONTROLS
    return gr.update(interactive=False, value="Comparing…"), gr.update(interactive=True), *fixed


def end() -> tuple[Update, ...]:
    free = [gr.update(interactive=True)] * CONTROLS
    return gr.update(interactive=True, value="Compare"), gr.update(interactive=False, value="Stop"), *free


def ask_to_stop(services: Services, request: gr.Request) -> Update:
    services.stop(request.session_hash or "")
    return gr.update(interactive=False, value="Stopping…")


def say_goodbye(services: Services, request: gr.Request) -> None:
    services.forget(request.session_hash or "")


def run_comparison(
    services: Services,
    request: gr.Request,
    dialogue: str,
    reference1: str,
    reference2: str,
    reference3: str,
    as_is: str,
    family_name: str,
    highlight: str,
    strategy: str,
    beams: float,
    temperature: float,
    seed: float | None,
    length: float,
    ngram: float,
    owner: str,
    best: bool,
    *columns: Any,
) -> Iterator[tuple[Update, ...]]:
    """Yield the results as they arrive. An input error appears under the button and changes nothing else.

    columns: the values of the choosers without the first, of the added texts and of the strengths.
    """
    stop = services.running.get(request.session_hash or "")
    phases: list[str] = []
    shown: dict[str, Update] = {}
    drawn, comparison = 0.0, None
    try:
        registry = services.registry.seen_by(owner)
        family = registry.family(family_name)
        names, added, strengths = columns[:2], columns[2 : 2 + 2 * len(ADDED)], columns[2 + 2 * len(ADDED) :]
        specs = [
            family.base,
            *(registry.spec(name) for name in names if name),
            *added_systems(services, registry, added, dialogue),
        ]
        references = [reference1, reference2, reference3]
        ignored = references_of_others(services, dialogue, references)
        note = ignored_note(ignored)
        own = [reference for index, reference in enumerate(references) if index not in ignored]
        states = services.compare(
            family,
            specs,
            dialogue,
            own,
            decode_config(family, strategy, beams, temperature, seed, length, ngram),
            {
                name: value
                for name, value in zip((*names, *added[: len(ADDED)]), strengths, strict=True)
                if name and ":" not in name  # a model
            },
            as_is=uses_as_is(dialogue, as_is),
            best=best,
            should_stop=stop.is_set if stop else None,
        )
        for comparison in states:
            now = [system.phase for system in comparison.systems]
            crowd = max(1.0, len(services.running) / FEW)
            changed = now != phases if crowd == 1 else now.count("done") != phases.count("done")
            if changed or time.monotonic() - drawn >= REDRAW_SECONDS * crowd:
                phases, drawn = now, time.monotonic()
                told = {"problem": "", "other_text": "", "warnings": note + warnings_of(comparison)}
                now_shown = drawn_texts(comparison, highlight) | emptied() | told
                # Each update takes time from generation, here and in the browser.
                yield results(**{name: update for name, update in now_shown.items() if shown.get(name) != update})
                shown = now_shown
        if comparison is not None:
            yield results(**finished(comparison, highlight), problem="", warnings=note + warnings_of(comparison))
    except DsumError as error:
        yield results(problem=html.notice(services.told(error), "error"))
    finally:
        services.finish(request.session_hash or "", stop)


def keep(comparison: Comparison | None) -> dict[str, Any] | None:
    """What the browser keeps across reloads; a comparison of a link stays in the link."""
    return comparison.as_dict() if comparison and not comparison.shared else None


def reopen(
    services: Services,
    request: gr.Request,
    kept: Any,
    comparison: Comparison | None,
    family_name: str,
    owner: str,
    *typed: str,
) -> tuple[Update, ...]:
    """After a reload: the comparison that the browser kept if it is of the typed dialogue, else the example's.

    Updates of the examples dropdown and of `CompareTab.shown`. `comparison` is the one that the page opened with.
    """
    example = example_of(services, typed[0])
    registry = services.registry.seen_by(owner)
    unchanged = [gr.skip()] * CompareTab.PARTS
    if services.is_running(request.session_hash or ""):
        return (example, *unchanged)
    if found := _kept_comparison(services, registry, kept, typed):
        return (example, found.family.name, *_begin_with(services, registry, found.family, {}, found))
    return (
        example,
        *unchanged[: -len(RESULTS)],
        *follow_dialogue(services, request, comparison, kept, family_name, owner, *typed),
    )


def _kept_comparison(services: Services, registry: Registry, kept: Any, typed: Sequence[str]) -> Comparison | None:
    """The comparison that the browser kept, if it is valid and of the typed dialogue and references."""
    with contextlib.suppress(DsumError, KeyError, TypeError, ValueError, AttributeError):
        found = Comparison.from_dict(kept, registry)
        if _is_of(services, found, typed):
            return found
    return None


def open_link(services: Services, link: str, broken: str, owner: str, *typed: str) -> tuple[Update, ...]:
    """Show the comparison of the page's address. Updates of the texts, what undoes them, the examples dropdown and
    `CompareTab.shown`. broken: why the browser cannot read the link, or "".
    """
    unchanged = [gr.skip()] * (len(typed) + 3 + CompareTab.PARTS)
    if not (link or broken):
        return tuple(unchanged)
    registry = services.registry.seen_by(owner)
    try:
        if broken:
            raise InputError(broken)
        found = linked_comparison(link, registry, services.settings.max_input_chars)
    except DsumError as error:
        said = html.notice(f"The link cannot be opened: {services.told(error)}", "error")
        return (*unchanged[: -len(RESULTS)], *results(warnings=said))
    *texts, before, undo, _ = replace_texts(services, typed, (found.dialogue, *padded(found.references)))
    example = example_of(services, found.dialogue)
    return (
        *texts, before, undo, example, found.family.name, *_begin_with(services, registry, found.family, {}, found)
    )  # fmt: skip


def prove_models(services: Services, comparison: Comparison | None) -> Iterator[str]:
    """Check what the cards claim, model by model."""
    if comparison is None:
        yield ""
        return
    shown = ""
    for system in comparison.systems:
        if isinstance(system.spec, RecordedSummary):
            continue
        title = comparison.title_of(system)
        yield shown + html.notice(f"{title}: checking…")
        try:
            proof = prove_model(services.store, comparison, system, services.evaluations.cache)
            said = f"{title}: {'; '.join(proof.sentences)}."
            shown += html.notice(said, "" if proof.differs_at is None else "warning")
        except DsumError as error:
            shown += html.notice(f"{title}: {services.told(error)}", "error")
    yield shown


def add_judged(comparison: Comparison | None, found: JudgedTexts | None) -> tuple[Update, ...]:
    """Add a judge's values to the comparison and its downloads."""
    judged = with_judged(comparison, found)
    if judged is None:
        return results(judged="") if found else results()
    return results(comparison=judged, downloads=cards.downloads(judged), judged=judged_table(judged))


def follow_dialogue(
    services: Services,
    request: gr.Request,
    comparison: Comparison | None,
    kept: Any,
    family_name: str,
    owner: str,
    *typed: str,
) -> tuple[Update, ...]:
    """Remove recorded summaries when the dialogue changes; the results of a comparison stay until the next one, with a
    notice if they are of another text.

    A reload changes the dialogue too, and this answer may arrive after that of `reopen`: a comparison that the browser
    kept of the text is shown here as there.
    """
    if services.is_running(request.session_hash or ""):
        return results()
    if comparison and not comparison.recorded:
        return results(other_text=compare_texts(comparison, typed[0]))
    if comparison and _is_of(services, comparison, typed[:TYPED]):
        return results()
    if found := _kept_comparison(services, services.registry.seen_by(owner), kept, typed[:TYPED]):
        return shown_results(found.family, found, added=[system.spec for system in found.systems[len(KINDS) :]])
    return show_example(services, request, family_name, owner, *typed)


def show_example(
    services: Services, request: gr.Request, family_name: str, owner: str, *values: str
) -> tuple[Update, ...]:
    """The recorded summaries of the typed example, or empty cards if there are none; nothing during a comparison.

    values: the typed dialogue and references, then those of `Columns.more` if systems were added.
    """
    if services.is_running(request.session_hash or ""):
        return results()
    typed = values[:TYPED]
    registry = services.registry.seen_by(owner)
    family = registry.family(family_name)
    found = services.recorded.get((family_name, typed[0]))
    added = known_systems(services, registry, values[TYPED:], typed[0])
    comparison = with_recorded(found, added) if found and _is_of(services, found, typed) else None
    return shown_results(family, comparison, added=added)


def compare_texts(comparison: Comparison | None, typed: str) -> str:
    """A notice if the comparison is not of the typed dialogue, neither as its format was recognized nor as it is."""
    if comparison is None:
        return ""
    with contextlib.suppress(InputError):
        if comparison.dialogue in (read_dialogue(typed, as_is=as_is).dialogue for as_is in (False, True)):
            return ""
    return html.notice(OTHER_TEXT, "warning")


def _is_of(services: Services, comparison: Comparison, typed: Sequence[str]) -> bool:
    """Whether the comparison is of the typed dialogue and references."""
    dialogue, *references = typed
    if comparison.shared:  # its texts are typed as they are
        return dialogue == comparison.dialogue and tuple(filter(None, references)) == comparison.references
    ignored = references_of_others(services, dialogue, references)
    own = [reference for index, reference in enumerate(references) if index not in ignored]
    try:
        typed_input = (read_dialogue(dialogue).dialogue, clean_references(own))
    except InputError:
        return False
    return typed_input == (comparison.dialogue, comparison.references)


def decode_config(
    family: Family, strategy: str, beams: float, temperature: float, seed: float | None, length: float, ngram: float
) -> DecodingConfig:
    """The decoding panel's values; settings of strategies that are not selected are ignored."""
    config: dict[str, Any] = {**family.decode.as_dict(), "max_new_tokens": length, "no_repeat_ngram_size": ngram}
    config |= {"num_beams": beams if strategy == BEAMS else 1, "do_sample": strategy == SAMPLING}
    if strategy == SAMPLING:
        config |= {"temperature": temperature, "seed": seed or 0}
    return DecodingConfig(**config)


def choose_family(
    services: Services, request: gr.Request, chosen: str, original: str | None, owner: str, *values: str
) -> tuple[Update, ...]:
    """`change_family`, or nothing if the columns show this family already. original: the model of the first column."""
    if services.registry.family(chosen).base.name == original:
        return (gr.skip(),) * (CompareTab.PARTS - 1)
    return change_family(services, request, chosen, owner, *values)


def change_family(services: Services, request: gr.Request, chosen: str, owner: str, *values: str) -> tuple[Update, ...]:
    """Switch to another family: its models, decoding defaults and, for an example, recorded summaries. Added systems
    stay. values: as in `show_example`.
    """
    registry = services.registry.seen_by(owner)
    described = _begin_with(services, registry, registry.family(chosen), {})
    of_family = described[: -len(RESULTS) - LAYOUT]
    return (*of_family, *[gr.skip()] * LAYOUT, *show_example(services, request, chosen, owner, *values))


def show_model(services: Services, spec: ModelSpec, owner: str = "") -> tuple[Update, ...]:
    """Select the model's family and the model, in the order of `CompareTab.shown`."""
    registry = services.registry.seen_by(owner)
    return spec.family, *_begin_with(services, registry, registry.family(spec.family), {spec.kind: spec})


def _begin_with(
    services: Services,
    registry: Registry,
    family: Family,
    wanted: Mapping[Kind, ModelSpec],
    comparison: Comparison | None = None,
) -> tuple[Update, ...]:
    """Show a family: with the models `wanted` instead of its default ones, or those of a comparison."""
    systems = [system.spec for system in comparison.systems] if comparison else []
    offered = {kind: variants(registry, family, kind) for kind in KINDS}
    for kind, spec in [*zip(KINDS, systems, strict=False), *wanted.items()]:
        if spec.name in [name for _, name in offered[kind]["choices"]]:
            offered[kind]["value"] = spec.name
    added = systems[len(KINDS) :]
    return (
        family_note(registry, family, speed=services.speed),
        *(gr.update(**offered[kind]) for kind in KINDS),
        family.decode.max_new_tokens,
        family.decode.no_repeat_ngram_size,
        *laid_out(services, registry, *values_of(added)),
        *shown_results(family, comparison, wanted, added),
    )


def refresh(services: Services) -> Update:
    """Rescan the disk when the page loads, and mark the families that are not available."""
    services.registry.refresh()
    return gr.update(choices=family_choices(services.registry.seen_by("")))


def note_family(services: Services, chosen: str, owner: str = "") -> str:
    registry = services.registry.seen_by(owner)
    return family_note(registry, registry.family(chosen), speed=services.speed)


def describe_own_family(services: Services, owner: str, chosen: str, *names: str | None) -> tuple[Update, ...]:
    return describe_family(services, chosen, *names, owner=owner)


def describe_family(services: Services, chosen: str, *names: str | None, owner: str = "") -> tuple[Update, ...]:
    """The family's note and its models; a selected model stays selected if it still exists."""
    registry = services.registry.seen_by(owner)
    family = registry.family(chosen)
    updates = []
    for kind, name in zip(KINDS, names, strict=True):
        offered = variants(registry, family, kind)
        known = [value for _, value in offered["choices"]]
        updates.append(gr.update(**{**offered, "value": name if name in known else offered["value"]}))
    return (family_note(registry, family, speed=services.speed), *updates)
