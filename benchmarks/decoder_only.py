"""Compares dsum with plain transformers for a decoder-only model in a GGUF file: loading time and time per token.

    python benchmarks/decoder_only.py FOLDER

FOLDER holds one GGUF file, config.json and the tokenizer's files.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, GgufConfig

from dsum_demo.models.loading import load_tokenizer, load_whole

ROUNDS, PROMPT_TOKENS, NEW_TOKENS = 3, 230, 48


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def load_plain(folder: Path) -> Any:
    """Load from the GGUF file alone, as in transformers' documentation."""
    [file] = folder.glob("*.gguf")
    AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
    return AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )


def token_seconds(model: Any, attention: str) -> float:
    model.set_attn_implementation(attention)
    ids = torch.randint(5, 1000, (1, PROMPT_TOKENS), generator=torch.Generator().manual_seed(0))
    cache = DynamicCache()
    with torch.inference_mode():
        model(input_ids=ids, past_key_values=cache, logits_to_keep=1)
        return seconds(lambda: [model(input_ids=ids[:, :1], past_key_values=cache) for _ in range(NEW_TOKENS)]) / (
            NEW_TOKENS
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    model = load_whole(folder, load_tokenizer(folder))
    rounds: dict[str, list[tuple[float, float]]] = {"loading": [], "a token": []}
    for _ in range(ROUNDS):
        ours = seconds(lambda: load_whole(folder, load_tokenizer(folder)))
        rounds["loading"].append((seconds(lambda: load_plain(folder)), ours))
        rounds["a token"].append((token_seconds(model, "sdpa"), token_seconds(model, "grouped")))
    for name, pairs in rounds.items():
        plain, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratios = ", ".join(f"{own / other:.2f}" for other, own in pairs)
        print(f"{name}: plain {plain:.4f} s, dsum {ours:.4f} s, ratio {ours / plain:.2f} ({ratios})")


if __name__ == "__main__":
    main()
