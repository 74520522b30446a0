"""The command `dsum study`: compares fine-tuning methods on the same base model, data, budget and seeds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dsum_demo.cli.console import say, split_names
from dsum_demo.composition import make_registry
from dsum_demo.errors import InputError
from dsum_demo.settings import Settings
from dsum_demo.utils.formatting import duration


def add_study(commands: Any) -> None:
    """Add the command to `commands`, the result of argparse's add_subparsers."""
    parser = commands.add_parser("study", help="compare fine-tuning methods on the same data and budget")
    parser.set_defaults(run=run_study_command)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="output folder; an existing study in it is resumed"
    )
    parser.add_argument("--base", default="", metavar="NAME", help="a base model (see `dsum models`)")
    parser.add_argument("--methods", default="", metavar="A,B", help="methods, comma-separated (default: all)")
    parser.add_argument("--data", metavar="SOURCE", help="training data (default: dialogsum:train)")
    parser.add_argument("--validation", metavar="SOURCE", help="validation data (default: dialogsum:validation)")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N validation dialogues (default: 500)")
    parser.add_argument("--dialogues", type=int, metavar="N", help="number of training dialogues (default: 3840)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="dialogues per step (default: 16)")
    parser.add_argument("--steps", type=int, metavar="N", help="steps per run (default: 240)")
    parser.add_argument("--search-steps", type=int, metavar="N", help="steps of the learning rate search (default: 60)")
    parser.add_argument("--seeds", default="", metavar="A,B", help="seeds, comma-separated (default: 1,2)")
    parser.add_argument(
        "--only", choices=("quality", "costs"), help="run one part; costs need an otherwise idle machine"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run_study_command(options: argparse.Namespace, settings: Settings) -> int:
    """Exit code: 0 if the requested parts are complete; errors are raised."""
    import json
    from dataclasses import asdict

    from dsum_demo.study.report import finding, method_rows, read_study
    from dsum_demo.study.runner import PARTS, StudyPlan, run_study

    family = make_registry(settings).family_to_train(options.base)
    given = {
        "methods": tuple(split_names(options.methods)),
        "source": options.data,
        "validation": options.validation,
        "validation_limit": options.limit,
        "dialogues": options.dialogues,
        "batch_size": options.batch_size,
        "steps": options.steps,
        "search_steps": options.search_steps,
        "seeds": _numbers(options.seeds),
        "task_type": family.architecture.task_type,
    }
    plan = StudyPlan(family.base.name, **{name: value for name, value in given.items() if value})
    for progress in run_study(plan, settings, options.out, parts=(options.only,) if options.only else PARTS):
        left = f", about {duration(progress.seconds_left)} left" if progress.seconds_left else ""
        say(f"dsum: {progress.done} of {progress.total}: {progress.note}{left}")
    study = read_study(options.out)
    rows = method_rows(study)
    if options.json:
        print(json.dumps({"finding": finding(study, rows), "methods": [asdict(row) for row in rows]}, indent=2))
        return 0
    print(f"{'method':<20}{'R1':>7}{'R2':>7}{'RL':>7}{'trained':>12}{'share':>9}{'lr':>10}")
    for row in rows:
        scores = "".join(f"{100 * row.f1[rouge].mean:>7.1f}" for rouge in ("rouge1", "rouge2", "rougeL"))
        share = f"{100 * row.share:.2f} %" if row.share is not None else "–"
        print(f"{row.title:<20}{scores}{row.trained_parameters or 0:>12,}{share:>9}{row.learning_rate:>10g}")
    print(f"{finding(study, rows)}\nF1 x 100. {study.signature.get('text', '')}")
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(f"--seeds is {text!r}; give whole numbers, comma-separated, such as 1,2.") from None
