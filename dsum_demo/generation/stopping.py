"""The stopping criterion that ends generation when the caller asks for a stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import StoppingCriteria


class StopOnRequest(StoppingCriteria):
    """Ends generation after the current token once `should_stop` is true; `stopped` reports whether it was."""

    def __init__(self, should_stop: Callable[[], bool]):
        self.should_stop = should_stop
        self.stopped = False

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        self.stopped = self.stopped or self.should_stop()
        return torch.full((input_ids.shape[0],), self.stopped, dtype=torch.bool, device=input_ids.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> StopOnRequest:
        # PEFT's prompt tuning copies the arguments of generate(), and `stopped` is read from this one.
        return self
