"""The command `dsum score`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from dsum_demo.metrics.rouge import SHORT_TITLES

if TYPE_CHECKING:
    pass
from dsum_demo.cli.console import DONE


def run_score(options: argparse.Namespace) -> int:
    from dsum_demo.evaluation.recorded import score_file

    report = score_file(options.file, _columns(options.references), _columns(options.systems), options.policy).as_dict()
    if options.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
        return DONE
    print(f"{'system':<24}" + "".join(f"{title:>8}" for title in SHORT_TITLES.values()))
    for name, scores in report["systems"].items():
        print(f"{name:<24}" + "".join(f"{100 * scores[rouge]:>8.2f}" for rouge in SHORT_TITLES))
    print(f"F1 x 100. {report['signature']['text']}")
    return DONE


def _columns(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
