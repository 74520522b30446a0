"""Detects whether a dialogue is in English from its letters and most common words."""

from __future__ import annotations

import re

ENOUGH_WORDS = 15
# DialogSum's dialogues of ENOUGH_WORDS or more have a share of at least 28 %, other languages of at most 15 %.
LEAST_SHARE = 0.2
_LOOKED_AT = 20_000
_COMMON = frozenset(
    "the a an and or but of to in on at for with from is are was were be been have has had do does did not no yes you "
    "i he she it we they me him her us them my your his our their this that what who how why when where can could will "
    "would should if so as about just there here know think want get go going good okay ok well please thank thanks "
    "like up out all now some it's i'm don't that's you're".split()
)


def is_foreign(dialogue: str) -> bool:
    """Whether most of the text is not English; short texts in Latin letters are assumed to be English."""
    text = re.sub(r"^[^:\n]{1,40}:", "", dialogue[:_LOOKED_AT], flags=re.MULTILINE)
    letters = [c for c in text if c.isalpha()]
    if 2 * sum(c >= "\u0250" for c in letters) > len(letters):
        return True
    words = re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?", text.casefold().replace("’", "'"))
    return len(words) >= ENOUGH_WORDS and sum(word in _COMMON for word in words) < LEAST_SHARE * len(words)
