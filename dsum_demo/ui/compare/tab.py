"""The Compare tab: a dialogue on the left, three summaries of it on the right, and their scores."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from html import escape
from types import MethodType
from typing import Any, ClassVar

import gradio as gr

from dsum_demo.comparison import Choice, Comparison, clean_references, stream_comparison
from dsum_demo.data.dialogues import read_dialogue
from dsum_demo.errors import DsumError, InputError
from dsum_demo.models.catalog import Family, Kind, ModelSpec
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.registry import Registry
from dsum_demo.ui import html
from dsum_demo.ui.appearance import KINDS, LOOKS
from dsum_demo.ui.assets import call
from dsum_demo.ui.compare import cards
from dsum_demo.ui.compare.charts import headline, rouge_chart
from dsum_demo.ui.compare.dialogue_input import build_dialogue_input, references_of_others, uses_as_is
from dsum_demo.ui.compare.families import default_of, family_choices, family_note, variants
from dsum_demo.ui.compare.strength import offer_strength, strength_slider
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import QUIET

GREEDY, BEAMS, SAMPLING = "Greedy", "Beam search", "Sampling"
REDRAW_SECONDS = 0.2  # drawing takes time from generation
COMPARISONS_AT_ONCE = 4
CANDIDATES = 4
NO_REFERENCE = "No ROUGE scores: add a reference summary under “Reference summaries” to compute them."
NO_OUTPUT = "No ROUGE scores: no model completed a summary."

Update = Any  # gradio's updates are plain dictionaries
RESULTS = (
    "problem", "warnings", *KINDS, "human", "comparison", "options", "downloads", "legend",
    "scores", "headline", "chart", "signature", "table", "no_rouge",
)  # fmt: skip


@dataclass(frozen=True)
class CompareTab:
    """shown: the outputs of `show_model`, which are the family dropdown and everything that depends on the family.
    comparison: the one on the screen. review: the button that starts a review of it.
    """

    shown: list[Any]
    comparison: gr.State
    review: gr.Button
    PARTS: ClassVar[int] = 2 + len(KINDS) + 2 + len(RESULTS)


def build_compare_tab(page: gr.Blocks, services: Services, family: gr.Dropdown, owner: gr.BrowserState) -> CompareTab:
    """Build the tab and its events. `family` is the page's family dropdown, `owner` the visitor's secret."""
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
                best = gr.Checkbox(
                    False,
                    label=f"Best of {CANDIDATES}",
                    info=best_of_info(services),
                    interactive=services.chooser is not None,
                    elem_id="best-of",
                )
        with gr.Column(scale=9, min_width=310):
            note = gr.HTML(family_note(registry, first, ask=False), elem_classes="family-note", elem_id="family-note")
            right: dict[str, Any] = {"problem": typing.problem, "comparison": gr.State(recorded)}
            right["warnings"] = gr.HTML(shown["warnings"], elem_id="warnings")
            choosers, strengths = [], []
            with gr.Row(elem_id="cards"):
                for kind in KINDS:
                    with gr.Column(min_width=220):
                        choosers.append(
                            gr.Dropdown(
                                **variants(registry, first, kind),
                                label=LOOKS[kind].title,
                                container=False,
                                interactive=kind is not Kind.BASE,
                                filterable=False,
                                elem_id=f"choose-{kind}",
                            )
                        )
                        right[kind] = gr.HTML(shown[kind], elem_id=f"card-{kind}")
                        if kind is not Kind.BASE:
                            strengths.append(strength_slider(registry, default_of(first, kind), f"strength-{kind}"))
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
                right["downloads"] = gr.HTML(shown["downloads"], elem_id="downloads", scale=1, min_width=290)
            right["legend"] = gr.HTML(elem_id="legend", elem_classes="hint")
            with gr.Column(visible=recorded is not None, elem_id="scores") as right["scores"]:
                right["headline"] = gr.HTML(shown["headline"], elem_id="headline")
                right["chart"] = gr.Plot(shown["chart"], show_label=False, container=False, elem_id="chart")
                right["signature"] = gr.HTML(shown["signature"], elem_classes="hint", elem_id="signature")
                with gr.Accordion("Precision, recall and F1", open=False, elem_id="parts"):
                    right["table"] = gr.HTML(shown["table"])
            right["no_rouge"] = gr.HTML(elem_id="no-rouge")

    outputs = [right[name] for name in RESULTS]
    # Controls that would change a comparison are disabled while it runs.
    controls = [typing.start, typing.stop, family, highlight]
    run = typing.start.click(MethodType(begin, services), None, controls, queue=False, **QUIET).then(
        MethodType(run_comparison, services),
        [*typing.typed, typing.as_is, family, *choosers[1:], *strengths, highlight, *decoding, owner, best],
        outputs,
        concurrency_limit=COMPARISONS_AT_ONCE,
        **QUIET,
    )
    run.success(end, None, controls, queue=False, **QUIET)
    # A late answer for the example that was shown before may have removed what does not change during a comparison.
    run.success(redraw, [right["comparison"], highlight], outputs, **QUIET)
    run.success(keep, right["comparison"], kept, **QUIET)
    # A download may have changed which models are available.
    run.success(MethodType(note_family, services), [family, owner], note, **QUIET)
    run.failure(end, None, controls, queue=False, **QUIET)
    typing.start.click(None, None, None, js=call("scrollToCards"), **QUIET)
    # The key presses the button, which is disabled during a comparison.
    typing.dialogue.submit(None, None, None, js=call("compare"), **QUIET)
    typing.stop.click(MethodType(ask_to_stop, services), None, typing.stop, queue=False, **QUIET)
    highlight.change(redraw, [right["comparison"], highlight], outputs, **QUIET)
    dependent = [note, *choosers, *decoding[-2:], *outputs]
    # Not `change`: `show_model` also changes the family and updates the rest itself.
    family.input(MethodType(change_family, services), [family, owner, *typing.typed], dependent, **QUIET)
    for chooser, slider in zip(choosers[1:], strengths, strict=True):
        chooser.change(MethodType(offer_strength, services.registry), [chooser, owner], slider, **QUIET)
    opened = page.load(MethodType(refresh, services), None, family, **QUIET).then(
        MethodType(describe_own_family, services), [owner, family, *choosers], [note, *choosers], **QUIET
    )
    everything = CompareTab([family, *dependent], right["comparison"], review)
    reopened = [typing.examples, *everything.shown]
    opened.then(
        MethodType(reopen, services), [kept, right["comparison"], family, owner, *typing.typed], reopened, **QUIET
    )
    typing.chosen.then(MethodType(show_example, services), [family, *typing.typed], outputs, **QUIET)
    typing.dialogue.change(
        MethodType(follow_dialogue, services),
        [right["comparison"], family, *typing.typed],
        outputs,
        trigger_mode="always_last",
        queue=False,
        **QUIET,
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


def results(**changes: Update) -> tuple[Update, ...]:
    """Updates in the order of RESULTS; components that are not named keep their value."""
    updates = {name: changes.pop(name, gr.skip()) for name in RESULTS}
    if changes:
        raise InputError(f"The Compare tab has no {', '.join(changes)}; it has {', '.join(RESULTS)}.")
    return tuple(updates.values())


def shown_results(
    family: Family, comparison: Comparison | None, wanted: Mapping[Kind, ModelSpec] | None = None
) -> tuple[Update, ...]:
    """A finished comparison without highlighting, or empty cards, by default of the family's default models."""
    if comparison is None:
        specs = {kind: default_of(family, kind) for kind in KINDS} | dict(wanted or {})
        empty = {kind: cards.empty_card(kind, spec) for kind, spec in specs.items()}
        return results(**empty, **_emptied(), **_no_scores(), problem="", warnings="", human="", comparison=None)
    shown = _no_scores() | _finished(comparison, html.NO_HIGHLIGHT)
    return results(**shown, problem="", warnings=_recorded(comparison) + _warnings(comparison))


