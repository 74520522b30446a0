"""Systems times examples: writes, scores and checks every summary, in batches, as far as it is let.

Knows loading, batched generation, the cache and the metrics; nothing of how a result is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dsum_demo.data import Example
from dsum_demo.evaluation_records import BrokenRow, Evaluation
from dsum_demo.loading import ModelStore
from dsum_demo.output_cache import OutputCache
from dsum_demo.prompts import DecodeConfig
from dsum_demo.registry import ModelSpec


@dataclass(frozen=True)
class Progress:
    """done of total: summaries (examples times systems). seconds_left: None until it can be told. note: what is being
    done, in a sentence. evaluation: everything so far; examples come in an order drawn by the seed, so that a part is
    a fair sample of the whole.
    """

    done: int
    total: int
    seconds_left: float | None
    note: str
    evaluation: Evaluation


def evaluate(
    store: ModelStore,
    specs: Sequence[ModelSpec],
    examples: Sequence[Example],
    *,
    data: str = "",
    decode: DecodeConfig | None = None,
    policy: str = "mean",
    reading: str = "rows",
    seed: int = 0,
    cache: OutputCache | None = None,
    skipped: Sequence[BrokenRow] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Yield as it grows; the last one is complete, or as far as it was when `should_stop` said so."""
    raise NotImplementedError
