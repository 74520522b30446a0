"""Writes many summaries with one loaded model, in batches of similar length: the texts that one at a time would give.

Knows one loaded model and tokenized prompts; nothing of dialogues, families or pages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from dsum_demo.errors import GenerationError, InputError, Stopped
from dsum_demo.generation import POLL_SECONDS, Generation, _decoded, _generation_config, _sentence
from dsum_demo.loading import LoadedModel
from dsum_demo.prompts import DecodeConfig

BATCH_ROWS = 32
BATCH_TOKENS = 12_288  # of the prompts, padding included: what the encoder holds at once


def batches(lengths: Sequence[int], rows: int = BATCH_ROWS, tokens: int = BATCH_TOKENS) -> list[list[int]]:
    """Places in `lengths`, sorted by length and cut so that no batch has more rows or, padded, more tokens; a single
    text may be longer.
    """
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if not found or len(found[-1]) >= rows or (len(found[-1]) + 1) * lengths[place] > tokens:
            found.append([])
        found[-1].append(place)
    return found


def generate_batch(
    loaded: LoadedModel,
    sources: Sequence[Sequence[int]],
    decode: DecodeConfig,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Generation]:
    """A summary for each tokenized prompt, in their order, all in one batch (see `batches`).

    In float32 they are what `generation.generate` gives: padding is masked, and moves a logit by rounding alone; in
    bfloat16 a near tie may fall otherwise. seconds is a text's share of the batch. Raises Stopped where a stop came
    before the end, since half a batch is no result; InputError for an empty prompt and for sampling, which draws by
    text; GenerationError, naming the model, where the model fails.
    """
    if decode.do_sample:
        raise InputError("Sampling is not offered for many dialogues at once; turn it off.")
    if not all(sources):
        raise InputError("There is nothing to summarize: a prompt has no tokens.")
    stop = _Stop(should_stop)
    with _turn(loaded, stop), torch.inference_mode():
        started = time.perf_counter()
        try:
            output = _generate(loaded, sources, decode, stop)
        except Exception as error:
            raise GenerationError(f"{loaded.spec.name} failed while it wrote: {_sentence(error)}") from error
        seconds = (time.perf_counter() - started) / len(sources)
    if stop.asked:
        raise Stopped(f"{loaded.spec.name} was stopped while it wrote.")
    return [_generation(loaded, row, decode, seconds) for row in output.tolist()]


class _Stop(StoppingCriteria):
    def __init__(self, should_stop: Callable[[], bool]):
        self.should_stop = should_stop
        self.asked = False

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        self.asked = self.asked or self.should_stop()
        return torch.full((input_ids.shape[0],), self.asked, dtype=torch.bool, device=input_ids.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Stop:
        # PEFT's prompt tuning copies the arguments of the call, and this is the one that is looked at.
        return self


@contextmanager
def _turn(loaded: LoadedModel, stop: _Stop) -> Iterator[None]:
    """Wait for the model where it writes one call at a time. Raises Stopped where a stop comes first."""
    while loaded.turn is not None and not loaded.turn.acquire(timeout=POLL_SECONDS):
        if stop.should_stop():
            raise Stopped(f"Stopped while waiting for {loaded.spec.name}.")
    try:
        yield
    finally:
        if loaded.turn is not None:
            loaded.turn.release()


def _generate(loaded: LoadedModel, sources: Sequence[Sequence[int]], decode: DecodeConfig, stop: _Stop) -> torch.Tensor:
    """(texts, tokens), without the decoder's start token."""
    model, pad = loaded.model, loaded.tokenizer.pad_token_id
    longest = max(map(len, sources))
    ids = torch.tensor([[*source, *[pad] * (longest - len(source))] for source in sources])
    mask = torch.tensor([[1] * len(source) + [0] * (longest - len(source)) for source in sources])
    device = next(model.parameters()).device
    output: torch.Tensor = model.generate(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        generation_config=_generation_config(loaded, decode),
        logits_processor=LogitsProcessorList(),
        stopping_criteria=StoppingCriteriaList([stop]),
    )
    return output[:, 1:]


def _generation(loaded: LoadedModel, row: list[int], decode: DecodeConfig, seconds: float) -> Generation:
    eos, pad = loaded.tokenizer.eos_token_id, loaded.tokenizer.pad_token_id
    ended = eos in row
    ids = [i for i in (row[: row.index(eos)] if ended else row) if i != pad]
    return Generation(
        text=_decoded(loaded.tokenizer, ids),
        new_tokens=len(ids),
        seconds=seconds,
        finished=True,
        hit_length_limit=not ended and len(row) >= decode.max_new_tokens,
    )
