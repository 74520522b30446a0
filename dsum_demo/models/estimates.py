"""Estimates of a model's download size, memory and seconds per summary on this machine, before it is downloaded.

Memory is the number of weights in the precision of inference; for a decoder-only model also the keys and values of the
longest prompt and summary. Time is extrapolated from the embedded base model on this machine: each decoder layer costs
a fixed time per token, and each weight must be read once (https://arxiv.org/abs/2211.05102, section 2: small batches
are limited by memory bandwidth). For FLAN-T5 small and base with random weights, on one thread, the estimates were 15
to 25 % too low.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from dsum_demo.models.bfloat16 import optimize_for_cpu
from dsum_demo.models.catalog import Family, Kind, ModelSpec
from dsum_demo.models.loading import device, serving_dtype
from dsum_demo.models.registry import Registry, State
from dsum_demo.models.store import ModelStore
from dsum_demo.utils.formatting import duration, size
from dsum_demo.utils.hardware import free_memory_bytes

# A DialogSum dialogue with the prompt, and a summary, in tokens of FLAN-T5: about the averages.
SOURCE_TOKENS, SUMMARY_TOKENS = 230, 48
TIMED_TOKENS, ROUNDS = 16, 3
LARGE = 1_000_000_000  # parameters of a model that is large enough for bfloat16


@dataclass(frozen=True)
class Speed:
    """Measured speed of this machine. `reads` and `products` are by precision ("float32", "bfloat16").

    layer_seconds: fixed time of one decoder layer per token, without reading its weights. reads: weights per second in
    matrix-vector products. products: multiply-adds per second in matrix-matrix products.
    """

    layer_seconds: float
    reads: Mapping[str, float]
    products: Mapping[str, float]


@dataclass(frozen=True)
class ModelCost:
    """Costs of one model: bytes still to download, bytes in memory, seconds per summary (None if unknown).

    on_base: the memory is needed in addition to its base's.
    """

    download_bytes: int
    memory_bytes: int
    seconds: float | None
    on_base: bool = False

    @property
    def text(self) -> str:
        """Memory and time, for a list that shows the size separately."""
        memory = f"about {size(self.memory_bytes)} of memory{' on top of its base' if self.on_base else ''}"
        return memory + (
            f", about {duration(self.seconds)} per summary on this machine" if self.seconds is not None else ""
        )


def measure_speed(store: ModelStore) -> Speed:
    """Measure this machine in about a second: generate a few tokens with the default family's base, multiply matrices.

    Raises ModelError if that base model is not available.
    """
    loaded = store.load(store.registry.default_family.base)
    architecture, parameters = loaded.architecture, loaded.total_parameters
    layers = architecture.decoder_layers(loaded.model.config)
    source = torch.full((1, SOURCE_TOKENS), loaded.end_token_ids[0], device=device())

    def write(tokens: int) -> None:
        loaded.model.generate(
            input_ids=source, attention_mask=torch.ones_like(source), min_new_tokens=tokens, max_new_tokens=tokens,
            do_sample=False,
        )  # fmt: skip

    with torch.inference_mode():
        precisions = {torch.float32, serving_dtype(LARGE)}
        rates = {str(p).removeprefix("torch."): _rates(p) for p in precisions}
        token = (_fastest(lambda: write(TIMED_TOKENS)) - _fastest(lambda: write(1))) / (TIMED_TOKENS - 1)
    reads = {name: rate for name, (rate, _) in rates.items()}
    overhead = (token - architecture.read_share * parameters / reads[loaded.dtype]) / layers
    return Speed(max(0.0, overhead), reads, {name: rate for name, (_, rate) in rates.items()})


def estimate(registry: Registry, spec: ModelSpec, speed: Speed | None = None) -> ModelCost | None:
    """The costs of `spec`, for an adapter in addition to its base; None if its number of weights is unknown."""
    family = registry.family(spec.family)
    whole = family.base.parameters or family.parameters
    own = spec.trained_parameters if spec.kind is Kind.ADAPTER else spec.parameters
    if not whole or own is None:
        return None
    dtype = serving_dtype(whole)
    waiting = registry.availability(spec).state is State.DOWNLOADABLE
    seconds = None
    name = str(dtype).removeprefix("torch.")
    if speed and family.layers and name in speed.reads:
        architecture = family.architecture
        prompt = 2 * SOURCE_TOKENS * architecture.prompt_share * whole / speed.products[name]
        token = family.layers * speed.layer_seconds + architecture.read_share * whole / speed.reads[name]
        seconds = prompt + SUMMARY_TOKENS * token
    on_base = spec.kind is Kind.ADAPTER
    memory = (own if on_base else own + _cached_numbers(family)) * dtype.itemsize
    return ModelCost((spec.size_bytes or 0) if waiting else 0, memory, seconds, on_base)


def _cached_numbers(family: Family) -> int:
    """Keys and values of the longest prompt and summary, in every layer."""
    tokens = family.max_source_tokens + family.decode.max_new_tokens
    return 2 * (family.layers or 0) * (family.key_value_width or 0) * tokens


def describe_family(registry: Registry, family: Family, speed: Speed | None = None) -> str:
    """The download, memory and time that comparing this family needs, as text; empty if nothing must be downloaded."""
    known = [(s, estimate(registry, s, speed)) for s in family.default_trio() if s and registry.availability(s).usable]
    costs = [(spec, cost) for spec, cost in known if cost]
    waiting = [(spec, cost) for spec, cost in costs if cost.download_bytes]
    if not waiting:
        return ""
    download = sum(cost.download_bytes for _, cost in waiting)
    memory = sum(cost.memory_bytes for _, cost in costs)
    free = free_memory_bytes()
    each = ", ".join(f"{spec.title} {size(cost.download_bytes)}" for spec, cost in waiting)
    said = (
        f"The first comparison downloads {size(download)} ({each}). "
        f"In memory it will take about {size(memory)}; {size(free)} are free."
    )
    if memory > free:
        said += " That is not enough: close other programs or choose a smaller family."
    seconds = [cost.seconds for _, cost in costs if cost.seconds is not None]
    if len(seconds) == len(costs):
        said += f" A comparison will take about {duration(sum(seconds))} on this machine (estimated)."
    return said


def _rates(precision: torch.dtype) -> tuple[float, float]:
    """Weights read per second, and multiply-adds per second, with the layers that inference uses."""
    matrix = _layer(2_048, 16_384, precision)  # more than fits into a cache
    square = _layer(2_048, 2_048, precision)
    texts = torch.ones(SOURCE_TOKENS, 2_048, dtype=precision, device=device())
    read = _fastest(lambda: matrix(texts[:1])[0, 0].item())
    product = _fastest(lambda: square(texts)[0, 0].item())
    return matrix.weight.numel() / read, 2 * SOURCE_TOKENS * square.weight.numel() / product


def _layer(inputs: int, outputs: int, precision: torch.dtype) -> torch.nn.Linear:
    # Random initialization would take longer than the measurement and use the global generator.
    layer: torch.nn.Linear = torch.nn.utils.skip_init(
        torch.nn.Linear, inputs, outputs, bias=False, dtype=precision, device=device()
    )
    torch.nn.init.ones_(layer.weight)
    optimize_for_cpu(layer)
    return layer


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of a few rounds, after a warm-up round."""
    best = float("inf")
    for round in range(ROUNDS + 1):
        begun = time.perf_counter()
        work()
        if round:
            best = min(best, time.perf_counter() - begun)
    return max(best, 1e-9)
