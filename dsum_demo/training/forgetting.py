"""Forgetting: the loss on a fixed general text, before and after fine-tuning.

general_text.txt contains passages of the introduction and the last chapter of Charles Darwin, On the Origin of Species,
first edition, London 1859; public domain (the author died in 1882). It has nothing to do with dialogues, so a higher
loss after training means that the model lost some of its general language modeling.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from dsum_demo.models.architectures import DECODER_ONLY, Architecture

TEXT_FILE = Path(__file__).with_name("general_text.txt")
WINDOW = 256  # tokens per forward pass


@cache
def general_text() -> str:
    return TEXT_FILE.read_text(encoding="utf-8").strip()


@torch.no_grad()
def general_loss(model: Any, tokenizer: Any, architecture: Architecture) -> float | None:
    """Return the mean cross entropy per token of the general text, in nats; a window's first token is context only.

    None for an encoder-decoder model: it models an output given an input, so a text alone has no loss. Its pretraining
    task (T5's span corruption) is no substitute, because instruction-tuned and small checkpoints never saw it.
    """
    if architecture is not DECODER_ONLY:
        return None
    ids = tokenizer(general_text(), add_special_tokens=False)["input_ids"]
    training, total, count = model.training, 0.0, 0
    model.eval()
    try:
        for start in range(0, len(ids) - 1, WINDOW):
            window = torch.tensor([ids[start : start + WINDOW + 1]], device=model.device)
            logits, labels = architecture.aligned(model(input_ids=window).logits, window)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="sum")
            total, count = total + loss.item(), count + labels.numel()
    finally:
        model.train(training)
    return total / count
