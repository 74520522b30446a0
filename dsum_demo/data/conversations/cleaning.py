"""Removes characters that are not visible from pasted texts, and repeated white space."""

from __future__ import annotations

import re
import unicodedata

_LINE_ENDS = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_TERMINAL_COLOR = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
# Invisible joiners that are part of emoji and of words in Persian, Arabic and Indic scripts.
_JOINERS = "\u200c\u200d"
# WhatsApp on iOS puts this mark before its own texts in every language.
SYSTEM = "\u200e"
_SYSTEM_TEXT = re.compile(rf"(?<=[:：] ){SYSTEM}+|(?<=[:：]){SYSTEM}+")


def visible(text: str) -> str:
    """The text without invisible characters, with single spaces; blank lines and WhatsApp's mark are kept."""
    text = unicodedata.normalize("NFC", _TERMINAL_COLOR.sub("", _LINE_ENDS.sub("\n", text)))
    kept = "\n\t" + _JOINERS + SYSTEM
    text = "".join(c for c in text if c in kept or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    lines = (re.sub(r"[^\S\n]+", " ", line).strip() for line in text.split("\n"))
    marked = (_SYSTEM_TEXT.sub("\0", line).replace(SYSTEM, "").replace("\0", SYSTEM).strip() for line in lines)
    return re.sub(" {2,}", " ", "\n".join(marked))


def clean_lines(text: str) -> list[str]:
    """The lines of a text without invisible characters and blank lines, with single spaces."""
    return [line for line in visible(text.replace(SYSTEM, "")).split("\n") if line]
