"""Pretrains the base: model, starting circuit, batches, loop. Resumable; batch k depends on the seed and k alone.

Knows tensors and the objectives; reads no files but its own checkpoints.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from dsum_demo.models.prompts import PROMPT_TEMPLATE
from recipes.corpus import SOURCE_WEIGHTS, Conversation, merge_turns, relabel
from recipes.objectives import (
    OBJECTIVES,
    STOP,
    Windows,
    corrupt,
    gap_sentence,
    random_spans,
    recall_spans,
    reported_speech,
)

SEED = 1234
# (source length, batch size): a step always holds 8,192 source positions; few fixed shapes, so that compiling pays.
BUCKETS = ((128, 64), (192, 42), (256, 32))
TARGET_LENGTH = 64
PEAK_LEARNING_RATE = 1e-2
WARMUP_STEPS = 150
DECAY_SHARE = 0.3
CHECKPOINT_EVERY = 100


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int = SEED, circuit: bool = True) -> T5ForConditionalGeneration:
    """12.5 M parameters in T5 v1.1's shape (arXiv:2002.05202: gated GELU), with a tied head."""
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=256,
        d_kv=64,
        d_ff=1024,
        num_layers=5,
        num_decoder_layers=4,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,  # type: ignore[call-arg]
    )
    model = T5ForConditionalGeneration(config)
    if circuit:
        start_with_copying(model)
    return model


@torch.no_grad()
def start_with_copying(model: Any) -> None:
    """Write an induction circuit (Olsson et al. 2022, arXiv:2209.11895) into the random weights.

    A small T5 takes tens of thousands of steps to find out that it can look up the token it has just written in the
    dialogue and copy the one that follows. Here encoder head 0 starts as a previous-token head (a relative position
    bias) that writes a 64-dimensional sketch of the token before; two cross-attention layers start by matching the
    decoder's input token against that sketch and passing on the token they find. Everything is trained on from there.
    """
    d, d_kv, heads = model.config.d_model, model.config.d_kv, model.config.num_heads
    orthogonal = torch.nn.init.orthogonal_(torch.empty(d, d))
    sketch, written, carried = (
        orthogonal[:d_kv],
        orthogonal[d_kv : 2 * d_kv],
        torch.nn.init.orthogonal_(torch.empty(d, d)),
    )
    for stack in (model.encoder, model.decoder):
        for block in stack.block:
            for layer in block.layer:
                # A quieter random start keeps the copied token's own direction readable at the top of the stack.
                for name in ("SelfAttention", "EncDecAttention"):
                    if hasattr(layer, name):
                        getattr(layer, name).o.weight.mul_(0.3)
                if hasattr(layer, "DenseReluDense"):
                    layer.DenseReluDense.wo.weight.mul_(0.3)
    first = model.encoder.block[0].layer[0].SelfAttention
    first.relative_attention_bias.weight[:, 0] = 0.0
    first.relative_attention_bias.weight[1, 0] = 8.0  # bucket 1: the key is one position before the query
    head = slice(0, d_kv)
    first.q.weight[head].mul_(0.1)
    first.v.weight[head] = sketch
    first.o.weight[:, head] = 1.5 * written.T
    scale = 0.15**0.5
    for number in (1, 2):
        cross = model.decoder.block[number].layer[1].EncDecAttention
        for h in range(2 * (number - 1), 2 * number):
            rows, slot = slice(h * d_kv, (h + 1) * d_kv), slice(h * d_kv, (h + 1) * d_kv)
            cross.q.weight[rows] = scale * sketch
            cross.k.weight[rows] = scale * written
            cross.v.weight[rows] = carried[slot]
            cross.o.weight[:, rows] = 2.0 * carried[slot].T
    assert heads == 4


