"""The first batch of a run as the model reads it: tokens, which of them are trained on, padding, what was truncated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from dsum_demo.models.architectures import DECODER_ONLY, Architecture
from dsum_demo.models.prompts import LABEL_PAD_ID, Prompt
from dsum_demo.training.config import TrainingConfig
from dsum_demo.utils.ranks import world_size

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from dsum_demo.training.batches import Pair

SHOWN_ROWS = 4
READ, TRAINED, PADDING = "read", "trained", "padding"


def first_batch(
    encoded: Any,
    pairs: Sequence[Pair],
    tokenizer: PreTrainedTokenizerBase,
    config: TrainingConfig,
    architecture: Architecture,
    prompt: Prompt,
    collate: Callable[[list[Any]], dict[str, Any]],
) -> dict[str, Any]:
    """Return the keys of the event `first_batch`, see `events`.

    encoded: the rows of `pairs` by `encode_pairs`. collate: the collator of the run's model. At most SHOWN_ROWS rows
    are included, evenly spaced from the longest to the shortest.
    """
    from dsum_demo.training.batches import LengthGroupedOrder  # the app, which shows batches, need not import datasets

    together = config.batch_size * config.accumulation * world_size()
    order = LengthGroupedOrder([len(ids) for ids in encoded["input_ids"]], together, config.seed)
    places = list(islice(order, config.batch_size))
    rows = [{name: encoded[place][name] for name in ("input_ids", "labels")} for place in places]
    collated = collate(rows)
    batch = {name: collated[name].tolist() for name in ("input_ids", "attention_mask", "labels")}
    end, pad = prompt.end_token_id(tokenizer), tokenizer.pad_token_id or 0
    shown = sorted({round(n * (len(places) - 1) / max(1, SHOWN_ROWS - 1)) for n in range(SHOWN_ROWS)})
    trained = sum(label != LABEL_PAD_ID for labels in batch["labels"] for label in labels)
    return {
        "batch_size": len(places),
        "width": len(batch["input_ids"][0]),
        "trained_tokens": trained,
        "padding_tokens": sum(row.count(0) for row in batch["attention_mask"]),
        "end": _text(tokenizer, end),
        "pad": _text(tokenizer, pad),
        "architecture": architecture.name,
        "rows": [
            {
                "number": places[row] + 1,
                "parts": list(_parts(tokenizer, architecture, *(batch[name][row] for name in batch))),
                "truncated": _truncated(tokenizer, prompt, config, *pairs[places[row]]),
            }
            for row in shown
        ],
    }


def explain(batch: dict[str, Any]) -> str:
    """Sentences on what the mask of a `first_batch` does."""
    size, width, pad, end = batch["batch_size"], batch["width"], batch["pad"], batch["end"]
    text = (
        f"{size} row{'s' * (size != 1)} of {width} tokens; the loss is computed on {batch['trained_tokens']:,} tokens, "
        f"{batch['padding_tokens']:,} are padding. "
    )
    if batch["architecture"] == DECODER_ONLY.name:
        text += "The prompt is read and the summary is trained on, up to its end token. "
    else:
        text += "The encoder reads the prompt, and the decoder is trained on the summary, up to its end token. "
    if pad == end:
        return (
            f"{text}Padding and end are the same token, {end}, so the mask follows the length: the end of a summary is "
            "trained on and the padding is not. A mask by token would hide every end, and the model would never learn "
            "to stop."
        )
    return f"{text}The padding, {pad}, is neither read nor trained on."


def _parts(
    tokenizer: Any, architecture: Architecture, ids: list[int], mask: list[int], labels: list[int]
) -> Iterator[dict[str, Any]]:
    """Runs of tokens of the same kind; a run of padding has one token and a count."""
    if architecture is DECODER_ONLY:
        kinds = [PADDING if not read else TRAINED if label != LABEL_PAD_ID else READ
                 for read, label in zip(mask, labels, strict=True)]  # fmt: skip
        sequences = [list(zip(ids, kinds, strict=True))]
    else:
        target = [tokenizer.pad_token_id if label == LABEL_PAD_ID else label for label in labels]
        sequences = [
            [(token, READ if read else PADDING) for token, read in zip(ids, mask, strict=True)],
            [(token, PADDING if label == LABEL_PAD_ID else TRAINED)
             for token, label in zip(target, labels, strict=True)],
        ]  # fmt: skip
    for sequence in sequences:
        for kind, run in groupby(sequence, key=lambda pair: pair[1]):
            texts = [_text(tokenizer, token) for token, _ in run]
            yield {"kind": kind, "count": len(texts), "tokens": texts[:1] if kind == PADDING else texts}


def _text(tokenizer: Any, token: int) -> str:
    """A token as readable text: a leading space as "·", a line break as "↵"."""
    raw = str(tokenizer.convert_ids_to_tokens(token))
    decoded = str(tokenizer.decode([token]))
    # SentencePiece's decoder removes the space, and a part of a character cannot be decoded.
    text = raw if raw.startswith("▁") or not decoded or "\ufffd" in decoded else decoded
    return text.replace("▁", "·").replace("\n", "↵").replace(" ", "·")


def _truncated(tokenizer: Any, prompt: Prompt, config: TrainingConfig, dialogue: str, summary: str) -> str:
    """What does not fit, in sentences; empty if everything does."""
    found = [prompt.fit(tokenizer, dialogue, config.max_source_tokens).note]
    tokens = len(prompt.encode_target(tokenizer, summary, len(summary.encode()) + 2)) - config.max_target_tokens
    if tokens > 0:
        found.append(f"The summary is longer than max_target_tokens: its last {tokens} tokens were left out.")
    return " ".join(filter(None, found))
