"""The command `dsum evaluate`: evaluates models on a data set, or scores recorded outputs."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsum_demo.cli.console import (
    DONE,
    FAILED,
    INTERRUPTED,
    add_column_option,
    add_judge_option,
    columns_of,
    follow,
    say,
    split_names,
    stopping,
)
from dsum_demo.composition import make_judges, make_registry, make_sources, make_store, saved_evaluations
from dsum_demo.data.columns import parse_columns
from dsum_demo.errors import InputError
from dsum_demo.metrics.scores import METRICS, shown_unit
from dsum_demo.settings import Settings

if TYPE_CHECKING:
    from dsum_demo.evaluation.output_cache import OutputCache
    from dsum_demo.evaluation.records import Evaluation, EvaluationProgress
    from dsum_demo.evaluation.report import Report
    from dsum_demo.models.store import ModelStore


def add_evaluate(commands: Any) -> None:
    """Add the command to `commands`, the result of argparse's add_subparsers."""
    parser = commands.add_parser(
        "evaluate",
        help="evaluate on a data set: means with intervals, differences, warnings",
        description="Generate and score summaries of a data set with several models, or score recorded outputs. Ctrl+C "
        "stops and keeps the results so far; run the same command again to resume.",
    )
    parser.add_argument(
        "--data", required=True, metavar="SOURCE", help="samples, dialogsum:validation (or :train, :test), or a file"
    )
    parser.add_argument("--systems", metavar="A,B,C", help="models (see `dsum models`; default: a family's trio)")
    parser.add_argument("--family", metavar="NAME", help="model family, for its trio and decoding config")
    parser.add_argument("--references", metavar="COLS", help="recorded outputs: columns of references, comma-separated")
    parser.add_argument("--recorded", metavar="COLS", help="recorded outputs: columns of outputs, comma-separated")
    add_column_option(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="a random sample of N examples")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="for sampling and intervals (default: 0)")
    parser.add_argument("--policy", choices=("mean", "best", "first"), default="mean", help="with several references")
    parser.add_argument(
        "--reading",
        choices=("rows", "dialogues"),
        help="rows: one example per reference or row, as in published results (default for recorded outputs); "
        "dialogues: one example per dialogue with all its references (default for models)",
    )
    parser.add_argument("--beams", type=int, metavar="N", help="beam search with N beams")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="maximum length of a summary, in tokens")
    parser.add_argument("--skip-broken", action="store_true", help="skip invalid rows and list them")
    parser.add_argument(
        "--bf16",
        action="store_true",
        help="generate in bfloat16: faster on some CPUs, a few summaries differ",
    )
    parser.add_argument(
        "--include-training-data", action="store_true", help="also count dialogues that a system was trained on"
    )
    add_judge_option(parser)
    parser.add_argument(
        "--best-of",
        type=int,
        metavar="N",
        help="also evaluate each model with the best of N candidates, chosen by a judge",
    )
    parser.add_argument("--no-cache", action="store_true", help="do not use cached summaries")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="new or empty output folder (default: in the data folder)"
    )
    parser.add_argument("--export", action="store_true", help="also write CSV, JSON Lines, Markdown and HTML")
    parser.add_argument("--without-texts", action="store_true", help="do not save dialogues and references")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run_evaluate)


def run_evaluate(options: argparse.Namespace, settings: Settings) -> int:
    """Exit code: 0 done, 1 a system failed, 130 stopped; the results so far are saved in each case."""
    from dsum_demo.evaluation.report import build_report
    from dsum_demo.evaluation.storage import write_evaluation
    from dsum_demo.evaluation.training_data import without_training_data

    if options.out:
        _check_out(options.out)
    if options.export and options.without_texts:
        raise InputError("--export writes texts and --without-texts omits them; choose one.")
    with stopping() as stop:
        last = follow(_progress(options, settings, stop))
    evaluation = last.evaluation
    if not evaluation.examples:
        _print_failures(evaluation)
        return INTERRUPTED if stop.is_set() else FAILED
    counted = evaluation if options.include_training_data else without_training_data(evaluation)
    report = build_report(counted)
    texts = not options.without_texts
    if options.out:
        folder = write_evaluation(evaluation, options.out.resolve(), texts=texts, report=report)
    else:
        folder = saved_evaluations(settings).save(evaluation, texts=texts, report=report).folder
    if options.export:
        _export(counted, report, folder)
    if options.json:
        raw = {"folder": str(folder), "evaluation": evaluation.facts(), "report": report.as_dict()}
        print(json.dumps(raw, ensure_ascii=False, indent=2))
    else:
        print(report_text(counted, report), end="")
    say(f"dsum: saved in {folder}")
    _print_failures(evaluation)
    if stop.is_set():
        return INTERRUPTED
    return FAILED if any(system.error for system in evaluation.systems) else DONE


