"""What a run will cost, measured before it starts: two real training steps, in a process of their own.

Knows how a run is set up and measures it; it writes nothing into a run's folder.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Probe:
    """share: trained parameters of all, 0 to 1. checkpoint_bytes: of the weights that a finished run keeps.

    peak_memory_bytes: of the process, or of the GPU, in a step on the longest dialogues. free_memory_bytes: what was
    free there before. seconds_per_step: of a step on dialogues of usual length. seconds: estimate for the whole run,
    evaluations included. refusal: why the run will not fit, a sentence; "" where it does.
    """

    base: str
    method: str
    parameters: int
    trained_parameters: int
    share: float
    checkpoint_bytes: int
    peak_memory_bytes: int
    free_memory_bytes: int
    seconds_per_step: float
    samples_per_second: float
    steps: int
    evaluation_seconds: float
    seconds: float
    train_dialogues: int
    validation_dialogues: int
    device: str
    precision: str
    notes: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def fits(self) -> bool:
        return not self.refusal

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "notes": list(self.notes), "fits": self.fits}
