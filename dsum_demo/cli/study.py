"""The command `dsum study`: compares fine-tuning methods on the same base model, data, budget and seeds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsum_demo.cli.console import DONE, INTERRUPTED, add_judge_option, say, split_names, stopping
from dsum_demo.composition import make_judges, make_registry
from dsum_demo.errors import InputError, Stopped
from dsum_demo.settings import Settings
from dsum_demo.utils.formatting import duration

if TYPE_CHECKING:
    from dsum_demo.metrics.bootstrap import Interval
    from dsum_demo.study.report import MethodRow, Study


def add_study(commands: Any) -> None:
    """Add the command to `commands`, the result of argparse's add_subparsers."""
    parser = commands.add_parser("study", help="compare fine-tuning methods on the same data and budget")
    parser.set_defaults(run=run_study_command)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="output folder; an existing study in it is resumed"
    )
    parser.add_argument("--base", default="", metavar="NAME", help="a base model (see `dsum models`)")
    parser.add_argument(
        "--methods", default="", metavar="A,B",
        help="methods, comma-separated, with options if you like: full,lora:r=4:lora_alpha=8,"
        "lora:target_modules=q_proj+v_proj (default: all)",
    )  # fmt: skip
    parser.add_argument("--data", metavar="SOURCE", help="training data (default: dialogsum:train)")
    parser.add_argument("--validation", metavar="SOURCE", help="validation data (default: dialogsum:validation)")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N validation dialogues (default: 500)")
    parser.add_argument("--dialogues", type=int, metavar="N", help="number of training dialogues (default: 3840)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="dialogues per step (default: 16)")
    parser.add_argument("--steps", type=int, metavar="N", help="steps per run (default: 240)")
    parser.add_argument(
        "--search-steps", type=int, metavar="N", help="steps of the learning rate search; 0: none (default: 60)"
    )
    parser.add_argument("--seeds", default="", metavar="A,B", help="seeds, comma-separated (default: 1,2)")
    add_judge_option(parser)
    parser.add_argument(
        "--only", choices=("quality", "costs"), help="run one part; costs need an otherwise idle machine"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run_study_command(options: argparse.Namespace, settings: Settings) -> int:
    """Exit code: 0 if the requested parts are complete, 130 if the study was stopped; errors are raised."""
    import json
    from dataclasses import asdict

    from dsum_demo.study.report import finding, method_rows, original_means, read_study
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
        "judge": None if options.judge is None else make_judges(settings).find(options.judge).name,
    }
    plan = StudyPlan(family.base.name, **{name: value for name, value in given.items() if value or value == 0})
    parts = (options.only,) if options.only else PARTS
    with stopping() as stop:
        try:
            for progress in run_study(plan, settings, options.out, parts=parts, should_stop=stop.is_set):
                left = f", about {duration(progress.seconds_left)} left" if progress.seconds_left else ""
                say(f"dsum: {progress.done} of {progress.total}: {progress.note}{left}")
        except Stopped as error:
            say(f"dsum: {error}")
            return INTERRUPTED
    study = read_study(options.out)
    rows = method_rows(study)
    if options.json:
        original = {name: asdict(mean) for name, mean in original_means(study).items()}
        found = {"finding": finding(study, rows), "original": original, "methods": [asdict(row) for row in rows]}
        print(json.dumps(found, indent=2))
    else:
        print(study_text(study, rows), end="")
    return DONE


def study_text(study: Study, rows: Sequence[MethodRow]) -> str:
    """The results as tables for a terminal: the metrics by method, then every check with a column per method."""
    from dsum_demo.evaluation.export import checked
    from dsum_demo.judge.judges import judge_lines
    from dsum_demo.metrics.checks import Check
    from dsum_demo.metrics.scores import Metric, shown_unit
    from dsum_demo.study.report import finding, original_means, recorded_qualities

    found, original = recorded_qualities(study).values(), original_means(study)
    metrics = [each for each in found if isinstance(each, Metric)]

    def scores(means: Mapping[str, Interval]) -> str:
        return "".join(f"{100 * means[m.name].mean:>8.1f}" if m.name in means else f"{'–':>8}" for m in metrics)

    first = max([20, *(len(row.title) + 2 for row in rows)])
    lines = [f"{'method':<{first}}{''.join(f'{m.short:>8}' for m in metrics)}{'trained':>12}{'share':>9}{'lr':>10}"]
    lines += [f"{'Original':<{first}}{scores(original)}"] if original else []
    for row in rows:
        share = f"{100 * row.share:.2f} %" if row.share is not None else "–"
        cost = f"{row.trained_parameters or 0:>12,}{share:>9}{row.learning_rate:>10g}"
        lines.append(f"{row.title:<{first}}{scores(row.f1)}{cost}")
    checks = [each for each in found if isinstance(each, Check)]
    if checks:
        columns = [
            (name, means, max(11, len(name) + 2))
            for name, means in (("original", original), *((row.method, row.checks) for row in rows))
        ]
        lines += ["", f"{'check':<41}{''.join(f'{name:>{width}}' for name, _, width in columns)}"]
        for check in checks:
            cells = (f"{checked(check, means.get(check.name)):>{width}}" for _, means, width in columns)
            lines.append(f"{check.title:<41}{''.join(cells)}")
        lines += ["", *judge_lines(study.judge), ""] if study.judge else [""]
    signature = study.signature.get("text", "")
    return "\n".join([*lines, finding(study, rows), f"{shown_unit().replace('×', 'x')}. {signature}", ""])


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(f"--seeds is {text!r}; give whole numbers, comma-separated, such as 1,2.") from None