def report_text(evaluation: Evaluation, report: Report) -> str:
    """The report as a table for a terminal."""
    from dsum_demo.evaluation.export import checked, scale, scores
    from dsum_demo.judge.judges import judge_lines
    from dsum_demo.metrics.checks import CHECKS

    lines = [report.recovery.sentence, ""] if report.recovery else []
    titles = {s.name: f"{s.title} ({s.name})" for s in evaluation.systems if s.title != s.name}
    wide = max(len(name) for name in (*titles.values(), *(s.name for s in evaluation.systems), "each reference")) + 2

    def table(head: str, rows: Sequence[tuple[str, Sequence[str]]], columns: Sequence[str]) -> None:
        lines.append(f"{head:<{wide}}" + "".join(f"{title:>25}" for title in columns))
        lines.extend(f"{name:<{wide}}" + "".join(f"{value:>25}" for value in values) for name, values in rows)
        lines.append("")

    rows = [(titles.get(s.name, s.name), scores(s.f1)) for s in report.systems]
    rows += [(title.split(",")[0], scores(f1)) for title, f1 in scale(report)]
    heads = [metric.short for metric in METRICS.values()]
    table(shown_unit().replace("×", "x"), rows, heads)
    if report.differences:
        pairs = [(f"{d.system} - {d.baseline}", scores(d.f1, signed=True)) for d in report.differences]
        wide = max(wide, *(len(name) + 2 for name, _ in pairs))
        table("Paired differences", pairs, heads)
    names = [s.name for s in report.systems]
    wide = max(wide, *(len(check.title) + 2 for check in CHECKS))
    shown = [check for check in CHECKS if check.needs != "judge" or evaluation.judge]
    table("Checks", [(c.title, [checked(c, s.checks[c.name]) for s in report.systems]) for c in shown], names)
    if evaluation.judge:
        lines += [*judge_lines(evaluation.judge), ""]
    if report.published:
        published = [(kind, [f"{value:.2f}" for value in values]) for kind, values in report.published.scores.items()]
        table(f"Published: {report.published.title}", published, ("R1", "R2", "RL"))
        lines += [f"{report.published.source}.", ""]
    lines += [f"! {warning.text}" for warning in report.warnings]
    if report.signature:
        lines.append(report.signature.text)
    return "\n".join(lines) + "\n"


def _progress(options: argparse.Namespace, settings: Settings, stop: threading.Event) -> Iterator[EvaluationProgress]:
    notes: list[str] = []
    if options.recorded or options.references:
        if not (options.recorded and options.references) or options.systems or options.family:
            raise InputError(
                "Recorded outputs need --references and --recorded, columns of the --data file; --systems and "
                "--family are for models only."
            )
        from dsum_demo.evaluation.recorded import evaluate_recorded

        states = evaluate_recorded(
            Path(options.data),
            split_names(options.references),
            split_names(options.recorded),
            policy=options.policy,
            reading=options.reading or "rows",
            seed=options.seed,
            limit=options.limit,
            skip_broken=options.skip_broken,
            columns=parse_columns(options.column),
            notes=notes,
            should_stop=stop.is_set,
        )
        try:
            for progress in _with_judge(states, options, settings, stop):
                _tell(notes)
                yield progress
        finally:
            _tell(notes)
        return
    registry = make_registry(settings)
    specs = registry.systems(split_names(options.systems or ""), options.family)
    wanted = {"num_beams": options.beams, "max_new_tokens": options.max_new_tokens}
    decode = registry.family(specs[0].family).decode
    decode = replace(decode, **{name: value for name, value in wanted.items() if value is not None})
    broken: dict[int, str] | None = {} if options.skip_broken else None
    try:
        examples = make_sources(settings).read(
            options.data, on_progress=lambda text, share: say(f"dsum: {text}"), should_stop=stop.is_set,
            broken=broken, columns=columns_of(options, options.data), notes=notes,
        )  # fmt: skip
    finally:
        _tell(notes)
    from dsum_demo.evaluation.runner import evaluate

    store, cache = make_store(settings, registry), _cache(options, settings)
    states = evaluate(
        store,
        specs,
        examples,
        data=options.data,
        decode=decode,
        policy=options.policy,
        reading=options.reading or "dialogues",
        seed=options.seed,
        limit=options.limit,
        cache=cache,
        skipped=broken,
        bf16=options.bf16,
        max_chars=settings.max_input_chars,
        should_stop=stop.is_set,
    )
    yield from _with_judge(states, options, settings, stop, store, cache)


def _cache(options: argparse.Namespace, settings: Settings) -> OutputCache:
    from dsum_demo.evaluation.output_cache import OutputCache

    cache = OutputCache(None if options.no_cache else settings.outputs_file)
    if cache.problem:
        say(f"dsum: {cache.problem}")
    return cache


def _with_judge(
    states: Iterator[EvaluationProgress],
    options: argparse.Namespace,
    settings: Settings,
    stop: threading.Event,
    store: ModelStore | None = None,
    cache: OutputCache | None = None,
) -> Iterator[EvaluationProgress]:
    if options.judge is None and not options.best_of:
        return states
    from dsum_demo.evaluation.candidates import with_best_of
    from dsum_demo.evaluation.judging import judged

    judges = make_judges(settings, store)
    if options.best_of:
        spec = judges.chooser(options.judge or "")
        states = with_best_of(states, judges, spec, options.best_of, stop.is_set)
    if options.judge is None:
        return states
    return judged(states, judges, options.judge, cache or _cache(options, settings), stop.is_set)


def _check_out(folder: Path) -> None:
    """Raises InputError if the output folder is a file or not empty."""
    if folder.is_dir():
        if first := min((entry.name for entry in folder.iterdir()), default=""):
            raise InputError(f"The folder {folder} is not empty: it contains {first!r}; give a new or empty folder.")
    elif folder.exists():
        raise InputError(f"{folder} is a file; give a new or empty folder.")


def _export(evaluation: Evaluation, report: Report, folder: Path) -> None:
    from dsum_demo.evaluation.export import write_exports

    write_exports(evaluation, report, folder)
    try:
        from dsum_demo.ui.evaluate.html_report import html_report
    except ModuleNotFoundError as error:
        say(f"dsum: no report.html: {error.name} is not installed.")
        return
    (folder / "report.html").write_text(html_report(evaluation, report), encoding="utf-8", errors="replace")


def _print_failures(evaluation: Evaluation) -> None:
    for system in evaluation.systems:
        if system.error:
            say(f"dsum: {system.name}: {system.error}")


def _tell(notes: list[str]) -> None:
    """Print each note once."""
    while notes:
        say(f"dsum: {notes.pop(0)}")
