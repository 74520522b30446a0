"""Decoding settings, which all systems of a comparison share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dsum_demo.errors import InputError


@dataclass(frozen=True)
class DecodingConfig:
    """Decoding settings, the same for all systems of a comparison. Raises InputError for values out of range.

    max_new_tokens: 1 to 512. num_beams: 1 (greedy or sampling, streams) to 8. temperature: 0.1 to 2, used in sampling.
    no_repeat_ngram_size: 0 (off) to 10.
    """

    max_new_tokens: int = 96
    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 1.0
    seed: int = 0
    no_repeat_ngram_size: int = 0
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        bounds = {
            "max_new_tokens": (1, 512),
            "num_beams": (1, 8),
            "temperature": (0.1, 2.0),
            "seed": (0, 2**32 - 1),
            "no_repeat_ngram_size": (0, 10),
            "length_penalty": (-2.0, 4.0),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise InputError(f"{name} is {value!r}; give a number from {low} to {high}.")
            if isinstance(low, int):
                # Web forms send 96.0 for 96.
                if value != int(value):
                    raise InputError(f"{name} is {value!r}; give a whole number from {low} to {high}.")
                object.__setattr__(self, name, int(value))
        if self.do_sample and self.num_beams > 1:
            raise InputError(f"Sampling with {self.num_beams} beams is not supported; choose beams or sampling.")

    @property
    def streams(self) -> bool:
        """Whether text can be streamed token by token; beam search has its text only at the end."""
        return self.num_beams == 1

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
