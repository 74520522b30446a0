"""The model card (README.md) of a training run, written from its records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.metrics.scores import METRICS
from dsum_demo.training.methods import METHODS
from dsum_demo.utils.formatting import size


def card(name: str, record: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """Return the card of the run `name`. record: its result.json. environment: its environment.json."""
    method = METHODS[record["method"]]
    adapter = method.peft_type is not None
    training = record["config"]["training"]
    data = environment.get("data", {})
    lines = [
        "---",
        "language: en",
        f"library_name: {'peft' if adapter else 'transformers'}",
        f"base_model: {json.dumps(record['base'])}",
        f"tags: [{method.name}, dialogue-summarization, dsum]",
        "---",
        "",
        f"# {name}",
        "",
        f"{_what(record)}: {record['trained_parameters']:,} "
        f"trained parameters, {100 * (record['share'] or 0):.3g} % of {record['parameters']:,}. {method.explanation} "
        f"({method.paper})",
        "",
        "A demonstration model: do not rely on its summaries. Its license depends on the base model and the data.",
        "",
        "## Training",
        "",
        f"{record['steps']} of {record['planned_steps']} steps in {record['seconds'] / 60:.1f} minutes on "
        f"{environment.get('cpu', 'an unknown processor')}, device {environment.get('device', 'unknown')}, "
        f"{environment.get('precision', '')}; {size(record['peak_memory_bytes'])} at the peak "
        f"({record['memory']}). dsum {environment.get('dsum')}, torch {environment.get('torch')}, "
        f"transformers {environment.get('transformers')}, peft {environment.get('peft')}.",
        "",
        f"Data: {PurePath(data.get('source', '')).name}, {data.get('train')} dialogues for training, "
        f"{data.get('validation')} for validation, fingerprint {data.get('fingerprint')}.",
        "",
        "| setting | value |",
        "|---|---|",
        *(
            f"| {key} | {_plain(value)} |"
            for key, value in {**record["options"], **training}.items()
            if key != "options"
        ),
        "",
        "## Scores",
        "",
        *_scores(record),
    ]
    if record["reason"]:
        lines += ["", record["reason"]]
    return "\n".join(lines) + "\n"


def _what(record: Mapping[str, Any]) -> str:
    """What was trained on what."""
    title, start = METHODS[record["method"]].title, record["config"].get("start_from")
    if start:
        return f"Preference training (DPO, Rafailov et al. 2023) of {start}: a {title} of {record['base']} on pairs"
    return f"{title} of {record['base']} on dialogues and their summaries"


def _scores(record: Mapping[str, Any]) -> list[str]:
    best = record["best"]
    if not best:
        return ["No scores: the run ended before its first evaluation."]
    if "rouge1" not in best:
        return [
            f"The best evaluation of the run, at step {best['step']}, on held-out pairs: the preferred summary gained "
            f"more probability than the other one in {100 * best['accuracy']:.1f} % of them (loss {best['loss']:.3f}).",
            *_forgetting(record),
        ]
    cells = " | ".join(f"{100 * best[rouge]:.2f}" for rouge in ROUGE_TYPES)
    return [
        f"The best evaluation of the run, at step {best['step']}, on its validation sample, F1 x 100. "
        f"`{record['signature']['text']}`",
        "",
        f"| {' | '.join(METRICS[rouge].short for rouge in ROUGE_TYPES)} | loss |",
        "|---|---|---|---|---|",
        f"| {cells} | {best['loss']:.3f} |",
        *_forgetting(record),
        "",
        "The weights were selected on this sample, so the scores are slightly optimistic.",
    ]


def _forgetting(record: Mapping[str, Any]) -> list[str]:
    """The loss on a general text, for the runs that have one."""
    if not record.get("general_loss"):
        return []
    before, after = record["general_loss"]
    return ["", f"Forgetting: the loss per token on a fixed general text was {before:.3f} before training and is "
            f"{after:.3f} with these weights ({after - before:+.3f})."]  # fmt: skip


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
