"""Whether a dialogue is in English, by its letters and its commonest words."""

from __future__ import annotations

import re

ENOUGH_WORDS = 15
# Every DialogSum dialogue of that many words has 28 % or more of these, other languages up to 15 %.
LEAST_SHARE = 0.2
_LOOKED_AT = 20_000
_COMMON = frozenset(
    "the a an and or but of to in on at for with from is are was were be been have has had do does did not no yes you "
    "i he she it we they me him her us them my your his our their this that what who how why when where can could will "
    "would should if so as about just there here know think want get go going good okay ok well please thank thanks "
    "like up out all now some it's i'm don't that's you're".split()
)


def is_foreign(dialogue: str) -> bool:
    """Whether most of the text is not English. A short text in Latin letters is taken to be English."""
    text = re.sub(r"^[^:\n]{1,40}:", "", dialogue[:_LOOKED_AT], flags=re.MULTILINE)
    letters = [c for c in text if c.isalpha()]
    if 2 * sum(c >= "\u0250" for c in letters) > len(letters):
        return True
    words = re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?", text.casefold().replace("’", "'"))
    return len(words) >= ENOUGH_WORDS and sum(word in _COMMON for word in words) < LEAST_SHARE * len(words)
