"""The command `dsum serve`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dsum_demo.errors import SettingsError
from dsum_demo.settings import Settings

if TYPE_CHECKING:
    pass
from dsum_demo.cli.console import DONE


def run_serve(options: argparse.Namespace) -> int:
    try:
        from dsum_demo.ui.app import serve
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"The app needs {error.name}, which is not installed: pip install -r requirements.txt"
        ) from None
    serve(Settings.from_environment(), host=options.host, port=options.port)
    return DONE
