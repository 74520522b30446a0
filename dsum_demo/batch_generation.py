"""Writes many summaries with one loaded model, in batches of similar length: the texts that one at a time would give.

Knows one loaded model and tokenized prompts; nothing of dialogues, families or pages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.t5.modeling_t5 import T5Stack

from dsum_demo.errors import GenerationError, InputError, Stopped
from dsum_demo.generation import POLL_SECONDS, Generation, _decoded, _generation_config, _sentence
from dsum_demo.loading import LoadedModel
from dsum_demo.prompts import DecodeConfig
from dsum_demo.t5_short_ways import read_texts

BATCH_ROWS = 64
BATCH_TOKENS = 12_288  # of the prompts, padding included
# Texts that are finished leave the batch once they are this share of it: moving the others costs about a step.
LEAVING_SHARE = 1 / 8


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
    # Adapters of PEFT's prompt methods, which write one call at a time, have to see the whole call.
    write = _greedy if decode.num_beams == 1 and loaded.turn is None else _generate
    with _turn(loaded, stop), torch.inference_mode():
        started = time.perf_counter()
        try:
            written = write(loaded, sources, decode, stop)
        except Exception as error:
            raise GenerationError(f"{loaded.spec.name} failed while it wrote: {_sentence(error)}") from error
        seconds = (time.perf_counter() - started) / len(sources)
    if stop.asked:
        raise Stopped(f"{loaded.spec.name} was stopped while it wrote.")
    return [_generation(loaded, row, decode, seconds) for row in written]


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


def _generate(
    loaded: LoadedModel, sources: Sequence[Sequence[int]], decode: DecodeConfig, stop: _Stop
) -> list[list[int]]:
    """transformers' own generate; token ids without the decoder's start token."""
    ids, mask = _padded(loaded, sources)
    output: torch.Tensor = loaded.model.generate(
        input_ids=ids,
        attention_mask=mask,
        generation_config=_generation_config(loaded, decode),
        logits_processor=LogitsProcessorList(),
        stopping_criteria=StoppingCriteriaList([stop]),
    )
    rows: list[list[int]] = output[:, 1:].tolist()
    return rows


def _greedy(
    loaded: LoadedModel, sources: Sequence[Sequence[int]], decode: DecodeConfig, stop: _Stop
) -> list[list[int]]:
    """What `_generate` gives for one beam. There every text is carried along until the longest one is finished, two
    thirds of the work for summaries; here the finished ones leave.
    """
    model, eos = loaded.model, loaded.tokenizer.eos_token_id
    ids, mask = _padded(loaded, sources)
    states = _encode(model, sources, ids, mask)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    start = loaded.model.generation_config.decoder_start_token_id
    so_far = torch.full((len(sources), 1), start, dtype=torch.long, device=ids.device)
    forbid = NoRepeatNGramLogitsProcessor(decode.no_repeat_ngram_size) if decode.no_repeat_ngram_size else None
    written: list[list[int]] = [[] for _ in sources]
    places = list(range(len(sources)))  # which text each row of the batch is
    for _ in range(decode.max_new_tokens):
        logits = (
            model(
                encoder_outputs=BaseModelOutput(last_hidden_state=states),
                attention_mask=mask,
                decoder_input_ids=so_far[:, -1:],
                past_key_values=cache,
                use_cache=True,
            )
            .logits[:, -1]
            .float()
        )
        chosen = (forbid(so_far, logits) if forbid else logits).argmax(dim=-1)
        for place, token in zip(places, chosen.tolist(), strict=True):
            if not written[place] or written[place][-1] != eos:
                written[place].append(token)
        if stop(so_far, None).any():
            break
        going = [row for row, place in enumerate(places) if written[place][-1] != eos]
        if not going:
            break
        so_far = torch.cat([so_far, chosen[:, None]], dim=1)
        if len(places) - len(going) >= LEAVING_SHARE * len(places):
            kept = torch.tensor(going, device=ids.device)
            cache.batch_select_indices(kept)
            states, mask, so_far = states[kept], mask[kept], so_far[kept]
            places = [places[row] for row in going]
    return written


def _encode(model: Any, sources: Sequence[Sequence[int]], ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(texts, tokens, width); anything where there is no token."""
    encoder = model.get_encoder()
    if type(encoder) is T5Stack and ids.device.type == "cpu":
        return pad_sequence(read_texts(encoder, sources), batch_first=True)
    states: torch.Tensor = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    return states


def _padded(loaded: LoadedModel, sources: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """(texts, tokens) and their mask, on the model's device."""
    pad, longest = loaded.tokenizer.pad_token_id, max(map(len, sources))
    device = next(loaded.model.parameters()).device
    ids = torch.tensor([[*source, *[pad] * (longest - len(source))] for source in sources], device=device)
    mask = [[1] * len(source) + [0] * (longest - len(source)) for source in sources]
    return ids, torch.tensor(mask, device=device)


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
