"""Reads the data folder into conversations and cuts them into windows.

The folder holds `dialogsum/{train,validation}.jsonl.gz` and
`pretraining/*.jsonl.gz` (one JSON object a line; turns as [[speaker, text], ...]).
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recipes.names import FIRST_NAMES

SELECTION_SIZE = 500
SELECTION_SEED = 2024

# How often a pass over each source is drawn: everyday English near the task counts for more than table talk.
SOURCE_WEIGHTS = {
    "dialogsum": 4.0,
    "sgd": 2.0,
    "topical_chat": 2.0,
    "taskmaster4": 1.0,
    "mts_dialog": 1.0,
    "aci_bench": 1.0,
    "qmsum": 0.5,
    "crd3_aligned": 0.5,
}


@dataclass(frozen=True)
class Conversation:
    """Turns as (speaker, text); `summary` is a weak one (another corpus's, never DialogSum's)."""

    source: str
    turns: tuple[tuple[str, str], ...]
    summary: str | None = None


def read_rows(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def split_selection(rows: list[dict]) -> tuple[list[dict], list[dict]]:
    """DialogSum's train rows as (rows to train on, rows that checkpoints and settings are chosen on)."""
    chosen = set(random.Random(SELECTION_SEED).sample(range(len(rows)), SELECTION_SIZE))
    return (
        [row for i, row in enumerate(rows) if i not in chosen],
        [row for i, row in enumerate(rows) if i in chosen],
    )


def dialogsum_train(data: Path) -> tuple[list[dict], list[dict]]:
    return split_selection(read_rows(data / "dialogsum" / "train.jsonl.gz"))


def tidy(text: str) -> str:
    """Undo tokenized spacing ("don 't .") so that every source is written the same way."""
    text = re.sub(r"\{[a-z]+\}|\[[a-z ]+\]", " ", text)
    text = re.sub(r"\s+([.,!?;:%)])", r"\1", text)
    text = re.sub(r"\s+('(?:s|m|re|ve|ll|d|t)\b)", r"\1", text)
    text = re.sub(r"\s+(n't\b)", r"\1", text)
    return re.sub(r"\s+", " ", text).strip()


def split_turns(dialogue: str) -> tuple[tuple[str, str], ...]:
    turns = []
    for line in dialogue.split("\n"):
        speaker, separator, text = line.partition(":")
        if separator and text.strip():
            turns.append((speaker.strip(), tidy(text)))
    return tuple(turns)


def read_conversations(data: Path) -> Iterator[Conversation]:
    """Everything that pretraining may see: DialogSum's train dialogues without their summaries, and the rest."""
    train, _ = dialogsum_train(data)
    for row in train:
        yield Conversation("dialogsum", split_turns(row["dialogue"]))
    for path in sorted((data / "pretraining").glob("*.jsonl.gz")):
        source = path.name.split(".")[0]
        for row in read_rows(path):
            turns = tuple((speaker, tidy(text)) for speaker, text in row["turns"])
            # QMSum's summaries tell an hour of talk and ACI-Bench's are clinical notes: no pairs for a window.
            short_summary = source in ("crd3_aligned", "mts_dialog")
            yield Conversation(source, turns, tidy(row["summary"]) if short_summary and row.get("summary") else None)
            for query in row.get("queries", ()):
                spans = [turn for a, b in query["spans"] or () for turn in turns[int(a) : int(b) + 1]]
                if spans:
                    yield Conversation("qmsum", tuple(spans), tidy(query["answer"]))


def merge_turns(turns: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Neighbouring turns of one speaker become one; empty ones go."""
    merged: list[tuple[str, str]] = []
    for speaker, text in turns:
        if not text:
            continue
        if merged and merged[-1][0] == speaker:
            merged[-1] = (speaker, f"{merged[-1][1]} {text}")
        else:
            merged.append((speaker, text))
    return merged


def relabel(
    turns: list[tuple[str, str]], summary: str | None, rng: random.Random
) -> tuple[list[tuple[str, str]], str | None]:
    """Speakers as #Person1#, #Person2#, ... in order of appearance, or (three in ten) as first names."""
    speakers = list(dict.fromkeys(speaker for speaker, _ in turns))
    if rng.random() < 0.3:
        labels = dict(zip(speakers, rng.sample(FIRST_NAMES, len(speakers)), strict=True))
    else:
        labels = {speaker: f"#Person{i}#" for i, speaker in enumerate(speakers, 1)}
    if summary:
        for speaker, label in labels.items():
            if len(speaker) > 2 and not speaker.startswith("#"):
                summary = re.sub(rf"\b{re.escape(speaker)}\b", label, summary, flags=re.IGNORECASE)
    relabelled = []
    for speaker, text in turns:
        # A DialogSum turn may mention "#Person2#" in its text.
        for old, new in labels.items():
            if old.startswith("#") and old in text:
                text = text.replace(old, new)
        relabelled.append((labels[speaker], text))
    return relabelled, summary
