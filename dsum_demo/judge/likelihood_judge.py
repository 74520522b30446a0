"""The likelihood judge: how much more likely a language model finds a summary with its dialogue than without it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from dsum_demo.errors import GenerationError, InputError, Stopped
from dsum_demo.judge.corruptions import exchange_names, speaker_pair
from dsum_demo.judge.likelihood import log_probabilities
from dsum_demo.models.architectures import DECODER_ONLY
from dsum_demo.models.prompts import Prompt
from dsum_demo.models.store import LoadedModel
from dsum_demo.utils.formatting import first_line

METHOD = (
    "faithfulness: log p(summary | dialogue) - log p(summary), speakers: log p(summary | dialogue) - log p(summary | "
    "dialogue with its speakers exchanged), coverage: log p(dialogue | summary) - log p(dialogue)"
)
REVERSE = "{dialogue}\n\nWrite the conversation that the text above summarizes."
MAX_SUMMARY_TOKENS = 256
MAX_DIALOGUE_TOKENS = 512  # of the dialogue's beginning that coverage reads
BATCH_TOKENS = 768  # of continuations; their logits take most of the memory


@dataclass(frozen=True)
class Judgement:
    """Bits per token that the condition adds, more is better. None: not requested, a text without tokens, or for
    `speakers` a text that mentions no speaker.

    likelihood: log p(summary | dialogue). seconds: the summary's share of the time.
    """

    faithfulness: float | None
    speakers: float | None
    coverage: float | None
    likelihood: float | None
    seconds: float

    @property
    def choice(self) -> float | None:
        """What candidates are ranked by: likelihood + speakers, which together find most errors in the test."""
        return None if self.likelihood is None else self.likelihood + (self.speakers or 0.0)


class LikelihoodJudge:
    """Judges summaries with a decoder-only model (FFLM, arXiv 2310.11648; likelihood gain, Levin & Kipnis 2024).

    name: of the judge, for messages. prompt, max_source_tokens: of the model's family. Raises InputError for another
    architecture.
    """

    def __init__(self, name: str, loaded: LoadedModel, prompt: Prompt, max_source_tokens: int):
        if loaded.architecture is not DECODER_ONLY:
            raise InputError(f"{name} is {loaded.architecture.name}; a judge must be decoder-only.")
        self.name, self.loaded, self.prompt, self.max_source_tokens = name, loaded, prompt, max_source_tokens
        self._reverse = replace(prompt, template=REVERSE)
        self._end = prompt.end_token_id(loaded.tokenizer)

    def judge(
        self,
        items: Sequence[tuple[str, Sequence[str]]],
        *,
        coverage: bool = True,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[int, list[Judgement]]]:
        """Yield (place, judgements) of each (dialogue, summaries), by the dialogues' lengths.

        The dialogue is computed once for its summaries. Raises Stopped between passes of the model, and
        GenerationError, naming the model, if the model fails.
        """
        try:
            for place in sorted(range(len(items)), key=lambda i: len(items[i][0])):
                yield place, self._judge(*items[place], coverage, should_stop)
        except Stopped:
            raise
        except Exception as error:
            raise GenerationError(f"The judge {self.name} failed: {first_line(error)}") from error

    def _judge(
        self, dialogue: str, summaries: Sequence[str], coverage: bool, should_stop: Callable[[], bool]
    ) -> list[Judgement]:
        started = time.perf_counter()
        # The end token is not judged: it measures whether the summary is complete.
        targets = [self._target(text, MAX_SUMMARY_TOKENS) for text in summaries]
        with torch.inference_mode():
            given, exchanged = self._given(dialogue, summaries, targets, should_stop)
            alone = self._sums(self._empty(self.prompt), targets, should_stop)
            covered = self._coverage(dialogue, summaries, should_stop) if coverage else [None] * len(summaries)
        seconds = (time.perf_counter() - started) / max(1, len(summaries))
        return [
            Judgement(
                _bits(given[i] - alone[i], target),
                _bits(given[i] - other, target) if (other := exchanged[i]) is not None else None,
                covered[i],
                _bits(given[i], target),
                seconds,
            )
            for i, target in enumerate(targets)
        ]

    def _given(
        self, dialogue: str, summaries: Sequence[str], targets: Sequence[list[int]], should_stop: Callable[[], bool]
    ) -> tuple[list[float], list[float | None]]:
        """The log-probability of each summary with the dialogue, and with two of its speakers exchanged: those whom the
        summary mentions, or one of them and another; None if it mentions none.
        """
        given = self._sums(self._prompt(dialogue), targets, should_stop)
        exchanged: list[float | None] = [None] * len(targets)
        pairs = [speaker_pair(dialogue, text) for text in summaries]
        for pair in dict.fromkeys(filter(None, pairs)):
            one, other = pair
            own = [place for place, found in enumerate(pairs) if found == pair]
            prompt = self._prompt(exchange_names(dialogue, {one: other, other: one}))
            values = self._sums(prompt, [targets[place] for place in own], should_stop)
            for place, value in zip(own, values, strict=True):
                exchanged[place] = value
        return given, exchanged

    def _prompt(self, dialogue: str) -> tuple[int, ...]:
        room = self.max_source_tokens - MAX_SUMMARY_TOKENS
        return self.loaded.fit(self.prompt, dialogue, room, MAX_SUMMARY_TOKENS).source_ids

    def _coverage(self, dialogue: str, summaries: Sequence[str], should_stop: Callable[[], bool]) -> list[float | None]:
        target = self._target(dialogue, MAX_DIALOGUE_TOKENS)
        alone = self._sums(self._empty(self._reverse), [target], should_stop)[0]
        prompts = [self._reverse.encode(self.loaded.tokenizer, text)[: self.max_source_tokens] for text in summaries]
        return [
            _bits(self._sums(prompt, [target], should_stop)[0] - alone, target) if text.strip() else None
            for prompt, text in zip(prompts, summaries, strict=True)
        ]

    def _target(self, text: str, limit: int) -> list[int]:
        return self.prompt.encode_target(self.loaded.tokenizer, text.strip(), limit, self._end)[:-1]

    def _empty(self, prompt: Prompt) -> list[int]:
        return prompt.encode(self.loaded.tokenizer, "")

    def _sums(
        self, prompt: Sequence[int], targets: Sequence[list[int]], should_stop: Callable[[], bool]
    ) -> list[float]:
        """The log-probability of each target, 0 for an empty one; the prompt is computed once per batch of targets."""
        found = dict.fromkeys(range(len(targets)), 0.0)
        for batch in _batches(targets):
            if should_stop():
                raise Stopped("The judge was stopped.")
            rows = log_probabilities(self.loaded.model, [prompt], [[targets[place] for place in batch]])[0]
            found.update(zip(batch, (float(row.double().sum()) for row in rows), strict=True))
        return list(found.values())


def _batches(targets: Sequence[Sequence[Any]]) -> Iterator[list[int]]:
    """Places of targets with tokens, of like length."""
    batch: list[int] = []
    for place in sorted(range(len(targets)), key=lambda i: len(targets[i])):
        if batch and (len(batch) + 1) * len(targets[place]) > BATCH_TOKENS:
            yield batch
            batch = []
        if targets[place]:
            batch.append(place)
    if batch:
        yield batch


def _bits(gain: float, target: Sequence[int]) -> float | None:
    return gain / len(target) / math.log(2) if target else None
