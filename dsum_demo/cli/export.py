"""The command `dsum export`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from dsum_demo.cli.console import DONE, INTERRUPTED, say, stopping
from dsum_demo.composition import make_registry, make_store
from dsum_demo.data.examples import read_samples
from dsum_demo.errors import InputError, Stopped
from dsum_demo.export.formats import DTYPES, FORMATS, unavailable_because
from dsum_demo.settings import Settings
from dsum_demo.utils.formatting import size


def add_export(commands: Any) -> None:
    """Add the command to `commands`, the result of argparse's add_subparsers."""
    parser = commands.add_parser(
        "export",
        help="write a model for other programs, and check it",
        description="Write a model for other programs, load it again without dsum and compare 20 summaries.",
    )
    parser.add_argument("model", metavar="MODEL", help="see `dsum models`")
    parser.add_argument("--format", required=True, choices=tuple(FORMATS), help="; ".join(_described()))
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a folder that is new or empty")
    parser.add_argument(
        "--dtype", choices=tuple(DTYPES), default="float32", help="of the weights in merged (default: float32)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run_export)


def run_export(options: argparse.Namespace, settings: Settings) -> int:
    """Exit code: 0 done, whatever the check found; 130 stopped, and then nothing is kept."""
    registry = make_registry(settings)
    spec = registry.spec(options.model)
    if reason := unavailable_because(registry, spec, options.format):
        raise InputError(reason)
    from dsum_demo.export.runner import export

    examples, report, told = read_samples(settings.samples_file), None, ""
    store = make_store(settings, registry)
    try:
        with stopping("nothing is kept") as stop:
            for progress in export(
                store, spec, options.format, options.out, examples, dtype=options.dtype, should_stop=stop.is_set
            ):
                text = progress.text.partition(":")[0]
                if text != told:
                    say(f"dsum: {text}")
                    told = text
                report = progress.report
    except Stopped as error:
        say(f"dsum: {error}")
        return INTERRUPTED
    assert report is not None
    if options.json:
        print(json.dumps({**report.as_dict(), "folder": str(report.folder)}, ensure_ascii=False, indent=2))
        return DONE
    print(report.folder)
    for name, count in report.files:
        print(f"  {name:<40} {size(count):>8}")
    print(report.check.text)
    for pair in report.check.different:
        print(f"  {pair.id}\n    the app: {pair.app}\n    export:  {pair.export}")
    return DONE


def _described() -> list[str]:
    return [f"{name}: {(each.unavailable and 'not available') or each.title}" for name, each in FORMATS.items()]
