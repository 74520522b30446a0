"""The command `dsum review`: lists, exports, imports and reports blind reviews."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsum_demo.cli.console import DONE, say
from dsum_demo.errors import InputError
from dsum_demo.review.storage import ReviewStore
from dsum_demo.settings import Settings

if TYPE_CHECKING:
    from dsum_demo.review.records import Review

FORMATS = ("jsonl", "csv", "preferences")


def add_review(commands: Any) -> None:
    """Add the command to `commands`, the result of argparse's add_subparsers."""
    parser = commands.add_parser("review", help="list, export, import and report blind reviews")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="the reviews in the data folder")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=run_list)

    export = actions.add_parser("export", help="write a review's verdicts to a file")
    _add_name(export)
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file")
    export.add_argument(
        "--format",
        choices=FORMATS,
        default="jsonl",
        help="jsonl: the review with its texts and all verdicts; csv: the verdicts; preferences: prompt, chosen and "
        "rejected for preference training (default: jsonl)",
    )
    export.set_defaults(run=run_export)

    importing = actions.add_parser("import", help="add an exported file; verdicts that are already stored are skipped")
    importing.add_argument("file", type=Path, metavar="FILE", help="JSON Lines or CSV")
    importing.set_defaults(run=run_import)

    report = actions.add_parser("report", help="the results with intervals")
    _add_name(report)
    report.add_argument("--json", action="store_true", help="print JSON")
    report.add_argument("--out", type=Path, metavar="DIR", help="also write CSV, JSON Lines, JSON, Markdown and HTML")
    report.add_argument(
        "--without-hasty", action="store_true", help="leave out verdicts that took less time than reading the texts"
    )
    report.add_argument("--seed", type=int, default=0, metavar="S", help="of the intervals (default: 0)")
    report.set_defaults(run=run_report)


def run_list(options: argparse.Namespace, settings: Settings) -> int:
    store = ReviewStore(settings.reviews_file)
    rows = [(review, store.reviewers(review.id)) for review in store.list()]
    if options.json:
        raw = [
            {
                "id": review.id, "name": review.name, "source": review.source, "created": review.created,
                "systems": [system.name for system in review.systems], "items": review.items,
                "reviewers": reviewers, "simulated": review.simulated, "link": _link(review),
            }
            for review, reviewers in rows
        ]  # fmt: skip
        print(json.dumps({"reviews": raw}, ensure_ascii=False, indent=2))
        return DONE
    for review, reviewers in rows:
        answers = f"{sum(reviewers.values())} answers of {len(reviewers)} reviewers"
        simulated = " (simulated verdicts)" if review.simulated else ""
        print(
            f"{review.id}  {review.created[:10]}  {review.items:>5} items  {answers:<28}  {_link(review)}  "
            f"{review.name}{simulated}"
        )
    if not rows:
        say("dsum: there are no reviews yet; start one in the Review tab.")
    return DONE


def run_export(options: argparse.Namespace, settings: Settings) -> int:
    """Raises InputError if the file exists."""
    from dsum_demo.review.export import preference_jsonl, review_jsonl, verdicts_csv

    store = ReviewStore(settings.reviews_file)
    review = _find(store, options.review)
    if options.out.exists():
        raise InputError(f"{options.out} exists; give a new file.")
    history = store.verdicts(review.id, history=True)
    if options.format == "csv":
        lines = verdicts_csv(review, history)
    elif options.format == "jsonl":
        lines = review_jsonl(review, store.items(review.id), history)
    else:
        lines = preference_jsonl(review, store.items(review.id), store.verdicts(review.id))
    try:
        with options.out.open("w", encoding="utf-8", errors="replace", newline="") as file:
            file.writelines(lines)
    except OSError as error:
        raise InputError(f"{options.out} cannot be written: {error.strerror}; give another file.") from None
    say(f"dsum: wrote {options.out}")
    return DONE


def run_import(options: argparse.Namespace, settings: Settings) -> int:
    from dsum_demo.review.export import import_review

    found = import_review(ReviewStore(settings.reviews_file), options.file)
    state = "created" if found.created else "merged into"
    print(
        f"{state} {found.review.id} ({found.review.name}): {found.new} new verdicts; {_link(found.review)} in the app"
    )
    return DONE


def run_report(options: argparse.Namespace, settings: Settings) -> int:
    from dsum_demo.review.report import build_review_report
    from dsum_demo.review.report_text import review_json, review_markdown, write_review_exports

    store = ReviewStore(settings.reviews_file)
    review = _find(store, options.review)
    items = store.items(review.id)
    report = build_review_report(
        review, items, store.verdicts(review.id), without_hasty=options.without_hasty, seed=options.seed
    )
    print(review_json(report) if options.json else review_markdown(report), end="")
    if options.out:
        if options.out.is_file() or (options.out.is_dir() and any(options.out.iterdir())):
            raise InputError(f"{options.out} exists and is not empty; give a new or empty folder.")
        write_review_exports(review, items, store.verdicts(review.id, history=True), report, options.out)
        try:
            from dsum_demo.ui.review.html_report import review_html
        except ModuleNotFoundError as error:
            say(f"dsum: no report.html: {error.name} is not installed.")
            return DONE
        page = review_html(review, items, store.verdicts(review.id), report)
        (options.out / "report.html").write_text(page, encoding="utf-8", errors="replace")
        say(f"dsum: wrote {options.out}")
    return DONE


def _link(review: Review) -> str:
    """The end of the address in the app."""
    return f"/?review={review.token}"


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("review", metavar="REVIEW", help="id or name (see `dsum review list`)")


def _find(store: ReviewStore, wanted: str) -> Review:
    """Raises InputError for an unknown or ambiguous name."""
    reviews = store.list()
    found = [review for review in reviews if review.id == wanted] or [r for r in reviews if r.name == wanted]
    if len(found) != 1:
        which = f"{len(found)} reviews are named" if found else "There is no review"
        ids = ", ".join(f"{review.id} ({review.name})" for review in found or reviews[:5]) or "none"
        raise InputError(f"{which} {wanted!r}; give an id: {ids}.")
    return found[0]
