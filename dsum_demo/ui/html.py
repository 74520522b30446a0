"""HTML that several tabs use: notices, cards, highlighted text, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import urlencode

from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.metrics.overlap import Segment, copied_from_dialogue, shared_with_references

NO_HIGHLIGHT, SHARED, COPIED = "none", "shared", "copied"


def notice(text: str, level: str = "") -> str:
    """`level`: "", "warning" or "error". Empty for an empty text."""
    role = "alert" if level == "error" else "status"
    return f'<div class="notice {level}" role="{role}">{escape(text)}</div>' if text else ""


def card(css: str, title: str, what: str, body: str, footer: str, *, copyable: bool, busy: bool = False) -> str:
    """The frame of a card. `css` and `title` are plain; `what`, `body` and `footer` are HTML."""
    button = f'<button class="copy" type="button" aria-label="Copy {escape(title)}">Copy</button>' if copyable else ""
    return (
        f'<article class="card {css}" aria-label="{escape(title)}" aria-busy="{str(busy).lower()}">'
        f"<header><h3>{escape(title)}</h3>{button}</header>"
        f'<div class="trained">{what}</div>{body}<footer>{footer}</footer></article>'
    )


def marked(text: str, highlight: str, dialogue: str, references: Sequence[str]) -> str:
    """The escaped text with the highlighting of `highlight`."""
    return "".join(
        f'<mark class="{highlight}">{escape(segment.text)}</mark>' if segment.marked else escape(segment.text)
        for segment in segments(text, highlight, dialogue, references)
    )


def segments(text: str, highlight: str, dialogue: str, references: Sequence[str]) -> Sequence[Segment]:
    """The text in segments, marked or not; without references no word is shared."""
    if highlight == COPIED:
        return copied_from_dialogue(text, dialogue)
    if highlight == SHARED and references:
        return shared_with_references(text, references)
    return [Segment(text, False)]


def link_button(**ids: str) -> str:
    """A button that copies a link to the page with these ids in its query (share.js)."""
    query = urlencode({name: value for name, value in ids.items() if value})
    return (
        f'<span class="link"><button type="button" data-link="{escape(query)}">Copy link</button>'
        '<span class="share-status" role="status"></span></span>'
    )


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]], css: str = "") -> str:
    """Heads and cells are HTML; the first cell of a row is its heading."""
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        '<div class="scroll" tabindex="0" role="group" aria-label="Table">'
        f'<table class="scores {css}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def interval(mean: Interval | None, factor: float = 100, digits: int = 1) -> str:
    """ "40.8 [39.1, 42.4]"; – without a value."""
    return "–" if mean is None else mean.text(factor, digits)


def change(mean: Interval | None) -> str:
    """ "+3.1 [+1.0, +5.2]", bold if the interval excludes zero."""
    if mean is None:
        return "–"
    text = mean.text(sign="+")
    return f"<b>{text}</b>" if mean.excludes_zero else text
