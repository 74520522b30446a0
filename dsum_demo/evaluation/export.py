"""Exports of an evaluation: examples as CSV and JSON Lines, the report as JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dsum_demo.evaluation.records import Evaluation
from dsum_demo.evaluation.report import Report
from dsum_demo.judge.judges import judge_lines
from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.metrics.checks import CHECKS, Check
from dsum_demo.metrics.scores import HEADLINE, METRICS, shown_unit
from dsum_demo.utils.files import write_texts
from dsum_demo.utils.formatting import csv_line, markdown_cell, markdown_table


def examples_csv(evaluation: Evaluation, report: Report) -> Iterator[str]:
    """CSV lines: a header, then one row per example and system, each with the signature.

    Texts that a spreadsheet would run as a formula get a leading apostrophe.
    """
    columns = [column for metric in METRICS.values() for column in metric.columns]
    references = max((len(example.references) for example in evaluation.examples), default=0)
    yield csv_line(
        [
            *"id row fingerprint topics words turns speakers system kind summary".split(),
            *columns,
            *(check.name for check in CHECKS),
            *"not_in_dialogue tokens seconds hit_length_limit turns_left_out dialogue".split(),
            *(f"reference{number}" for number in range(1, references + 1)),
            "signature",
        ]
    )
    signature = report.signature.text if report.signature else ""
    kinds = {system.name: system.kind for system in evaluation.systems}
    for example in evaluation.examples:
        about = [example.id, example.row, example.fingerprint, "; ".join(example.topics)]
        about += [example.words, example.turns, example.speakers]
        texts = [example.dialogue, *example.references, *[""] * (references - len(example.references))]
        for name, output in example.outputs.items():
            yield csv_line(
                [
                    *about,
                    name,
                    kinds.get(name, ""),
                    output.text,
                    *(part for metric in METRICS.values() for part in metric.values(output.scores)),
                    *(output.checks.get(check.name) for check in CHECKS),
                    "; ".join(output.ungrounded),
                    output.tokens,
                    output.seconds,
                    int(output.hit_length_limit),
                    output.turns_left_out,
                    *texts,
                    signature,
                ]
            )


def examples_jsonl(evaluation: Evaluation, report: Report) -> Iterator[str]:
    """JSON lines: one object per example with texts, outputs, scores and the signature."""
    signature = report.signature.text if report.signature else None
    for example in evaluation.examples:
        yield json.dumps({**example.as_dict(), "signature": signature}, ensure_ascii=False) + "\n"


def report_json(evaluation: Evaluation, report: Report) -> str:
    """The evaluation's settings and its report."""
    raw = {"evaluation": evaluation.facts(), "report": report.as_dict()}
    return json.dumps(raw, ensure_ascii=False, indent=2) + "\n"


def report_markdown(evaluation: Evaluation, report: Report) -> str:
    """Tables for a README or a pull request, with the signature under each."""
    lines = [f"# Evaluation on {markdown_cell(report.data)}", ""]
    if report.signature is None:
        return "\n".join([*lines, "There are no scores yet.", ""])
    signature = ["", f"{shown_unit()} with 95 % intervals. {report.signature.text}", ""]
    if report.recovery:
        lines += [f"**{report.recovery.sentence}**", ""]
    headings = [metric.heading for metric in METRICS.values()]
    titles = {system.name: markdown_cell(system.title) for system in evaluation.systems}
    rows: list[tuple[str, Mapping[str, Interval]]] = [(titles[s.name], s.f1) for s in report.systems]
    rows += [(f"{title} (for comparison)", f1) for title, f1 in scale(report)]
    lines += markdown_table(["System", *headings], ([name, *scores(f1)] for name, f1 in rows))
    lines += signature
    if report.differences:
        lines += ["## Paired differences", ""]
        lines += markdown_table(
            ["Difference", *headings],
            ([f"{titles[d.system]} − {titles[d.baseline]}", *scores(d.f1, signed=True)] for d in report.differences),
        )
        lines += signature
    lines += ["## Checks", ""]
    names = [titles[system.name] for system in report.systems]
    lines += markdown_table(
        ["Check", *names, "How it is computed", "What it misses"],
        (
            [
                check.title,
                *(checked(check, s.checks[check.name]) for s in report.systems),
                markdown_cell(check.how),
                check.misses,
            ]
            for check in CHECKS
            if check.needs != "judge" or evaluation.judge
        ),
    )
    lines += signature
    if evaluation.judge:
        lines += [*(f"- {line}" for line in judge_lines(evaluation.judge)), ""]
    for by in dict.fromkeys(part.by for part in report.slices):
        lines += [f"## By {by}: {METRICS[HEADLINE].title}", ""]
        lines += markdown_table(
            [by.capitalize(), "n", *names],
            (
                [
                    markdown_cell(part.name),
                    str(part.n),
                    *(scores(part.f1[s.name], [HEADLINE])[0] for s in report.systems),
                ]
                for part in report.slices
                if part.by == by
            ),
        )
        lines += signature
    if report.published:
        lines += [f"## Published scores: {markdown_cell(report.published.title)}", ""]
        lines += markdown_table(
            ["System", "ROUGE-1", "ROUGE-2", "ROUGE-L"],
            ([kind, *(f"{value:.2f}" for value in values)] for kind, values in report.published.scores.items()),
        )
        lines += ["", f"{markdown_cell(report.published.source)}. Reported by others, not computed here.", ""]
    if report.warnings:
        lines += ["## Warnings", "", *(f"- {markdown_cell(warning.text)}" for warning in report.warnings), ""]
    return "\n".join(lines)


def scale(report: Report) -> list[tuple[str, Mapping[str, Interval]]]:
    """Scores for comparison: LEAD-3 and the agreement of human references, if available."""
    lead3, human = "LEAD-3, the first three turns", "Human, each reference against the others"
    return [(title, f1) for title, f1 in ((lead3, report.lead3), (human, report.human)) if f1]


def score(interval: Interval, *, signed: bool = False) -> str:
    """A mean × 100 with its interval: "39.00 [38.10, 39.90]"."""
    return interval.text(digits=2, sign="+" if signed else "")


def scores(means: Mapping[str, Interval], names: Iterable[str] = METRICS, *, signed: bool = False) -> list[str]:
    """`score` of each metric, "–" for one without values."""
    return [score(means[name], signed=signed) if name in means else "–" for name in names]


def checked(check: Check, interval: Interval | None) -> str:
    """A check's mean in its unit."""
    if interval is None:
        return "–"
    percent = " %" if check.unit in ("share", "yes/no") else ""
    return f"{check.factor * interval.mean:.{check.digits}f}{percent}"


def write_exports(evaluation: Evaluation, report: Report, folder: Path) -> list[Path]:
    """Write examples.csv, examples.jsonl, report.json and report.md to `folder`, which is created if necessary."""
    contents: dict[str, Iterable[str]] = {
        "examples.csv": examples_csv(evaluation, report),
        "examples.jsonl": examples_jsonl(evaluation, report),
        "report.json": [report_json(evaluation, report)],
        "report.md": [report_markdown(evaluation, report)],
    }
    return write_texts(folder, contents)
