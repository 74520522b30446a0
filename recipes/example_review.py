"""Makes an example review with simulated verdicts, for the documentation and the tests.

    python -m recipes.example_review FOLDER

The texts are those of a shipped evaluation. No person judged them: each simulated reviewer adds random noise to the
checks of the summaries. The review, its report and its exports are labelled as simulated. `dsum review import
FOLDER/review.jsonl` adds it to the reviews of the app.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
from dataclasses import replace
from pathlib import Path

from dsum_demo.evaluation.storage import read_evaluation
from dsum_demo.metrics.grounding import ungrounded
from dsum_demo.review.bias import reading_seconds
from dsum_demo.review.metric_agreement import values_of
from dsum_demo.review.records import ErrorSpan, Review, ReviewItem, ReviewSettings, ReviewTask
from dsum_demo.review.report import RESAMPLES, ReviewReport, build_review_report
from dsum_demo.review.report_text import write_review_exports
from dsum_demo.review.sources import draft_from_evaluation
from dsum_demo.review.storage import ReviewStore
from dsum_demo.settings import Settings

EVALUATION = "samples"
REVIEWERS = ("simulated reviewer 1", "simulated reviewer 2", "simulated reviewer 3")
WEIGHTS = {"ungrounded": 0.5, "speakers": 1.0, "repetition": 2.0, "length": 0.5}  # of the checks in a text's quality
NOISE, TIE, BAD = 0.5, 0.15, -1.6  # standard deviation; a smaller difference is a tie; below it all are bad


def example_review(store: ReviewStore, *, limit: int | None = None, seed: int = 0) -> Review:
    """Store the review and the simulated reviewers' verdicts."""
    evaluation = read_evaluation(Settings().shipped_evaluations_dir / EVALUATION)
    settings = ReviewSettings(verdicts_per_item=len(REVIEWERS), seed=seed)
    draft = draft_from_evaluation(evaluation, "Example with simulated verdicts", limit=limit, settings=settings)
    review = store.create(replace(draft, simulated=True))
    for reviewer in REVIEWERS:
        rng = random.Random(f"{seed} {reviewer}")
        while task := store.next_task(review.id, reviewer):
            answer(store, task, rng)
    return review


def answer(store: ReviewStore, task: ReviewTask, rng: random.Random) -> None:
    """Store a verdict drawn from the checks with noise."""
    values = values_of(task.item)
    quality = [
        sum(weight * (values[check][card.systems[0]] or 0.0) for check, weight in WEIGHTS.items()) + rng.gauss(0, NOISE)
        for card in task.cards
    ]
    seconds = reading_seconds(task.item) * rng.uniform(1.2, 3.0)
    spans = [span for card in task.cards for span in invented(task.item, card.systems[0]) if rng.random() < 0.6]
    all_bad = max(quality) < BAD
    # Each text that is better by more than TIE moves a text down by one place.
    ranks = [1 + sum(other > own + TIE for other in quality) for own in quality]
    store.save_verdict(
        task.review, task.reviewer, task.item.id, task.round,
        ranks=() if all_bad else ranks, all_bad=all_bad, spans=spans, seconds=seconds,
    )  # fmt: skip


def invented(item: ReviewItem, system: str) -> list[ErrorSpan]:
    """The first place of each name and number of a text that is not in the dialogue."""
    text = item.texts[system].text
    found = (re.search(re.escape(word), text) for word in ungrounded(text, item.dialogue))
    return [ErrorSpan("invented", place.start(), place.end(), system) for place in found if place]


def write_example(folder: Path, *, limit: int | None = None, resamples: int = RESAMPLES) -> ReviewReport:
    """Write the review's exports to a folder."""
    with tempfile.TemporaryDirectory() as data:
        store = ReviewStore(Path(data, "reviews.sqlite"))
        review = example_review(store, limit=limit)
        items = store.items(review.id)
        report = build_review_report(review, items, store.verdicts(review.id), resamples=resamples)
        write_review_exports(review, items, store.verdicts(review.id, history=True), report, folder)
        return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="for the exports")
    write_example(parser.parse_args().folder)


if __name__ == "__main__":
    main()
