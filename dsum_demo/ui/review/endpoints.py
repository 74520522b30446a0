"""The API's endpoints for blind reviews. A caller has no browser: it sends its own secret in each call, which owns the
reviews that it starts and identifies it as a reviewer. A review is named by the token of its link.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import (
    Any,
    Literal,
    NotRequired,  # pydantic needs this one before Python 3.12
)

from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from dsum_demo.errors import InputError
from dsum_demo.evaluation.recorded import recorded_system
from dsum_demo.review.export import preference_jsonl, review_jsonl, verdicts_csv
from dsum_demo.review.records import (
    LABELS,
    ErrorSpan,
    Review,
    ReviewDraft,
    ReviewItem,
    ReviewProgress,
    ReviewSettings,
    ReviewTask,
    ReviewText,
)
from dsum_demo.review.report import build_review_report
from dsum_demo.review.report_text import review_markdown
from dsum_demo.review.sources import draft_from_evaluation, draft_from_items
from dsum_demo.ui.answers import (
    DeletedAnswer,
    RevealAnswer,
    ReviewAnswer,
    ReviewItemAnswer,
    ReviewProgressAnswer,
    ReviewResultsAnswer,
    ReviewsAnswer,
    VerdictAnswer,
)
from dsum_demo.ui.checked_arguments import checked
from dsum_demo.ui.review.form import MOST_PUBLIC_ITEMS, REPEATED
from dsum_demo.ui.review.results import check_access
from dsum_demo.ui.review.start import evaluation_with_texts
from dsum_demo.ui.review.visitor import Visitor
from dsum_demo.ui.services import Services

SHORTEST_SECRET = 16


@with_config(ConfigDict(extra="forbid"))
class ReviewRow(TypedDict):
    """A dialogue with the summaries that systems wrote, by system name."""

    dialogue: str
    outputs: dict[str, str]
    references: NotRequired[list[str]]
    id: NotRequired[str]


@with_config(ConfigDict(extra="forbid"))
class MarkedError(TypedDict):
    """An error in a summary, or a point of the dialogue that a summary misses; without a label all miss it."""

    kind: str
    quote: str
    label: NotRequired[str]


ROWS, ERRORS = TypeAdapter(list[ReviewRow]), TypeAdapter(list[MarkedError])


def start_review(
    services: Services,
    secret: str,
    rows: list[dict[str, Any]] | None = None,
    evaluation: str | None = None,
    systems: list[str] | None = None,
    limit: int | None = None,
    name: str = "",
    verdicts_per_item: int = 3,
    reveal: Literal["end", "item"] = "end",
    owner_reviews: bool = True,
    share_results: bool = True,
) -> ReviewAnswer:
    """Start a blind review of recorded summaries. The result has its token, which reviewers need, and its link.

    Args:
        secret: Your own random text of at least 16 characters. Keep it: it owns the review.
        rows: Objects with dialogue, outputs (the summary of each system by its name), and optionally references and id.
        evaluation: Instead of rows: the name of a saved evaluation.
        systems: 2 to 4 systems of the evaluation. Default: all of it.
        limit: Review a random sample of this many items. Default: all that this app allows.
        name: The name of the review. Default: that of the data.
        verdicts_per_item: How many reviewers are asked for each item. Default: 3.
        reveal: Reveal the systems to a reviewer at the end, or after each item. Default: end.
        owner_reviews: Whether you judge too; if not, its results are open to you at once. Default: true.
        share_results: Whether reviewers may see the results after finishing. Default: true.
    """
    owner = _visitor(secret)
    settings = ReviewSettings(
        verdicts_per_item=verdicts_per_item, reveal=reveal, repeat_share=REPEATED if reveal == "end" else 0.0,
        owner_reviews=owner_reviews, share_results=share_results,
    )  # fmt: skip
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; give 1 or more.")
    if services.settings.public:
        limit = min(limit or MOST_PUBLIC_ITEMS, MOST_PUBLIC_ITEMS)
    if (rows is None) == (evaluation is None):
        raise InputError("Give either rows or evaluation.")
    if rows is not None:
        if systems:
            raise InputError("systems chooses those of an evaluation; leave out outputs of rows instead.")
        draft = _draft_from_rows(services, checked("rows", rows, ROWS), name, limit, settings)
    else:
        found, title = evaluation_with_texts(services, evaluation or "")
        draft = draft_from_evaluation(
            found, name or f"Review of {title}", systems=systems or (), limit=limit, settings=settings, source=title
        )
    review = services.reviews.create(draft, owner.secret)
    return _described(services, owner, review)


def list_reviews(services: Services, secret: str) -> ReviewsAnswer:
    """List the reviews that you started, newest first.

    Args:
        secret: The secret with which you started them.
    """
    owner = _visitor(secret)
    return {"reviews": [_described(services, owner, review) for review in services.reviews.list(owner.secret)]}


def next_review_item(services: Services, review: str, secret: str, name: str = "") -> ReviewItemAnswer:
    """Get the next item to judge: a dialogue and unnamed summaries. The item is null when all are answered.

    Args:
        review: The token of the review, which is in its link too.
        secret: Your own random text of at least 16 characters. Keep it: it identifies you as a reviewer.
        name: Your name, shown with your verdicts; later calls keep that of the first. Default: a random id.
    """
    found, reviewer = _reviewing(services, review, secret, name)
    task = services.reviews.next_task(found.id, reviewer)
    progress = _progress(services.reviews.progress(found.id, reviewer))
    if task is None:
        return {"reviewer": reviewer, "progress": progress, "item": None}
    return {
        "reviewer": reviewer,
        "progress": progress,
        "item": task.item.id,
        "round": task.round,
        "dialogue": task.item.dialogue,
        "summaries": [
            {"label": label, "text": card.text} for label, card in zip(LABELS, task.cards, strict=False)
        ],
    }  # fmt: skip


def answer_review_item(
    services: Services,
    review: str,
    secret: str,
    item: str,
    ranks: list[int] | None = None,
    all_bad: bool = False,
    skip: str = "",
    errors: list[dict[str, Any]] | None = None,
    comment: str = "",
    seconds: float = 0.0,
    round: int = 0,
) -> VerdictAnswer:
    """Submit or change your verdict on an item. Give one of ranks, all_bad and skip.

    Args:
        review: The token of the review.
        secret: Your secret as a reviewer.
        item: The item, as you were asked it.
        ranks: The rank of each summary in the order of their labels; 1 is best, equal ranks are ties.
        all_bad: Whether all summaries are bad. Default: false.
        skip: A reason to skip the item.
        errors: Marked errors: objects with kind (wrong speaker, invented, wrong number, unclear or missing), quote (the
            exact text; of the dialogue for a missing point) and label (of the summary; none if all miss the
            point).
        comment: A comment on the item.
        seconds: How long you looked at the item. Default: 0, which is flagged as faster than reading.
        round: The round, as you were asked it. Default: 0.
    """
    found, reviewer = _reviewing(services, review, secret)
    store = services.reviews
    task = store.task(found.id, reviewer, item, round)
    marked = [_span(task, error) for error in checked("errors", errors or [], ERRORS)]
    store.save_verdict(
        found.id, reviewer, item, round, ranks=ranks or (), all_bad=all_bad, skipped=skip, spans=marked,
        comment=comment, seconds=seconds,
    )  # fmt: skip
    answer: VerdictAnswer = {"progress": _progress(store.progress(found.id, reviewer))}
    if found.settings.reveal == "item":
        store.reveal(found.id, reviewer, item, round)
        answer["systems"] = _systems(task)
    return answer


def reveal_review(services: Services, review: str, secret: str) -> RevealAnswer:
    """Reveal the systems of your verdicts when you have answered every item. You can no longer change them then.

    Args:
        review: The token of the review.
        secret: Your secret as a reviewer.
    """
    found, reviewer = _reviewing(services, review, secret)
    services.reviews.reveal(found.id, reviewer)
    tasks = services.reviews.tasks(found.id, reviewer)
    return {
        "verdicts": [
            {"item": t.item.id, "round": t.round, "systems": _systems(t), "ranks": dict(t.verdict.ranks)}
            for t in tasks
            if t.verdict
        ]
    }


def review_results(
    services: Services,
    review: str,
    secret: str,
    format: Literal["report", "markdown", "csv", "jsonl", "preferences"] = "report",
) -> ReviewResultsAnswer:
    """Get a review's results or its verdicts. They are open to you if they are on the page: after your last verdict.

    Args:
        review: The token of the review.
        secret: The secret with which you started or judged it.
        format: report (an object), or a text: markdown, csv (verdicts), jsonl (everything) or preferences (for DPO).
    """
    visitor, store = _visitor(secret), services.reviews
    found = store.by_token(review)
    check_access(services, visitor, found)
    items, verdicts = store.items(found.id), store.verdicts(found.id)
    if format == "report":
        return {"report": build_review_report(found, items, verdicts).as_dict()}
    if format == "markdown":
        return {"text": review_markdown(build_review_report(found, items, verdicts))}
    if format == "preferences":
        return {"text": "".join(preference_jsonl(found, items, verdicts))}
    history = store.verdicts(found.id, history=True)
    return {"text": "".join(verdicts_csv(found, history) if format == "csv" else review_jsonl(found, items, history))}


def delete_review(services: Services, review: str, secret: str) -> DeletedAnswer:
    """Delete a review that you started, with all its verdicts.

    Args:
        review: The token of the review.
        secret: The secret with which you started it.
    """
    found = services.reviews.by_token(review)
    _visitor(secret).check_owner(found)
    services.reviews.delete(found.id)
    return {"deleted": found.name}


REVIEW_ENDPOINTS: dict[str, Callable[..., Any]] = {
    "review_start": start_review,
    "review_list": list_reviews,
    "review_next": next_review_item,
    "review_answer": answer_review_item,
    "review_reveal": reveal_review,
    "review_results": review_results,
    "review_delete": delete_review,
}


def _visitor(secret: str) -> Visitor:
    """Raises InputError for a secret that others could guess."""
    if len(secret) < SHORTEST_SECRET:
        raise InputError(
            f"secret has {len(secret)} characters; give {SHORTEST_SECRET} random ones or more, the same in each call."
        )
    return Visitor(secret, {})


def _reviewing(services: Services, token: str, secret: str, name: str = "") -> tuple[Review, str]:
    """The review and the caller's id as its reviewer. Raises InputError if the caller may not judge."""
    visitor, review = _visitor(secret), services.reviews.by_token(token)
    visitor.check_judge(review)
    known = visitor.asked_as(services.reviews, review)
    return review, known[0] if known else visitor.joined(review, name).reviewer(review)


