"""Scores the trio: on the selection dialogues to choose decode settings by, on DialogSum's validation to report.

Writes `report.json` into the work folder; the model cards are made of it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from dsum_demo.metrics.grounding import grounded_share
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.metrics.scores import mean_scores, score_summary, signature
from dsum_demo.models.catalog import read_catalog
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import DEFAULT_PROMPT
from dsum_demo.settings import PROJECT_ROOT
from recipes.corpus import dialogsum_train, read_rows

MAX_SOURCE_TOKENS = 512
SELECTION_SHOWN = 100  # enough to choose decode settings by
LABEL = re.compile(r"#Person\d+#")
DECODES = {
    "greedy": DecodingConfig(max_new_tokens=80),
    "shipped": read_catalog(PROJECT_ROOT).families[0].decode,
}


def load_trio(work: Path) -> dict[str, PreTrainedModel]:
    base = AutoModelForSeq2SeqLM.from_pretrained(work / "base")
    return {
        "original": base.eval(),
        "full": AutoModelForSeq2SeqLM.from_pretrained(work / "full" / "best").eval(),
        "lora": PeftModel.from_pretrained(
            AutoModelForSeq2SeqLM.from_pretrained(work / "base"), work / "lora" / "best"
        ).eval(),
    }


@torch.inference_mode()
def summarize_all(
    model: Any, tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], decode: DecodingConfig
) -> list[str]:
    """Summaries in the dialogues' order, written in batches of similar length."""
    sources = [list(DEFAULT_PROMPT.fit(tokenizer, dialogue, MAX_SOURCE_TOKENS).source_ids) for dialogue in dialogues]
    order, texts = sorted(range(len(sources)), key=lambda i: len(sources[i])), [""] * len(sources)
    settings = GenerationConfig(
        max_new_tokens=decode.max_new_tokens,
        num_beams=decode.num_beams,
        no_repeat_ngram_size=decode.no_repeat_ngram_size,
        length_penalty=decode.length_penalty,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    for start in range(0, len(order), 32):
        rows = order[start : start + 32]
        batch = tokenizer.pad({"input_ids": [sources[i] for i in rows]}, return_tensors="pt")
        written = model.generate(**batch, generation_config=settings)
        for i, text in zip(rows, tokenizer.batch_decode(written, skip_special_tokens=True), strict=True):
            texts[i] = text.strip()
    return texts


def scores(rows: Sequence[dict], texts: Sequence[str]) -> dict[str, Any]:
    means = mean_scores([score_summary(text, [row["summary"]]) for row, text in zip(rows, texts, strict=True)])
    return {
        **{name: round(100 * means[name].fmeasure, 2) for name in ROUGE_TYPES},
        "words": round(sum(len(text.split()) for text in texts) / len(texts), 1),
        # Speakers' labels are nearly always right, and would hide the rest.
        "grounded": grounded_share(
            [(LABEL.sub("they", t), row["dialogue"]) for row, t in zip(rows, texts, strict=True)]
        ),
    }


def report(data: Path, work: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(work / "base")
    _, selection = dialogsum_train(data)
    validation = read_rows(data / "dialogsum" / "validation.jsonl.gz")
    found: dict[str, Any] = {"signature": signature(n=len(validation), references=1).as_dict()}
    for name, model in load_trio(work).items():
        for split, rows in (("selection", selection[:SELECTION_SHOWN]), ("validation", validation)):
            for label, decode in DECODES.items():
                started = time.monotonic()
                texts = summarize_all(model, tokenizer, [row["dialogue"] for row in rows], decode)
                key = f"{name}/{split}/{label}"
                found[key] = {**scores(rows, texts), "seconds": round(time.monotonic() - started)}
                print(key, found[key], flush=True)
                lines = [
                    {"dialogue": r["dialogue"], "reference": r["summary"], "text": t}
                    for r, t in zip(rows, texts, strict=True)
                ]
                (work / f"outputs_{key.replace('/', '_')}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (work / "report.json").write_text(json.dumps(found, indent=2) + "\n")
