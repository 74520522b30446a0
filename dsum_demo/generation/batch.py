"""Writes many summaries with one loaded model, together with others of similar length: the texts of one at a time.

Knows one loaded model and tokenized prompts; nothing of dialogues, families or pages.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import LogitsProcessorList, StoppingCriteriaList
from transformers.models.t5.modeling_t5 import T5Stack

from dsum_demo.errors import DsumError, GenerationError, InputError, Stopped
from dsum_demo.generation.batch_state import NOT_BEGUN, BatchState, Choose
from dsum_demo.generation.stopping import StopOnRequest
from dsum_demo.generation.streaming import (
    POLL_SECONDS,
    Generation,
    decode_tokens,
    forbid_repeats,
    generation_config,
    no_repeats,
)
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.store import LoadedModel
from dsum_demo.models.t5_fast_path import read_texts
from dsum_demo.utils.formatting import first_line

BATCH_ROWS = 96
BATCH_TOKENS = 16_384  # of the prompts, padding included
# Texts that are finished leave the batch, and others join, once they are this share of it: that costs about two steps.
LEAVING_SHARE = 1 / 6


def generate_many(
    loaded: LoadedModel,
    sources: Sequence[Sequence[int]],
    decode: DecodingConfig,
    should_stop: Callable[[], bool] = lambda: False,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[dict[int, Generation]]:
    """Yield summaries of tokenized prompts by their places in `sources`, some at a time, as they are finished.

    In float32 they are what `generation.generate` gives: padding is masked, and moves a logit by rounding alone; in
    bfloat16 a near tie may fall otherwise. seconds is a text's share of the time that it was under way with others.
    Raises Stopped where a stop came before the end; InputError for an empty prompt and for sampling, which draws by
    text; GenerationError, naming the model, where the model fails.
    """
    if decode.do_sample:
        raise InputError("Sampling is not offered for many dialogues at once; turn it off.")
    if not all(sources):
        raise InputError("There is nothing to summarize: a prompt has no tokens.")
    stop = StopOnRequest(should_stop)
    # Rows join at different steps, which is right only for relative positions. Adapters of PEFT's prompt methods,
    # which generate one call at a time, have to see the whole call.
    continuous = decode.num_beams == 1 and loaded.turn is None and _has_relative_positions(loaded.model)
    write = _greedy if continuous else _in_batches
    try:
        for written in write(loaded, sources, decode, stop, batch_rows):
            yield {place: _generation(loaded, row, decode, seconds) for place, (row, seconds) in written.items()}
    except DsumError:
        raise
    except Exception as error:
        raise GenerationError(f"{loaded.spec.name} failed while it wrote: {first_line(error)}") from error


def batches(
    lengths: Sequence[int], rows: int = BATCH_ROWS, tokens: int = BATCH_TOKENS, alike: bool = False
) -> list[list[int]]:
    """Places in `lengths`, sorted by length and cut so that no batch has more rows or, padded, more tokens; a single
    text may be longer. alike: all texts of a batch have one length.
    """
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        full = not found or len(found[-1]) >= rows or (len(found[-1]) + 1) * lengths[place] > tokens
        if full or (alike and lengths[found[-1][0]] != lengths[place]):
            found.append([])
        found[-1].append(place)
    return found


def _has_relative_positions(model: Any) -> bool:
    """Whether the decoder depends on distances between tokens only, as T5's does and BART's or Pegasus' does not."""
    return isinstance(model.get_decoder(), T5Stack)


@contextmanager
def _turn(loaded: LoadedModel, stop: StopOnRequest) -> Iterator[None]:
    """Wait for the model where it writes one call at a time. Raises Stopped where a stop comes first."""
    while loaded.turn is not None and not loaded.turn.acquire(timeout=POLL_SECONDS):
        if stop.should_stop():
            raise Stopped(f"Stopped while waiting for {loaded.spec.name}.")
    try:
        yield
    finally:
        if loaded.turn is not None:
            loaded.turn.release()


# By places, token ids without the decoder's start token, and seconds.
Written = Iterator[dict[int, tuple[list[int], float]]]


def _in_batches(
    loaded: LoadedModel, sources: Sequence[Sequence[int]], decode: DecodingConfig, stop: StopOnRequest, batch_rows: int
) -> Written:
    """transformers' own generate, a batch at a time."""
    # PEFT puts the vectors of a prompt method before a row's padding, which would come between them and the text.
    alike = loaded.turn is not None and loaded.architecture.padding_side == "left"
    for places in batches([len(source) for source in sources], batch_rows, alike=alike):
        with _turn(loaded, stop), torch.inference_mode():
            started = time.perf_counter()
            ids, mask = _padded(loaded, [sources[place] for place in places])
            output = loaded.model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=generation_config(loaded, decode),
                logits_processor=LogitsProcessorList(no_repeats(loaded.architecture, decode, ids.shape[1])),
                stopping_criteria=StoppingCriteriaList([stop]),
            )
            seconds = (time.perf_counter() - started) / len(places)
        if stop.stopped:
            raise Stopped(f"{loaded.spec.name} was stopped while it wrote.")
        rows = loaded.architecture.generated(output, ids.shape[1]).tolist()
        yield {place: (row, seconds) for place, row in zip(places, rows, strict=True)}


