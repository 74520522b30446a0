"""The command `dsum score`."""

from __future__ import annotations

import argparse
import json

from dsum_demo.cli.console import DONE, say, split_names
from dsum_demo.data.columns import parse_columns
from dsum_demo.metrics.scores import METRICS, shown_f1, shown_unit
from dsum_demo.settings import Settings


def run_score(options: argparse.Namespace, settings: Settings) -> int:
    from dsum_demo.evaluation.recorded import score_file

    report = score_file(
        options.file,
        split_names(options.references),
        split_names(options.systems),
        options.policy,
        parse_columns(options.column),
    )
    if options.json:
        print(json.dumps(report.as_dict(), ensure_ascii=False, indent=2))
        return DONE
    print(f"{'system':<24}" + "".join(f"{metric.short:>8}" for metric in METRICS.values()))
    for name, scores in report.systems.items():
        print(f"{name:<24}" + "".join(f"{shown_f1(scores.get(metric)):>8}" for metric in METRICS))
    print(f"{shown_unit().replace('×', 'x')}. {report.signature.text}")
    for warning in report.warnings:
        say(f"dsum: {warning}")
    return DONE
