"""The command `dsum train`: one training run in the foreground, or its probe. The UI runs it as a child process."""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dsum_demo.cli.console import DONE, add_column_option, columns_of, handling_stops, say, say_in_handler
from dsum_demo.composition import make_registry, make_sources
from dsum_demo.errors import InputError, ModelError
from dsum_demo.runs.store import Run, Runs
from dsum_demo.settings import Settings
from dsum_demo.training.sweep import DEFAULT_STEPS
from dsum_demo.utils.formatting import duration, size
from dsum_demo.utils.ranks import is_main, world_size

if TYPE_CHECKING:
    from dsum_demo.runs.setup import Setup
    from dsum_demo.training.config import RunConfig
    from dsum_demo.training.events import Event

SECONDS_BETWEEN_LINES = 2.0


def add_train(commands: Any) -> None:
    """Add the command to `commands`, the result of argparse's add_subparsers."""
    parser = commands.add_parser("train", help="fine-tune a base model, fully or with a PEFT method")
    parser.set_defaults(run=run_train)
    parser.add_argument("--preset", metavar="NAME", help="start from a preset: good-lora, good-full, notebook-lora, …")
    parser.add_argument(
        "--method", metavar="NAME", help="full, lora, dora, ia3, …; each has its options and learning rate"
    )
    parser.add_argument("--base", metavar="NAME", default="", help="a base model (see `dsum models`)")
    parser.add_argument(
        "--data", metavar="SOURCE", help="samples, dialogsum, a file, or a folder with train and validation"
    )
    parser.add_argument("--validation", metavar="SOURCE", help="validation dialogues (default: a split of --data)")
    add_column_option(parser)
    parser.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], dest="settings",
                        help="a training setting or an option of the method; may be repeated")  # fmt: skip
    parser.add_argument("--name", metavar="NAME", default="", help="name of the run and its model")
    parser.add_argument("--resume", metavar="RUN", help="resume an unfinished run or start a queued one")
    parser.add_argument(
        "--probe", action="store_true", help="measure the cost of the run and print it as JSON, without training"
    )
    parser.add_argument(
        "--show-batch", action="store_true",
        help="print the first batch as the model reads it (tokens, mask, padding, truncation), without training",
    )  # fmt: skip
    parser.add_argument(
        "--sweep", metavar="STEPS", nargs="?", const=DEFAULT_STEPS, type=int,
        help="instead of training a model, try four learning rates around the method's default, or around "
        f"--set learning_rate=VALUE, for STEPS steps each (default: {DEFAULT_STEPS})",
    )  # fmt: skip
    parser.add_argument(
        "--preferences", metavar="FILE",
        help="preference training (DPO) of a LoRA on pairs that `dsum review export --format preferences` wrote",
    )  # fmt: skip
    parser.add_argument(
        "--from", metavar="MODEL", dest="start_from", default="",
        help="with --preferences: the base model or LoRA to start from (default: the base model)",
    )  # fmt: skip
    parser.add_argument("--no-check", action="store_true", help="start even if the memory may not be sufficient")


