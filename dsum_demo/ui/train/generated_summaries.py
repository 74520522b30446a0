"""Summaries generated during training as HTML: the same dialogues at each evaluation, and the extreme rows."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from html import escape
from typing import Any

from dsum_demo.training.events import Curve, Event

MOST_STEPS = 24
# Below it two texts have so little in common that marks on nearly every word would only disturb.
LEAST_SIMILARITY = 0.4


def learning_table(curve: Curve) -> str:
    """The summaries of each watched dialogue by step, with its reference, and the extreme rows of the last evaluation;
    empty before the first evaluation.
    """
    evaluations = _thinned([e for e in curve.evaluations if e.get("summaries")])
    if not evaluations:
        return ""
    last = evaluations[-1]
    compared = " R1 compares with the preferred summary." if _is_preference(last) else ""
    dialogues = "".join(_dialogue(evaluations, place) for place in range(len(last["summaries"])))
    return (
        '<h3 class="part">Generated summaries by step</h3>'
        '<p class="hint"><span class="kept">●</span> best so far: these weights are kept. <ins>New</ins> and '
        f"<del>removed</del> words are those that changed since the step above.{compared}</p>"
        f"{dialogues}{_extremes(last)}"
    )


def marked_changes(before: str, after: str) -> str:
    """`after` with new words as <ins> and words of `before` that are gone as <del>; HTML. Without marks if the texts
    have little in common.
    """
    old, new = before.split(), after.split()
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if not old or matcher.ratio() < LEAST_SIMILARITY:
        return escape(after)
    parts = []
    for kind, i, j, k, m in matcher.get_opcodes():
        gone, kept = escape(" ".join(old[i:j])), escape(" ".join(new[k:m]))
        if kind == "equal":
            parts.append(kept)
            continue
        parts += [f"<del>{gone}</del>"] if gone else []
        parts += [f"<ins>{kept}</ins>"] if kept else []
    return " ".join(parts)


def _dialogue(evaluations: Sequence[Event], place: int) -> str:
    """One watched dialogue; the first one is open."""
    row = evaluations[-1]["summaries"][place]
    body, before = "", ""
    for event in evaluations:
        text = str(event["summaries"][place].get("summary", "")) if place < len(event["summaries"]) else ""
        body += _step(event, place, marked_changes(before, text))
        before = text
    dialogue = str(row.get("dialogue", ""))
    title = "Preferred" if _is_preference(evaluations[-1]) else "Human"
    opened = " open" if place == 0 else ""
    return (
        f'<details class="watched"{opened}><summary><b>Dialogue {row.get("number", place + 1)}</b> '
        f'<span class="hint">{escape(dialogue.partition(chr(10))[0])}</span></summary>'
        '<table class="scores learning"><thead><tr><th scope="col">Step</th><th scope="col">Summary</th></tr></thead>'
        f'<tbody>{body}</tbody><tfoot><tr><th scope="row">{title}</th><td dir="auto">'
        f"{escape(str(row.get('reference', '')))}</td></tr></tfoot></table>{_whole(dialogue)}</details>"
    )


def _is_preference(event: Event) -> bool:
    """Whether the run is a preference training, whose references are the chosen texts of pairs."""
    return event.get("accuracy") is not None


def _step(event: Event, place: int, text: str) -> str:
    mark = ' <span class="kept" title="best so far">●</span>' if event.get("best") else ""
    # Older runs recorded the mean of an evaluation only.
    own = event["summaries"][place].get("rouge1") if place < len(event["summaries"]) else None
    rouge = f"<br><small>R1 {100 * own:.1f}</small>" if own is not None else ""
    return (
        f'<tr><th scope="row">{event["step"]:,}{mark}{rouge}</th><td dir="auto">{text or "<i>no output</i>"}</td></tr>'
    )


def _extremes(event: Event) -> str:
    groups = {"Best": event.get("best_rows"), "Worst": event.get("worst_rows")}
    rows = "".join(_extreme(title, row) for title, found in groups.items() for row in found or ())
    if not rows:
        return ""
    return (
        f'<details class="watched"><summary><b>Best and worst</b> <span class="hint">by ROUGE-1, at step '
        f"{event['step']:,}</span></summary>"
        '<table class="scores learning"><thead><tr><th scope="col">R1</th><th scope="col">Summary</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></details>"
    )


def _extreme(title: str, row: Any) -> str:
    whole = _whole(str(row["dialogue"]), f"Dialogue {row['number']}")
    return (
        f'<tr><th scope="row">{title}<br><small>{100 * row["rouge1"]:.1f}</small></th>'
        f'<td dir="auto">{escape(str(row["summary"])) or "<i>no output</i>"}'
        f'<p class="hint" dir="auto">Human: {escape(str(row["reference"]))}</p>{whole}</td></tr>'
    )


def _whole(dialogue: str, title: str = "The dialogue") -> str:
    return (
        f'<details class="whole"><summary>{title}</summary><div class="dialogue" dir="auto" tabindex="0">'
        f"{escape(dialogue)}</div></details>"
    )


def _thinned(evaluations: list[Event]) -> list[Event]:
    """At most about MOST_STEPS evaluations: evenly spaced ones with the last, and the best."""
    if len(evaluations) <= MOST_STEPS:
        return evaluations
    stride = -(-len(evaluations) // MOST_STEPS)
    last = len(evaluations) - 1
    best = max((n for n, event in enumerate(evaluations) if event.get("best")), default=last)
    return [event for n, event in enumerate(evaluations) if n in (best, last) or (last - n) % stride == 0]
