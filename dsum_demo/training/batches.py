"""Which dialogues are learned from together, and in which order: encoded rows, and batches of like length.

The order depends on the seed and the epoch alone, so that a resumed run sees the batches that it would have seen.
Knows tokenized rows and nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase

from dsum_demo.models.architectures import ENCODER_DECODER, Architecture
from dsum_demo.models.prompts import DEFAULT_PROMPT, Prompt
from dsum_demo.training.config import TrainingConfig

Pair = tuple[str, str]
WATCHED_DIALOGUES = 3
# Within so many batches rows are sorted by length: enough to waste little on padding, few enough to stay random.
BATCHES_SORTED_TOGETHER = 50


def encode_pairs(
    pairs: Sequence[Pair],
    tokenizer: PreTrainedTokenizerBase,
    config: TrainingConfig,
    architecture: Architecture = ENCODER_DECODER,
    prompt: Prompt = DEFAULT_PROMPT,
) -> Dataset:
    """(dialogue, summary) pairs as unpadded rows of `input_ids` and `labels`, and of `prompt_ids`, from which a summary
    is generated; inference tokenizes the same way.
    """
    end = prompt.end_token_id(tokenizer)
    rows = []
    for dialogue, summary in pairs:
        source = list(prompt.fit(tokenizer, dialogue, config.max_source_tokens).source_ids)
        target = prompt.encode_target(tokenizer, summary, config.max_target_tokens, end)
        rows.append({**architecture.row(source, target), "prompt_ids": source})
    return Dataset.from_list(rows)


@dataclass
class EncodedDataset:
    """What is learned from and validated on, encoded once; validation sorted by length, longest first."""

    tokenizer: PreTrainedTokenizerBase
    train_pairs: Sequence[Pair]
    validation_pairs: Sequence[Pair]
    config: TrainingConfig
    architecture: Architecture = ENCODER_DECODER
    prompt: Prompt = DEFAULT_PROMPT
    parameters: int = 0
    trained_parameters: int = 0
    order: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.train = encode_pairs(self.train_pairs, self.tokenizer, self.config, self.architecture, self.prompt)
        validation = encode_pairs(self.validation_pairs, self.tokenizer, self.config, self.architecture, self.prompt)
        lengths = [len(ids) for ids in validation["input_ids"]]
        self.order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
        self.validation = validation.select(self.order)
        self.references = [self.validation_pairs[i][1] for i in self.order]

    def watched(self, texts: Sequence[str]) -> list[dict[str, str]]:
        """The first dialogues of the validation part with what was written for them now."""
        by_pair = dict(zip(self.order, texts, strict=True))
        return [
            {"dialogue": dialogue, "reference": reference, "summary": by_pair[number]}
            for number, (dialogue, reference) in enumerate(self.validation_pairs[:WATCHED_DIALOGUES])
        ]


class LengthGroupedOrder(Sampler[int]):
    """Row numbers, each once an epoch: rows of like length stand in one batch, and the batches are shuffled.

    lengths: tokens of each row. batch: rows of one optimizer step, over all processes and accumulated batches. The
    first batch of all holds the longest row, so that memory that does not suffice shows at once.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int):
        self.lengths, self.batch, self.seed = list(lengths), batch, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = Random(f"{self.seed} {self.epoch}")
        rows = list(range(len(self.lengths)))
        rng.shuffle(rows)
        chunk = self.batch * BATCHES_SORTED_TOGETHER
        batches = []
        for start in range(0, len(rows), chunk):
            part = sorted(rows[start : start + chunk], key=lambda row: -self.lengths[row])
            batches += [part[i : i + self.batch] for i in range(0, len(part), self.batch)]
        # A batch that is not full is the last: elsewhere it would shift all that follow.
        rest = [batches.pop()] if len(batches[-1]) < self.batch else []
        rng.shuffle(batches)
        if self.epoch == 0 and batches:
            longest = max(range(len(batches)), key=lambda i: self.lengths[batches[i][0]])
            batches[0], batches[longest] = batches[longest], batches[0]
        return iter([row for batch in [*batches, *rest] for row in batch])
