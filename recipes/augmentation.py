"""Replaces names in dialogue and summary alike, so that models copy names instead of memorizing them."""

from __future__ import annotations

import random
import re

from recipes.names import FIRST_NAMES, SURNAMES

# "Will you …", "Long time no see", "Young man, …": with a capital these open a sentence far more often than they name.
_WORDS_TOO = {"Will", "Long", "Young"}
_NAMES = {name: pool for pool in (SURNAMES, FIRST_NAMES) for name in pool if name not in _WORDS_TOO}
_WORD = re.compile(r"\b[A-Z][a-z]+\b")
_LABEL = re.compile(r"#Person\d+#")


def rename(
    dialogue: str, summary: str, rng: random.Random, people: float = 0.4, speakers: float = 0.12
) -> tuple[str, str]:
    """With probability `people` every known name becomes another; with `speakers` the labels become first names too.

    Two people never come to share a name.
    """
    mapping: dict[str, str] = {}
    text = f"{dialogue}\n{summary}"
    taken = set(_WORD.findall(text))
    if rng.random() < people:
        for name in sorted(taken & _NAMES.keys()):
            mapping[name] = rng.choice([n for n in _NAMES[name] if n not in taken])
            taken.add(mapping[name])
    if rng.random() < speakers:
        labels = sorted(set(_LABEL.findall(text)))
        mapping.update(zip(labels, rng.sample([n for n in FIRST_NAMES if n not in taken], len(labels)), strict=True))
    swap = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in mapping)) if mapping else None
    if swap is None:
        return dialogue, summary
    return swap.sub(lambda m: mapping[m[0]], dialogue), swap.sub(lambda m: mapping[m[0]], summary)
