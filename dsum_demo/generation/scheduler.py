"""The scheduler: requests that wait for the same model are generated together in one batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dsum_demo.generation.batch import BATCH_TOKENS
from dsum_demo.generation.streaming import Generation, TextRequest, write
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.store import LoadedModel

WAIT_POLL_SECONDS = 0.1
BATCH_REQUESTS = 32
# The tokens of a batch's prompts, padding included, by those without: a long prompt would make short ones as slow.
MAX_PADDING = 1.25


@dataclass(frozen=True)
class Waiting:
    """position: 1 for the request that is generated next."""

    position: int

    @property
    def sentence(self) -> str:
        return f"Waiting for the model: position {self.position} in the queue."


class Scheduler:
    """Generates one batch per family at a time: the oldest request, with those behind it for the same model.

    A batch costs little more than one text until the processor, rather than memory, is the limit. A request that does
    not have to wait is generated at once and alone. Requests with beam search, sampling or a model that generates one
    text at a time are generated alone. Families do not wait for each other, so that a large one does not hold up the
    others. batch_requests: the most requests in a batch; 1 generates them one by one.
    """

    def __init__(self, batch_requests: int = BATCH_REQUESTS):
        self.batch_requests = batch_requests
        self._changed = threading.Condition()
        self._waiting: dict[str, list[TextRequest]] = {}  # by family, while its thread runs

    def stream(
        self,
        loaded: LoadedModel,
        source_ids: Sequence[int],
        decode: DecodingConfig,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Generation | Waiting]:
        """Yield what `streaming.stream` yields; before, while the request waits, its position at short intervals.

        In float32 the texts are the same; in bfloat16 the rounding of a batch may decide a near tie differently.
        """
        text = TextRequest(loaded, tuple(source_ids), decode, should_stop)
        self._add(text)
        try:
            while position := self._position(text):
                yield Waiting(position)
                with self._changed:
                    self._changed.wait(WAIT_POLL_SECONDS)
                if text.asked_to_stop():
                    self._withdraw(text)
            yield from text.generations()
        finally:
            text.abandoned.set()
            self._withdraw(text)
            text.ended.wait()

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def _add(self, text: TextRequest) -> None:
        spec = text.loaded.spec
        with self._changed:
            if spec.family in self._waiting:
                self._waiting[spec.family].append(text)
                return
            self._waiting[spec.family] = []
        # Its own thread, which ends when nothing waits, for the reasons in `streaming.stream`.
        name = f"generate {spec.family}"
        threading.Thread(target=self._generate, args=[spec.family, [text]], name=name, daemon=True).start()

    def _generate(self, family: str, texts: Sequence[TextRequest]) -> None:
        while texts:
            write(texts)
            texts = self._next_batch(family)

    def _next_batch(self, family: str) -> Sequence[TextRequest]:
        """Remove the next batch from the queue; an empty one ends the family's thread."""
        with self._changed:
            waiting = self._waiting.pop(family)
            if not waiting:
                return []
            batch = self._batch(waiting)
            self._waiting[family] = [text for text in waiting if text not in batch]
            self._changed.notify_all()
            return batch

    def _batch(self, waiting: Sequence[TextRequest]) -> list[TextRequest]:
        first, *others = waiting
        batch, lengths = [first], [len(first.source_ids)]
        if first.loaded.turn is not None or first.decode.do_sample or first.decode.num_beams > 1:
            return batch
        for text in others:
            longer = [*lengths, len(text.source_ids)]
            padded = len(longer) * max(longer)
            alike = text.loaded.model is first.loaded.model and text.decode == first.decode
            fits = len(batch) < self.batch_requests and padded <= min(BATCH_TOKENS, MAX_PADDING * sum(longer))
            if alike and fits:
                batch.append(text)
                lengths = longer
        return batch

    def _position(self, text: TextRequest) -> int:
        """The position in the queue; 0 if the request does not wait."""
        with self._changed:
            waiting = self._waiting.get(text.loaded.spec.family, [])
            return waiting.index(text) + 1 if text in waiting else 0

    def _withdraw(self, text: TextRequest) -> None:
        """End a request that still waits."""
        with self._changed:
            waiting = self._waiting.get(text.loaded.spec.family, [])
            if text in waiting:
                waiting.remove(text)
                text.stopped = True
                text.end()
                self._changed.notify_all()
