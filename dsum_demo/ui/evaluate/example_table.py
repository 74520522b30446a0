"""The table of an evaluation's examples as HTML: filtered, searched, sorted and paged on the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from dsum_demo.evaluation.notable_examples import Entry
from dsum_demo.evaluation.records import Evaluation, ExampleRecord
from dsum_demo.evaluation.report import Report
from dsum_demo.evaluation.warnings import Warning
from dsum_demo.metrics.scores import HEADLINE, METRICS
from dsum_demo.ui.appearance import system_titles
from dsum_demo.ui.sortable_table import Column, SortOrder, cells, headings, sort_rows

PAGE_ROWS = 100
SHOWN_CHARS = 90
LIST_ORDER = "list"


@dataclass(frozen=True)
class Selection(SortOrder):
    """Which examples are listed, and in which order. ready: the name of a highlights list, which can keep its own order
    (sort=LIST_ORDER). page: counts from 0. example: the id of the open example.
    """

    sort: str = "row"
    ready: str = ""
    query: str = ""
    part: str = ""
    rouge: str = HEADLINE
    page: int = 0
    example: str = ""


@dataclass(frozen=True)
class ExampleRow:
    example: ExampleRecord
    entry: Entry | None = None  # why it is in a list of highlights


def columns(evaluation: Evaluation, selection: Selection) -> list[Column[ExampleRow]]:
    """The text, its facts, each system's score and gain over the original, and possible errors."""
    names = system_titles(evaluation.systems)
    rouge, base = selection.rouge, evaluation.of_kind("base")

    def score(row: ExampleRow, system: str) -> float | None:
        output = row.example.outputs.get(system)
        return output.scores[rouge].fmeasure if output and rouge in output.scores else None

    def gain(row: ExampleRow, system: str) -> float | None:
        ours, theirs = score(row, system), score(row, base.name) if base else None
        return None if ours is None or theirs is None else ours - theirs

    def scored(key: str, title: str, value: Callable[[ExampleRow, str], float | None], form: str) -> None:
        system = key.partition(":")[2]
        found.append(
            Column(
                key,
                title,
                lambda row: value(row, system),
                lambda row: "–" if (v := value(row, system)) is None else f"{100 * v:{form}}",
                largest_first=METRICS[rouge].higher_is_better,
            )
        )

    found: list[Column[ExampleRow]] = [Column("row", "Row", lambda r: r.example.row, lambda r: str(r.example.row))]
    if selection.ready:
        found.append(Column(LIST_ORDER, "Why", lambda r: None, lambda r: why(r.entry, names), number=False))
    found.append(Column("dialogue", "Dialogue", _text, _dialogue, number=False))
    if any(example.topics for example in evaluation.examples):
        found.append(
            Column("topic", "Topic", lambda r: ", ".join(r.example.topics) or None,
                   lambda r: escape(_cut(", ".join(r.example.topics), 30)), number=False)
        )  # fmt: skip
    if any(example.words is not None for example in evaluation.examples):
        found.append(
            Column("words", "Words", lambda r: r.example.words, lambda r: str(r.example.words or "–"),
                   largest_first=True)
        )  # fmt: skip
    for system in evaluation.systems:
        scored(f"f1:{system.name}", names[system.name], score, ".1f")
    for system in evaluation.systems if base else ():
        if base and system.name != base.name:
            scored(f"gain:{system.name}", f"{names[system.name]} − {names[base.name]}", gain, "+.1f")
    found.append(
        Column("errors", "Possible errors", lambda r: len(possible_errors(r.example, names)) or None,
               lambda r: escape(_cut("; ".join(possible_errors(r.example, names)), 60)), number=False,
               largest_first=True)
    )  # fmt: skip
    return found


def select(evaluation: Evaluation, report: Report, selection: Selection) -> list[ExampleRow]:
    """The examples that fit, in order: all of them, not the page."""
    if selection.ready:
        entries = next((ready.entries for ready in report.lists if ready.name == selection.ready), ())
        known = {example.id: example for example in evaluation.examples}
        rows = [ExampleRow(known[entry.id], entry) for entry in entries if entry.id in known]
    else:
        rows = [ExampleRow(example) for example in evaluation.examples]
    if selection.part:
        kept = set(ids_of(report, selection.part))
        rows = [row for row in rows if row.example.id in kept]
    if words := selection.query.casefold().split():
        rows = [row for row in rows if _contains(row.example, words)]
    return rows if selection.sort == LIST_ORDER else sort_rows(rows, columns(evaluation, selection), selection)


def table(evaluation: Evaluation, report: Report, selection: Selection) -> str:
    """One page of the examples, with links to the other pages."""
    rows = select(evaluation, report, selection)
    if not rows:
        return f'<p class="empty">{escape(_nothing(report, selection))}</p>'
    first = page_of(selection, len(rows)) * PAGE_ROWS
    shown = columns(evaluation, selection)
    body = "".join(_row(row, shown, selection) for row in rows[first : first + PAGE_ROWS])
    return (
        '<div class="scroll"><table class="scores sortable examples"><thead>'
        f"<tr>{headings(shown, selection)}</tr></thead><tbody>{body}</tbody></table></div>"
        f"{_pages(len(rows), len(evaluation.examples), first)}"
    )


