"""One example of an evaluation as HTML: its dialogue, its references, and each system's output, scores and checks."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from dsum_demo.data.dialogues import speakers
from dsum_demo.evaluation.records import Evaluation, ExampleRecord, Output
from dsum_demo.metrics.checks import CHECKS, Check
from dsum_demo.metrics.scores import HEADLINE, METRICS, Score, common_unit
from dsum_demo.metrics.words import words
from dsum_demo.ui import html
from dsum_demo.ui.appearance import HUMAN, system_looks, system_titles
from dsum_demo.ui.html import html_table

POLICY_TITLES = {"mean": "Mean", "best": "Best", "first": "First"}


def example_view(evaluation: Evaluation, example: ExampleRecord, highlight: str, place: str, no_texts: str) -> str:
    """place: the position in the list, such as "3 of 24". no_texts: why the dialogue is missing."""
    names, styles = system_titles(evaluation.systems), system_looks(evaluation.systems)
    base = evaluation.of_kind("base")
    shown = "".join(
        _system_card(evaluation, example, system.name, names[system.name], styles[system.name].css_class, highlight,
                     base.name if base and base.name != system.name else None)
        for system in evaluation.systems
    )  # fmt: skip
    human = _human(evaluation, example, highlight)
    return (
        f'<section class="example" aria-label="Example {escape(example.id)}" tabindex="-1">'
        f'<h3>{escape(example.id)}</h3><p class="hint">{_facts(example, place)}</p>'
        f'<div class="example-grid"><div class="example-text">{_dialogue(example, no_texts)}{human}'
        f'</div><div class="example-cards">{shown}</div></div></section>'
    )


def _facts(example: ExampleRecord, place: str) -> str:
    parts = [place, f"row {example.row}", ", ".join(example.topics)]
    for count, word in ((example.words, "word"), (example.turns, "turn"), (example.speakers, "speaker")):
        if count is not None:
            parts.append(f"{count} {word}{'' if count == 1 else 's'}")
    return escape(" · ".join(part for part in parts if part))


def _dialogue(example: ExampleRecord, no_texts: str) -> str:
    if example.dialogue is None:
        return html.notice(no_texts or "This file has no dialogues.")
    known = set(speakers(example.dialogue))
    lines = []
    for line in example.dialogue.splitlines():
        name, colon, rest = line.partition(":")
        said = f"<b>{escape(name)}:</b>{escape(rest)}" if colon and name.strip() in known else escape(line)
        lines.append(f'<p dir="auto">{said}</p>')
    return f'<div class="turns" tabindex="0" aria-label="Dialogue">{"".join(lines)}</div>'


def _human(evaluation: Evaluation, example: ExampleRecord, highlight: str) -> str:
    if not example.references:
        return ""
    texts = [html.marked(text, highlight, example.dialogue or "", ()) for text in example.references]
    body = '<ol class="summary">' + "".join(f'<li class="text" dir="auto">{text}</li>' for text in texts) + "</ol>"
    footer = ""
    if example.human:
        footer = html_table([common_unit(), *_short()], [["Each against the others", *_cells(example.human)]], "small")
    what = "the reference" if len(texts) == 1 else f"{len(texts)} references"
    return html.card(HUMAN.css_class, HUMAN.title, what, body, footer, copyable=True)


def _system_card(
    evaluation: Evaluation,
    example: ExampleRecord,
    name: str,
    title: str,
    css: str,
    highlight: str,
    baseline: str | None,
) -> str:
    output = example.outputs.get(name)
    what = [f"<b>{escape(name)}</b>"] if name != title else []
    if output is None:
        return html.card(
            css,
            title,
            " · ".join(what),
            '<p class="summary empty">Not generated yet.</p>',
            "",
            copyable=False,
        )
    both = [output, example.outputs[baseline]] if baseline and baseline in example.outputs else []
    if baseline and both and all(HEADLINE in each.scores for each in both):
        change = 100 * (output.scores[HEADLINE].fmeasure - example.outputs[baseline].scores[HEADLINE].fmeasure)
        what.append(f"{change:+.1f} {METRICS[HEADLINE].title} compared to the original")
    text = html.marked(output.text, highlight, example.dialogue or "", example.references)
    body = (
        f'<p class="summary" dir="auto"><span class="text">{text}</span></p>'
        if output.text.strip()
        else '<p class="summary empty">No output.</p>'
    )
    return html.card(
        css,
        title,
        " · ".join(what),
        body + scores_table(evaluation.policy, output) + checks_list(output),
        output_footer(output),
        copyable=bool(output.text),
    )


def scores_table(policy: str, output: Output) -> str:
    """F1 x 100 over all references (by the policy) and for each one; – where a metric reads nothing in a reference."""
    rows = [[POLICY_TITLES[policy] if len(output.by_reference) > 1 else common_unit(), *_cells(output.scores)]]
    if len(output.by_reference) > 1:
        rows += [[f"Ref. {n}", *_cells(scores)] for n, scores in enumerate(output.by_reference, 1)]
    return html_table([common_unit(), *_short()], rows, "small")


def _cells(scores: Mapping[str, Score]) -> list[str]:
    return [f"{100 * scores[name].fmeasure:.1f}" if name in scores else "–" for name in METRICS]


def _short() -> list[str]:
    return [metric.short for metric in METRICS.values()]


def checks_list(output: Output) -> str:
    """The results of all checks that apply to the output."""
    rows = [
        f"<dt>{escape(check.title)}</dt><dd>{escape(_value(check, value, output))}</dd>"
        for check in CHECKS
        if (value := output.checks.get(check.name)) is not None
    ]
    return f'<dl class="checks">{"".join(rows)}</dl>' if rows else ""


def _value(check: Check, value: float, output: Output) -> str:
    if check.name == "ungrounded":
        return ", ".join(output.ungrounded) or "none"
    if check.unit == "yes/no":
        return "yes" if value else "no"
    if check.times_100:
        return f"{100 * value:.0f}{'' if check.unit == 'score' else ' %'}"
    return f"{value:.2f} ×" if check.unit in ("ratio", "times") else f"{value:.2f} {check.unit}"


def output_footer(output: Output) -> str:
    """Length, and what was truncated."""
    parts = [f"{len(words(output.text))} words"]
    if output.tokens is not None:
        parts.append(f"{output.tokens} tokens")
    if output.turns_left_out:
        parts.append(f"{output.turns_left_out} dialogue turns truncated")
    if output.hit_length_limit:
        parts.append("truncated at the length limit")
    return " · ".join(parts)
