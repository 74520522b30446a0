"""Batched generation: many summaries with one loaded model, the same texts as with one prompt at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteriaList
from transformers.models.t5.modeling_t5 import T5Stack

from dsum_demo.errors import DsumError, GenerationError, InputError, Stopped
from dsum_demo.generation.batch_state import NOT_BEGUN, BatchState, Choose
from dsum_demo.generation.stopping import StopOnRequest
from dsum_demo.generation.streaming import (
    POLL_SECONDS,
    Generation,
    decode_tokens,
    encode,
    forbid_repeats,
    generation_config,
    no_repeats,
    padded,
)
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.store import LoadedModel
from dsum_demo.utils.formatting import first_line

BATCH_ROWS = 96
BATCH_TOKENS = 16_384  # of the prompts, padding included
# Finished rows are replaced once they are this share of the batch; a replacement costs about two steps.
LEAVING_SHARE = 1 / 6


def generate_many(
    loaded: LoadedModel,
    sources: Sequence[Sequence[int]],
    decode: DecodingConfig,
    should_stop: Callable[[], bool] = lambda: False,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[dict[int, Generation]]:
    """Yield finished summaries of tokenized prompts by their index in `sources`, several at a time.

    In float32 they equal those of `generation.generate`: padding is masked and changes logits only by rounding; in
    bfloat16 a near tie may be decided differently. seconds is a text's share of the time of its batches. Raises Stopped
    if the caller stops it before the end; InputError for an empty prompt, and for sampling, which is seeded per text;
    GenerationError, naming the model, if the model fails.
    """
    if decode.do_sample:
        raise InputError("Sampling is not supported in batches; turn it off.")
    if not all(sources):
        raise InputError("There is nothing to summarize: a prompt has no tokens.")
    stop = StopOnRequest(should_stop)
    # Rows join at different steps, which is correct only with relative positions. PEFT's prompt methods change the
    # model during generate() and therefore need transformers' own loop.
    continuous = decode.num_beams == 1 and loaded.turn is None and _has_relative_positions(loaded.model)
    write = _greedy if continuous else _in_batches
    try:
        for written in write(loaded, sources, decode, stop, batch_rows):
            yield {place: row_generation(loaded, row, decode, seconds) for place, (row, seconds) in written.items()}
    except DsumError:
        raise
    except Exception as error:
        raise GenerationError(f"{loaded.spec.name} failed during generation: {first_line(error)}") from error


def batches(
    lengths: Sequence[int], rows: int = BATCH_ROWS, tokens: int = BATCH_TOKENS, alike: bool = False
) -> list[list[int]]:
    """Indices into `lengths`, sorted by length and grouped into batches of at most `rows` rows and `tokens` tokens,
    padding included; a single text may be longer. alike: all texts of a batch have one length.
    """
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        full = not found or len(found[-1]) >= rows or (len(found[-1]) + 1) * lengths[place] > tokens
        if full or (alike and lengths[found[-1][0]] != lengths[place]):
            found.append([])
        found[-1].append(place)
    return found


def _has_relative_positions(model: Any) -> bool:
    """Whether the decoder uses relative positions only: true for T5, false for BART and Pegasus."""
    return isinstance(model.get_decoder(), T5Stack)


@contextmanager
def take_turn(loaded: LoadedModel, stop: StopOnRequest) -> Iterator[None]:
    """Wait for the lock of a model that generates one call at a time. Raises Stopped if a stop comes first."""
    while loaded.turn is not None and not loaded.turn.acquire(timeout=POLL_SECONDS):
        if stop.should_stop():
            raise Stopped(f"Stopped while waiting for {loaded.spec.name}.")
    try:
        yield
    finally:
        if loaded.turn is not None:
            loaded.turn.release()


def generate_rows(
    loaded: LoadedModel,
    ids: torch.Tensor,
    mask: torch.Tensor,
    decode: DecodingConfig,
    processors: Sequence[LogitsProcessor],
    stop: StopOnRequest,
) -> tuple[list[list[int]], float]:
    """The generated token ids of each row of `ids`, by transformers' own generate, and the seconds per row without
    waiting for the model. Raises Stopped.
    """
    with take_turn(loaded, stop), torch.inference_mode():
        started = time.perf_counter()
        output = loaded.model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=generation_config(loaded, decode),
            logits_processor=LogitsProcessorList(processors),
            stopping_criteria=StoppingCriteriaList([stop]),
        )
        seconds = (time.perf_counter() - started) / len(ids)
    if stop.stopped:
        raise Stopped(f"{loaded.spec.name} was stopped during generation.")
    return loaded.architecture.generated(output, ids.shape[1]).tolist(), seconds


# By index, token ids without the decoder's start token, and seconds.
Written = Iterator[dict[int, tuple[list[int], float]]]


def _in_batches(
    loaded: LoadedModel, sources: Sequence[Sequence[int]], decode: DecodingConfig, stop: StopOnRequest, batch_rows: int
) -> Written:
    """transformers' own generate, one batch at a time."""
    # PEFT prepends a prompt method's vectors to the padded row, so that padding would separate them from the text.
    alike = loaded.turn is not None and loaded.architecture.padding_side == "left"
    for places in batches([len(source) for source in sources], batch_rows, alike=alike):
        ids, mask = padded(loaded, [sources[place] for place in places])
        processors = no_repeats(loaded.architecture, decode, ids.shape[1])
        rows, seconds = generate_rows(loaded, ids, mask, decode, processors, stop)
        yield {place: (row, seconds) for place, row in zip(places, rows, strict=True)}


