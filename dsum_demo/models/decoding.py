"""Decoding settings, which all systems of a comparison share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dsum_demo.errors import InputError
from dsum_demo.utils.fields import Field

DECODING_FIELDS = (
    Field("max_new_tokens", "whole", 96, "The maximum length of a summary, in tokens.", 1, 512),
    Field("num_beams", "whole", 1, "1 is greedy search or sampling, and streams; more is beam search.", 1, 8),
    Field("do_sample", "flag", False, "Sample from the distribution of the next token."),
    Field("temperature", "number", 1.0, "Divides the logits; used in sampling.", 0.1, 2.0),
    Field("seed", "whole", 0, "Seeds sampling.", 0, 2**32 - 1),
    Field("no_repeat_ngram_size", "whole", 0, "N-grams of this size occur once in a summary; 0 turns it off.", 0, 10),
    Field("length_penalty", "number", 1.0, "Beam search prefers longer texts if it is larger.", -2.0, 4.0),
)


@dataclass(frozen=True)
class DecodingConfig:
    """Decoding settings, the same for all systems of a comparison; DECODING_FIELDS describes them. Raises InputError
    for values out of bounds.
    """

    max_new_tokens: int = 96
    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 1.0
    seed: int = 0
    no_repeat_ngram_size: int = 0
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        for each in DECODING_FIELDS:
            object.__setattr__(self, each.name, each.check(getattr(self, each.name)))
        if self.do_sample and self.num_beams > 1:
            raise InputError(f"Sampling with {self.num_beams} beams is not supported; choose beams or sampling.")

    @property
    def streams(self) -> bool:
        """Whether text can be streamed token by token; beam search has its text only at the end."""
        return self.num_beams == 1

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
