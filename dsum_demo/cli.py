"""The command line: `dsum models | compare | score | evaluate | train | push | study | serve`. Results on standard
output, all else on standard error.

Knows how to read arguments and print; the work is done below. Each command imports what it needs, so that `--help` and
mistakes are answered at once. Exit codes: 0 done, 1 a model failed, 2 the input was wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsum_demo import __version__
from dsum_demo.commands import say
from dsum_demo.commands.evaluate import add_evaluate
from dsum_demo.commands.study import add_study
from dsum_demo.commands.train import add_train
from dsum_demo.errors import DataError, DsumError, InputError, ModelError, SettingsError, UnknownModelError
from dsum_demo.metrics import SHORT_TITLES
from dsum_demo.settings import Settings

if TYPE_CHECKING:
    from dsum_demo.comparison import Comparison
    from dsum_demo.registry import Registry

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except (InputError, SettingsError, UnknownModelError) as error:
        rows = getattr(error, "rows", ()) if isinstance(error, DataError) else ()
        say(
            f"dsum: {error}" + (f" (rows {', '.join(map(str, rows[:20]))})" if rows and "row" not in str(error) else "")
        )
        return WRONG_INPUT
    except DsumError as error:
        say(f"dsum: {error}")
        return FAILED
    except KeyboardInterrupt:
        say("dsum: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return DONE


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dsum", description="Original, fully fine-tuned and LoRA summaries of a dialogue, side by side."
    )
    parser.add_argument("--version", action="version", version=f"dsum {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    models = commands.add_parser("models", help="list the families and their variants")
    models.add_argument("--json", action="store_true", help="print JSON")
    models.set_defaults(run=run_models)

    compare = commands.add_parser("compare", help="summarize one dialogue with a family's three systems")
    compare.add_argument("file", metavar="FILE|-", help="a text file, a turn a line; - reads standard input")
    compare.add_argument("--reference", action="append", default=[], metavar="TEXT", help="a reference; up to three")
    compare.add_argument("--family", metavar="NAME", help="a family that `dsum models` lists")
    compare.add_argument("--beams", type=int, metavar="N", help="beam search with N beams")
    compare.add_argument("--max-new-tokens", type=int, metavar="N", help="longest summary, in tokens")
    compare.add_argument("--json", action="store_true", help="print JSON")
    compare.set_defaults(run=run_compare)

    score = commands.add_parser("score", help="ROUGE of outputs recorded in a CSV, JSON or JSONL file")
    score.add_argument("file", type=Path, metavar="FILE")
    score.add_argument("--references", required=True, metavar="COLS", help="reference columns, comma-separated")
    score.add_argument("--systems", required=True, metavar="COLS", help="columns of outputs, comma-separated")
    score.add_argument("--policy", choices=("mean", "best", "first"), default="mean", help="with several references")
    score.add_argument("--json", action="store_true", help="print JSON")
    score.set_defaults(run=run_score)

    add_evaluate(commands)

    add_train(commands)

    push = commands.add_parser("push", help="upload a finished run to the Hugging Face Hub, with its card")
    push.add_argument("run_name", metavar="RUN")
    push.add_argument("repository", metavar="OWNER/NAME", help="made where it does not exist")
    push.add_argument("--private", action="store_true", help="make the repository private")
    push.set_defaults(run=run_push)

    add_study(commands)

    serve = commands.add_parser("serve", help="start the app in the browser")
    serve.add_argument("--host", default=None, help="address to listen on (default: this machine only)")
    serve.add_argument("--port", type=int, default=None, help="port (default: 7860 or the next free one)")
    serve.set_defaults(run=run_serve)
    return parser


def run_models(options: argparse.Namespace) -> int:
    from dsum_demo.registry import Registry

    registry = Registry(Settings.from_environment())
    rows = [{**row, "estimate": None} for row in registry.as_rows()]
    if any(row["state"] == "downloadable" for row in rows):
        say("dsum: estimating what the models that can be downloaded will take on this machine")
        _add_estimates(registry, rows)
    if options.json:
        print(json.dumps({"models": rows}, ensure_ascii=False, indent=2))
        return DONE
    for row in rows:
        size = f"{row['size_bytes'] / 1e6:.0f} MB" if row["size_bytes"] else ""
        print(
            f"{row['name']:<24} {row['kind']:<8} {row['state']:<13} {size:>8}  {row['reason'] or row['note']}".rstrip()
        )
        if row["estimate"]:
            print(f"{'':<25}{row['estimate']['text']}")
    return DONE


def _add_estimates(registry: Registry, rows: list[dict[str, Any]]) -> None:
    from dsum_demo.costs import estimate, measure_speed
    from dsum_demo.loading import ModelStore

    try:
        speed = measure_speed(ModelStore(registry, registry.settings))
    except ModelError:
        speed = None  # then the time stays open
    for row in rows:
        if row["state"] == "downloadable" and (cost := estimate(registry, registry.spec(row["name"]), speed)):
            row["estimate"] = {**asdict(cost), "text": cost.text}


def run_compare(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from dsum_demo import _store
    from dsum_demo.comparison import stream_comparison

    dialogue = _read_text(options.file)
    store = _store()
    family = store.registry.family(options.family) if options.family else store.registry.default_family
    wanted = {"num_beams": options.beams, "max_new_tokens": options.max_new_tokens}
    decode = replace(family.decode, **{name: value for name, value in wanted.items() if value is not None})
    say(f"dsum: comparing {family.title}")
    specs = [spec for spec in family.default_trio() if spec]
    said = ""
    for comparison in stream_comparison(store, family, specs, dialogue, options.reference, decode):
        note = next((system.note for system in comparison.systems if system.note), "")
        if note and note != said:
            say(f"dsum: {note}")
            said = note
    if comparison.fitted and comparison.fitted.note:
        say(f"dsum: {comparison.fitted.note}")
    print(comparison.as_json() if options.json else _comparison_text(comparison), end="")
    failed = [system for system in comparison.systems if system.error]
    for system in failed:
        say(f"dsum: {system.spec.name}: {system.error}")
    return FAILED if failed else DONE


def run_score(options: argparse.Namespace) -> int:
    from dsum_demo.scoring import score_file

    report = score_file(options.file, _columns(options.references), _columns(options.systems), options.policy).as_dict()
    if options.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
        return DONE
    print(f"{'system':<24}" + "".join(f"{title:>8}" for title in SHORT_TITLES.values()))
    for name, scores in report["systems"].items():
        print(f"{name:<24}" + "".join(f"{100 * scores[rouge]:>8.2f}" for rouge in SHORT_TITLES))
    print(f"F1 x 100. {report['signature']['text']}")
    return DONE


def run_push(options: argparse.Namespace) -> int:
    from dsum_demo.hub_upload import push
    from dsum_demo.runs import Runs

    settings = Settings.from_environment()
    run = Runs(settings.runs_dir).get(options.run_name)
    say(f"dsum: uploading {run.name} to {options.repository}")
    print(push(run, options.repository, settings, private=options.private))
    return DONE


def run_serve(options: argparse.Namespace) -> int:
    try:
        from dsum_demo.ui.build import serve
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"The app needs {error.name}, which is not installed: pip install -r requirements.txt"
        ) from None
    serve(Settings.from_environment(), host=options.host, port=options.port)
    return DONE


def _read_text(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None


def _columns(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _comparison_text(comparison: Comparison) -> str:
    lines = []
    for system in comparison.systems:
        lines += [f"{system.spec.title} ({system.spec.name})", f"  {system.summary or '(nothing)'}"]
        if system.scores:
            lines.append(
                "  " + "  ".join(f"{t} {100 * system.scores[r].fmeasure:.2f}" for r, t in SHORT_TITLES.items())
            )
        if system.generation:
            lines.append(f"  {system.generation.seconds:.2f} s, {system.generation.tokens_per_second:.0f} tokens/s")
        lines.append("")
    if comparison.signature:
        lines.append(f"F1 x 100. {comparison.signature.text}")
    else:
        lines.append("No ROUGE: it compares with a reference summary, and none was given (--reference).")
    return "\n".join(lines) + "\n"
