"""The command `dsum push`."""

from __future__ import annotations

import argparse

from dsum_demo.cli.console import DONE, say
from dsum_demo.composition import hub_probe
from dsum_demo.settings import Settings


def run_push(options: argparse.Namespace, settings: Settings) -> int:
    from dsum_demo.runs.publish import push
    from dsum_demo.runs.store import Runs

    run = Runs(settings.runs_dir).get(options.run_name)
    say(f"dsum: uploading {run.name} to {options.repository}")
    print(push(run, options.repository, hub_probe(settings), private=options.private))
    return DONE
