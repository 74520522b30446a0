"""Measures a run's cost before it starts, with three real training steps. Meant to run in a separate process."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from dsum_demo.data.sources import Sources
from dsum_demo.models.registry import Registry
from dsum_demo.runs.setup import Setup, least_bytes, set_up
from dsum_demo.training.batches import EncodedDataset, Pair
from dsum_demo.training.config import RunConfig
from dsum_demo.training.loop import (
    EVALUATION_BATCH,
    build_trainer,
    planned_steps,
    prepare,
    use_bf16,
    use_training_attention,
)
from dsum_demo.training.methods import METHODS
from dsum_demo.utils.formatting import size
from dsum_demo.utils.hardware import device_name, free_memory_bytes, memory_bytes, peak_memory_bytes, prefer_oom_kill

# The rest is left for the system and other programs.
USABLE_SHARE = 0.9
VALIDATION_MEASURED = 8


@dataclass(frozen=True)
class Probe:
    """share: trained parameters divided by all parameters. checkpoint_bytes: of the weights that a finished run keeps.

    peak_memory_bytes: of the process or the GPU, in a step on the longest dialogues. free_memory_bytes: free memory
    before the measurement. seconds_per_step: of a step on dialogues of median length. seconds: estimate for the whole
    run, including evaluations. refusal: why the run does not fit in memory, or "". Values that were not measured,
    because the run cannot fit, are 0.
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


def measure(config: RunConfig, registry: Registry, sources: Sources) -> Probe:
    """Set up the run, train three steps, evaluate once and extrapolate.

    Peak memory is that of the process, so a second call in one process includes the first. Raises DsumError if the run
    cannot be set up.
    """
    prefer_oom_kill()
    free, before = free_memory_bytes(), memory_bytes()
    setup = set_up(config, registry, sources)
    training = config.training
    least = least_bytes(setup.folder, training)
    facts: dict[str, Any] = {
        "base": setup.base.name,
        "method": training.method,
        "free_memory_bytes": free,
        "steps": planned_steps(len(setup.data.train), training),
        "train_dialogues": len(setup.data.train),
        "validation_dialogues": min(len(setup.data.validation), training.validation_sample),
        "device": device_name(),
        "precision": "bf16" if use_bf16(training) else "fp32",
        "notes": setup.data.notes,
    }
    if least > USABLE_SHARE * free:
        # Without a GPU there is no exception to catch: the system kills this process or another one.
        nothing: dict[str, Any] = dict.fromkeys(
            ("trained_parameters", "share", "checkpoint_bytes", "seconds_per_step", "samples_per_second",
             "evaluation_seconds", "seconds"), 0
        )  # fmt: skip
        return Probe(
            **facts, **nothing, parameters=setup.base.parameters or 0, peak_memory_bytes=least,
            refusal=_refusal(setup, "at least ", least, free),
        )  # fmt: skip
    return Probe(**facts, **_measured(setup, facts["steps"], free, before))


def _measured(setup: Setup, steps: int, free: int, before: int) -> dict[str, Any]:
    training = setup.config.training
    pairs, batch = _longest_and_usual(setup, training.batch_size)
    # Three steps: the optimizer allocates its state only after the first one, which is on the longest dialogues.
    short = replace(training, max_steps=3, batch_size=batch, accumulation=1, evaluations=1, patience=0, compile=False,
                    validation_sample=VALIDATION_MEASURED, warmup_share=0.0)  # fmt: skip
    trained = prepare(setup.load_model(), training, setup.base.name, steps)
    use_training_attention(trained)
    watched = setup.validation_pairs[:VALIDATION_MEASURED]
    family = setup.family
    rows = EncodedDataset(setup.tokenizer, pairs, watched, short, family.architecture, family.prompt)
    moments: list[float] = []
    refusal = ""
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(trained, setup.tokenizer, rows, short, Path(folder), decode=family.decode,
                                batch=batch, accumulation=1)  # fmt: skip
        trainer.args.eval_strategy, trainer.args.save_strategy = IntervalStrategy.NO, SaveStrategy.NO
        trainer.report = lambda kind, **values: moments.append(time.monotonic()) if kind == "step" else None
        try:
            trainer.train()
            trainer.evaluate()
        except torch.OutOfMemoryError:
            refusal = _refusal(setup, "more than ", free, free)
    needed = peak_memory_bytes() - before
    if not refusal and needed > USABLE_SHARE * free:
        refusal = _refusal(setup, "", needed, free)
    step = (moments[1] - moments[0]) * training.accumulation if len(moments) > 1 else 0.0
    validation = min(len(setup.data.validation), training.validation_sample)
    # A batch is generated together, so its size hardly changes the time.
    batches = math.ceil(validation / EVALUATION_BATCH)
    evaluation = 0.0 if refusal else trainer.evaluation_seconds * batches
    return {
        "parameters": rows.parameters,
        "trained_parameters": rows.trained_parameters,
        "share": rows.trained_parameters / rows.parameters,
        "checkpoint_bytes": _saved_bytes(trained, adapter=METHODS[training.method].peft_type is not None),
        "peak_memory_bytes": peak_memory_bytes(),
        "seconds_per_step": step,
        "samples_per_second": batch * training.accumulation / step if step else 0.0,
        "evaluation_seconds": evaluation,
        "seconds": step * steps + evaluation * min(training.evaluations, steps),
        "refusal": refusal,
    }


def _longest_and_usual(setup: Setup, batch: int) -> tuple[list[Pair], int]:
    """Return a batch of the longest dialogues followed by one of median length, and the batch size.

    In the first epoch the trainer starts with the longest batch.
    """
    # The number of characters is a sufficient estimate of the length and needs no tokenizer.
    pairs = sorted(setup.train_pairs, key=lambda pair: -len(pair[0]))
    batch = min(batch, len(pairs))
    longest, middle = pairs[:batch], len(pairs) // 2
    usual = pairs[max(0, middle - batch // 2) :][:batch]
    usual += longest[: batch - len(usual)]
    return [*longest, *usual], batch


def _saved_bytes(trained: Any, adapter: bool) -> int:
    if adapter:
        from peft import get_peft_model_state_dict

        return _bytes(list(get_peft_model_state_dict(trained, save_embedding_layers=False).values()))
    return _bytes(list(trained.parameters()))


def _bytes(tensors: Sequence[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _refusal(setup: Setup, how: str, needed: int, free: int) -> str:
    training = setup.config.training
    advice = ["a smaller batch_size with more accumulation", "fewer max_source_tokens", "a smaller base model"]
    if training.method == "full":
        advice.insert(0, "LoRA")
    return (
        f"{METHODS[training.method].title} of {setup.base.name} with batches of {training.batch_size} takes "
        f"{how}{size(needed)} of memory, and {size(free)} are free. Choose {', '.join(advice[:-1])} or "
        f"{advice[-1]}."
    )
