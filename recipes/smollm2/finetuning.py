"""Fine-tuning on named dialogues, resumable, with the file's rounding in the last steps."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dsum_demo.data.examples import fingerprint
from dsum_demo.models.architectures import DECODER_ONLY
from dsum_demo.models.loading import native_bf16
from dsum_demo.models.prompts import LABEL_PAD_ID, Prompt
from recipes.corpus import read_rows
from recipes.smollm2.quantization import EMBEDDING_BITS, rounded, rounded_weights
from recipes.smollm2.speakers import name_speakers, write_informally

SORTED_TOGETHER = 40  # batches; within so many, dialogues of like length share one
CHECKPOINT_SECONDS = 240
SELECTION_DIALOGUES = 500  # of the training part, never trained on


@dataclass(frozen=True)
class Recipe:
    """lora_rank: 0 fine-tunes all weights. steps: at a constant learning rate, after warm-up. decay_steps: after those,
    to zero; with rounded weights if all weights are fine-tuned. max_tokens: longer pairs are left out."""

    learning_rate: float
    steps: int
    decay_steps: int
    lora_rank: int = 0
    batch_pairs: int = 8
    warmup_steps: int = 25
    max_tokens: int = 512
    micro_batch_tokens: int = 2000
    named_share: float = 0.8
    informal_share: float = 0.15
    seed: int = 0


@dataclass(frozen=True)
class Example:
    """Token ids of a prompt and of the summary with its end token."""

    prompt: list[int]
    summary: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.summary)


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """(dialogue, summary) of a gzipped JSON Lines file."""
    rows = read_rows(path)
    return [(row["dialogue"].replace("\r\n", "\n"), row.get("summary") or row["summaries"][0]) for row in rows]


def split(pairs: Sequence[tuple[str, str]], validation: Sequence[tuple[str, str]]) -> tuple[list, list]:
    """(for training, for choosing): without dialogues that validation has too, which DialogSum repeats."""
    known = {fingerprint(dialogue) for dialogue, _ in validation}
    own = [pair for pair in pairs if fingerprint(pair[0]) not in known]
    random.Random(0).shuffle(own)
    chosen = own[:SELECTION_DIALOGUES]
    known = {fingerprint(dialogue) for dialogue, _ in chosen}
    return [pair for pair in own if fingerprint(pair[0]) not in known], chosen


class FineTuning:
    """One model's steps over batches that depend on the seed and the step alone."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        prompt: Prompt,
        recipe: Recipe,
        pairs: Sequence[tuple[str, str]],
        names: Sequence[str],
        folder: Path,
    ):
        self.model, self.tokenizer, self.prompt, self.recipe = model, tokenizer, prompt, recipe
        self.pairs, self.names, self.folder = pairs, names, folder
        self.end = prompt.end_token_id(tokenizer)
        self.collate = DECODER_ONLY.collator(tokenizer, model)
        self.device = model.device
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
        self.step, self.warmup_from, self.seconds = 0, 0, 0.0
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=native_bf16())
        folder.mkdir(parents=True, exist_ok=True)

    # -- data

    def example(self, pair: tuple[str, str], rng: random.Random) -> Example:
        dialogue, summary = pair
        if rng.random() < self.recipe.named_share:
            dialogue, summary = name_speakers(dialogue, summary, self.names, rng)
        if rng.random() < self.recipe.informal_share:
            dialogue = write_informally(dialogue, rng)
        target = self.prompt.encode_target(self.tokenizer, summary.strip(), self.recipe.max_tokens, self.end)
        return Example(self.prompt.encode(self.tokenizer, dialogue), target)

    def batches(self) -> Iterator[list[Example]]:
        """Endless; each epoch has its own order and names."""
        size, epoch = self.recipe.batch_pairs, 0
        while True:
            rng = random.Random(f"{self.recipe.seed} {epoch}")
            order = rng.sample(self.pairs, len(self.pairs))
            window = size * SORTED_TOGETHER
            for start in range(0, len(order), window):
                examples = [self.example(pair, rng) for pair in order[start : start + window]]
                examples = sorted((e for e in examples if len(e) <= self.recipe.max_tokens), key=len)
                batches = [examples[i : i + size] for i in range(0, len(examples) - size + 1, size)]
                rng.shuffle(batches)
                yield from batches
            epoch += 1

    # -- steps

    def rate(self) -> float:
        recipe = self.recipe
        if self.step < recipe.steps:
            return recipe.learning_rate * min(1.0, (self.step - self.warmup_from + 1) / recipe.warmup_steps)
        return recipe.learning_rate * (1 - (self.step - recipe.steps) / recipe.decay_steps)

    def run(self, report: Callable[[str], None] = print, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or until `stopped`; returns whether the end was reached."""
        self.resume()
        self.model.train()
        total = self.recipe.steps + self.recipe.decay_steps
        saved = time.monotonic()
        losses: list[float] = []
        for number, batch in enumerate(self.batches()):
            if self.step >= total or stopped():
                break
            if number < self.step:
                continue
            started = time.monotonic()
            losses.append(self._one_step(batch))
            taken = time.monotonic() - started
            self.step, self.seconds = self.step + 1, self.seconds + taken
            if self.step % 5 == 0:
                mean = sum(losses[-20:]) / len(losses[-20:])
                report(f"step {self.step}/{total} loss {mean:.3f} {taken:.1f} s per step")
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self._save()
                saved = time.monotonic()
        self._save()
        return self.step >= total

    def freeze_embedding(self, base: torch.Tensor, share: float) -> None:
        """Move the embedding back to the base's by a share of the way, round it as in the file, and train on without
        it; in the checkpoint, once.

        Adam moves the rows of rare tokens by as much as all others, most of them in one direction, and with them the
        names that training never saw.
        """
        self.resume()
        embedding = self.model.get_input_embeddings().weight
        if not embedding.requires_grad:
            raise RuntimeError(f"{self._checkpoint} has a frozen embedding already.")
        with torch.no_grad():
            embedding.copy_(rounded(torch.lerp(embedding, base.to(embedding), share), EMBEDDING_BITS))
        embedding.requires_grad_(False)
        self._save()

    def _one_step(self, batch: list[Example]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        rounding = not self.recipe.lora_rank and self.step >= self.recipe.steps
        tokens = sum(len(example.summary) for example in batch)
        loss = 0.0
        with rounded_weights(self.model) if rounding else nullcontext():
            for rows in self._micro_batches(batch):
                part = self._loss(rows) / tokens
                part.backward()
                loss += part.item()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def _micro_batches(self, batch: list[Example]) -> Iterator[list[Example]]:
        rows: list[Example] = []
        for example in sorted(batch, key=len):
            if rows and (len(rows) + 1) * len(example) > self.recipe.micro_batch_tokens:
                yield rows
                rows = []
            rows.append(example)
        yield rows

    def _loss(self, rows: list[Example]) -> torch.Tensor:
        """Summed cross entropy of the summaries' tokens."""
        batch = self.collate([DECODER_ONLY.row(row.prompt, row.summary) for row in rows])
        labels = batch.pop("labels").to(self.device)
        inputs = {name: part.to(self.device) if torch.is_tensor(part) else part for name, part in batch.items()}
        with self.autocast:
            logits = self.model(**inputs, use_cache=False).logits
        logits, labels = DECODER_ONLY.aligned(logits, labels)
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=LABEL_PAD_ID, reduction="sum"
        )

    # -- checkpoints

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _save(self) -> None:
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "warmup_from": self.warmup_from,
            "seconds": self.seconds,
            "frozen_embedding": not self.model.get_input_embeddings().weight.requires_grad,
            "weights": self._weights(),
            "optimizer": self.optimizer.state_dict(),
        }
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._checkpoint)

    def _weights(self) -> dict[str, torch.Tensor]:
        """What training may have changed."""
        trained = {id(parameter) for parameter in self.parameters}
        return {name: p.detach() for name, p in self.model.named_parameters() if id(p) in trained}

    def start_at(self, step: int) -> None:
        """Count the weights as `step` steps old, where their optimizer state is lost: it warms up again."""
        self.step = self.warmup_from = step

    def resume(self) -> None:
        """Take weights, optimizer and step from the folder's checkpoint, if it has one."""
        if not self._checkpoint.exists():
            return
        state = torch.load(self._checkpoint, map_location="cpu")
        self.step, self.warmup_from, self.seconds = state["step"], state["warmup_from"], state["seconds"]
        with torch.no_grad():
            for name, parameter in self._weights().items():
                parameter.copy_(state["weights"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        if state.get("frozen_embedding"):
            self.model.get_input_embeddings().weight.requires_grad_(False)