def begin(services: Services, request: gr.Request) -> tuple[Update, ...]:
    services.begin(request.session_hash or "")
    fixed = gr.update(interactive=False)
    return gr.update(interactive=False, value="Comparing…"), gr.update(interactive=True), fixed, fixed


def end() -> tuple[Update, ...]:
    free = gr.update(interactive=True)
    return gr.update(interactive=True, value="Compare"), gr.update(interactive=False, value="Stop"), free, free


def ask_to_stop(services: Services, request: gr.Request) -> Update:
    services.stop(request.session_hash or "")
    return gr.update(interactive=False, value="Stopping…")


def say_goodbye(services: Services, request: gr.Request) -> None:
    services.forget(request.session_hash or "")


def run_comparison(
    services: Services,
    dialogue: str,
    reference1: str,
    reference2: str,
    reference3: str,
    as_is: str,
    family_name: str,
    full: str | None,
    lora: str | None,
    full_strength: float,
    lora_strength: float,
    highlight: str,
    strategy: str,
    beams: float,
    temperature: float,
    seed: float | None,
    length: float,
    ngram: float,
    request: gr.Request,
    owner: str = "",
    best: bool = False,
) -> Iterator[tuple[Update, ...]]:
    """Yield the results as they arrive. An input error appears under the button and changes nothing else."""
    stop = services.running.get(request.session_hash or "")
    phases, drawn, comparison = None, 0.0, None
    try:
        registry = services.registry.seen_by(owner)
        family = registry.family(family_name)
        specs = [family.base, *(registry.spec(name) for name in (full, lora) if name)]
        references = [reference1, reference2, reference3]
        ignored = references_of_others(services, dialogue, references)
        own = [reference for index, reference in enumerate(references) if index not in ignored]
        states = stream_comparison(
            services.store,
            family,
            specs,
            dialogue,
            own,
            decode_config(family, strategy, beams, temperature, seed, length, ngram),
            max_chars=services.settings.max_input_chars,
            should_stop=stop.is_set if stop else None,
            strengths={name: value for name, value in ((full, full_strength), (lora, lora_strength)) if name},
            as_is=uses_as_is(dialogue, as_is),
            choice=choice_of(services) if best else None,
        )
        for comparison in states:
            now = [system.phase for system in comparison.systems]
            if now != phases or time.monotonic() - drawn >= REDRAW_SECONDS:
                phases, drawn = now, time.monotonic()
                told = _ignored(ignored) + _warnings(comparison)
                yield results(**_texts(comparison, highlight), **_emptied(), problem="", warnings=told)
        if comparison is not None:
            yield results(**_finished(comparison, highlight))
    except DsumError as error:
        yield results(problem=html.notice(services.told(error), "error"))
    finally:
        services.finish(request.session_hash or "", stop)


