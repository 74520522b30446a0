"""Removes server paths from texts before visitors see them."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from dsum_demo.settings import PROJECT_ROOT, Settings

_IN_TRACEBACK = re.compile(r'File "/[^"\n]*/')


def hide_paths(text: str, settings: Settings, names: Mapping[str, str] | None = None) -> str:
    """`text` with paths below the app's folders made relative. names: replacements for further paths."""
    for path in sorted(names or (), key=len, reverse=True):
        text = text.replace(path, (names or {})[path])
    folders = {settings.data_dir, settings.root, PROJECT_ROOT, Path(sys.prefix), Path(sys.base_prefix), Path.home()}
    for folder in sorted((str(each) for each in folders if each.is_absolute()), key=len, reverse=True):
        if len(folder) > 1:
            text = re.sub(rf"(?<![\w./-]){re.escape(folder)}/", "", text)
    return _IN_TRACEBACK.sub('File "', text)