def run_train(options: argparse.Namespace, settings: Settings) -> int:
    """Exit code: 0 finished or stopped on request; errors are raised."""
    runs = Runs(settings.runs_dir)
    named = ("preset", "method", "base", "data", "validation", "preferences", "name")
    given = [f"--{n}" for n in named if getattr(options, n)]
    given += (
        ["--sweep"] * (options.sweep is not None)
        + ["--set"] * bool(options.settings)
        + ["--column"] * bool(options.column)
    )
    if options.resume and given:
        raise InputError(
            f"{given[0]} cannot be used with --resume: a run keeps its config. Remove it, or start a new run."
        )
    if options.start_from and not options.preferences:
        raise InputError("--from is the model that preference training starts from; give the pairs with --preferences.")
    other = [f"--{n.replace('_', '-')}" for n in ("data", "validation", "probe", "show_batch") if getattr(options, n)]
    other += ["--sweep"] * (options.sweep is not None)
    if options.preferences and other:
        raise InputError(f"{other[0]} cannot be used with --preferences; remove it.")
    if options.probe or options.show_batch:
        config = _resumed(runs, options.resume, settings) if options.resume else config_of(options, settings)
        return _show_batch(config, settings) if options.show_batch else _probe(config, settings)
    if options.resume:
        _resumed(runs, options.resume, settings)
    run = runs.get(options.resume) if options.resume else _created(options, settings, runs)
    from dsum_demo.runs.runner import execute
    from dsum_demo.utils.hardware import prefer_oom_kill

    def refusal(setup: Setup) -> str:
        return "" if options.no_check else check_memory(setup, settings, run.stop_requested)

    prefer_oom_kill()
    if is_main():
        say(f"dsum: run {run.name} in {run.folder}")

    try:
        with stopping_on_signals(run):
            status = execute(
                run,
                make_registry(settings),
                make_sources(settings),
                on_event=Lines(),
                notify=lambda text: say(f"dsum: {text}"),
                check_memory=refusal,
            )
    except (InputError, ModelError):
        # Nothing was trained. A resumed run is kept, so that the UI can show the reason.
        if is_main() and not options.resume:
            run.delete()
        raise
    if is_main():
        reason = f" {status.reason}" if status.reason else ""
        say(f"dsum: {run.name} {status.state}.{reason}")
        if run.result():
            print(run.best)
        _print_sweep(run)
    return DONE


def _print_sweep(run: Run) -> None:
    """The table of a learning-rate sweep; nothing for another run."""
    from dsum_demo.training.config import RunConfig
    from dsum_demo.training.events import read_curve
    from dsum_demo.training.sweep import best_rate, sweep_rows

    config = RunConfig.from_record(run.config())
    rows = sweep_rows(config, read_curve(run.events_file))
    best = best_rate(rows)
    for row in rows:
        loss = "diverged" if row.problem else "not complete" if row.level is None else f"loss {row.level:.3f}"
        print(f"learning_rate={row.rate:g}  {loss}{'  (lowest)' if row is best else ''}")


def config_of(options: argparse.Namespace, settings: Settings) -> RunConfig:
    """The config of the arguments. Raises InputError or UnknownModelError."""
    from dsum_demo.training.config import apply_settings
    from dsum_demo.training.presets import requested_config

    data: dict[str, Any] = {"source": options.data} if options.data else {}
    data |= {"validation_source": options.validation} if options.validation else {}
    if options.column:
        data["columns"] = columns_of(options, *filter(None, (options.data, options.validation)))
    config = requested_config(
        make_registry(settings),
        base=options.base or _base_of(options.start_from, settings),
        preset_name=options.preset or "",
        method=options.method or "",
        data=data,
    )
    if options.preferences:
        from dsum_demo.training.preference_pairs import preference_config

        config = preference_config(config, make_registry(settings), options.preferences, options.start_from)
    config = apply_settings(config, options.settings)
    if options.sweep is not None:
        from dsum_demo.training.sweep import with_sweep

        config = with_sweep(config, options.sweep)
    _check_allowed(config, settings)
    return config


def _base_of(model: str, settings: Settings) -> str:
    """The base of the model that preference training starts from; "" without one. Raises UnknownModelError."""
    registry = make_registry(settings)
    return registry.family(registry.spec(model).family).base.name if model else ""


def _resumed(runs: Runs, name: str, settings: Settings) -> RunConfig:
    """The config of an existing run. Raises InputError if the run is unknown or not allowed here."""
    from dsum_demo.training.config import RunConfig

    config = RunConfig.from_record(runs.get(name).config())
    _check_allowed(config, settings)
    return config


def _check_allowed(config: RunConfig, settings: Settings) -> None:
    from dsum_demo.runs.limits import check_allowed

    if settings.public:
        check_allowed(config, settings.uploads_dir)


