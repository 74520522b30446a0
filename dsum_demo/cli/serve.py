"""The command `dsum serve`."""

from __future__ import annotations

import argparse

from dsum_demo.cli.console import DONE
from dsum_demo.errors import SettingsError
from dsum_demo.settings import Settings


def run_serve(options: argparse.Namespace, settings: Settings) -> int:
    try:
        from dsum_demo.ui.app import serve
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"The app needs {error.name}, which is not installed: pip install -r requirements.txt"
        ) from None
    serve(settings, host=options.host, port=options.port)
    return DONE
