"""Measures fine-tuning: dsum's full fine-tuning compared with the notebook's, and LoRA's memory with that of full.

    python benchmarks/training.py [--data SOURCE] [--dialogues N] [--only speed|memory]

Speed: the embedded base, the same dialogues, batches of 8, AdamW. The notebook uses transformers' Trainer in fp32 with
dialogue and summary both padded to 512 tokens; dsum uses `dsum_demo.training.loop.train` with its defaults. They
alternate, so that a busy machine slows down both. Memory: a FLAN-T5-base-shaped model with random weights, AdamW, and
`dsum train --probe` in a child process for each method: a step of 8 dialogues, in one batch or accumulated one by one.
Results are in `benchmarks/README.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from dsum_demo.composition import load_settings, make_sources
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import LABEL_PAD_ID, PROMPT_TEMPLATE
from dsum_demo.settings import PROJECT_ROOT
from dsum_demo.training.config import TrainingConfig
from dsum_demo.training.loop import train

BATCH, PADDED, STEPS, ROUNDS = 8, 512, 6, 3
AT_ONCE = (8, 1)  # dialogues in memory at once, of the 8 that make a step
BASE = PROJECT_ROOT / "models" / "dsum-t5-base"
FLAN_T5_BASE = {
    "vocab_size": 32128, "d_model": 768, "d_kv": 64, "d_ff": 2048, "num_layers": 12, "num_heads": 12,
    "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0, "tie_word_embeddings": False,
}  # fmt: skip

Pairs = list[tuple[str, str]]


class StepTimes(TrainerCallback):
    """Seconds of every step after the first, which warms up caches."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step > 1:
            self.seconds.append(time.perf_counter() - self.started)


def notebook_way(pairs: Pairs, folder: Path) -> float:
    """Dialogues per second of the notebook's recipe."""
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(BASE), AutoTokenizer.from_pretrained(BASE)
    rows = []
    for dialogue, summary in pairs:
        given = tokenizer(
            PROMPT_TEMPLATE.format(dialogue=dialogue), padding="max_length", max_length=PADDED, truncation=True
        )
        labels = tokenizer(summary, padding="max_length", max_length=PADDED, truncation=True)["input_ids"]
        # The notebook leaves the padding in the labels; masking it changes the loss, not the time.
        labels = [LABEL_PAD_ID if i == tokenizer.pad_token_id else i for i in labels]
        rows.append({"input_ids": given["input_ids"], "attention_mask": given["attention_mask"], "labels": labels})
    times = StepTimes()
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=STEPS, per_device_train_batch_size=BATCH, learning_rate=1e-5,
        weight_decay=0.01, use_cpu=not torch.cuda.is_available(), report_to="none", disable_tqdm=True,
        save_strategy="no", logging_strategy="no",
    )  # fmt: skip
    Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[times]).train()  # type: ignore[arg-type]
    return BATCH / statistics.median(times.seconds)


def dsum_way(pairs: Pairs, folder: Path) -> float:
    """Dialogues per second of `train` without evaluations: the mean over its steps, because their lengths differ."""
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(BASE), AutoTokenizer.from_pretrained(BASE)
    config = TrainingConfig(
        method="full", optimizer="adamw", learning_rate=1e-5, batch_size=BATCH, max_steps=STEPS * 2, evaluations=1,
        validation_sample=1,
    )  # fmt: skip
    speeds: list[float] = []

    def told(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            speeds.append(event["samples_per_second"])

    train(
        model, tokenizer, pairs, pairs[:1], config, folder, base_name="dsum-t5-base",
        decode=DecodingConfig(max_new_tokens=8), on_event=told,
    )  # fmt: skip
    return speeds[-1]


def compare_speed(pairs: Pairs) -> None:
    ours, theirs = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            theirs.append(notebook_way(pairs, Path(folder)))
            ours.append(dsum_way(pairs, Path(folder)))
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    print(f"notebook's recipe, padded to {PADDED}, fp32:  {statistics.median(theirs):6.1f} dialogues/s")
    print(f"dsum, padded to the batch, grouped:     {statistics.median(ours):6.1f} dialogues/s")
    print(f"ratio {statistics.median(ratios):.1f}x (rounds: {', '.join(f'{ratio:.1f}' for ratio in ratios)})")


def compare_memory() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        torch.manual_seed(0)
        T5ForConditionalGeneration(T5Config(**FLAN_T5_BASE)).save_pretrained(root / "models" / "dsum-t5-base")
        AutoTokenizer.from_pretrained(BASE).save_pretrained(root / "models" / "dsum-t5-base")
        shutil.copytree(PROJECT_ROOT / "samples", root / "samples")
        for at_once in AT_ONCE:
            full, lora = (probe(root, method, at_once) for method in ("full", "lora"))
            for method, cost in (("full", full), ("LoRA", lora)):
                print(
                    f"{method}, {at_once} at once: peak {cost['peak_memory_bytes'] / 1e9:5.2f} GB  trained "
                    f"{cost['trained_parameters']:>11,}  checkpoint {cost['checkpoint_bytes'] / 1e6:6.1f} MB  "
                    f"{cost['seconds_per_step']:5.2f} s/step"
                )
            print(
                f"LoRA/full, {at_once} at once: memory {lora['peak_memory_bytes'] / full['peak_memory_bytes']:.2f}x, "
                f"time {lora['seconds_per_step'] / full['seconds_per_step']:.2f}x", flush=True,
            )  # fmt: skip


def probe(root: Path, method: str, at_once: int) -> dict[str, Any]:
    # The notebook's LoRA: rank 32 on q and v.
    options = ["--set", "r=32", "--set", "lora_alpha=32", "--set", "target_modules=q,v"] if method == "lora" else []
    done = subprocess.run(
        [sys.executable, "-m", "dsum_demo", "train", "--method", method, "--data", "samples",
         "--set", "optimizer=adamw", "--set", f"batch_size={at_once}", "--set", f"accumulation={BATCH // at_once}",
         *options, "--probe"],
        env={**os.environ, "DSUM_ROOT": str(root), "DSUM_DATA_DIR": str(root / "data"), "HF_HUB_OFFLINE": "1",
             "PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples", help="source of the dialogues (samples, dialogsum:train, a file)")
    parser.add_argument("--dialogues", type=int, default=96, help="how many of them")
    parser.add_argument("--only", choices=("speed", "memory"))
    options = parser.parse_args()
    examples = make_sources(load_settings()).read(options.data)[: options.dialogues]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {len(examples)} dialogues of {options.data}")
    if options.only != "memory":
        compare_speed([(example.dialogue, example.references[0]) for example in examples])
    if options.only != "speed":
        compare_memory()


if __name__ == "__main__":
    main()
