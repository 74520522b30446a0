"""The command `dsum`: `models | compare | score | evaluate | train | push | export | study | review | judge | serve`.
Results go to standard output, everything else to standard error.

Each command imports what it needs, so `--help` and input errors need no heavy imports. Exit codes: 0 success, 1 a model
failed, 2 invalid input, 130 interrupted."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence
from pathlib import Path

from dsum_demo import __version__
from dsum_demo.cli.compare import run_compare
from dsum_demo.cli.console import DONE, FAILED, INTERRUPTED, WRONG_INPUT, add_column_option, add_judge_option, say
from dsum_demo.cli.evaluate import add_evaluate
from dsum_demo.cli.export import add_export
from dsum_demo.cli.judge import add_judge
from dsum_demo.cli.models import run_models
from dsum_demo.cli.push import run_push
from dsum_demo.cli.review import add_review
from dsum_demo.cli.score import run_score
from dsum_demo.cli.serve import run_serve
from dsum_demo.cli.study import add_study
from dsum_demo.cli.train import add_train
from dsum_demo.composition import load_settings
from dsum_demo.errors import DataError, DsumError, InputError, SettingsError, UnknownModelError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    # Importing torch and transformers makes half a million objects that stay; collecting garbage meanwhile finds none.
    gc.set_threshold(50_000, 20, 100)
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options, load_settings())
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
    models.add_argument(
        "--snippet", metavar="NAME", help="print the Python code that loads a model without dsum and summarizes"
    )
    models.set_defaults(run=run_models)

    compare = commands.add_parser("compare", help="summarize one dialogue with up to six systems")
    compare.add_argument("file", metavar="FILE|-", help="a dialogue, chat export or transcript; - for standard input")
    compare.add_argument("--as-is", action="store_true", help="use the text unchanged, not as a chat export")
    compare.add_argument("--reference", action="append", default=[], metavar="TEXT", help="a reference; up to three")
    compare.add_argument("--family", metavar="NAME", help="model family (see `dsum models`)")
    compare.add_argument("--systems", metavar="A,B,C", help="models of any family (default: a family's trio)")
    compare.add_argument(
        "--recorded",
        action="append",
        default=[],
        metavar="NAME=FILE|EVALUATION:SYSTEM",
        help="also a summary from elsewhere: a text, a comparison in JSON and the name of its system, or the summary "
        "of the dialogue in a saved evaluation (samples:dsum-t5-lora)",
    )
    compare.add_argument("--beams", type=int, metavar="N", help="beam search with N beams")
    compare.add_argument(
        "--best-of", type=int, metavar="N", help="generate N candidates and keep the one that a judge prefers"
    )
    compare.add_argument(
        "--judge",
        nargs="?",
        const="",
        metavar="NAME",
        help="judge the summaries with a language model, without references; with --best-of, the judge that chooses",
    )
    compare.add_argument("--max-new-tokens", type=int, metavar="N", help="maximum length of a summary, in tokens")
    compare.add_argument("--json", action="store_true", help="print JSON")
    compare.set_defaults(run=run_compare)

    score = commands.add_parser("score", help="ROUGE of outputs recorded in a CSV, JSON or JSONL file")
    score.add_argument("file", type=Path, metavar="FILE")
    score.add_argument("--references", required=True, metavar="COLS", help="reference columns, comma-separated")
    score.add_argument("--systems", required=True, metavar="COLS", help="columns of outputs, comma-separated")
    add_column_option(score)
    add_judge_option(score)
    score.add_argument("--policy", choices=("mean", "best", "first"), default="mean", help="with several references")
    score.add_argument("--json", action="store_true", help="print JSON")
    score.set_defaults(run=run_score)

    add_evaluate(commands)

    add_train(commands)

    push = commands.add_parser("push", help="upload a finished run to the Hugging Face Hub, with its card")
    push.add_argument("run_name", metavar="RUN")
    push.add_argument("repository", metavar="OWNER/NAME", help="repository to upload to; created if it does not exist")
    push.add_argument("--private", action="store_true", help="make the repository private")
    push.set_defaults(run=run_push)

    add_export(commands)

    add_study(commands)

    add_review(commands)

    add_judge(commands)

    serve = commands.add_parser("serve", help="start the app in the browser")
    serve.add_argument("--host", default=None, help="address to listen on (default: this machine only)")
    serve.add_argument("--port", type=int, default=None, help="port (default: 7860 or the next free one)")
    serve.set_defaults(run=run_serve)
    return parser
