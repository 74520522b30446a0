"""Color, pattern and title of each system, on the page and in reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dsum_demo.models.catalog import Kind


class Described(Protocol):
    """A system of a comparison, an evaluation or a review."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def kind(self) -> str: ...


@dataclass(frozen=True)
class Look:
    """The appearance of one kind of system. `pattern` is plotly's: bars must be distinguishable without color."""

    title: str
    css_class: str
    color: str
    pattern: str


# Blue and orange are distinguishable with color blindness (Okabe & Ito 2008) and contrast with white and black.
LOOKS = {
    Kind.BASE: Look("Original", "original", "#8a929e", ""),
    Kind.FULL: Look("Full fine-tune", "full", "#2b7bd6", "/"),
    Kind.ADAPTER: Look("LoRA", "lora", "#e07b1a", "x"),
}
KINDS = tuple(LOOKS)  # the three columns, from left to right
HUMAN = Look("Human", "human", "#1f9d76", "")

# For a second system of a kind and for recorded outputs, which have no kind.
_MORE = (("#a05bb8", "."), ("#b8495f", "\\"), ("#5f8f2f", "-"), ("#8a6d3b", "|"), ("#3a9ea5", "+"))


def system_looks(systems: Sequence[Described]) -> dict[str, Look]:
    """The look of each system shown together: the first of a kind has the kind's look, others their own."""
    taken: dict[str, Look] = {}
    others = 0
    for system in systems:
        look = LOOKS.get(Kind(system.kind)) if system.kind in set(Kind) else None
        if look is None or look in taken.values():
            color, pattern = _MORE[others % len(_MORE)]
            look = Look(system.title, f"other-{others % len(_MORE)}", color, pattern)
            others += 1
        taken[system.name] = look
    return taken


def system_titles(systems: Sequence[Described]) -> dict[str, str]:
    """The title of each system, or its name if the title is empty or not unique."""
    given = [system.title for system in systems]
    return {s.name: s.title if s.title and given.count(s.title) == 1 else s.name for s in systems}
