"""The events of the Compare tab that add, remove and choose systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import gradio as gr

from dsum_demo.comparison import Comparison, RecordedSummary, System, recorded_result
from dsum_demo.ui.appearance import KINDS
from dsum_demo.ui.compare.columns import (
    ADDED,
    LAYOUT,
    PLACES,
    chosen,
    known_systems,
    laid_out,
    more,
    next_system,
)
from dsum_demo.ui.compare.results import empty_cards, finished, notes_of, results
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import Update


def add_system(
    services: Services,
    comparison: Comparison | None,
    family_name: str,
    owner: str,
    dialogue: str,
    *values: str | None,
) -> tuple[Update, ...]:
    """Open another column. values: of the family's choosers and of `Columns.more`."""
    registry = services.registry.seen_by(owner)
    trio, (names, texts) = values[: len(KINDS)], chosen(values[len(KINDS) :])
    if len(names) == len(ADDED):
        return (*[gr.skip()] * LAYOUT, *results())
    names, texts = [*names, next_system(registry, registry.family(family_name), [*trio, *names])], [*texts, ""]
    waiting = _waiting_cards(services, comparison, owner, dialogue, [*trio, *more(names, texts)])
    return (*laid_out(services, registry, names, texts), *results(**waiting))


def remove_system(
    services: Services,
    number: int,
    comparison: Comparison | None,
    highlight: str,
    owner: str,
    dialogue: str,
    *values: str | None,
) -> tuple[Update, ...]:
    """Close the column ADDED[number], and remove its system from the results. values: as in `add_system`."""
    registry = services.registry.seen_by(owner)
    trio, used = values[: len(KINDS)], chosen(values[len(KINDS) :])
    names, texts = ([one for place, one in enumerate(each) if place != number] for each in used)
    place = len(KINDS) + number
    shown: dict[str, Update] = {}
    if comparison and place < len(comparison.systems):
        comparison = replace(comparison, systems=comparison.systems[:place] + comparison.systems[place + 1 :])
        shown = _drawn_again(comparison, highlight)
    waiting = _waiting_cards(services, comparison, owner, dialogue, [*trio, *more(names, texts)])
    return (*laid_out(services, registry, names, texts), *results(**{**shown, **waiting}))


def choose_system(
    services: Services,
    comparison: Comparison | None,
    highlight: str,
    owner: str,
    dialogue: str,
    *values: str | None,
) -> tuple[Update, ...]:
    """Another system was chosen for a column: recorded outputs join the results at once; the others have a card without
    a result. values: as in `add_system`.
    """
    shown: dict[str, Update] = {}
    if comparison:
        registry = services.registry.seen_by(owner)
        added = known_systems(services, registry, values[len(KINDS) :], comparison.dialogue)
        joined = with_recorded(comparison, added)
        if joined is not comparison:
            comparison, shown = joined, _drawn_again(joined, highlight)
    return results(**{**shown, **_waiting_cards(services, comparison, owner, dialogue, values)})


def with_recorded(comparison: Comparison, added: Sequence[System]) -> Comparison:
    """The comparison with the recorded outputs among the systems of the added columns, up to the first system that has
    no result yet.
    """
    systems = list(comparison.systems)
    for place, system in enumerate(added, len(KINDS)):
        if place > len(systems):
            break
        if isinstance(system, RecordedSummary) and system.origin:
            systems[place : place + 1] = [recorded_result(system, comparison.references)]
    if tuple(systems) == comparison.systems:
        return comparison
    return replace(comparison, systems=tuple(systems), judged=None)


def _drawn_again(comparison: Comparison, highlight: str) -> dict[str, Update]:
    return finished(comparison, highlight) | {"warnings": notes_of(comparison), "proof": ""}


def _waiting_cards(
    services: Services,
    comparison: Comparison | None,
    owner: str,
    dialogue: str,
    values: Sequence[str | None],
) -> dict[str, Update]:
    """The cards of the systems after the comparison's last one. dialogue: the typed one."""
    registry = services.registry.seen_by(owner)
    trio = [registry.spec(name) if name else None for name in values[: len(KINDS)]]
    of = comparison.dialogue if comparison else dialogue
    empty = empty_cards([*trio, *known_systems(services, registry, values[len(KINDS) :], of)])
    taken = len(comparison.systems) if comparison else 0
    return {place: card for place, card in empty.items() if place in PLACES[taken:]}