def choice_of(services: Services) -> Choice | None:
    """The judge's choice among CANDIDATES summaries; None if no judge may choose."""
    spec = services.chooser
    return Choice(cache(lambda: services.evaluations.judges.load(spec)), CANDIDATES) if spec else None


def best_of_info(services: Services) -> str:
    """What the option does, and how far to trust the judge."""
    spec = services.chooser
    if spec is None:
        return "Not available: no judge on this machine is shown to find wrong speakers."
    trust = " ".join(services.evaluations.judges.trust(spec.name))
    return (
        f"Generates {CANDIDATES} candidates, the greedy one and samples, and keeps the one that a language model "
        f"judges most faithful to the dialogue. It takes several times as long and does not stream. {trust}"
    )


def keep(comparison: Comparison | None) -> dict[str, Any] | None:
    """What the browser keeps across reloads."""
    return comparison.as_dict() if comparison else None


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
    example = next((sample.id for sample in services.samples if sample.dialogue == typed[0]), None)
    registry = services.registry.seen_by(owner)
    unchanged = [gr.skip()] * CompareTab.PARTS
    if services.is_running(request.session_hash or ""):
        return (example, *unchanged)
    with contextlib.suppress(DsumError, KeyError, TypeError, ValueError, AttributeError):
        found = Comparison.from_dict(kept, registry)
        if _is_of(services, found, typed):
            specs = dict(zip(KINDS, (system.spec for system in found.systems), strict=False))
            return (example, found.family.name, *_begin_with(services, registry, found.family, specs, found))
    return (
        example,
        *unchanged[: -len(RESULTS)],
        *follow_dialogue(services, request, comparison, family_name, *typed),
    )


