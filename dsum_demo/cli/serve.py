"""The command `dsum serve`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import NoReturn

from dsum_demo.cli.console import DONE, handling_stops
from dsum_demo.errors import SettingsError
from dsum_demo.settings import Settings


def run_serve(options: argparse.Namespace, settings: Settings) -> NoReturn:
    """Serve the app until SIGINT or SIGTERM, then end the process."""
    try:
        from dsum_demo.ui.app import serve
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"The app needs {error.name}, which is not installed: pip install -r requirements.txt"
        ) from None
    # The first process of a container ignores signals that it does not handle, so the container would be killed later.
    with handling_stops(signal.default_int_handler):
        serve(settings, host=options.host, port=options.port)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not the interpreter's own end, at which a thread that is inside torch aborts the process.
    os._exit(DONE)
