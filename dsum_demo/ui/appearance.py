"""How a system looks everywhere, on the page and in a report: its colour, its pattern, its name. Knows no gradio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dsum_demo.evaluation.records import SystemInfo
from dsum_demo.models.catalog import Kind


@dataclass(frozen=True)
class Look:
    """How a kind of system looks everywhere. `pattern` is plotly's, so that bars can be told apart without colour."""

    title: str
    css_class: str
    color: str
    pattern: str


# Blue and orange are told apart by colour-blind eyes too (Okabe & Ito 2008), and both stand out on white and on black.
LOOKS = {
    Kind.BASE: Look("Original", "original", "#8a929e", ""),
    Kind.FULL: Look("Full fine-tune", "full", "#2b7bd6", "/"),
    Kind.ADAPTER: Look("LoRA", "lora", "#e07b1a", "x"),
}
KINDS = tuple(LOOKS)  # the three places, from left to right
HUMAN = Look("Human", "human", "#1f9d76", "")

# For a second system of a kind and for recorded outputs of no kind; the pattern tells apart what colour may not.
_MORE = (("#a05bb8", "."), ("#b8495f", "\\"), ("#5f8f2f", "-"), ("#8a6d3b", "|"), ("#3a9ea5", "+"))


def system_looks(systems: Sequence[SystemInfo]) -> dict[str, Look]:
    """How each system of an evaluation looks: the first of a kind as everywhere, others in a colour of their own."""
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


def system_titles(systems: Sequence[SystemInfo]) -> dict[str, str]:
    """What each system is called: its title, its name where it has none or another one has the same."""
    given = [system.title for system in systems]
    return {s.name: s.title if s.title and given.count(s.title) == 1 else s.name for s in systems}
