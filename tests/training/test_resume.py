"""A resumed run equals an uninterrupted one, for every method and after stops, crashes and full disks."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dsum_demo.errors import TrainingError
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.training.checkpoints import last_complete
from dsum_demo.training.config import TrainingConfig
from dsum_demo.training.loop import TrainingResult, train
from dsum_demo.training.methods import METHODS

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
    """start(folder, method, …) -> (result, events); every call uses the same model and another random state."""

    def begin(
        folder: Path, method: str = "lora", resume: bool = False, should_stop=lambda: False, events=None, **changes: Any
    ) -> tuple[TrainingResult, list[dict[str, Any]]]:
        model = tiny_model(1)
        torch.manual_seed(time.monotonic_ns() % 2**32)
        events = [] if events is None else events
        config = TrainingConfig(method=method, options=SMALL.get(method, {}), **{**SETTINGS, **changes})
        result = train(
            model, tiny_tokenizer, TRAIN, VALIDATION, config, folder, base_name="dsum-t5-base",
            decode=DecodingConfig(max_new_tokens=6), on_event=events.append, should_stop=should_stop, resume=resume,
        )  # fmt: skip
        return result, events

    return begin


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory) -> Callable[[str], tuple[TrainingResult, list[dict[str, Any]]]]:
    """whole(method): an uninterrupted run, cached."""
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
def test_a_resumed_run_equals_an_uninterrupted_one(method, start, whole, tmp_path):
    events, asked = stop_at(3)
    stopped, _ = start(tmp_path, method, events=events, should_stop=asked)
    assert stopped.stopped and stopped.steps == 4, "requested when step 3 is reported, so it stops after step 4"
    resumed, more = start(tmp_path, method, resume=True)
    wanted, uninterrupted = whole(method)
    assert (more[0]["step"], more[0]["resumed"]) == (4, True)
    assert {**curve(events), **curve(more)} == curve(uninterrupted)
    assert {**curve(events, "evaluation"), **curve(more, "evaluation")} == curve(uninterrupted, "evaluation")
    assert same_weights(resumed.folder, wanted.folder)
    assert (resumed.best, resumed.best_step, resumed.steps) == (wanted.best, wanted.best_step, 8)


def test_a_stop_before_an_evaluation_postpones_it_until_the_run_is_resumed(start, whole, tmp_path):
    """Step 2 has an evaluation. The stop is requested when step 1 is reported, so the run stops before evaluating."""
    events, asked = stop_at(1)
    start(tmp_path, events=events, should_stop=asked)
    assert list(curve(events)) == [1, 2] and curve(events, "evaluation") == {}
    resumed, more = start(tmp_path, resume=True)
    wanted, uninterrupted = whole("lora")
    assert list(curve(more, "evaluation")) == [2, 4, 6, 8]
    assert curve(more, "evaluation") == curve(uninterrupted, "evaluation")
    assert {**curve(events), **curve(more)} == curve(uninterrupted)
    assert resumed.best == wanted.best


def test_a_run_stopped_at_its_last_step_only_evaluates_on_resume(start, whole, tmp_path):
    events, asked = stop_at(7)
    stopped, _ = start(tmp_path, events=events, should_stop=asked)
    assert (stopped.steps, stopped.stopped) == (8, True)
    resumed, more = start(tmp_path, resume=True)
    wanted, uninterrupted = whole("lora")
    assert curve(more) == {} and curve(more, "evaluation") == {8: curve(uninterrupted, "evaluation")[8]}
    assert (resumed.steps, resumed.stopped, resumed.best) == (8, False, wanted.best)


def test_patience_is_counted_across_a_resume(start, tmp_path):
    how = {"learning_rate": 1e-9, "evaluations": 8, "patience": 3}
    events, asked = stop_at(2)
    start(tmp_path, events=events, should_stop=asked, **how)
    resumed, _ = start(tmp_path, resume=True, **how)
    assert resumed.early and resumed.steps == 4, "the first evaluation was the best, and patience allows three more"


@pytest.fixture
def killed_while_writing(start, tmp_path) -> Path:
    """The folder of a run whose process was killed while writing the optimizer state of step 4."""
    child = os.fork()
    if child == 0:
        save = torch.save

        def half(value: Any, file: Any, *args: Any, **kwargs: Any) -> None:
            if "checkpoint-4" not in str(file) or not str(file).endswith("optimizer.pt"):
                return save(value, file, *args, **kwargs)
            save(value, file)
            os.truncate(file, Path(file).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

        torch.save = half
        try:
            start(tmp_path, "full")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return tmp_path


def test_a_run_killed_while_writing_a_checkpoint_resumes_from_the_previous_one(killed_while_writing, start, whole):
    checkpoints = killed_while_writing / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["checkpoint-2", "checkpoint-4"]
    assert last_complete(checkpoints) == checkpoints / "checkpoint-2"
    resumed, more = start(killed_while_writing, "full", resume=True)
    wanted, uninterrupted = whole("full")
    assert more[0]["step"] == 2
    assert curve(more) == {step: values for step, values in curve(uninterrupted).items() if step > 2}
    assert same_weights(resumed.folder, wanted.folder)


@pytest.mark.parametrize(
    ("optimizer", "largest", "what"),
    [("adamw", 300_000, "checkpoint of step 4"), ("adafactor", 100_000, "(best weights|checkpoint of step 4)")],
    ids=["optimizer state", "weights"],
)
def test_a_full_disk_raises_and_the_previous_checkpoint_is_kept(optimizer, largest, what, start, tmp_path):
    """From step 2 on, RLIMIT_FSIZE limits files to `largest` bytes, which fails like a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Events(list):
        def append(self, event):
            super().append(event)
            if event["event"] == "checkpoint":
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))

    try:
        with pytest.raises(TrainingError, match=rf"{what} could not be written .* are free on that disk"):
            start(tmp_path, "full", events=Events(), optimizer=optimizer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    checkpoints = tmp_path / "checkpoints"
    assert [path.name for path in checkpoints.iterdir()] == ["checkpoint-2"], "incomplete files are deleted"
    assert last_complete(checkpoints)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "checkpoints"]
    resumed, events = start(tmp_path, "full", resume=True, optimizer=optimizer)
    assert (events[0]["step"], resumed.steps) == (2, 8)


