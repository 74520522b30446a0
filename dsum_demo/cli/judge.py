"""The command `dsum judge`: lists the judges, and tests one of them."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from dsum_demo.cli.console import DONE, INTERRUPTED, add_column_option, columns_of, say, stopping
from dsum_demo.composition import make_judges, make_sources
from dsum_demo.data.examples import draw
from dsum_demo.data.sources import SAMPLES
from dsum_demo.errors import Stopped
from dsum_demo.settings import Settings

if TYPE_CHECKING:
    from dsum_demo.judge.own_test import JudgeTest


def add_judge(commands: Any) -> None:
    """Add the command to `commands`, the result of argparse's add_subparsers."""
    judge = commands.add_parser("judge", help="the likelihood judges: list them, test one")
    parts = judge.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listed = parts.add_parser("list", help="the judges, and how far to trust each")
    listed.set_defaults(run=run_list)
    test = parts.add_parser(
        "test",
        help="how often a judge prefers true summaries to corrupted ones",
        description="Corrupt each reference in several ways (speakers swapped, a number changed, a name replaced, a "
        "negation flipped, another dialogue's summary) and count how often the judge prefers the true one.",
    )
    test.add_argument("--judge", default="", metavar="NAME", help="see `dsum judge list` (default: smollm2-135m)")
    test.add_argument(
        "--data", default=SAMPLES, metavar="SOURCE", help="samples (default), dialogsum:validation, or a file"
    )
    add_column_option(test)
    test.add_argument("--limit", type=int, metavar="N", help="a random sample of N dialogues")
    test.add_argument("--seed", type=int, default=0, metavar="S", help="of the sample and the errors (default: 0)")
    test.add_argument("--names", action="store_true", help="replace labels such as #Person1# by names")
    test.add_argument("--json", action="store_true", help="print JSON")
    test.set_defaults(run=run_judge_test)


def run_list(options: argparse.Namespace, settings: Settings) -> int:
    judges = make_judges(settings)
    for spec in judges.specs():
        print(f"{spec.name}\n  " + "\n  ".join(judges.trust(spec.name)))
    return DONE


def run_judge_test(options: argparse.Namespace, settings: Settings) -> int:
    """Exit code: 0 done, 130 stopped; the results so far are printed in both cases."""
    from dsum_demo.judge.own_test import run_test

    judges = make_judges(settings)
    spec = judges.find(options.judge)
    notes: list[str] = []
    examples = make_sources(settings).read(options.data, columns=columns_of(options, options.data), notes=notes)
    for note in notes:
        say(f"dsum: {note}")
    examples = draw(examples, options.limit, options.seed)
    result, code = None, DONE
    with stopping() as stop:
        try:
            judge = judges.load(spec, stop.is_set)
            for result in run_test(
                judge, examples, data=options.data, seed=options.seed, names=options.names, should_stop=stop.is_set
            ):
                if sys.stderr.isatty() or result.dialogues % 20 == 0:
                    say(f"dsum: {result.dialogues:,} of at most {len(examples):,} dialogues")
        except Stopped:
            code = INTERRUPTED
    if result is None:
        say("dsum: stopped before the first dialogue")
        return code
    print(json.dumps(result.as_dict(), indent=2) if options.json else test_text(result), end="\n")
    return code


def test_text(result: JudgeTest) -> str:
    """The result as a table for a terminal, the judge's sentences below."""
    from dsum_demo.judge.corruptions import CORRUPTIONS
    from dsum_demo.judge.judges import describe_trust, with_coverage
    from dsum_demo.judge.own_test import kinds_of, title_of

    kinds, titles = kinds_of(result), {measure: title_of(measure, result) for measure in result.shares}
    wide = max(map(len, titles.values())) + 2
    lines = ["True summaries preferred, % [95 % Wilson interval], a tie counts half", ""]
    lines.append(" " * wide + "".join(f"{CORRUPTIONS[kind].title:>28}" for kind in kinds))
    for measure, shares in result.shares.items():
        cells = (shares[kind].text if kind in shares else "–" for kind in kinds)
        lines.append(f"{titles[measure]:<{wide}}" + "".join(f"{cell:>28}" for cell in cells))
    first = next(iter(result.shares.values()))
    lines.append(f"{'pairs':<{wide}}" + "".join(f"{first[kind].n if kind in first else 0:>28,}" for kind in kinds))
    return "\n".join([*lines, "", *with_coverage(describe_trust(result))])
