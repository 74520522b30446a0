"""Tokenized training rows, and the order in which they are batched.

The order depends only on the seed and the epoch, so a resumed run sees the same batches as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase

from dsum_demo.metrics.scores import Score
from dsum_demo.models.architectures import ENCODER_DECODER, Architecture
from dsum_demo.models.prompts import DEFAULT_PROMPT, Prompt
from dsum_demo.training.config import TrainingConfig
from dsum_demo.training.events import Event

Pair = tuple[str, str]
WATCHED_DIALOGUES = 5
EXTREME_ROWS = 3
# Rows are sorted by length within this many batches: enough to limit padding, few enough to keep the order random.
BATCHES_SORTED_TOGETHER = 50


def encode_pairs(
    pairs: Sequence[Pair],
    tokenizer: PreTrainedTokenizerBase,
    config: TrainingConfig,
    architecture: Architecture = ENCODER_DECODER,
    prompt: Prompt = DEFAULT_PROMPT,
) -> Dataset:
    """Tokenize (dialogue, summary) pairs into unpadded rows of `input_ids`, `labels` and `prompt_ids`.

    Validation generates from `prompt_ids`. Inference tokenizes the same way.
    """
    end = prompt.end_token_id(tokenizer)
    rows = []
    for dialogue, summary in pairs:
        source = list(prompt.fit(tokenizer, dialogue, config.max_source_tokens).source_ids)
        target = prompt.encode_target(tokenizer, summary, config.max_target_tokens, end)
        rows.append({**architecture.row(source, target), "prompt_ids": source})
    return Dataset.from_list(rows)


def watched_places(count: int, seed: int) -> list[int]:
    """The places of WATCHED_DIALOGUES of `count` validation dialogues, drawn with the run's seed, whose summaries are
    in the event of every evaluation.
    """
    return sorted(Random(f"watched {seed}").sample(range(count), min(WATCHED_DIALOGUES, count)))


def evaluated_row(place: int, pair: Pair, text: str, scores: Mapping[str, Score]) -> Event:
    """A validation dialogue and its new summary as an evaluation's event contains them."""
    dialogue, reference = pair
    rouge1 = scores["rouge1"].fmeasure if "rouge1" in scores else None
    return {"number": place + 1, "dialogue": dialogue, "reference": reference, "summary": text, "rouge1": rouge1}


@dataclass
class EncodedDataset:
    """The tokenized training and validation rows; validation rows are sorted by length, longest first."""

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

    def evaluated_rows(self, texts: Sequence[str], scores: Sequence[Mapping[str, Score]]) -> dict[str, list[Event]]:
        """The rows of an evaluation that its event contains; each has its number in the validation data, from 1.

        texts, scores: in the order of `validation`. summaries: those of `watched_places`. best_rows, worst_rows: by
        ROUGE-1, at most half of all rows each.
        """
        rows = {
            place: evaluated_row(place, self.validation_pairs[place], text, found)
            for place, text, found in zip(self.order, texts, scores, strict=True)
        }
        ranked = sorted(
            (row for row in rows.values() if row["rouge1"] is not None), key=lambda row: (-row["rouge1"], row["number"])
        )
        shown = min(EXTREME_ROWS, len(ranked) // 2)
        return {
            "summaries": [rows[place] for place in watched_places(len(rows), self.config.seed)],
            "best_rows": ranked[:shown],
            "worst_rows": ranked[len(ranked) - shown :][::-1],
        }


class LengthGroupedOrder(Sampler[int]):
    """Yields each row number once per epoch: rows of similar length share a batch, and batches are shuffled.

    lengths: tokens per row. batch: rows per optimizer step, over all processes and accumulated batches. The very first
    batch contains the longest row, so a run that does not fit in memory fails immediately.
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
        # An incomplete batch comes last; elsewhere it would shift the boundaries of the following batches.
        rest = [batches.pop()] if len(batches[-1]) < self.batch else []
        rng.shuffle(batches)
        if self.epoch == 0 and batches:
            longest = max(range(len(batches)), key=lambda i: self.lengths[batches[i][0]])
            batches[0], batches[longest] = batches[longest], batches[0]
        return iter([row for batch in [*batches, *rest] for row in batch])
