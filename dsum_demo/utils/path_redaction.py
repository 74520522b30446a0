"""Removes server paths from texts before visitors see them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from dsum_demo.settings import PROJECT_ROOT

_IN_TRACEBACK = re.compile(r'File "/[^"\n]*/')


def hide_paths(text: str, folders: Iterable[Path], names: Mapping[str, str] | None = None) -> str:
    """`text` with paths below `folders`, dsum and Python made relative. names: replacements for further paths."""
    for path in sorted(names or (), key=len, reverse=True):
        text = text.replace(path, (names or {})[path])
    hidden = {*folders, PROJECT_ROOT, Path(sys.prefix), Path(sys.base_prefix), Path.home()}
    for folder in sorted((str(each) for each in hidden if each.is_absolute()), key=len, reverse=True):
        if len(folder) > 1:
            text = re.sub(rf"(?<![\w./-]){re.escape(folder)}/", "", text)
    return _IN_TRACEBACK.sub('File "', text)