def _draft_from_rows(
    services: Services, rows: list[ReviewRow], name: str, limit: int | None, settings: ReviewSettings
) -> ReviewDraft:
    longest = services.settings.max_input_chars
    names = list(rows[0]["outputs"]) if rows else []
    items = []
    for number, row in enumerate(rows, 1):
        outputs = row["outputs"]
        for text in (row["dialogue"], *row.get("references", []), *outputs.values()):
            if len(text) > longest:
                raise InputError(f"Row {number} has a text of {len(text):,} characters; the limit is {longest:,}.")
        if set(outputs) != set(names):
            raise InputError(f"Row {number} has outputs of {', '.join(outputs)}; it needs those of {', '.join(names)}.")
        items.append(
            ReviewItem(
                row.get("id", f"row {number}"), row["dialogue"], tuple(row.get("references", [])),
                {system: ReviewText(outputs[system]) for system in names},
            )
        )  # fmt: skip
    return draft_from_items(name, "rows", list(map(recorded_system, names)), items, limit, settings)


def _described(services: Services, owner: Visitor, review: Review) -> ReviewAnswer:
    return {
        "review": review.token,
        "link": f"/?review={review.token}",
        "name": review.name,
        "created": review.created,
        "systems": [system.name for system in review.systems],
        "items": review.items,
        "identical": review.identical,
        "without_dialogue": review.without_dialogue,
        "answers": services.reviews.reviewers(review.id),
        "results_open": owner.may_see_results(services.reviews, review),
    }


def _progress(progress: ReviewProgress) -> ReviewProgressAnswer:
    return {"answered": progress.answered, "remaining": progress.remaining}


def _systems(task: ReviewTask) -> dict[str, list[str]]:
    """The systems behind each label; identical texts share one."""
    return {label: list(card.systems) for label, card in zip(LABELS, task.cards, strict=False)}


def _span(task: ReviewTask, error: MarkedError) -> ErrorSpan:
    """The first place of the quoted text. Raises InputError for an unknown label or a text that is not there."""
    cards, label = dict(zip(LABELS, task.cards, strict=False)), error.get("label", "")
    if label and label not in cards:
        raise InputError(f"label is {label!r}; give one of: {', '.join(cards)}.")
    system = cards[label].systems[0] if label else ""
    span = ErrorSpan(error["kind"], 0, 0, system)
    if not label and not span.in_dialogue:
        raise InputError(f"The error {error['kind']!r} needs the label of its summary.")
    text = task.item.dialogue if span.in_dialogue else task.item.texts[system].text
    start = text.find(error["quote"])
    if start < 0:
        raise InputError(f"quote is {error['quote']!r}, which is not in the text; copy it exactly.")
    return replace(span, start=start, end=start + len(error["quote"]))
