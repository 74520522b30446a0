"""Length-grouped order of training rows: complete, grouped by length, and determined by seed and epoch."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsum_demo.models.architectures import DECODER_ONLY, ENCODER_DECODER
from dsum_demo.models.prompts import DEFAULT_PROMPT, Prompt
from dsum_demo.training.batches import LengthGroupedOrder, encode_pairs
from dsum_demo.training.config import TrainingConfig
from dsum_demo.training.first_batch import explain, first_batch

LENGTHS = [random.Random(n).randrange(10, 500) for n in range(1000)]


def order(lengths=LENGTHS, batch=8, seed=42, epoch=0) -> list[int]:
    rows = LengthGroupedOrder(lengths, batch, seed)
    rows.set_epoch(epoch)
    return list(rows)


@settings(deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(1, 99), min_size=1, max_size=130), st.integers(1, 17), st.integers(0, 3))
def test_every_row_is_yielded_once_per_epoch_and_the_longest_first(lengths, batch, epoch):
    rows = order(lengths, batch, epoch=epoch)
    assert sorted(rows) == list(range(len(lengths)))
    if epoch == 0 and len(lengths) >= batch:
        assert lengths[rows[0]] == max(lengths[row] for row in rows[: len(rows) // batch * batch])


def test_the_order_depends_on_seed_and_epoch_but_not_on_the_global_random_state():
    random.seed(1)
    first = order()
    random.seed(2)
    assert order() == first
    assert order(epoch=1) != first and order(seed=43) != first
    again = LengthGroupedOrder(LENGTHS, 8, 42)
    assert list(again) == list(again) == first, "repeated iteration in one epoch gives the same order"


def test_batches_have_little_padding():
    def padded(rows: list[int]) -> int:
        batches = [[LENGTHS[row] for row in rows[start : start + 8]] for start in range(0, len(rows), 8)]
        return sum(len(batch) * max(batch) for batch in batches)

    shuffled = list(range(1000))
    random.Random(0).shuffle(shuffled)
    assert padded(order()) < 1.05 * sum(LENGTHS) < 1.5 * sum(LENGTHS) < padded(shuffled)


def test_long_batches_are_spread_over_the_epoch():
    firsts = [LENGTHS[row] for row in order()[::8]]
    assert firsts != sorted(firsts, reverse=True)
    half = len(firsts) // 2
    assert abs(sum(firsts[:half]) / half - sum(firsts[half:]) / (len(firsts) - half)) < 100


@pytest.mark.parametrize("parts", [1, 2, 4, 8])
def test_a_step_has_the_same_dialogues_for_every_split_into_batches(parts):
    """After an out-of-memory error the batch is halved, and the rows of an optimizer step must not change."""
    whole = order(batch=8)
    pieces = [order(batch=8)[start : start + 8 // parts] for start in range(0, 1000, 8 // parts)]
    assert [row for piece in pieces for row in piece] == whole


PAIRS = [
    (
        "Maya: Can you lend me ten dollars?\nTom: Sure.\n" + "Maya: Thank you, Tom.\n" * 12,
        "Maya asks Tom for money and he agrees.",
    ),
    ("Tom: Hi.", "Hello."),
    ("Anna: Come back on Monday.\nTom: I will.", "Tom comes back on Monday."),
]


def texts(row: dict, kind: str) -> str:
    return " ".join(" ".join(part["tokens"]) for part in row["parts"] if part["kind"] == kind)


def test_the_first_batch_shows_that_the_end_is_trained_on_and_equal_padding_is_not(chat_tokenizer):
    config = TrainingConfig(task_type="CAUSAL_LM", batch_size=2, max_source_tokens=60, max_target_tokens=14)
    prompt = Prompt("{dialogue}\nSummarize.", chat=True)
    encoded = encode_pairs(PAIRS, chat_tokenizer, config, DECODER_ONLY, prompt)
    collate = DECODER_ONLY.collator(chat_tokenizer, None)
    batch = first_batch(encoded, PAIRS, chat_tokenizer, config, DECODER_ONLY, prompt, collate)
    assert batch["pad"] == batch["end"] == "<|im_end|>" and "the mask follows the length" in explain(batch)
    long, short = batch["rows"]
    assert long["number"] == 1 and "were left out" in long["truncated"]
    assert "max_target_tokens: its last " in long["truncated"] and short["truncated"] == ""
    for row in (long, short):
        assert row["parts"][-1]["kind"] == "trained" and row["parts"][-1]["tokens"][-1] == "<|im_end|>"
        assert sum(part["count"] for part in row["parts"]) == batch["width"]
        assert texts(row, "trained").count("<|im_end|>") == 1
    padding = short["parts"][0]
    assert (padding["kind"], padding["tokens"]) == ("padding", ["<|im_end|>"])
    assert padding["count"] == batch["padding_tokens"] > 0
    assert texts(short, "read").replace(" ", "").startswith("<|im_start|>user↵Anna:·Come·back")
    assert batch["trained_tokens"] == sum(
        p["count"] for row in (long, short) for p in row["parts"] if p["kind"] == "trained"
    )


def test_the_first_batch_of_an_encoder_decoder_is_the_one_the_collator_makes(tiny_tokenizer):
    config = TrainingConfig(batch_size=3, max_source_tokens=400)
    encoded = encode_pairs(PAIRS, tiny_tokenizer, config)
    collate = ENCODER_DECODER.collator(tiny_tokenizer, None)
    batch = first_batch(encoded, PAIRS, tiny_tokenizer, config, ENCODER_DECODER, DEFAULT_PROMPT, collate)
    assert sorted(row["number"] for row in batch["rows"]) == [1, 2, 3]
    assert batch["pad"] == "<pad>" and "neither read nor trained on" in explain(batch)
    for row in batch["rows"]:
        encoder = [part["count"] for part in row["parts"][: 1 if row["number"] == 1 else 2]]
        assert sum(encoder) == batch["width"]
        assert texts(row, "trained").endswith("</s>") and row["truncated"] == ""
