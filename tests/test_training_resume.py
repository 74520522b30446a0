"""A run that was interrupted and resumed is the run that was not: step by step, for every method, whatever ended it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dsum_demo.peft_methods import METHODS
from dsum_demo.prompts import DecodeConfig
from dsum_demo.training import TrainingConfig, TrainingResult, train

PAIRS = [(f"Tom: I have {n} apples.\nMaya: {'Give me one. ' * (n % 3)}", f"Tom has {n} apples.") for n in range(1, 12)]
TRAIN, VALIDATION = PAIRS[:9], PAIRS[9:]
SETTINGS: dict[str, Any] = {
    "max_steps": 8, "batch_size": 2, "evaluations": 4, "warmup_share": 0.25, "learning_rate": 1e-2, "precision": "fp32",
}  # fmt: skip
SMALL = {
    "oft": {"oft_block_size": 4}, "vera": {"r": 8}, "adalora": {"init_r": 4, "target_r": 2}, "lokr": {"r": 4},
    "prompt": {"num_virtual_tokens": 3}, "prefix": {"num_virtual_tokens": 3},
}  # fmt: skip


@pytest.fixture(scope="module")
def start(tiny_model, tiny_tokenizer) -> Callable[..., tuple[TrainingResult, list[dict[str, Any]]]]:
    """start(folder, method, …) -> (result, events); the model is the same each time, the random state is not."""

    def begin(
        folder: Path, method: str = "lora", resume: bool = False, should_stop=lambda: False, events=None, **changes: Any
    ) -> tuple[TrainingResult, list[dict[str, Any]]]:
        model = tiny_model(1)
        torch.manual_seed(time.monotonic_ns() % 2**32)
        events = [] if events is None else events
        config = TrainingConfig(method=method, options=SMALL.get(method, {}), **{**SETTINGS, **changes})
        result = train(
            model, tiny_tokenizer, TRAIN, VALIDATION, config, folder, base_name="dsum-t5-base",
            decode=DecodeConfig(max_new_tokens=6), on_event=events.append, should_stop=should_stop, resume=resume,
        )  # fmt: skip
        return result, events

    return begin


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory) -> Callable[[str], tuple[TrainingResult, list[dict[str, Any]]]]:
    """whole(method): the run that nothing interrupts, made once."""
    made: dict[str, Any] = {}

    def get(method: str) -> tuple[TrainingResult, list[dict[str, Any]]]:
        if method not in made:
            made[method] = start(tmp_path_factory.mktemp("whole"), method)
        return made[method]

    return get


def curve(events: list[dict[str, Any]], kind: str = "step") -> dict[int, tuple[float, ...]]:
    keys = {"step": ("loss", "learning_rate", "grad_norm"), "evaluation": ("loss", "rouge1")}[kind]
    return {event["step"]: tuple(event[key] for key in keys) for event in events if event["event"] == kind}


def stop_at(step: int, kind: str = "step") -> tuple[list[dict[str, Any]], Callable[[], bool]]:
    events: list[dict[str, Any]] = []
    return events, lambda: any(event["event"] == kind and event["step"] == step for event in events)


def same_weights(first: Path, second: Path) -> bool:
    [one], [other] = first.glob("*.safetensors"), second.glob("*.safetensors")
    left, right = load_file(one), load_file(other)
    return left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_run_goes_on_as_if_nothing_had_been(method, start, whole, tmp_path):
    events, asked = stop_at(3)
    stopped, _ = start(tmp_path, method, events=events, should_stop=asked)
    assert stopped.stopped and stopped.steps == 4, "asked for once step 3 is told, obeyed after step 4"
    resumed, more = start(tmp_path, method, resume=True)
    wanted, uninterrupted = whole(method)
    assert (more[0]["step"], more[0]["resumed"]) == (4, True)
    assert {**curve(events), **curve(more)} == curve(uninterrupted)
    assert {**curve(events, "evaluation"), **curve(more, "evaluation")} == curve(uninterrupted, "evaluation")
    assert same_weights(resumed.folder, wanted.folder)
    assert (resumed.best, resumed.best_step, resumed.steps) == (wanted.best, wanted.best_step, 8)
