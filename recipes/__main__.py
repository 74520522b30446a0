"""Makes the embedded T5 family, from text to weights, one command:

    python -m recipes --data DATA_FOLDER [--work build/embedded] [--stages tokenizer,pretrain,full,lora,report,package]

Every stage saves its results in the work folder and is skipped if they are newer than its inputs; pretraining and
fine-tuning resume from their last checkpoint. `package` writes models/ and adapters/.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

from dsum_demo.data.examples import write_fingerprints
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.settings import PROJECT_ROOT
from dsum_demo.training.batches import Pair
from dsum_demo.training.config import TrainingConfig
from dsum_demo.training.loop import train
from recipes.augmentation import rename
from recipes.corpus import dialogsum_train, merge_turns, read_conversations, relabel
from recipes.packaging import package
from recipes.pretraining import Examples, new_model, pretrain
from recipes.report import report
from recipes.tokenizer import train_tokenizer

STAGES = ("tokenizer", "pretrain", "full", "lora", "report", "package")
# The tokenizer learns from a share of the larger sources, so that everyday English decides its pieces.
TOKENIZER_SHARES = {"sgd": 0.4, "topical_chat": 0.6, "crd3_aligned": 0.15, "qmsum": 0.15}
PRETRAINING_STEPS = 1300
VALIDATION_SAMPLE = 128  # of the 500 selection dialogues: enough to choose a checkpoint by
GREEDY = DecodingConfig(max_new_tokens=80)
FULL = TrainingConfig(
    method="full",
    optimizer="adafactor",
    learning_rate=4e-3,
    weight_decay=0.0,
    label_smoothing=0.1,
    epochs=3,
    max_steps=900,  # of the 1,122 that three passes would take
    batch_size=32,
    evaluations=2,
    compile=True,
)
LORA = TrainingConfig(
    method="lora",
    options={"r": 16, "lora_alpha": 32, "target_modules": ["q", "k", "v", "o", "wi_0", "wi_1", "wo"]},
    learning_rate=3e-3,
    label_smoothing=0.1,
    epochs=2,
    batch_size=32,
    evaluations=3,
    compile=True,
)


def make_tokenizer(data: Path, work: Path) -> None:
    rng, texts = random.Random(0), []
    for conversation in read_conversations(data):
        if rng.random() < TOKENIZER_SHARES.get(conversation.source, 1.0):
            turns, _ = relabel(merge_turns(conversation.turns[:60]), None, rng)
            texts.append("\n".join(f"{speaker}: {text}" for speaker, text in turns))
            texts += [conversation.summary] if conversation.summary else []
    train_tokenizer(texts).save_pretrained(work / "tokenizer")


def make_base(data: Path, work: Path, steps: int) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "tokenizer")
    examples = Examples(list(read_conversations(data)), tokenizer)
    model = pretrain(examples, tokenizer, work / "pretraining", steps)
    save_base(model.state_dict(), tokenizer, work / "base")


def save_base(weights: dict[str, torch.Tensor], tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model = new_model(tokenizer, circuit=False)
    model.load_state_dict(weights)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def training_pairs(rows: list[dict], epochs: float, seed: int) -> list[Pair]:
    """`epochs` copies of the rows, each with other names, so that one epoch of the trainer has all of them."""
    rng, pairs = random.Random(seed), []
    for _ in range(max(1, round(epochs))):
        pairs += [rename(row["dialogue"], row["summary"], rng) for row in rows]
    return pairs


def make_tuned(data: Path, work: Path, config: TrainingConfig, name: str) -> None:
    rows, selection = dialogsum_train(data)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "base")
    model = AutoModelForSeq2SeqLM.from_pretrained(work / "base")
    folder, started = work / name, time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)

    def show(event: dict[str, Any]) -> None:
        minutes = (time.monotonic() - started) / 60
        left = minutes / max(1, event["step"]) * (event["steps"] - event["step"])
        parts = [f"{key} {event[key]:.3f}" for key in ("loss", "rouge1", "rouge2") if key in event]
        at = f"{event['event']} {event['step']}/{event['steps']}"
        print(f"{name} {at}  {'  '.join(parts)}  {left:.0f} min left", flush=True)
        with (folder / "events.jsonl").open("a") as file:
            print(json.dumps(event), file=file)

    result = train(
        model,
        tokenizer,
        training_pairs(rows, config.epochs, config.seed),
        [(row["dialogue"], row["summary"]) for row in selection[:VALIDATION_SAMPLE]],
        replace(config, epochs=1),
        folder,
        base_name="dsum-t5-base",
        decode=GREEDY,
        on_event=show,
        resume=True,
    )
    write_fingerprints(result.folder, (row["dialogue"] for row in rows))
    record = {
        "config": config.as_record(),
        "steps": result.steps,
        "seconds": round(result.seconds),
        "parameters": result.parameters,
        "trained_parameters": result.trained_parameters,
        "selection": result.best,
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
    }
    (folder / "result.json").write_text(json.dumps(record, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with dialogsum/ and pretraining/")
    parser.add_argument("--work", type=Path, default=Path("build/embedded"), help="where stages keep what they made")
    parser.add_argument("--stages", default=",".join(STAGES), help=f"comma-separated, of: {', '.join(STAGES)}")
    parser.add_argument("--steps", type=int, default=PRETRAINING_STEPS, help="pretraining steps in all")
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT, help="package writes models/ and adapters/ here")
    options = parser.parse_args(arguments)
    work: Path = options.work
    base, full, lora = work / "base" / "config.json", work / "full" / "result.json", work / "lora" / "result.json"
    # stage: (what it makes, what that is made of, how)
    stages: dict[str, tuple[Path, tuple[Path, ...], Callable[[], None]]] = {
        "tokenizer": (work / "tokenizer" / "tokenizer.json", (), lambda: make_tokenizer(options.data, work)),
        "pretrain": (base, (), lambda: make_base(options.data, work, options.steps)),
        "full": (full, (base,), lambda: make_tuned(options.data, work, FULL, "full")),
        "lora": (lora, (base,), lambda: make_tuned(options.data, work, LORA, "lora")),
        "report": (work / "report.json", (base, full, lora), lambda: report(options.data, work)),
        "package": (work / "packaged", (work / "report.json",), lambda: package(work, options.out)),
    }
    chosen = [name.strip() for name in options.stages.split(",")]
    if unknown := [name for name in chosen if name not in stages]:
        parser.error(f"no stage {unknown[0]!r}; the stages are {', '.join(STAGES)}")
    if not (options.data / "dialogsum" / "train.jsonl.gz").exists():
        parser.error(f"{options.data} holds no dialogsum/train.jsonl.gz; give the folder with the data")
    work.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        made, needs, make = stages[name]
        if made.exists() and all(made.stat().st_mtime >= need.stat().st_mtime for need in needs if need.exists()):
            print(f"{name}: already made ({made}); delete it to make it again")
            continue
        print(f"{name}: started", flush=True)
        make()
    return 0


if __name__ == "__main__":
    sys.exit(main())
