"""Comparisons in links: share.js compresses one into the address after “#”, which browsers do not send; to show it, the
page sends it to the app, which checks it, computes its scores again and does not store it.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from dsum_demo.comparison import (
    Comparison,
    RecordedSummary,
    System,
    SystemResult,
    check_systems,
    clean_references,
)
from dsum_demo.data.dialogues import read_dialogue
from dsum_demo.errors import InputError, UnknownModelError
from dsum_demo.generation.streaming import Generation
from dsum_demo.metrics.scores import score_summary, signature
from dsum_demo.models.adapter_scaling import check_strength
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.registry import Registry
from dsum_demo.ui.checked_arguments import checked

LONGEST_TEXT = 400_000  # characters of JSON; share.js has the same limit, in bytes
LONGEST_NAME = 80


@with_config(ConfigDict(extra="forbid"))
class LinkedSystem(TypedDict):
    name: str
    summary: str
    strength: float


@with_config(ConfigDict(extra="forbid"))
class LinkedComparison(TypedDict):
    """What share.js compresses. made: the date of the summaries, YYYY-MM-DD."""

    family: str
    dialogue: str
    references: list[str]
    decode: dict[str, Any]
    made: str
    systems: list[LinkedSystem]


CONTENT = TypeAdapter(LinkedComparison)


def linked_comparison(text: str, registry: Registry, max_chars: int) -> Comparison:
    """The comparison of a link, as a recorded one. A model that the registry does not have becomes a recorded summary.

    Raises InputError for other data.
    """
    if len(text) > LONGEST_TEXT:
        raise InputError(f"The link contains {len(text):,} characters; the limit is {LONGEST_TEXT:,}.")
    try:
        raw = json.loads(text)
        json.dumps(raw, ensure_ascii=False).encode()  # escapes can contain lone surrogates, which gradio cannot send
    except (ValueError, RecursionError):
        raise InputError("The link is damaged; ask for a new one.") from None
    given = checked("The link", raw, CONTENT)
    reading = read_dialogue(given["dialogue"], max_chars, as_is=True)
    references = clean_references(given["references"])
    systems = [_system(system["name"], system["summary"], registry) for system in given["systems"]]
    check_systems(
        [RecordedSummary(one.name, raw["summary"]) for one, raw in zip(systems, given["systems"], strict=True)]
    )
    try:
        made = date.fromisoformat(given["made"]).isoformat()
        decode = DecodingConfig(**given["decode"])
        family = registry.family(given["family"])
    except (TypeError, ValueError):
        raise InputError("The link is damaged; ask for a new one.") from None
    return Comparison(
        family,
        reading.dialogue,
        references,
        decode,
        tuple(
            SystemResult(
                spec,
                "done",
                generation=Generation(raw["summary"], 0, 0.0, finished=True),
                scores=score_summary(raw["summary"], references) if references else None,
                strength=check_strength(raw["strength"]),
            )
            for spec, raw in zip(systems, given["systems"], strict=True)
        ),
        signature(n=1, references=len(references)) if references else None,
        reading,
        recorded=made,
        shared=True,
    )


def _system(name: str, summary: str, registry: Registry) -> System:
    if len(name) > LONGEST_NAME:
        raise InputError(f"The link names a system with {len(name)} characters; the limit is {LONGEST_NAME}.")
    try:
        return registry.spec(name)
    except UnknownModelError:
        return RecordedSummary(name, summary)
