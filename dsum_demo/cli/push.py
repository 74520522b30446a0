"""The command `dsum push`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dsum_demo.cli.console import say
from dsum_demo.settings import Settings

if TYPE_CHECKING:
    pass
from dsum_demo.cli.console import DONE


def run_push(options: argparse.Namespace) -> int:
    from dsum_demo.runs.publish import push
    from dsum_demo.runs.store import Runs

    settings = Settings.from_environment()
    run = Runs(settings.runs_dir).get(options.run_name)
    say(f"dsum: uploading {run.name} to {options.repository}")
    print(push(run, options.repository, settings, private=options.private))
    return DONE