@pytest.mark.parametrize("harm", ["flipped", "truncated", "missing", "unsealed"])
def test_a_corrupt_checkpoint_is_skipped(harm, start, whole, tmp_path):
    checkpoints = tmp_path / "checkpoints"

    class Events(list):
        def append(self, event):
            super().append(event)
            if event["event"] == "checkpoint" and event["step"] == 2:
                shutil.copytree(checkpoints / "checkpoint-2", tmp_path / "aside")

    events = Events()
    start(tmp_path, events=events, should_stop=lambda: any(e["event"] == "step" and e["step"] == 4 for e in events))
    shutil.move(tmp_path / "aside", checkpoints / "checkpoint-2")
    newest = last_complete(checkpoints)
    assert newest.name in ("checkpoint-4", "checkpoint-5")
    file = newest / ("complete.json" if harm == "unsealed" else "adapter_model.safetensors")
    data = bytearray(file.read_bytes())
    if harm == "flipped":
        data[-7] ^= 1
        file.write_bytes(data)
    elif harm == "truncated":
        file.write_bytes(data[: len(data) // 2])
    else:
        file.unlink()
    assert last_complete(checkpoints).name == "checkpoint-2"
    resumed, more = start(tmp_path, resume=True)
    wanted, uninterrupted = whole("lora")
    assert curve(more) == {step: values for step, values in curve(uninterrupted).items() if step > 2}
    assert same_weights(resumed.folder, wanted.folder)


def test_a_run_without_a_complete_checkpoint_starts_from_the_beginning(start, whole, tmp_path):
    (tmp_path / "checkpoints" / "checkpoint-6").mkdir(parents=True)
    _, events = start(tmp_path, resume=True)
    assert (events[0]["step"], events[0]["resumed"]) == (0, False)
    assert curve(events) == curve(whole("lora")[1])
