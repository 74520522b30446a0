"""Streaming generation: one summary from a loaded model, timed, stoppable and deterministic for a seed."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer

from dsum_demo.errors import DsumError, GenerationError, InputError
from dsum_demo.generation.stopping import StopOnRequest
from dsum_demo.metrics.words import words
from dsum_demo.models.architectures import Architecture
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.store import LoadedModel
from dsum_demo.utils.formatting import first_line

POLL_SECONDS = 0.05
HALF_A_CHARACTER = "\ufffd"  # the decoded text of an incomplete UTF-8 sequence


@dataclass(frozen=True)
class Generation:
    """A complete or partial summary.

    new_tokens: without start, padding and end. seconds: from the start to the last token so far, including the prompt
    but not the consumer's time. first_token_seconds: None for beam search, which does not stream. finished: whether it
    ended with the end token or at the length limit; False for a partial or stopped summary.
    """

    text: str
    new_tokens: int
    seconds: float
    first_token_seconds: float | None = None
    finished: bool = False
    stopped: bool = False
    hit_length_limit: bool = False

    @property
    def tokens_per_second(self) -> float:
        """New tokens divided by `seconds`."""
        return self.new_tokens / self.seconds if self.seconds > 0 else 0.0

    @property
    def words(self) -> int:
        return len(words(self.text))


def generate(
    loaded: LoadedModel,
    source_ids: Sequence[int],
    decode: DecodingConfig,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generation:
    """The whole summary: the last that `stream` yields."""
    *_, last = stream(loaded, source_ids, decode, should_stop)
    return last


def stream(
    loaded: LoadedModel,
    source_ids: Sequence[int],
    decode: DecodingConfig,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Generation]:
    """Yield the partial summary after new tokens, then the complete one. Beam search yields only the complete one.

    source_ids: the tokenized prompt, as `Prompt.fit` returns it. A consumer that is slower than the model gets several
    tokens at once. Closing the iterator stops generation. Raises GenerationError, naming the model, if the model fails,
    and InputError for an empty prompt.
    """
    if not source_ids:
        raise InputError("There is nothing to summarize: the prompt has no tokens.")
    work = _Work(loaded, tuple(source_ids), decode, should_stop)
    # In its own thread, because transformers calls the streamer while a generator must be called. The thread ends after
    # each text: if more threads than cores have used OpenMP, all of them sleep between operations, a third slower.
    worker = threading.Thread(target=work.run, name=f"generate {loaded.spec.name}", daemon=True)
    worker.start()
    try:
        while (event := work.events.get()) is not None:
            while not work.events.empty():
                newer = work.events.get()
                if newer is None:
                    work.events.put(None)
                    break
                event = newer
            if decode.streams:
                yield work.generation(event)
    finally:
        work.abandoned.set()
        worker.join()
    if work.error is not None:
        if isinstance(work.error, DsumError):
            raise work.error
        raise GenerationError(f"{loaded.spec.name} failed during generation: {first_line(work.error)}") from work.error
    yield work.final()


@dataclass
class _Tick:
    """Tokens so far, and seconds since the start."""

    tokens: int
    seconds: float


@dataclass(eq=False)
class _Work(BaseStreamer):
    """One call of `generate` in its own thread, with the events that it sends to the consumer."""

    loaded: LoadedModel
    source_ids: tuple[int, ...]
    decode: DecodingConfig
    should_stop: Callable[[], bool]
    events: queue.SimpleQueue[_Tick | None] = field(default_factory=queue.SimpleQueue)
    abandoned: threading.Event = field(default_factory=threading.Event)
    ids: list[int] = field(default_factory=list)
    started: float = 0.0
    seconds: float = 0.0
    first_token_seconds: float | None = None
    error: BaseException | None = None
    _prompt_seen: bool = False

    def __post_init__(self) -> None:
        self.stop = StopOnRequest(self._asked_to_stop)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Work:
        # PEFT's prompt tuning copies the arguments of generate(), and the events are read from this one.
        return self

    def run(self) -> None:
        try:
            with torch.inference_mode(), self._turn() as mine:
                if mine and not self._asked_to_stop():
                    self._generate()
                else:
                    self.stop.stopped = True
        except BaseException as error:
            self.error = error
        finally:
            self.events.put(None)

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Wait for the lock of a model that generates one text at a time; False if a stop comes first."""
        turn = self.loaded.turn
        if turn is None:
            yield True
            return
        mine = False
        while not mine and not self._asked_to_stop():
            mine = turn.acquire(timeout=POLL_SECONDS)
        try:
            yield mine
        finally:
            if mine:
                turn.release()

    def _asked_to_stop(self) -> bool:
        return self.abandoned.is_set() or self.should_stop()

    def _generate(self) -> None:
        model = self.loaded.model
        ids = torch.tensor([self.source_ids], device=next(model.parameters()).device)
        processors = LogitsProcessorList(no_repeats(self.loaded.architecture, self.decode, len(self.source_ids)))
        if self.decode.do_sample:
            processors.append(GumbelNoise(self.decode.temperature, self.decode.seed))
        self.started = time.perf_counter()
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=generation_config(self.loaded, self.decode),
            logits_processor=processors,
            stopping_criteria=StoppingCriteriaList([self.stop]),
            streamer=self if self.decode.streams else None,
        )
        self.seconds = time.perf_counter() - self.started
        if not self.decode.streams:
            self.ids = self.loaded.architecture.generated(output, len(self.source_ids))[0].tolist()

    def put(self, value: torch.Tensor) -> None:
        """Called by transformers with the prompt or the decoder's start token first, then with each new token."""
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        self.ids.append(int(value.reshape(-1)[0]))
        self.seconds = time.perf_counter() - self.started
        if self.first_token_seconds is None:
            self.first_token_seconds = self.seconds
        self.events.put(_Tick(len(self.ids), self.seconds))

    def end(self) -> None:
        """Called by transformers after the last token; `run` sends the end event."""

    def generation(self, tick: _Tick) -> Generation:
        ids = self._without_specials(self.ids[: tick.tokens])
        return Generation(self._text(ids), len(ids), tick.seconds, self.first_token_seconds)

    def final(self) -> Generation:
        ids = self._without_specials(self.ids)
        ended = not set(self.ids).isdisjoint(self.loaded.end_token_ids)
        at_limit = not ended and len(self.ids) >= self.decode.max_new_tokens
        stopped = self.stop.stopped and not ended and not at_limit
        return Generation(
            text=self._text(ids),
            new_tokens=len(ids),
            seconds=self.seconds,
            first_token_seconds=self.first_token_seconds,
            finished=not stopped,
            stopped=stopped,
            hit_length_limit=at_limit,
        )

    def _without_specials(self, ids: Sequence[int]) -> list[int]:
        specials = {self.loaded.model.generation_config.pad_token_id, *self.loaded.end_token_ids}
        return [i for i in ids if i not in specials]

    def _text(self, ids: Sequence[int]) -> str:
        return decode_tokens(self.loaded.tokenizer, ids)


