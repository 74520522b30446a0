"""The cards of the Compare tab."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from dsum_demo.comparison import Comparison, RecordedSummary, System, SystemResult, recorded_result
from dsum_demo.metrics.grounding import ungrounded
from dsum_demo.metrics.overlap import share_marked
from dsum_demo.metrics.scores import METRICS
from dsum_demo.metrics.words import words
from dsum_demo.models.catalog import Kind
from dsum_demo.ui.appearance import HUMAN, Look, system_looks
from dsum_demo.ui.assets import html_page
from dsum_demo.ui.compare.charts import difference
from dsum_demo.ui.compare.judging import judged_table
from dsum_demo.ui.html import COPIED, NO_HIGHLIGHT, SHARED, card, marked, notice, segments
from dsum_demo.utils.formatting import millions, token_rate, written_date

HIGHLIGHTS = [("Off", NO_HIGHLIGHT), ("Words shared with the reference", SHARED), ("Copied from the dialogue", COPIED)]

LEGENDS = {
    NO_HIGHLIGHT: "",
    SHARED: '<mark class="shared">Underlined</mark>: words shared with a reference (by word stem, as in ROUGE-1).',
    COPIED: '<mark class="copied">Dashed</mark>: runs of three or more words copied from the dialogue.',
}


def empty_card(spec: System, look: Look) -> str:
    """The card before the first comparison: the model and its size, or how to get it."""
    if isinstance(spec, RecordedSummary) and spec.origin:
        recorded = _body(recorded_result(spec, ()), "", (), NO_HIGHLIGHT)
        return card(look.css_class, spec.title, _trained(spec, None, None), recorded, "", copyable=bool(spec.text))
    if spec.source is None and not isinstance(spec, RecordedSummary):
        body = f'<p class="summary empty">{escape(spec.note)}</p>'
    else:
        body = '<p class="summary empty">The summary appears here.</p>'
    what = _trained(spec, spec.parameters, spec.trained_parameters)
    return card(look.css_class, spec.title, what, body, "", copyable=False)


def system_card(comparison: Comparison, index: int, highlight: str) -> str:
    """The card of the system at `index`."""
    result = comparison.systems[index]
    look = system_looks([system.spec for system in comparison.systems])[result.spec.name]
    trained = result.spec.trained_parameters if result.trained_parameters is None else result.trained_parameters
    what = _trained(result.spec, result.parameters or result.spec.parameters, trained) + _strength(result.strength)
    if result.spec.family not in ("", comparison.family.name):
        what += f" · of the family {escape(result.spec.family)}"
    return card(
        look.css_class,
        comparison.title_of(result),
        what,
        _body(result, comparison.dialogue, comparison.references, highlight),
        _footer(result, comparison, highlight),
        copyable=bool(result.summary),
        busy=result.phase in ("loading", "writing"),
    )


def human_card(comparison: Comparison, highlight: str) -> str:
    """The references as the fourth card; empty if there are none."""
    if not comparison.references:
        return ""
    texts = [marked(reference, highlight, comparison.dialogue, ()) for reference in comparison.references]
    if len(texts) == 1:
        body = f'<p class="summary text" dir="auto">{texts[0]}</p>'
    else:
        body = '<ol class="summary">' + "".join(f'<li class="text" dir="auto">{text}</li>' for text in texts) + "</ol>"
    counts = " · ".join(f"{len(words(reference))}" for reference in comparison.references)
    what = "reference summary" if len(texts) == 1 else f"{len(texts)} reference summaries"
    return card(HUMAN.css_class, HUMAN.title, what, body, f"{counts} words", copyable=True)


def scores_table(comparison: Comparison) -> str:
    """Precision, recall, F1 and the F1 difference to the original, x 100, one row per system and metric."""
    rows = []
    for system in comparison.systems:
        for rouge, metric in METRICS.items():
            score = (system.scores or {}).get(rouge)
            if score is None:
                continue
            change = difference(system, comparison.original, rouge)
            parts = [score.precision, score.recall] if metric.has_parts else []
            cells = [f"{100 * part:.2f}" for part in parts] or ["", ""]
            cells.append(f"{100 * score.fmeasure:.2f}")
            rows.append(
                f"<tr><td>{escape(comparison.title_of(system))}</td><td>{metric.title}</td>"
                + "".join(f"<td>{cell}</td>" for cell in cells)
                + f"<td>{'' if change is None else f'{change:+.2f}'}</td></tr>"
            )
    head = "".join(f"<th>{name}</th>" for name in ("System", "Score", "Precision", "Recall", "F1", "F1 vs. original"))
    return (
        f'<div class="scroll" tabindex="0"><table class="scores"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def legend(comparison: Comparison, highlight: str) -> str:
    if highlight == SHARED and not comparison.references:
        text = "Add a reference summary to highlight shared words."
    else:
        text = LEGENDS[highlight]
    return f'<span class="legend">{text}</span>' if text else ""


def downloads(comparison: Comparison) -> str:
    """Links that contain the files, so that no temporary files are needed."""
    files = {
        "JSON": ("comparison.json", "application/json", comparison.as_json()),
        "CSV": ("comparison.csv", "text/csv", comparison.as_csv()),
        "Markdown": ("comparison.md", "text/markdown", comparison.as_markdown()),
        "HTML": ("comparison.html", "text/html", comparison_page(comparison)),
    }
    links = [
        f'<a class="download" download="{name}" href="data:{mime};charset=utf-8;base64,'
        f'{base64.b64encode(text.encode("utf-8", "replace")).decode()}">{label}</a>'
        for label, (name, mime, text) in files.items()
    ]
    buttons = "".join(
        f'<button type="button" data-share="{what}">{label}</button>'
        for what, label in (("png", "PNG"), ("link", "Copy link"), ("embed", "Embed"))
    )
    return (
        f'<div class="downloads"><span>Download</span>{"".join(links)}{buttons}'
        '<span class="share-status" role="status"></span></div>'
    )


def comparison_page(comparison: Comparison) -> str:
    """A self-contained page of the comparison, which loads nothing."""
    lines = "".join(f'<p dir="auto">{escape(line)}</p>' for line in comparison.dialogue.splitlines())
    systems = range(len(comparison.systems))
    shown = "".join(system_card(comparison, index, NO_HIGHLIGHT) for index in systems)
    shown += human_card(comparison, NO_HIGHLIGHT)
    scores = ""
    if comparison.signature:
        scores = f'<h2>Scores</h2>{scores_table(comparison)}<p class="hint">{escape(comparison.signature.text)}</p>'
    judged = f"<h2>Judge</h2>{judged_table(comparison)}" if comparison.judged else ""
    warnings = "".join(notice(warning, "warning") for warning in comparison.warnings)
    made = f'<p class="hint">Recorded on {escape(comparison.recorded)}.</p>' if comparison.recorded else ""
    return html_page(
        "dsum: comparison",
        f"<h1>{escape(comparison.family.title)}: one dialogue, {len(systems)} summaries</h1>{made}{warnings}"
        f'<section class="example"><div class="example-grid"><div class="example-text"><div class="turns">{lines}</div>'
        f'</div><div class="example-cards">{shown}</div></div></section>{scores}{judged}',
        ("shared.css", "evaluate.css", "report.css"),
    )


def _trained(spec: System, parameters: int | None, trained: int | None) -> str:
    if isinstance(spec, RecordedSummary):
        made = f"recorded on {written_date(spec.made)}, " if spec.made else ""
        return f"{made}not generated here"
    name = f"<b>{escape(spec.name)}</b>"
    if spec.kind is Kind.BASE:
        return f"{name} · not fine-tuned" + (f" · {millions(parameters)} parameters" if parameters else "")
    if not parameters or not trained:
        return name
    return f"{name} · trained: {100 * trained / parameters:.3g} % ({millions(trained)} of {millions(parameters)})"


def _strength(strength: float) -> str:
    if strength == 1:
        return ""
    return f" · <b>strength {strength:g}{' (same as the original)' if strength == 0 else ''}</b>"


def _body(result: SystemResult, dialogue: str, references: Sequence[str], highlight: str) -> str:
    if result.phase == "failed":
        kept = f'<p class="summary text" dir="auto">{escape(result.summary)}</p>' if result.summary else ""
        return f'{kept}<p class="failed" role="alert">{escape(result.error)}</p>'
    if result.summary:
        caret = '<span class="caret"></span>' if result.phase == "writing" else ""
        text = marked(result.summary, highlight, dialogue, references)
        return f'<p class="summary" dir="auto"><span class="text">{text}</span>{caret}</p>'
    waiting = {
        "waiting": result.note or "Waiting for the models before it.",
        "loading": result.note or "Loading the model…",
        "writing": "Reading the dialogue…",
        "stopped": result.note or "Stopped before the first word.",
        "done": "No output.",
    }[result.phase]
    share = result.share if result.phase == "loading" else None
    bar = "" if share is None else f'<progress value="{share:.4f}" aria-label="{escape(waiting)}"></progress>'
    return f'<p class="summary empty">{escape(waiting)}{bar}</p>'


def _footer(result: SystemResult, comparison: Comparison, highlight: str) -> str:
    generation = result.generation
    if generation is None or not generation.words:
        return ""
    parts = []
    # Recorded ones and candidates were generated in batches, whose speed is not that of one summary.
    if not comparison.recorded and not result.best_of and generation.new_tokens:
        first = generation.first_token_seconds
        parts.append(f"{generation.seconds:.2f} s" if first is None else f"first token {first:.2f} s")
        parts.append(token_rate(generation.tokens_per_second))
    parts.append(f"{generation.words} words")
    if result.best_of:
        parts.append(escape(result.best_of.sentence))
    if highlight != NO_HIGHLIGHT and (highlight == COPIED or comparison.references):
        share = share_marked(segments(result.summary, highlight, comparison.dialogue, comparison.references))
        parts.append(f"{100 * share:.0f} % {'copied' if highlight == COPIED else 'shared'}")
    if result.phase == "stopped":
        parts.append("stopped, not scored" if comparison.references else "stopped")
    if result.phase == "done" and (invented := ungrounded(result.summary, comparison.dialogue)):
        parts.append(f"<b>not found in the dialogue: {escape(', '.join(invented))}</b>")
    if generation.hit_length_limit:
        parts.append("truncated at the maximum length")
    return " · ".join(parts)