class Examples:
    """Draws batches: windows of turns by length bucket, an objective each."""

    def __init__(self, conversations: list[Conversation], tokenizer: PreTrainedTokenizerFast, seed: int = SEED):
        self.tokenizer, self.seed = tokenizer, seed
        self.statistics = Windows(conversations)
        self.sentinel = tokenizer.get_vocab()["<extra_id_0>"]
        self.mask_text = "<extra_id_31>"
        self.end = tokenizer.eos_token_id
        self.windows: list[tuple[Conversation, float]] = []
        self.buckets: dict[int, list[tuple[tuple[tuple[str, str], ...], float]]] = {size: [] for size, _ in BUCKETS}
        self.pairs: list[tuple[tuple[tuple[str, str], ...], str]] = []
        self._cut(conversations)
        self.bucket_weights = [sum(w for _, w in self.buckets[size]) * size for size, _ in BUCKETS]
        self.cumulative = {}
        for size, _ in BUCKETS:
            total, sums = 0.0, []
            for _, weight in self.buckets[size]:
                total += weight
                sums.append(total)
            self.cumulative[size] = sums
        stop_ids = {i for word in STOP for form in (word, word.capitalize()) for i in self._ids(f" {form}")}
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        self.salient = {
            i for i, piece in enumerate(pieces) if i not in stop_ids and sum(c.isalnum() for c in piece) > 1 and i > 2
        } - {tokenizer.convert_tokens_to_ids(f"▁#Person{k}#") for k in range(1, 10)}

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def _cut(self, conversations: list[Conversation]) -> None:
        """Consecutive turns that fit the largest bucket with the prompt; a long turn loses its tail."""
        largest = BUCKETS[-1][0] - 12
        for conversation in conversations:
            turns = merge_turns(conversation.turns)
            if not turns or len({s for s, _ in turns}) > 9:
                continue
            lengths = [
                len(ids) + 3 for ids in self.tokenizer([t for _, t in turns], add_special_tokens=False).input_ids
            ]
            if conversation.summary and len(turns) > 1 and 40 <= sum(lengths) <= largest:
                said = set(" ".join(t for _, t in turns).lower().split())
                words = [w for w in conversation.summary.lower().split() if w not in STOP]
                if words and len(words) < 45 and sum(w in said for w in words) / len(words) > 0.35:
                    self.pairs.append((tuple(turns), conversation.summary))
            weight, size = SOURCE_WEIGHTS.get(conversation.source, 1.0), 0
            window: list[tuple[str, str]] = []
            for turn, length in zip(turns, lengths, strict=True):
                if length > 120:
                    turn, length = (turn[0], " ".join(turn[1].split()[:75])), 110
                if size + length > largest:
                    self._keep(window, size, weight)
                    window, size = [], 0
                window.append(turn)
                size += length
            self._keep(window, size, weight)

    def _keep(self, window: list[tuple[str, str]], size: int, weight: float) -> None:
        if len(window) >= 3 and size >= 40:
            bucket = next(length for length, _ in BUCKETS if size + 12 <= length)
            self.buckets[bucket].append((tuple(window), weight))

    def one(self, size: int, rng: random.Random) -> tuple[list[int], list[int]]:
        """One example as (source ids, target ids), both ended, at most `size` and TARGET_LENGTH long."""
        objective = rng.choices(list(OBJECTIVES), list(OBJECTIVES.values()))[0]
        drawn, weak = rng.choices(self.buckets[size], cum_weights=self.cumulative[size])[0][0], None
        if objective == "weak" and self.pairs:
            drawn, weak = rng.choice(self.pairs)
        turns, summary = relabel(list(drawn), weak, rng)
        if objective == "reported":
            summary = reported_speech(turns, self.statistics, rng)
        elif objective == "gap":
            gap = gap_sentence(turns, self.statistics, self.mask_text, rng)
            turns, summary = gap or (turns, None)
        dialogue = "\n".join(f"{speaker}: {text}" for speaker, text in turns)
        if summary is not None:
            source = self.tokenizer(PROMPT_TEMPLATE.format(dialogue=dialogue)).input_ids
            if len(source) <= size:
                return source, [*self._ids(summary)[: TARGET_LENGTH - 1], self.end]
        ids = self._ids(dialogue)[: size - 1]
        spans = recall_spans(ids, self.salient.__contains__, rng) if objective == "recall" else []
        source, target = corrupt(ids, spans or random_spans(len(ids), rng), self.sentinel, self.end)
        return [*source[: size - 1], self.end], target[:TARGET_LENGTH]

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(input_ids [B, S], attention_mask [B, S], labels [B, T] padded with -100) of step `step`."""
        rng = random.Random(self.seed * 1_000_003 + step)
        size, count = rng.choices(BUCKETS, self.bucket_weights)[0]
        input_ids = torch.zeros(count, size, dtype=torch.long)
        mask = torch.zeros(count, size, dtype=torch.long)
        labels = torch.full((count, TARGET_LENGTH), -100)
        for row in range(count):
            source, target = self.one(size, rng)
            input_ids[row, : len(source)] = torch.tensor(source)
            mask[row, : len(source)] = 1
            labels[row, : len(target)] = torch.tensor(target)
        return input_ids, mask, labels


def learning_rate(step: int, steps: int) -> float:
    """Warm up, hold, then fall linearly over the last share of the run."""
    decay = (steps - step) / (DECAY_SHARE * steps)
    return PEAK_LEARNING_RATE * min(1.0, (step + 1) / WARMUP_STEPS, max(0.0, decay))


def pretrain(
    examples: Examples,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    steps: int,
    compiled: bool = True,
    circuit: bool = True,
    stop_at: int | None = None,
) -> T5ForConditionalGeneration:
    """Train to `steps`, resuming from `folder/checkpoint.pt` if it exists."""
    torch.set_num_threads(os.cpu_count() or 1)
    model = new_model(tokenizer, circuit=circuit)
    model.set_attn_implementation("eager")
    # AdamW whose step is scaled by each tensor's RMS, as in nanoT5 (arXiv:2309.02373): T5's tensors differ in scale.
    optimizer = torch.optim.AdamW(
        [{"params": [p], "weight_decay": 0.0} for p in model.parameters()],
        lr=PEAK_LEARNING_RATE,
        betas=(0.9, 0.98),
        fused=True,
    )
    checkpoint, step, spent = folder / "checkpoint.pt", 0, 0.0
    folder.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["seconds"]
    encoder = torch.compile(model.encoder, dynamic=False) if compiled else model.encoder
    decoder = torch.compile(model.decoder, dynamic=False) if compiled else model.decoder
    log = (folder / "log.jsonl").open("a")
    started, losses, start_step = time.monotonic() - spent, [], step
    begun = time.monotonic()
    model.train()
    last = min(steps, stop_at or steps)
    while step < last:
        for group in optimizer.param_groups:
            rms = group["params"][0].detach().pow(2).mean().sqrt().item()
            group["lr"] = learning_rate(step, steps) * max(1e-3, rms)
        input_ids, mask, labels = examples.batch(step)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
            decoded = decoder(
                input_ids=model._shift_right(labels),
                encoder_hidden_states=hidden,
                encoder_attention_mask=mask,
                use_cache=False,
            ).last_hidden_state
            asked = labels.ne(-100)
            logits = model.lm_head(decoded[asked] * model.model_dim**-0.5)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[asked])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        step += 1
        if step % 20 == 0 or step == last:
            left = (time.monotonic() - begun) / (step - start_step) * (last - step)
            line = {
                "step": step,
                "loss": round(sum(losses) / len(losses), 4),
                "seconds": round(time.monotonic() - started),
            }
            losses = []
            print(json.dumps(line), file=log, flush=True)
            print(f"step {step}/{last}  loss {line['loss']:.3f}  {left / 60:.0f} min left", flush=True)
        if step % CHECKPOINT_EVERY == 0 or step == last:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step,
                     "seconds": time.monotonic() - started}  # fmt: skip
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
    return model
