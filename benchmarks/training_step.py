"""Fine-tuning steps a second of the embedded base, compiled against as it is, in one run.

    python benchmarks/training_step.py

The recipe's batches in length (32 dialogues of about 150, 200 and 260 tokens, summaries of about 40), bf16 autocast,
AdamW, random token ids. Prints the ratio; `benchmarks/README.md` holds a result. Needs a C++ compiler.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM

from dsum_demo.settings import PROJECT_ROOT

SHAPES = ((150, 34), (200, 40), (260, 44))
BATCH, ROUNDS = 32, 4


def seconds(model: torch.nn.Module, forward: Callable[..., Any]) -> float:
    """Median time of a step over the rounds after the first, which compiles."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    generator = torch.Generator().manual_seed(0)
    times = []
    for number in range(ROUNDS):
        for source, target in SHAPES:
            ids = torch.randint(5, 7000, (BATCH, source), generator=generator)
            labels = torch.randint(5, 7000, (BATCH, target), generator=generator)
            started = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16):
                loss = forward(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if number:
                times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    model = AutoModelForSeq2SeqLM.from_pretrained(PROJECT_ROOT / "models" / "dsum-t5-base").train()
    model.set_attn_implementation("eager")
    plain = seconds(model, model)
    compiled = seconds(model, torch.compile(model, dynamic=True))
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"step of {BATCH}: plain {plain:.2f} s, compiled {compiled:.2f} s: {plain / compiled:.2f}x as fast")


if __name__ == "__main__":
    main()
