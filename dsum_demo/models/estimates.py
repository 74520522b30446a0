"""What a model will take on this machine, known before it is here: download, memory, seconds a summary. Estimates.

Memory is the number of weights in the precision they will be served in, and of a decoder-only model also the keys and
values of the longest prompt and summary. Time comes from what this machine does with the
embedded original: a token costs each decoder layer a fixed time, and each weight that it touches has to be read once
(https://arxiv.org/abs/2211.05102, section 2: small batches are bound by reading the weights). Against FLAN-T5 small and
base with random weights, on one thread, it came out 15 to 25 % low. Knows the registry and the models in memory;
nothing of how an estimate is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from dsum_demo.models.bfloat16 import suit_cpu
from dsum_demo.models.catalog import Family, Kind, ModelSpec
from dsum_demo.models.loading import device, serving_dtype
from dsum_demo.models.registry import Registry, State
from dsum_demo.models.store import ModelStore
from dsum_demo.utils.formatting import duration, size
from dsum_demo.utils.hardware import free_memory_bytes

# A DialogSum dialogue with the prompt, and a summary, in tokens of FLAN-T5: about the averages.
SOURCE_TOKENS, SUMMARY_TOKENS = 230, 48
TIMED_TOKENS, ROUNDS = 16, 3
LARGE = 1_000_000_000  # parameters of a model that is served as large ones are


@dataclass(frozen=True)
class Speed:
    """This machine as measured. `reads` and `products` are by precision ("float32", "bfloat16").

    layer_seconds: what one decoder layer costs a token beside its weights. reads: how many weights of a matrix meet a
    vector in a second. products: multiplications and additions of two matrices in a second.
    """

    layer_seconds: float
    reads: Mapping[str, float]
    products: Mapping[str, float]


@dataclass(frozen=True)
class ModelCost:
    """What one model takes: bytes still to download, bytes in memory, seconds a summary (None where not known).

    on_base: the memory comes on top of its base's.
    """

    download_bytes: int
    memory_bytes: int
    seconds: float | None
    on_base: bool = False

    @property
    def text(self) -> str:
        """Memory and time, for a list that has the size already."""
        memory = f"about {size(self.memory_bytes)} of memory{' on top of its base' if self.on_base else ''}"
        return memory + (f", about {duration(self.seconds)} a summary here" if self.seconds is not None else "")


def measure_speed(store: ModelStore) -> Speed:
    """Let the default family's original write a few tokens, and multiply matrices; it takes about a second.

    Raises ModelError where that original cannot be had.
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
    """What `spec` takes, an adapter on top of its base; None where its number of weights is not known."""
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
    """What comparing this family will take, in sentences; empty where nothing of it has to be downloaded."""
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
        said += " That is too little: close something, or choose a smaller family."
    seconds = [cost.seconds for _, cost in costs if cost.seconds is not None]
    if len(seconds) == len(costs):
        said += f" A comparison will take about {duration(sum(seconds))} on this machine (estimated)."
    return said


def _rates(precision: torch.dtype) -> tuple[float, float]:
    """Weights read a second, and multiplications and additions a second, by layers as they are served."""
    matrix = _layer(2_048, 16_384, precision)  # more than fits into a cache
    square = _layer(2_048, 2_048, precision)
    texts = torch.ones(SOURCE_TOKENS, 2_048, dtype=precision, device=device())
    read = _fastest(lambda: matrix(texts[:1])[0, 0].item())
    product = _fastest(lambda: square(texts)[0, 0].item())
    return matrix.weight.numel() / read, 2 * SOURCE_TOKENS * square.weight.numel() / product


def _layer(inputs: int, outputs: int, precision: torch.dtype) -> torch.nn.Linear:
    # A random beginning would take longer than the measurement, and out of everybody's generator.
    layer: torch.nn.Linear = torch.nn.utils.skip_init(
        torch.nn.Linear, inputs, outputs, bias=False, dtype=precision, device=device()
    )
    torch.nn.init.ones_(layer.weight)
    suit_cpu(layer)
    return layer


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the best of a few rounds, the first of which only warms up."""
    best = float("inf")
    for round in range(ROUNDS + 1):
        begun = time.perf_counter()
        work()
        if round:
            best = min(best, time.perf_counter() - begun)
    return max(best, 1e-9)