@torch.inference_mode()
def _greedy(
    loaded: LoadedModel, sources: Sequence[Sequence[int]], decode: DecodingConfig, stop: StopOnRequest, batch_rows: int
) -> Written:
    """What `_in_batches` gives for one beam. There every text is carried along until the longest of its batch is
    finished, two thirds of the work for summaries; here the finished ones leave, and others take their places.
    """

    def choose(tokens: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        if decode.no_repeat_ngram_size:
            started = (tokens != NOT_BEGUN).cumsum(dim=1)  # the start token is not generated
            forbid_repeats(tokens.masked_fill(started <= 1, NOT_BEGUN), logits, decode.no_repeat_ngram_size)
        return logits.argmax(dim=-1)

    ends = torch.tensor(loaded.end_token_ids, device=next(loaded.model.parameters()).device)
    # What is left in the end is written in small company: the short ones are done soonest.
    waiting = deque(sorted(range(len(sources)), key=lambda place: -len(sources[place])))
    rows: BatchState | None = None
    while waiting or rows:
        if stop.should_stop():
            raise Stopped(f"{loaded.spec.name} was stopped while it wrote.")
        if rows is None:
            rows = _begun(loaded, sources, _joining(sources, [], waiting, batch_rows), choose)
        else:
            started = time.perf_counter()
            rows.step(loaded.model, choose)
            rows.spend(time.perf_counter() - started)
        ended = torch.isin(rows.tokens, ends).any(dim=1) | (rows.lengths() >= decode.max_new_tokens)
        if ended.sum() < LEAVING_SHARE * len(ended):
            continue
        yield {rows.names[row]: (rows.written(row), rows.seconds[row]) for row in ended.nonzero()[:, 0].tolist()}
        staying = (~ended).nonzero()[:, 0].tolist()
        if not staying:
            rows = None
            continue
        joining = _joining(sources, [rows.names[row] for row in staying], waiting, batch_rows)
        rows.change(staying, _begun(loaded, sources, joining, choose) if joining else None)


def _joining(
    sources: Sequence[Sequence[int]], staying: Sequence[int], waiting: deque[int], batch_rows: int
) -> list[int]:
    """Who of those that wait, the longest first, comes beside those that stay; they wait no longer."""
    longest = max((len(sources[place]) for place in (*staying, *islice(waiting, 1))), default=1)
    room = max(1, min(batch_rows, BATCH_TOKENS // longest)) - len(staying)
    return [waiting.popleft() for _ in range(min(room, len(waiting)))]


def _begun(loaded: LoadedModel, sources: Sequence[Sequence[int]], places: list[int], choose: Choose) -> BatchState:
    """The texts at these places, read, with their first token."""
    started = time.perf_counter()
    texts = [sources[place] for place in places]
    ids, mask = _padded(loaded, texts)
    rows = BatchState.begin(loaded.model, places, _encode(loaded.model, texts, ids, mask), mask, choose)
    rows.spend(time.perf_counter() - started)
    return rows


def _encode(model: Any, sources: Sequence[Sequence[int]], ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(texts, tokens, width); anything where there is no token."""
    encoder = model.get_encoder()
    if type(encoder) is T5Stack and ids.device.type == "cpu":
        return pad_sequence(read_texts(encoder, sources), batch_first=True)
    states: torch.Tensor = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    return states


def _padded(loaded: LoadedModel, sources: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """(texts, tokens) and their mask, on the model's device, padded on the architecture's side."""
    device, side = next(loaded.model.parameters()).device, loaded.architecture.padding_side
    texts = [torch.tensor(source, device=device) for source in sources]
    pad = loaded.model.generation_config.pad_token_id
    ids = pad_sequence(texts, batch_first=True, padding_value=pad, padding_side=side)
    return ids, pad_sequence([torch.ones_like(text) for text in texts], batch_first=True, padding_side=side)


def _generation(loaded: LoadedModel, row: list[int], decode: DecodingConfig, seconds: float) -> Generation:
    row = row[: decode.max_new_tokens]  # a row goes on until it leaves
    end = next((place for place, token in enumerate(row) if token in loaded.end_token_ids), None)
    ids = [i for i in row[:end] if i != loaded.model.generation_config.pad_token_id]
    return Generation(
        text=decode_tokens(loaded.tokenizer, ids),
        new_tokens=len(ids),
        seconds=seconds,
        finished=True,
        hit_length_limit=end is None and len(row) >= decode.max_new_tokens,
    )