def page_of(selection: Selection, count: int) -> int:
    return max(0, min(selection.page, (count - 1) // PAGE_ROWS))


def neighbour(rows: Sequence[ExampleRow], example: str, step: int) -> str:
    """The id of the previous (-1) or next (1) example; the first and the last have themselves."""
    ids = list(dict.fromkeys(row.example.id for row in rows))
    if example not in ids:
        return ids[0] if ids else ""
    return ids[max(0, min(len(ids) - 1, ids.index(example) + step))]


def possible_errors(example: ExampleRecord, names: dict[str, str]) -> list[str]:
    """Possible errors: names and numbers that are not in the dialogue, swapped speakers, truncated outputs."""
    found = []
    for system, output in example.outputs.items():
        if output.ungrounded:
            found.append(f"{names[system]}: {', '.join(output.ungrounded)}")
        if output.checks.get("swapped"):
            found.append(f"{names[system]}: speakers probably swapped")
        if output.hit_length_limit:
            found.append(f"{names[system]}: truncated")
    return found


def why(entry: Entry | None, names: dict[str, str]) -> str:
    if entry is None:
        return ""
    what = entry.note or f"{100 * entry.value:+.1f}"
    return escape(f"{names.get(entry.system, entry.system)}: {what}")


def parts(evaluation: Evaluation, report: Report) -> list[tuple[str, str]]:
    """(label, key) of the filters: every slice, and the examples of each warning."""
    kinds = {"topic": "Topic", "length": "Length", "speakers": "Speakers"}
    return [
        ("All examples", ""),
        *((f"{kinds[part.by]}: {part.name} ({part.n})", f"{part.by}:{part.name}") for part in report.slices),
        *(
            (_warning_label(warning, evaluation), _warning_key(warning))
            for warning in report.warnings
            if warning.examples
        ),
    ]


def ids_of(report: Report, part: str) -> Sequence[str]:
    """The ids of the examples in `part`; empty for an unknown part."""
    for one in report.slices:
        if part == f"{one.by}:{one.name}":
            return one.ids
    return next((warning.examples for warning in report.warnings if part == _warning_key(warning)), ())


def _warning_key(warning: Warning) -> str:
    return f"warning:{warning.kind}:{warning.system}"


def _warning_label(warning: Warning, evaluation: Evaluation) -> str:
    what = {
        "length_limit": "Truncated output", "empty": "Empty output", "cut_source": "Truncated dialogue",
        "trained_on": "In the training data",
    }.get(warning.kind, warning.kind)  # fmt: skip
    name = system_titles(evaluation.systems).get(warning.system, warning.system)
    return f"{what}: {name} ({len(warning.examples)})"


def _text(row: ExampleRow) -> str:
    example = row.example
    if example.dialogue is not None:
        return example.dialogue
    return example.references[0] if example.references else example.id


def _dialogue(row: ExampleRow) -> str:
    """The cell of the dialogue, marked if the evaluation has no texts of this row."""
    missing = row.example.dialogue is None and not row.example.references
    return escape(_cut(_text(row))) + (" <small>(dialogue not included)</small>" if missing else "")


def _cut(text: str, most: int = SHOWN_CHARS) -> str:
    text = " ".join(text[: 4 * most].split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _contains(example: ExampleRecord, words: Sequence[str]) -> bool:
    texts = [example.id, example.dialogue or "", *example.references, *example.topics]
    text = "\n".join([*texts, *(output.text for output in example.outputs.values())]).casefold()
    return all(word in text for word in words)


def _row(row: ExampleRow, shown: Sequence[Column[ExampleRow]], selection: Selection) -> str:
    is_open = row.example.id == selection.example
    return (
        f'<tr tabindex="0" data-example="{escape(row.example.id)}" aria-selected="{str(is_open).lower()}" '
        f'aria-label="Open {escape(row.example.id)}">{cells(row, shown)}</tr>'
    )


def _pages(count: int, everything: int, first: int) -> str:
    last = min(count, first + PAGE_ROWS)
    page, pages = first // PAGE_ROWS, (count - 1) // PAGE_ROWS + 1
    of = f"of {count:,}" + (f" matching, out of {everything:,} in total" if count != everything else "")
    links = ""
    if pages > 1:
        back, on = ("" if page else " disabled"), ("" if page < pages - 1 else " disabled")
        links = (
            f'<button type="button" data-page="{page - 1}"{back}>‹ Previous page</button>'
            f'<button type="button" data-page="{page + 1}"{on}>Next page ›</button>'
        )
    said = f"Examples {first + 1:,} to {last:,} {of}. Click a heading to sort all of them."
    return f'<div class="pages"><span>{said}</span>{links}</div>'


def _nothing(report: Report, selection: Selection) -> str:
    if selection.query or selection.part:
        return "No matching examples. Shorten the search or choose “All examples”."
    ready = next((ready for ready in report.lists if ready.name == selection.ready), None)
    return f"No examples in “{ready.title}”." if ready else "No examples yet."
