"""Trains the judge: a LoRA that finds the true summary more likely than the same summary with wrong speakers.

    python -m recipes.judge --data DIALOGSUM --base GGUF [--start ADAPTER] [--work build/judge] [--steps 150]

DIALOGSUM contains train.jsonl.gz and validation.jsonl.gz. Each dialogue is computed once for its true summary and all
corrupted ones. Training resumes from the last checkpoint; `--out` writes the adapter with its card.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from torch.nn.functional import softplus

from dsum_demo.data.examples import Example
from dsum_demo.judge.corruptions import twins
from dsum_demo.judge.likelihood import log_probabilities
from dsum_demo.models.prompts import Prompt
from recipes.names import FIRST_NAMES
from recipes.smollm2.__main__ import PROMPT, load_model
from recipes.smollm2.finetuning import read_pairs, split
from recipes.smollm2.speakers import name_speakers

KINDS = ("speakers", "mention")  # all others are held out
LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj"]  # who did what is found by attention
CHECKPOINT_STEPS = 10


@dataclass(frozen=True)
class JudgeRecipe:
    """max_prompt_tokens: longer dialogues are left out. true_weight: of the true summary's loss per token, which keeps
    the model a language model. first_layer: no adapter below it, so that nothing is backpropagated there."""

    steps: int
    learning_rate: float = 8e-4
    warmup_steps: int = 8
    batch_dialogues: int = 8
    micro_batch_dialogues: int = 4
    max_prompt_tokens: int = 170
    max_summary_tokens: int = 56
    named_share: float = 0.7
    true_weight: float = 0.1
    lora_rank: int = 8
    first_layer: int = 10
    seed: int = 0


@dataclass(frozen=True)
class Comparison:
    """Token ids of a prompt, of its true summary, and of corrupted ones."""

    prompt: list[int]
    summaries: list[list[int]]


def comparisons(
    pairs: Sequence[tuple[str, str]], tokenizer: Any, prompt: Prompt, recipe: JudgeRecipe
) -> Iterator[Comparison]:
    """Endless; in each pass other names and other errors."""
    end = prompt.end_token_id(tokenizer)
    for number in itertools.count():
        rng = random.Random(f"{recipe.seed} {number}")
        for dialogue, summary in rng.sample(list(pairs), len(pairs)):
            named = dialogue, summary
            if rng.random() < recipe.named_share:
                named = name_speakers(dialogue, summary, FIRST_NAMES, rng)
            example = Example("", named[0], (named[1].strip(),), ())
            errors = twins([example], rng.randrange(10**9), KINDS)
            corrupted = list(dict.fromkeys(twin.corrupted for twin in errors))
            ids = [prompt.encode_target(tokenizer, text, 1000, end) for text in (named[1].strip(), *corrupted)]
            source = prompt.encode(tokenizer, named[0])
            short = len(source) <= recipe.max_prompt_tokens and max(map(len, ids)) <= recipe.max_summary_tokens
            if corrupted and short:
                yield Comparison(source, ids)


class JudgeTraining:
    """Pairwise training: softplus of the corrupted summary's log-probability minus the true one's."""

    def __init__(self, model: Any, tokenizer: Any, recipe: JudgeRecipe, folder: Path):
        self.model, self.tokenizer, self.recipe, self.folder = model, tokenizer, recipe, folder
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, betas=(0.9, 0.95), weight_decay=0.0)
        self.step, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.resume()
        self.model.train()
        source = comparisons(pairs, self.tokenizer, PROMPT, self.recipe)
        size, right = self.recipe.batch_dialogues, list[bool]()
        for _ in range(self.step * size):
            next(source)
        while self.step < self.recipe.steps:
            started = time.monotonic()
            right += self._one_step(sorted(itertools.islice(source, size), key=lambda c: len(c.prompt)))
            self.step, self.seconds = self.step + 1, self.seconds + time.monotonic() - started
            recent = right[-300:]  # each was seen for the first time, before the step
            print(
                f"step {self.step}/{self.recipe.steps} prefers the true one in {100 * sum(recent) / len(recent):.1f} % "
                f"of the last {len(recent)}, {self.seconds:.0f} s",
                flush=True,
            )
            if self.step % CHECKPOINT_STEPS == 0 or self.step == self.recipe.steps:
                self._save()

    def _one_step(self, batch: list[Comparison]) -> list[bool]:
        recipe, right = self.recipe, list[bool]()
        decay = 1 - max(0, self.step - recipe.warmup_steps) / (recipe.steps - recipe.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min((self.step + 1) / recipe.warmup_steps, decay)
        number = sum(len(each.summaries) - 1 for each in batch)
        for start in range(0, len(batch), recipe.micro_batch_dialogues):
            part = batch[start : start + recipe.micro_batch_dialogues]
            # Without PEFT's conversions to float32, which autocast would undo.
            with torch.autocast("cpu", torch.bfloat16), disable_input_dtype_casting(self.model):
                found = log_probabilities(self.model, [c.prompt for c in part], [c.summaries for c in part])
            margins = torch.stack([true.sum() - false.sum() for true, *errors in found for false in errors])
            right += (margins > 0).tolist()
            likelihood = torch.stack([true.mean() for true, *_ in found]).sum() / len(batch)
            loss = softplus(-margins).sum() / number - recipe.true_weight * likelihood
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return right

    # -- checkpoints

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _save(self) -> None:
        state = {
            "trained": [p.detach() for p in self.parameters],
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, self._checkpoint.with_suffix(".new"))
        self._checkpoint.with_suffix(".new").replace(self._checkpoint)

    def resume(self) -> None:
        if self._checkpoint.is_file():
            state = torch.load(self._checkpoint, weights_only=True)
            with torch.no_grad():
                for parameter, saved in zip(self.parameters, state["trained"], strict=True):
                    parameter.copy_(saved)
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]


def judge_model(base: Path, start: Path | None, recipe: JudgeRecipe) -> Any:
    """The base in bfloat16 with a LoRA in float32: a new one, or the one in `start`."""
    from peft import LoraConfig, PeftModel, get_peft_model

    torch.manual_seed(recipe.seed)
    model = load_model(base).to(torch.bfloat16)
    if start is not None:
        return PeftModel.from_pretrained(model, start, is_trainable=True)
    lora = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=2 * recipe.lora_rank,
        target_modules=LAYERS,
        layers_to_transform=list(range(recipe.first_layer, model.config.num_hidden_layers)),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora)


def save_adapter(model: Any, folder: Path, base: str) -> None:
    """The adapter in bfloat16. base: the name of its model in the catalog."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(folder)


def main() -> None:
    from transformers import AutoTokenizer

    parser = argparse.ArgumentParser(prog="python -m recipes.judge", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True, help="the GGUF file of the model that the adapter is for")
    parser.add_argument("--start", type=Path, help="an adapter to continue from")
    parser.add_argument("--work", type=Path, default=Path("build/judge"))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--out", type=Path, help="folder for the adapter")
    arguments = parser.parse_args()
    recipe = JudgeRecipe(arguments.steps)
    model = judge_model(arguments.base, arguments.start, recipe)
    tokenizer = AutoTokenizer.from_pretrained(arguments.base.parent)
    pairs, _ = split(read_pairs(arguments.data / "train.jsonl.gz"), read_pairs(arguments.data / "validation.jsonl.gz"))
    training = JudgeTraining(model, tokenizer, recipe, arguments.work)
    training.run(pairs)
    if arguments.out:
        save_adapter(model, arguments.out, arguments.base.parent.name)


if __name__ == "__main__":
    main()
