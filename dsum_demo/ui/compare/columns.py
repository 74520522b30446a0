"""The columns of the Compare tab: three models of the family, and up to three more systems of any family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.comparison import MAX_SYSTEMS, RecordedSummary, System
from dsum_demo.errors import UnknownModelError
from dsum_demo.evaluation.recorded_comparison import recorded_summary
from dsum_demo.models.catalog import Family, Kind
from dsum_demo.models.registry import Registry, State
from dsum_demo.ui.appearance import KINDS, LOOKS
from dsum_demo.ui.compare.families import default_of, variants
from dsum_demo.ui.compare.strength import offer_strength, strength_slider
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import QUIET, Update

ADDED = tuple(f"added-{number}" for number in range(1, MAX_SYSTEMS - len(KINDS) + 1))
PLACES = (*KINDS, *ADDED)  # the columns, from left to right
# No model's name can contain a colon. Recorded outputs have the value EVALUATION:SYSTEM.
PASTED = ":pasted"
PASTED_TITLE = "Pasted summary"


@dataclass(frozen=True)
class Columns:
    """The components of the columns. choosers, cards: one for each of PLACES; strengths: for all but the first; added,
    removes, pasted: for each of ADDED, the column, its button and the text from elsewhere.
    """

    choosers: list[gr.Dropdown]
    cards: dict[str, gr.HTML]
    strengths: list[gr.Slider]
    added: list[gr.Column]
    removes: list[gr.Button]
    pasted: list[gr.Textbox]
    add: gr.Button

    @property
    def layout(self) -> list[Any]:
        """The outputs of `laid_out`."""
        return [*self.added, *self.choosers[len(KINDS) :], *self.pasted, self.add]

    @property
    def more(self) -> list[Any]:
        """The inputs of `added_systems`."""
        return [*self.choosers[len(KINDS) :], *self.pasted]


LAYOUT = 3 * len(ADDED) + 1  # the number of outputs of `laid_out`


def build_columns(registry: Registry, first: Family, shown: Mapping[str, Any], add: gr.Button) -> Columns:
    """Build the columns inside the caller's row. shown: the cards at first."""
    columns = Columns([], {}, [], [], [], [], add)
    for place in PLACES:
        kind = Kind(place) if place in KINDS else None
        with gr.Column(min_width=230, visible=kind is not None, elem_id=f"column-{place}") as column:
            with gr.Row(elem_classes="chooser"):
                columns.choosers.append(
                    gr.Dropdown(
                        **(variants(registry, first, kind) if kind else {"choices": [], "value": None}),
                        label=LOOKS[kind].title if kind else "System",
                        container=False,
                        interactive=kind is not Kind.BASE,
                        filterable=False,
                        elem_id=f"choose-{place}",
                        min_width=150,
                    )
                )
                if not kind:
                    columns.removes.append(
                        gr.Button("Remove", size="sm", scale=0, min_width=70, elem_id=f"remove-{place}")
                    )
            columns.cards[place] = gr.HTML(shown[place] if kind else "", elem_id=f"card-{place}")
            if kind is None:
                columns.added.append(column)
                columns.pasted.append(
                    gr.Textbox(
                        label="Its text", lines=4, max_lines=8, visible=False, elem_id=f"paste-{place}",
                        placeholder="Paste a summary that another program or a person wrote.",
                    )
                )  # fmt: skip
            if kind is not Kind.BASE:
                spec = default_of(first, kind) if kind else None
                columns.strengths.append(strength_slider(registry, spec, f"strength-{place}"))
    return columns


def connect_columns(services: Services, columns: Columns, owner: gr.BrowserState) -> None:
    """The events that change nothing outside a column."""
    for chooser, slider in zip(columns.choosers[1:], columns.strengths, strict=True):
        chooser.change(MethodType(offer_strength, services.registry), [chooser, owner], slider, **QUIET)
    for chooser, text in zip(columns.choosers[len(KINDS) :], columns.pasted, strict=True):
        chooser.input(lambda name: gr.update(visible=name == PASTED), chooser, text, **QUIET)


