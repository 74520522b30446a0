"""Writes what ships: the base's own GGUF file, the fine-tuned one and the adapter, each with what loading needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from dsum_demo.data.examples import write_fingerprints
from recipes.packaging import write_json
from recipes.smollm2.quantization import write_gguf

BASE, FULL, LORA = "smollm2-135m", "smollm2-135m-dialogsum", "smollm2-135m-dialogsum-lora"


def package_base(base: Path, tokenizer: Any, model: Any, out: Path) -> None:
    """models/smollm2-135m: the file byte for byte."""
    folder = out / "models" / BASE
    _write_beside_gguf(folder, tokenizer, model)
    shutil.copy(base, folder / base.name)


def package_full(base: Path, tokenizer: Any, model: Any, dialogues: Iterable[str], out: Path) -> None:
    """models/smollm2-135m-dialogsum: the fine-tuned weights as Q5_0, the embedding as Q4_0."""
    folder = out / "models" / FULL
    _write_beside_gguf(folder, tokenizer, model)
    write_gguf(model, base, folder / f"{FULL}.Q5_0.gguf", FULL)
    write_fingerprints(folder, dialogues)


def package_lora(model: Any, dialogues: Iterable[str], out: Path) -> None:
    """adapters/smollm2-135m-dialogsum-lora, in bfloat16."""
    folder = out / "adapters" / LORA
    card = folder / "README.md"
    before = card.read_bytes() if card.exists() else None
    model.to(torch.bfloat16).save_pretrained(folder, save_embedding_layers=False)
    card.unlink()  # PEFT's, with this machine's paths
    if before is not None:
        card.write_bytes(before)
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text())
    config["base_model_name_or_path"] = BASE
    config["target_modules"] = sorted(config["target_modules"])
    write_json(file, config)
    write_fingerprints(folder, dialogues)


def _write_beside_gguf(folder: Path, tokenizer: Any, model: Any) -> None:
    """config.json, generation_config.json and the tokenizer, which transformers also reads from the GGUF file, in
    seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = model.config.to_diff_dict()
    for name in ("_name_or_path", "_model_name_or_path", "dtype"):
        config.pop(name, None)
    write_json(folder / "config.json", config)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    for name in ("is_local", "local_files_only"):
        settings.pop(name, None)
    write_json(file, settings)
