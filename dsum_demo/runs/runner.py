"""Executes one run: waits until no other run is training, trains, and writes status, events, result and model card."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dsum_demo import __version__
from dsum_demo.data.examples import write_fingerprints
from dsum_demo.data.sources import Sources
from dsum_demo.errors import DsumError, InputError, Stopped, TrainingError
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.metrics.scores import signature
from dsum_demo.models.registry import Registry
from dsum_demo.runs.model_card import card
from dsum_demo.runs.preferences import run_preferences, set_up_preferences
from dsum_demo.runs.setup import Setup, set_up
from dsum_demo.runs.store import DISCARD, RESUMABLE, Run, Runs, RunState, RunStatus
from dsum_demo.training.checkpoints import last_complete, weights_bytes
from dsum_demo.training.config import RunConfig
from dsum_demo.training.events import Event, EventLog, read_curve, read_events
from dsum_demo.training.loop import train, use_bf16
from dsum_demo.training.sweep import best_rate, sweep, sweep_rows
from dsum_demo.utils import hardware
from dsum_demo.utils.files import write_atomically
from dsum_demo.utils.ranks import is_main, world_size

CURVE_POINTS = 200
TURN_POLL_SECONDS = 0.2
DISCARDED = "Stopped on request; the trained weights were deleted."


def execute(
    run: Run,
    registry: Registry,
    sources: Sources,
    *,
    on_event: Callable[[Event], None] = lambda event: None,
    notify: Callable[[str], None] = lambda text: None,
    check_memory: Callable[[Setup], str] = lambda setup: "",
) -> RunStatus:
    """Train `run` from its last complete checkpoint, if any, to the end, and return its final status.

    A stop request in its folder is obeyed while it waits and while it trains. notify: receives messages for the user.
    check_memory: returns why the run does not fit in memory, or "". Under `accelerate launch` every rank calls this,
    and only rank 0 writes.

    Errors set the run's state to failed and are re-raised: InputError for a run that is not resumable,
    TrainingError for a failed training, and the errors of `set_up`.
    """
    if not is_main():
        return _execute(run, registry, sources, lambda event: None, lambda text: None, lambda setup: "")
    status = run.status()
    if status.state not in RESUMABLE:
        raise InputError(f"{run.name} is {status.state}; only queued, stopped, failed or crashed runs can be resumed.")
    with run.claim(), ExitStack() as stack:
        if status.state is not RunState.QUEUED:
            run.clear_stop()
        run.write_status(RunState.QUEUED, pid=os.getpid())
        try:
            _wait_for_turn(run, stack, notify)
            run.write_status(RunState.RUNNING, pid=os.getpid())
            return _execute(run, registry, sources, on_event, notify, check_memory)
        except Stopped:
            return _end(run, RunState.STOPPED, "Stopped on request before training started.")
        except DsumError as error:
            _fail(run, str(error))
            raise
        except Exception as error:
            _fail(run, f"{type(error).__name__}: {error}")
            raise


def _wait_for_turn(run: Run, stack: ExitStack, notify: Callable[[str], None]) -> None:
    runs, notified = Runs(run.folder.parent), False
    while True:
        if run.stop_request():
            raise Stopped("Stopped while it was queued.")
        try:
            stack.enter_context(runs.turn(wait=TURN_POLL_SECONDS))
            return
        except TrainingError:
            if not notified:
                notify("Another run is training in this data folder; waiting for it to end.")
                notified = True


def _execute(
    run: Run,
    registry: Registry,
    sources: Sources,
    on_event: Callable[[Event], None],
    notify: Callable[[str], None],
    check_memory: Callable[[Setup], str],
) -> RunStatus:
    config = RunConfig.from_record(run.config())
    preferences = None
    if config.start_from:
        if world_size() > 1:  # all of them would write the run's files
            raise InputError(
                f"Preference training runs in one process, not in {world_size()}; start it with `dsum train`."
            )
        preferences = set_up_preferences(config, registry, lambda text, share: notify(text), run.stop_requested)
        setup = preferences.setup
    else:
        setup = set_up(config, registry, sources, lambda text, share: notify(text), run.stop_requested)
    log = _Log(run.events_file, on_event) if is_main() else None
    resume = last_complete(run.checkpoints) is not None
    if log:
        _write_environment(run, setup, resume)
        for note in setup.data.notes:
            notify(note)
            log({"event": "note", "text": note})
        if not resume and not preferences and (refusal := check_memory(setup)):
            raise TrainingError(refusal)
    report = log or (lambda event: None)
    if preferences:
        result = run_preferences(preferences, run.folder, report, run.stop_requested, resume)
    else:
        inputs: dict[str, Any] = {
            "tokenizer": setup.tokenizer,
            "train_pairs": setup.train_pairs,
            "validation_pairs": setup.validation_pairs,
            "decode": setup.family.decode,
            "prompt": setup.family.prompt,
            "on_event": report,
            "should_stop": run.stop_requested,
        }
        if config.sweep:
            return _sweep(run, config, setup, inputs)
        result = train(
            setup.load_model(),
            config=config.training,
            folder=run.folder,
            base_name=setup.base.name,
            resume=resume,
            **inputs,
        )
    if not is_main():
        return RunStatus(RunState.STOPPED if result.stopped else RunState.FINISHED)
    if result.stopped and run.stop_request() == DISCARD:
        run.drop_weights()
        return _end(run, RunState.STOPPED, DISCARDED)
    reason = ""
    if result.stopped:
        reason = f"Stopped on request at step {result.steps} of {result.planned_steps}; the best weights were kept."
    elif result.early:
        reason = f"Stopped early at step {result.steps}: {config.training.patience} evaluations without improvement."
    write_result(run, reason, stopped=result.stopped)
    if not result.stopped:
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # large, and needed only to resume
    return _end(run, RunState.STOPPED if result.stopped else RunState.FINISHED, reason)


def _sweep(run: Run, config: RunConfig, setup: Setup, inputs: Mapping[str, Any]) -> RunStatus:
    """A learning-rate sweep leaves events and no weights, so it does not become a model."""
    architecture, before = setup.family.architecture, read_curve(run.events_file)
    stopped = sweep(config, setup.load_model, architecture=architecture, before=before, **inputs)
    if not is_main():
        return RunStatus(RunState.STOPPED if stopped else RunState.FINISHED)
    best = best_rate(sweep_rows(config, read_curve(run.events_file)))
    if stopped:
        return _end(run, RunState.STOPPED, "Stopped on request; the learning rates that were complete are kept.")
    reason = (
        f"The loss was lowest with a learning rate of {best.rate:g}." if best else "Training diverged with each one."
    )
    return _end(run, RunState.FINISHED, reason)


class _Log(EventLog):
    """An event log that is callable and forwards events."""

    def __init__(self, file: Path, on_event: Callable[[Event], None]):
        super().__init__(file)
        self.on_event = on_event

    def __call__(self, event: Event) -> None:
        try:
            self.append(event)
        except OSError as error:
            raise TrainingError(
                f"{self.file.name} could not be written ({error.strerror}); free disk space and resume the run."
            ) from error
        self.on_event(event)


def _end(run: Run, state: RunState, reason: str) -> RunStatus:
    last = read_curve(run.events_file).latest or {}
    _Log(run.events_file, lambda event: None)(
        {
            "event": "end",
            "state": str(state),
            "reason": reason,
            "step": last.get("step", 0),
            "steps": last.get("steps", 0),
        }
    )
    run.write_status(state, reason)
    run.clear_stop()
    return run.status()


def _fail(run: Run, reason: str) -> None:
    """Set the state to failed; a run that was evaluated at least once keeps its best weights as its result."""
    try:
        if read_curve(run.events_file).best and run.best.is_dir() and not run.result():
            write_result(run, reason, stopped=False)
        _end(run, RunState.FAILED, reason)
    except (OSError, DsumError):
        # The disk may be full; the status needs only a few bytes.
        run.write_status(RunState.FAILED, reason)


def _write_environment(run: Run, setup: Setup, resume: bool) -> None:
    before = run.environment().get("data", {}).get("fingerprint")
    if resume and before and before != setup.data.fingerprint:
        raise TrainingError(
            f"The training data of {run.name} has changed since the run started, so it cannot be resumed. "
            "Restore the old data or start a new run."
        )
    packages = ("torch", "transformers", "peft", "accelerate", "datasets")
    run.write_json(
        "environment.json",
        {
            "dsum": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
            **hardware.describe(),
            "precision": "bf16" if use_bf16(setup.config.training) else "fp32",
            "processes": world_size(),
            "seed": setup.config.training.seed,
            "family": setup.family.name,
            "base": setup.base.name,
            "data": {
                "fingerprint": setup.data.fingerprint,
                "source": setup.config.data.source,
                "train": len(setup.data.train),
                "validation": len(setup.data.validation),
                "notes": list(setup.data.notes),
            },
        },
    )
    write_fingerprints(run.folder, (example.dialogue for example in setup.data.train))


def write_result(run: Run, reason: str, *, stopped: bool) -> dict[str, Any]:
    """Write result.json and the model card from the run's events, which makes best/ a model in the registry."""
    curve, config, environment = read_curve(run.events_file), run.config(), run.environment()
    start, best, last = curve.start or {}, curve.best or {}, curve.latest or {}
    scored = {name: best[name] for name in (*ROUGE_TYPES, "accuracy", "loss", "step") if name in best}
    speeds = sorted(point["samples_per_second"] for point in curve.steps if point.get("samples_per_second"))
    total, trained = start.get("parameters", 0), start.get("trained_parameters", 0)
    record = {
        "family": environment.get("family"),
        "base": environment.get("base"),
        "method": config["training"]["method"],
        "options": config["training"]["options"],
        "parameters": total,
        "trained_parameters": trained,
        "share": trained / total if total else None,
        "checkpoint_bytes": weights_bytes(run.best),
        "peak_memory_bytes": max((point.get("peak_memory_bytes") or 0 for point in curve.steps), default=0),
        "memory": hardware.memory_kind(),
        "seconds": seconds_of(run),
        "samples_per_second": speeds[len(speeds) // 2] if speeds else None,
        "steps": last.get("step", 0),
        "planned_steps": start.get("steps", 0),
        "best": scored,
        "signature": signature(n=start.get("validation_dialogues", 0), references=1).as_dict()
        if "rouge1" in scored
        else None,
        "general_loss": list(curve.forgetting) if curve.forgetting else None,
        "stopped": stopped,
        "reason": reason,
        "ended": time.time(),
        "curve": {
            "loss": _thinned([[point["step"], point["loss"]] for point in curve.steps]),
            "validation": [[point["step"], point["loss"], point.get("rouge1")] for point in curve.evaluations],
        },
        "config": config,
    }
    text = card(run.name, record, environment)
    write_atomically(run.folder / "README.md", text)
    # Also next to the weights, so that copies of best/ include the card.
    write_atomically(run.best / "README.md", text)
    run.write_json("result.json", record)
    return record


def seconds_of(run: Run) -> float:
    """Return the training time summed over the run's processes, without the time between them."""
    total, began, last = 0.0, None, 0.0
    for event in read_events(run.events_file)[0]:
        if event["event"] == "start":
            total += last - began if began is not None else 0.0
            began = event["time"]
        last = event["time"]
    return total + (last - began if began is not None else 0.0)


def _thinned(points: list[list[float]]) -> list[list[float]]:
    """Return at most CURVE_POINTS evenly spaced points, including the first and the last."""
    if len(points) <= CURVE_POINTS:
        return points
    return [points[round(i * (len(points) - 1) / (CURVE_POINTS - 1))] for i in range(CURVE_POINTS)]
