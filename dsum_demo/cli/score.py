"""The command `dsum score`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dsum_demo.cli.console import DONE, INTERRUPTED, follow, say, split_names, stopping
from dsum_demo.composition import make_judges
from dsum_demo.data.columns import parse_columns
from dsum_demo.metrics.bootstrap import Interval
from dsum_demo.metrics.checks import CHECKS
from dsum_demo.metrics.scores import METRICS, shown_f1, shown_unit
from dsum_demo.settings import Settings

if TYPE_CHECKING:
    from dsum_demo.evaluation.records import Evaluation, EvaluationProgress


def run_score(options: argparse.Namespace, settings: Settings) -> int:
    from dsum_demo.evaluation.recorded import score_file

    report = score_file(
        options.file,
        split_names(options.references),
        split_names(options.systems),
        options.policy,
        parse_columns(options.column),
    )
    judged = None if options.judge is None else _judged(options, settings)
    if options.json:
        judge = {} if judged is None else {"judge": judged.evaluation.judge, "judged": _means(judged.evaluation)}
        print(json.dumps(report.as_dict() | judge, ensure_ascii=False, indent=2))
        return DONE
    print(f"{'system':<24}" + "".join(f"{metric.short:>8}" for metric in METRICS.values()))
    for name, scores in report.systems.items():
        print(f"{name:<24}" + "".join(f"{shown_f1(scores.get(metric)):>8}" for metric in METRICS))
    print(f"{shown_unit().replace('×', 'x')}. {report.signature.text}")
    if judged is not None:
        _print_judged(judged.evaluation)
    for warning in report.warnings:
        say(f"dsum: {warning}")
    return DONE if judged is None or judged.evaluation.finished else INTERRUPTED


def _judged(options: argparse.Namespace, settings: Settings) -> EvaluationProgress:
    from dsum_demo.evaluation.judging import judged
    from dsum_demo.evaluation.output_cache import OutputCache
    from dsum_demo.evaluation.recorded import evaluate_recorded

    with stopping() as stop:
        states = evaluate_recorded(
            options.file, split_names(options.references), split_names(options.systems), policy=options.policy,
            columns=parse_columns(options.column), should_stop=stop.is_set,
        )  # fmt: skip
        cache = OutputCache(settings.outputs_file)
        return follow(judged(states, make_judges(settings), options.judge, cache, stop.is_set))


def _means(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """By system and check of the judge the mean with its interval; None without values."""
    from dsum_demo.evaluation.report import build_report

    checks = [check.name for check in CHECKS if check.needs == "judge"]
    return {
        system.name: {name: asdict(mean) if (mean := system.checks[name]) else None for name in checks}
        for system in build_report(evaluation).systems
    }


def _print_judged(evaluation: Evaluation) -> None:
    from dsum_demo.judge.judges import judge_lines

    checks = [check for check in CHECKS if check.needs == "judge"]
    print(f"\n{'bits per token':<24}" + "".join(f"{check.title:>22}" for check in checks))
    for name, means in _means(evaluation).items():
        cells = ("–" if (mean := means[check.name]) is None else Interval(**mean).text(1, 2) for check in checks)
        print(f"{name:<24}" + "".join(f"{cell:>22}" for cell in cells))
    for line in judge_lines(evaluation.judge or {}):
        print(line)
