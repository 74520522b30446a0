"""Labels, notes and choices for model families and their models."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from dsum_demo.models.catalog import Family, Kind, ModelSpec
from dsum_demo.models.estimates import Speed, describe_family
from dsum_demo.models.registry import Registry, State
from dsum_demo.ui.appearance import KINDS
from dsum_demo.ui.html import notice
from dsum_demo.utils.formatting import size

SCALE_FAMILY = "flan-t5-base"
KIND_NAMES = {Kind.BASE: "original", Kind.FULL: "full fine-tune", Kind.ADAPTER: "LoRA"}


STATES = {
    State.SHIPPED: "included",
    State.LOCAL: "on this machine",
    State.CACHED: "downloaded",
    State.DOWNLOADABLE: "to download",
    State.NO_ROOM: "no room on the disk",
    State.UNREACHABLE: "needs internet",
    State.FAILED: "cannot be loaded",
    State.MISSING: "not trained yet",
}


def family_choices(registry: Registry, ask: bool = True) -> list[tuple[str, str]]:
    """(label, name) of every family: its title, with the size in it, and with `ask`, which may wait 1.5 s for the Hub,
    its state.
    """
    return [(_title(registry, family) if ask else family.title, family.name) for family in registry.families()]


def _title(registry: Registry, family: Family) -> str:
    known = [(spec, registry.availability(spec).state) for spec in family.variants]
    download = sum(spec.size_bytes or 0 for spec, state in known if state is State.DOWNLOADABLE)
    state = registry.availability(family.base).state
    return f"{family.title} · {f'{size(download)} to download' if download else STATES[state]}"


def family_note(registry: Registry, family: Family, ask: bool = True, speed: Speed | None = None) -> str:
    """HTML that describes the family, with published scores; with `ask` also its cost or why it is not available."""
    text = f"<b>{escape(family.title)}</b>: {escape(family.note)}"
    scale = next((f for f in registry.families() if f.name == SCALE_FAMILY), None)
    if scale and all(kind in scale.published for kind in KINDS):
        scores = ", ".join(f"{KIND_NAMES[kind]} {scale.published[kind][0]:.1f}" for kind in KINDS)
        text += (
            f' <span title="{escape(scale.published_source)}">For comparison, the published ROUGE-1 of FLAN-T5 base on '
            f"the DialogSum test set: {scores}.</span>"
        )
    reasons = []
    for spec in family.default_trio() if ask else ():
        availability = registry.availability(spec) if spec else None
        if spec and availability and not availability.usable:
            reasons.append((spec.title, availability.reason))
    # A reason that all three share is given once.
    if len(reasons) == len(KINDS) and len({reason for _, reason in reasons}) == 1:
        said = f"Not available here. {reasons[0][1]} {registry.offline_offer()}".strip()
        return text + notice(said, "warning")
    costs = notice(describe_family(registry, family, speed)) if ask else ""
    return text + costs + notice(" ".join(f"{title}: {reason}" for title, reason in reasons), "warning")


def variants(registry: Registry, family: Family, kind: Kind) -> dict[str, Any]:
    """`choices` and `value` of a dropdown: the base in the first column, all fine-tuned models in the others."""
    default = default_of(family, kind)
    specs: Sequence[ModelSpec] = [family.base]
    if kind is not Kind.BASE:
        tuned = [spec for spec in family.variants if spec.kind is not Kind.BASE]
        specs = sorted(tuned, key=lambda spec: spec.kind is not kind)
    return {"choices": [(_label(spec), spec.name) for spec in specs], "value": default.name if default else None}


def default_of(family: Family, kind: Kind) -> ModelSpec | None:
    return dict(zip(KINDS, family.default_trio(), strict=True))[kind]


def _label(spec: ModelSpec) -> str:
    if spec.source is None:
        return f"{spec.title} (not trained yet)"
    return spec.name if spec.title == spec.name else f"{spec.title}: {spec.name}"