@torch.inference_mode()
def _greedy(
    loaded: LoadedModel, sources: Sequence[Sequence[int]], decode: DecodingConfig, stop: StopOnRequest, batch_rows: int
) -> Written:
    """Like `_in_batches` for one beam, with continuous batching: finished rows are replaced by waiting ones.

    Plain batches compute every row until the longest is finished, which is two thirds of the work for summaries.
    """

    def choose(tokens: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        if decode.no_repeat_ngram_size:
            started = (tokens != NOT_BEGUN).cumsum(dim=1)  # the start token is not generated
            forbid_repeats(tokens.masked_fill(started <= 1, NOT_BEGUN), logits, decode.no_repeat_ngram_size)
        return logits.argmax(dim=-1)

    ends = torch.tensor(loaded.end_token_ids, device=next(loaded.model.parameters()).device)
    # The last rows run in small batches, so the short ones come last.
    waiting = deque(sorted(range(len(sources)), key=lambda place: -len(sources[place])))
    rows: BatchState | None = None
    while waiting or rows:
        if stop.should_stop():
            raise Stopped(f"{loaded.spec.name} was stopped during generation.")
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
    """Remove from `waiting` and return the texts that fit into the batch beside `staying`, the longest first."""
    longest = max((len(sources[place]) for place in (*staying, *islice(waiting, 1))), default=1)
    room = max(1, min(batch_rows, BATCH_TOKENS // longest)) - len(staying)
    return [waiting.popleft() for _ in range(min(room, len(waiting)))]


def _begun(loaded: LoadedModel, sources: Sequence[Sequence[int]], places: list[int], choose: Choose) -> BatchState:
    """The texts at these indices, encoded, with their first token."""
    started = time.perf_counter()
    texts = [sources[place] for place in places]
    ids, mask = padded(loaded, texts)
    rows = BatchState.begin(loaded.model, places, encode(loaded.model, texts, ids, mask), mask, choose)
    rows.spend(time.perf_counter() - started)
    return rows


def row_generation(loaded: LoadedModel, row: list[int], decode: DecodingConfig, seconds: float) -> Generation:
    """The summary of a generated row of token ids, up to its end token."""
    row = row[: decode.max_new_tokens]  # a finished row is computed until it is removed
    end = next((place for place, token in enumerate(row) if token in loaded.end_token_ids), None)
    ids = [i for i in row[:end] if i != loaded.model.generation_config.pad_token_id]
    return Generation(
        text=decode_tokens(loaded.tokenizer, ids),
        new_tokens=len(ids),
        seconds=seconds,
        finished=True,
        hit_length_limit=end is None and len(row) >= decode.max_new_tokens,
    )
