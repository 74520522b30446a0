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
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.t5.modeling_t5 import T5Stack

from dsum_demo.errors import DsumError, GenerationError, InputError
from dsum_demo.metrics.words import words
from dsum_demo.models.architectures import Architecture
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.store import LoadedModel
from dsum_demo.models.t5_fast_path import read_texts
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
    text = TextRequest(loaded, tuple(source_ids), decode, should_stop)
    # In its own thread, because transformers calls the streamer while a generator must be called. The thread ends after
    # each text: if more threads than cores have used OpenMP, all of them sleep between operations, a third slower.
    worker = threading.Thread(target=write, args=[[text]], name=f"generate {loaded.spec.name}", daemon=True)
    worker.start()
    try:
        yield from text.generations()
    finally:
        text.abandoned.set()
        worker.join()


@dataclass
class _Tick:
    """Tokens so far, and seconds since the start."""

    tokens: int
    seconds: float


@dataclass(eq=False)
class TextRequest:
    """A text to generate, and its tokens so far: the thread of the model adds them, and the consumer reads them with
    `generations`. abandoned: set by a consumer that ends before the text. stopped: whether a stop ended it, unless its
    last token is an end token or the last allowed one.
    """

    loaded: LoadedModel
    source_ids: tuple[int, ...]
    decode: DecodingConfig
    should_stop: Callable[[], bool]
    abandoned: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    seconds: float = 0.0
    stopped: bool = False
    _events: queue.SimpleQueue[_Tick | None] = field(default_factory=queue.SimpleQueue)
    _ids: list[int] = field(default_factory=list)
    _first_token_seconds: float | None = None
    _error: BaseException | None = None

    def __post_init__(self) -> None:
        if not self.source_ids:
            raise InputError("There is nothing to summarize: the prompt has no tokens.")

    def asked_to_stop(self) -> bool:
        return self.abandoned.is_set() or self.should_stop()

    def add(self, tokens: Sequence[int], seconds: float) -> None:
        """Add tokens that the model generated `seconds` after the start; none are added after an end token."""
        if self.ended.is_set():
            return
        self._ids += tokens
        self.seconds = seconds
        if self.decode.streams:
            if self._first_token_seconds is None:
                self._first_token_seconds = seconds
            self._events.put(_Tick(len(self._ids), seconds))
        if self._has_end_token():
            self.end()

    def end(self, error: BaseException | None = None) -> None:
        """No more tokens follow; only the first call has an effect."""
        if not self.ended.is_set():
            self._error = error
            self.ended.set()
            self._events.put(None)

    def generations(self) -> Iterator[Generation]:
        """What `stream` yields."""
        while (event := self._events.get()) is not None:
            while not self._events.empty():
                newer = self._events.get()
                if newer is None:
                    self._events.put(None)
                    break
                event = newer
            yield self._generation(event)
        if isinstance(self._error, DsumError):
            raise self._error
        if self._error is not None:
            reason = f"{self.loaded.spec.name} failed during generation: {first_line(self._error)}"
            raise GenerationError(reason) from self._error
        yield self._final()

    def _generation(self, tick: _Tick) -> Generation:
        ids = self._without_specials(self._ids[: tick.tokens])
        return Generation(self._text(ids), len(ids), tick.seconds, self._first_token_seconds)

    def _final(self) -> Generation:
        ids, ended = self._without_specials(self._ids), self._has_end_token()
        at_limit = not ended and len(self._ids) >= self.decode.max_new_tokens
        stopped = self.stopped and not ended and not at_limit
        return Generation(
            text=self._text(ids),
            new_tokens=len(ids),
            seconds=self.seconds,
            first_token_seconds=self._first_token_seconds,
            finished=not stopped,
            stopped=stopped,
            hit_length_limit=at_limit,
        )

    def _has_end_token(self) -> bool:
        return not set(self._ids).isdisjoint(self.loaded.end_token_ids)

    def _without_specials(self, ids: Sequence[int]) -> list[int]:
        specials = {self.loaded.model.generation_config.pad_token_id, *self.loaded.end_token_ids}
        return [i for i in ids if i not in specials]

    def _text(self, ids: Sequence[int]) -> str:
        return decode_tokens(self.loaded.tokenizer, ids)