def laid_out(
    services: Services, registry: Registry, names: Sequence[str | None], texts: Sequence[str]
) -> tuple[Update, ...]:
    """Updates of `Columns.layout` for the choosers' values `names`, shorter than ADDED if some columns are free."""
    free = len(ADDED) - len(names)
    values = [*names, *[None] * free]
    choices = system_choices(services, registry) if names else []
    # gradio refuses every event of a dropdown whose value is not a choice; the card has the reason.
    gone = {name for name in names if name} - {value for _, value in choices}
    choices += [(f"{name} (no longer available)", name) for name in sorted(gone)]
    return (
        *(gr.update(visible=value is not None) for value in values),
        *(gr.update(choices=choices, value=value) for value in values),
        *(
            gr.update(value=text, visible=value == PASTED)
            for value, text in zip(values, [*texts, *[""] * free], strict=True)
        ),
        gr.update(visible=free > 0),
    )


def system_choices(services: Services, registry: Registry) -> list[tuple[str, str]]:
    """(label, value) of every available model of every family, of a summary from elsewhere, and of every system of the
    saved evaluations.
    """
    models = [
        (f"{spec.name} · {spec.title if spec.title != spec.name else family.title}", spec.name)
        for family in registry.families()
        for spec in family.variants
        if registry.availability(spec).usable
    ]
    recorded = [
        (f"{title} · recorded {saved.created[:10]} · {saved.name}", f"{saved.name}:{name}")
        for saved in services.evaluations.saved.list()
        for name, title in zip(saved.names, saved.systems, strict=True)
    ]
    return [*models, ("Summary from elsewhere (paste it)", PASTED), *recorded]


def next_system(registry: Registry, family: Family, names: Sequence[str | None]) -> str:
    """The value of a new column: an available model that has no column yet, if possible without a download, of this
    family and fine-tuned.
    """
    specs = [spec for one in registry.families() for spec in one.variants if spec.name not in names]
    states = {spec.name: registry.availability(spec) for spec in specs}
    usable = [spec for spec in specs if states[spec.name].usable]
    if not usable:
        return PASTED

    def order(name: str) -> tuple[bool, bool, bool]:
        spec = registry.spec(name)
        return states[name].state is State.DOWNLOADABLE, spec.family != family.name, spec.kind is Kind.BASE

    return min((spec.name for spec in usable), key=order)


def chosen(values: Sequence[str | None]) -> tuple[list[str], list[str]]:
    """(names, texts) of the added columns in use, from the values of `Columns.more`."""
    pairs = zip(values[: len(ADDED)], values[len(ADDED) :], strict=True)
    used = [(name, text or "") for name, text in pairs if name]
    return [name for name, _ in used], [text for _, text in used]


def more(names: Sequence[str], texts: Sequence[str]) -> list[str | None]:
    """The values of `Columns.more` for columns with these values: the reverse of `chosen`."""
    free = len(ADDED) - len(names)
    return [*names, *[None] * free, *texts, *[""] * free]


def added_systems(services: Services, registry: Registry, values: Sequence[str | None], dialogue: str) -> list[System]:
    """The systems in the added columns, from the values of `Columns.more`; none if there are no values. dialogue: the
    one whose recorded summaries are looked up. Raises UnknownModelError.
    """
    systems: list[System] = []
    pasted = 0
    for name, text in zip(*chosen(values), strict=True):
        if name == PASTED:
            pasted += 1
            systems.append(RecordedSummary(f"{PASTED_TITLE} {pasted}" if pasted > 1 else PASTED_TITLE, text.strip()))
        elif ":" in name:
            systems.append(recorded_summary(services.evaluations.saved, name, dialogue))
        else:
            systems.append(registry.spec(name))
    return systems


def known_systems(services: Services, registry: Registry, values: Sequence[str | None], dialogue: str) -> list[System]:
    """`added_systems`, or none if the registry has lost one of them."""
    try:
        return added_systems(services, registry, values, dialogue)
    except UnknownModelError:
        return []


def values_of(systems: Sequence[System]) -> tuple[list[str | None], list[str]]:
    """(names, texts) of added columns with these systems, for `laid_out`."""
    recorded = [system if isinstance(system, RecordedSummary) else None for system in systems]
    return (
        [one.origin or PASTED if one else system.name for one, system in zip(recorded, systems, strict=True)],
        [one.text if one and not one.origin else "" for one in recorded],
    )