def decode_tokens(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    # All ids together: a token's text can depend on its neighbors. An incomplete last character is held back.
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text.rstrip(HALF_A_CHARACTER).strip()


def generation_config(loaded: LoadedModel, decode: DecodingConfig) -> GenerationConfig:
    own = loaded.model.generation_config
    return GenerationConfig(
        max_new_tokens=decode.max_new_tokens,
        num_beams=decode.num_beams,
        do_sample=False,  # sampling is done by `GumbelNoise`
        # no_repeat_ngram_size is done by `NoRepeats`.
        length_penalty=decode.length_penalty,
        pad_token_id=own.pad_token_id,
        eos_token_id=own.eos_token_id,
        decoder_start_token_id=own.decoder_start_token_id,
    )


def no_repeats(architecture: Architecture, decode: DecodingConfig, prompt_length: int) -> list[LogitsProcessor]:
    """The logits processors for `decode.no_repeat_ngram_size`: one, or none if it is 0."""
    size = decode.no_repeat_ngram_size
    return [NoRepeats(architecture, size, prompt_length)] if size else []


class NoRepeats(LogitsProcessor):
    """Bans n-grams that the summary already contains. transformers' own processor also bans those of a decoder-only
    model's prompt, so a name of three tokens could not be copied.
    """

    def __init__(self, architecture: Architecture, size: int, prompt_length: int):
        self.architecture, self.size, self.prompt_length = architecture, size, prompt_length

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        scores = scores.clone()  # type: ignore[assignment]
        forbid_repeats(self.architecture.generated(input_ids, self.prompt_length), scores, self.size)
        return scores


def forbid_repeats(tokens: torch.Tensor, logits: torch.Tensor, size: int) -> None:
    """Set the logits of every token that would repeat an n-gram of `tokens`, (rows, steps), to -inf, in place.

    Negative ids are not tokens: they fill the steps before a row joined the batch.
    """
    if tokens.shape[1] < size:
        return
    ngrams = tokens.unfold(1, size, 1)
    begun = tokens[:, None, tokens.shape[1] - size + 1 :]
    repeated = (ngrams[:, :, :-1] == begun).all(dim=2) & (ngrams[:, :, -1] >= 0)
    rows, places = repeated.nonzero(as_tuple=True)
    logits[rows, ngrams[rows, places, -1]] = -torch.inf


class GumbelNoise(LogitsProcessor):
    """Turns greedy decoding into exact sampling at a temperature, with its own random generator.

    argmax(logits / temperature + G), with G drawn from the standard Gumbel distribution, is a draw from
    softmax(logits / temperature) (Gumbel 1954; Maddison, Tarlow & Minka 2014, arXiv:1411.0030). It does not use the
    global generator, so other threads do not affect it. It samples from the whole vocabulary, without top-k or top-p.
    """

    def __init__(self, temperature: float, seed: int):
        self.temperature = temperature
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        # -log of an exponential variable is a Gumbel variable. Drawn on the CPU: the same draw on every device.
        noise = -torch.empty(scores.shape, dtype=torch.float32).exponential_(generator=self.generator).log()
        return scores.float() / self.temperature + noise.to(scores.device)  # type: ignore[return-value]