def follow_dialogue(
    services: Services, request: gr.Request, comparison: Comparison | None, family_name: str, *typed: str
) -> tuple[Update, ...]:
    """Remove recorded summaries when the dialogue changes; the results of a comparison stay until the next one."""
    running = services.is_running(request.session_hash or "")
    if running or (comparison and (not comparison.recorded or _is_of(services, comparison, typed))):
        return results()
    return show_example(services, family_name, *typed)


def show_example(services: Services, family_name: str, *typed: str) -> tuple[Update, ...]:
    """The recorded summaries of the typed example, or empty cards if there are none."""
    family = services.registry.family(family_name)
    found = services.recorded.get((family_name, typed[0]))
    return shown_results(family, found if found and _is_of(services, found, typed) else None)


def _is_of(services: Services, comparison: Comparison, typed: Sequence[str]) -> bool:
    """Whether the comparison is of the typed dialogue and references."""
    dialogue, *references = typed
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


def redraw(comparison: Comparison | None, highlight: str) -> tuple[Update, ...]:
    if comparison is None:
        return results()
    return results(**_texts(comparison, highlight), legend=cards.legend(comparison, highlight))


def change_family(services: Services, chosen: str, owner: str, *typed: str) -> tuple[Update, ...]:
    """Switch to another family: its models, decoding defaults and, for an example, recorded summaries."""
    registry = services.registry.seen_by(owner)
    described = _begin_with(services, registry, registry.family(chosen), {})
    return (*described[: -len(RESULTS)], *show_example(services, chosen, *typed))


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
    offered = {kind: variants(registry, family, kind) for kind in KINDS}
    for kind, spec in wanted.items():
        offered[kind]["value"] = spec.name
    return (
        family_note(registry, family, speed=services.speed),
        *(gr.update(**offered[kind]) for kind in KINDS),
        family.decode.max_new_tokens,
        family.decode.no_repeat_ngram_size,
        *shown_results(family, comparison, wanted),
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


def _texts(comparison: Comparison, highlight: str) -> dict[str, Update]:
    bodies = {
        str(kind): cards.system_card(kind, comparison, index, highlight)
        for index, kind in enumerate(KINDS)
        if index < len(comparison.systems)
    }
    return {**bodies, "human": cards.human_card(comparison, highlight)}


def _no_scores() -> dict[str, Update]:
    return dict.fromkeys(("headline", "signature", "table", "downloads"), "") | {"chart": None}


def _recorded(comparison: Comparison) -> str:
    if not comparison.recorded:
        return ""
    day = date.fromisoformat(comparison.recorded)
    return html.notice(
        f"Example: recorded on {day.day} {day:%B %Y} with these models. Press Compare to generate the summaries now."
    )


def _emptied() -> dict[str, Update]:
    """Hide the scores of the previous comparison."""
    hidden = gr.update(visible=False)
    return {"options": hidden, "scores": hidden, "legend": "", "no_rouge": ""}


def _finished(comparison: Comparison, highlight: str) -> dict[str, Update]:
    scored = any(system.scores for system in comparison.systems)
    drawn = {
        "headline": f"<h3>{escape(headline(comparison))}</h3>",
        "chart": rouge_chart(comparison),
        "signature": escape(comparison.signature.text) if comparison.signature else "",
        "table": cards.scores_table(comparison),
    }
    return {
        **_texts(comparison, highlight),
        "comparison": comparison,
        "options": gr.update(visible=True),
        "downloads": cards.downloads(comparison),
        "legend": cards.legend(comparison, highlight),
        "scores": gr.update(visible=scored),
        "no_rouge": html.notice("" if scored else NO_OUTPUT if comparison.references else NO_REFERENCE),
        **(drawn if scored else {}),
    }


def _ignored(references: Sequence[int]) -> str:
    """A notice about references of an example that were not used; `references` are indexes."""
    if not references:
        return ""
    names = " and ".join(", ".join(f"{index + 1}" for index in references).rsplit(", ", 1))
    subject, verb = ("Reference", "belongs") if len(references) == 1 else ("References", "belong")
    return html.notice(
        f"{subject} {names} {verb} to an example, not to this dialogue: ignored. Edit the text under “Reference "
        "summaries” to use your own.",
        "warning",
    )


def _warnings(comparison: Comparison) -> str:
    return "".join(html.notice(warning, "warning") for warning in comparison.warnings)