def check_memory(setup: Setup, settings: Settings, should_stop: Callable[[], bool]) -> str:
    """Return why the run does not fit in memory, or "" if it does; a probe measures it if the estimate is close."""
    from dsum_demo.models.loading import load_config
    from dsum_demo.runs.setup import may_not_fit
    from dsum_demo.runs.worker import probe

    if world_size() > 1 or not may_not_fit(setup, load_config(setup.folder)):
        return ""
    say("dsum: the memory may not be sufficient; measuring three steps first")
    return str(probe(setup.config, settings.as_environment(), should_stop)["refusal"])


@contextmanager
def stopping_on_signals(run: Run) -> Iterator[None]:
    """The first Ctrl-C or a SIGTERM stops the run and keeps the best weights; a second Ctrl-C ends the process."""

    def stop(number: int, frame: Any) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        # Do not overwrite a stop request that discards the weights.
        if is_main() and run.stop_request() is None:
            run.request_stop(keep=True)
            say_in_handler("dsum: stopping; the best weights are kept. Press Ctrl-C again to exit immediately.")

    with handling_stops(stop):
        yield


class Lines:
    """Prints events on standard error: all evaluations, and steps at most every SECONDS_BETWEEN_LINES."""

    def __init__(self) -> None:
        self.printed = 0.0

    def __call__(self, event: Event) -> None:
        kind = event["event"]
        if kind == "step":
            if time.monotonic() - self.printed < SECONDS_BETWEEN_LINES and event["step"] < event["steps"]:
                return
            self.printed = time.monotonic()
            say(
                f"step {event['step']}/{event['steps']}  loss {event['loss']:.3f}  "
                f"{event['samples_per_second'] or 0:.1f} dialogues/s  {size(event['peak_memory_bytes'])}  "
                f"{duration(event['seconds_left'])} left"
            )
        elif kind == "evaluation":
            best = "  (best so far)" if event["best"] else ""
            if "rouge1" not in event:
                say(
                    f"step {event['step']}/{event['steps']}  validation loss {event['loss']:.3f}  "
                    f"accuracy {100 * event['accuracy']:.1f} %{best}"
                )
            else:
                say(
                    f"step {event['step']}/{event['steps']}  validation loss {event['loss']:.3f}  R1 "
                    f"{100 * event['rouge1']:.2f}  R2 {100 * event['rouge2']:.2f}  RL {100 * event['rougeL']:.2f}{best}"
                )
            for row in event["summaries"][:1]:
                say(f"    {row['summary']}")
        elif kind == "batch":
            say(f"dsum: out of memory; continuing with batches of {event['batch_size']} x {event['accumulation']}")


def _created(options: argparse.Namespace, settings: Settings, runs: Runs) -> Run:
    """A new run, created by the main process, which broadcasts its name to the others."""
    config = config_of(options, settings) if is_main() else None
    name = [""]
    if config is not None:
        if config.sweep or config.start_from:
            from dsum_demo.runs.queue import default_name

            wanted = options.name or default_name(config)
        else:
            wanted = options.name or config.preset or f"{config.base}-{config.training.method}"
        name = [runs.create(config.as_record(), wanted).name]
    if world_size() > 1:
        _share(name)
    return Run(runs.folder / name[0])


def _share(name: list[str]) -> None:
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=not torch.cuda.is_available())
    broadcast_object_list(name)


def _probe(config: RunConfig, settings: Settings) -> int:
    from dsum_demo.runs.cost_probe import measure

    cost = measure(config, make_registry(settings), make_sources(settings))
    print(json.dumps(cost.as_dict(), ensure_ascii=False, indent=2))
    return DONE


def _show_batch(config: RunConfig, settings: Settings) -> int:
    from dsum_demo.runs.setup import first_batch_of, set_up
    from dsum_demo.training.first_batch import PADDING, explain

    batch = first_batch_of(set_up(config, make_registry(settings), make_sources(settings)))
    print(explain(batch))
    for row in batch["rows"]:
        print(f"\nTraining dialogue {row['number']}{': ' * bool(row['truncated'])}{row['truncated']}")
        for part in row["parts"]:
            text = f"{part['tokens'][0]} x {part['count']}" if part["kind"] == PADDING else " ".join(part["tokens"])
            print(f"{part['kind']:>8}  {text}")
    return DONE
