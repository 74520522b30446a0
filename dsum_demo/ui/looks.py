"""How a system looks everywhere, on the page and in a report: its colour, its pattern, its name. Knows no gradio."""

from __future__ import annotations

from dataclasses import dataclass

from dsum_demo.registry import Kind


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