def write(texts: Sequence[TextRequest]) -> None:
    """Generate texts of one model and one decoding config in one batch; only greedy decoding takes several texts."""
    try:
        with torch.inference_mode(), _turn(texts) as mine:
            if mine:
                _generate(texts)
        for text in texts:
            text.stopped = text.stopped or not mine
            text.end()
    except BaseException as error:
        for text in texts:
            text.end(error=error)


@contextmanager
def _turn(texts: Sequence[TextRequest]) -> Iterator[bool]:
    """Wait for the lock of a model that generates one text at a time; False if all texts are stopped first."""
    turn = texts[0].loaded.turn
    mine = stopped = False
    while not mine and not (stopped := all(text.asked_to_stop() for text in texts)):
        mine = turn is None or turn.acquire(timeout=POLL_SECONDS)
    try:
        yield mine and not stopped
    finally:
        if mine and turn is not None:
            turn.release()


def _generate(texts: Sequence[TextRequest]) -> None:
    loaded, decode = texts[0].loaded, texts[0].decode
    sources = [text.source_ids for text in texts]
    ids, mask = padded(loaded, sources)
    encoded: dict[str, Any] = {}
    if len(texts) > 1 and loaded.model.config.is_encoder_decoder:  # transformers would encode the padding too
        encoded["encoder_outputs"] = BaseModelOutput(last_hidden_state=encode(loaded.model, sources, ids, mask))
    processors = LogitsProcessorList(no_repeats(loaded.architecture, decode, ids.shape[1]))
    if decode.do_sample:
        processors.append(GumbelNoise(decode.temperature, decode.seed))
    tokens = _TokenStreamer(texts)
    output = loaded.model.generate(
        input_ids=ids,
        attention_mask=mask,
        generation_config=generation_config(loaded, decode),
        logits_processor=processors,
        stopping_criteria=StoppingCriteriaList([_StopEachText(texts)]),
        streamer=tokens if decode.streams else None,
        **encoded,
    )
    if not decode.streams:
        tokens.add(loaded.architecture.generated(output, ids.shape[1]))


class _TokenStreamer(BaseStreamer):
    """Adds the new tokens of a batch to its texts."""

    def __init__(self, texts: Sequence[TextRequest]):
        self.texts = texts
        self.started = time.perf_counter()
        self.prompt_seen = False

    def __deepcopy__(self, memo: dict[int, Any]) -> _TokenStreamer:
        # PEFT's prompt tuning copies the arguments of generate().
        return self

    def put(self, value: torch.Tensor) -> None:
        """Called by transformers with the prompts or the decoder's start tokens first, then with each new token."""
        if self.prompt_seen:
            self.add(value.reshape(-1, 1))
        self.prompt_seen = True

    def add(self, tokens: torch.Tensor) -> None:
        """(texts, tokens)"""
        seconds = time.perf_counter() - self.started
        for text, new in zip(self.texts, tokens.tolist(), strict=True):
            text.add(new, seconds)

    def end(self) -> None:
        """Called by transformers after the last token."""


class _StopEachText(StoppingCriteria):
    """Ends each text of a batch after the current token once it is asked to stop; the others continue."""

    def __init__(self, texts: Sequence[TextRequest]):
        self.texts = texts

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        stopped = [text.asked_to_stop() for text in self.texts]
        for text, stop in zip(self.texts, stopped, strict=True):
            if stop and not text.ended.is_set():
                text.stopped = True
                if text.decode.streams:  # the tokens of beams are only known at the end
                    text.end()
        return torch.tensor(stopped, device=input_ids.device).repeat_interleave(len(input_ids) // len(self.texts))

    def __deepcopy__(self, memo: dict[int, Any]) -> _StopEachText:
        return self


def padded(loaded: LoadedModel, sources: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """(texts, tokens) and their mask, on the model's device, padded on the architecture's side."""
    device, side = next(loaded.model.parameters()).device, loaded.architecture.padding_side
    texts = [torch.tensor(source, device=device) for source in sources]
    pad = loaded.model.generation_config.pad_token_id
    ids = pad_sequence(texts, batch_first=True, padding_value=pad, padding_side=side)
    return ids, pad_sequence([torch.ones_like(text) for text in texts], batch_first=True, padding_side=side)


def encode(model: Any, sources: Sequence[Sequence[int]], ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The output of an encoder: (texts, tokens, width); padding positions hold arbitrary values."""
    encoder = model.get_encoder()
    if type(encoder) is T5Stack and ids.device.type == "cpu":
        return pad_sequence(read_texts(encoder, sources), batch_first=True)
    states: torch.Tensor = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    return states


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
