"""The Review tab: its layout, and the handlers that start, open and continue a review.

The page sends one event for all actions of a reviewer; its data names the action and the review's token. A visitor with
the token, which is in the review's link, may review. The browser that started a review owns it. Results are closed to
reviewers who have not finished, and to all but the owner if the owner wants that.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from types import MethodType
from typing import Any

import gradio as gr

from dsum_demo.comparison import Comparison
from dsum_demo.errors import DsumError, InputError
from dsum_demo.evaluation.output_cache import identify
from dsum_demo.models.catalog import ModelSpec
from dsum_demo.review.records import ErrorSpan, Review, ReviewDraft, ReviewTask
from dsum_demo.review.sources import draft_from_comparison
from dsum_demo.ui.account import account_name, can_sign_in
from dsum_demo.ui.assets import call
from dsum_demo.ui.compare.tab import CompareTab
from dsum_demo.ui.evaluate.form import offer_new_systems
from dsum_demo.ui.evaluate.tab import stopped
from dsum_demo.ui.events import clicked
from dsum_demo.ui.html import notice
from dsum_demo.ui.review import desk
from dsum_demo.ui.review.form import NEW, FormValues, build_review_form, offer_evaluations
from dsum_demo.ui.review.new_run import TICK_SECONDS, draft_of_run, run_parts, start_run
from dsum_demo.ui.review.results import RESULT_PARTS, build_results, check_access, draw_results, write_page
from dsum_demo.ui.review.start import review_list, samples_draft, storage_notice, wanted_review
from dsum_demo.ui.review.visitor import Visitor, check_reviewer
from dsum_demo.ui.services import Services
from dsum_demo.ui.theme import QUIET, Update
from dsum_demo.ui.train.tab import BrowserMemory

READERS_AT_ONCE = 8  # concurrent handlers; each takes milliseconds
MOST_SPANS = 200  # in one verdict
PARTS = ("notice", "running", "bar", "stop", "timer", "start", "list", "desk", "names", *RESULT_PARTS)

HIDDEN = gr.update(visible=False)


def build_review_tab(
    page: gr.Blocks,
    services: Services,
    tabs: gr.Tabs,
    tab: gr.Tab,
    compare: CompareTab,
    memory: BrowserMemory,
) -> None:
    """Build and connect the tab, which is one of `tabs`. A comparison on the screen of `compare` can be reviewed."""
    parts: dict[str, Any] = {"names": memory.names}
    link = gr.Textbox(visible=False)  # the token in the page's address, which a script reads
    parts["notice"] = gr.HTML(elem_id="review-notice")
    with gr.Column(visible=False, elem_id="review-run") as parts["running"], gr.Row(equal_height=True):
        parts["bar"] = gr.HTML(elem_id="review-progress", scale=5, min_width=240)
        parts["stop"] = gr.Button("Stop", variant="stop", elem_id="review-stop", scale=0, min_width=110)
    parts["timer"] = gr.Timer(TICK_SECONDS, active=False)
    with gr.Column(elem_id="review-begin") as parts["start"]:
        storage = gr.HTML(elem_id="review-storage")
        form = build_review_form(services, memory.owner)
        parts["list"] = gr.HTML(js_on_load="dsum.listenToReview(element, trigger)", elem_id="review-list")
    parts["desk"] = gr.HTML(js_on_load="dsum.listenToReview(element, trigger)", elem_id="review-desk")
    parts |= build_results()

    browser, drawn = [memory.owner, memory.names], [parts[name] for name in PARTS]

    shared: dict[str, Any] = {"concurrency_limit": READERS_AT_ONCE, **QUIET}
    for part in ("list", "desk", "facts"):
        # The page itself sends nothing while it waits; gradio would also drop a click right after an answer is drawn.
        parts[part].click(MethodType(act, services), browser, drawn, trigger_mode="multiple", **shared).then(
            None, None, None, js=call("reviewAnswered"), **QUIET
        )
    parts["page"].click(
        MethodType(write_page, services), [*browser, link], parts["page_file"], js=call("shownResults"), **shared
    ).success(None, None, None, js=call("download", "#review-page-file"), **QUIET)
    tab.select(MethodType(open_tab, services), [*browser, form.evaluation], [storage, form.evaluation, *drawn], **QUIET)
    tab.select(MethodType(offer_new_systems, services), [form.family, memory.owner], form.models, **QUIET)
    form.samples.click(MethodType(start_samples, services), browser, drawn, **shared)
    form.start.click(MethodType(start, services), [*browser, *form.values], drawn, **shared).then(
        None, None, None, js=call("showReviewStart"), **QUIET
    )
    parts["stop"].click(MethodType(ask_to_stop, services), memory.owner, parts["stop"], queue=False, **QUIET)
    parts["timer"].tick(MethodType(tick, services), [*browser, link], drawn, js=call("reviewShown"), **shared)
    page.load(MethodType(follow_link, services), [*browser, link], [tabs, *drawn], js=call("reviewLink"), **QUIET)
    if can_sign_in(services.settings):
        page.load(account_name, None, form.reviewer, **QUIET)
    compare.review.click(
        MethodType(review_comparison, services), [compare.comparison, *browser], [tabs, *drawn], **shared
    )


def parts(**changes: Update) -> tuple[Update, ...]:
    """Updates in the order of PARTS; components that are not named keep their value."""
    updates = tuple(changes.pop(name, gr.skip()) for name in PARTS)
    if changes:
        raise TypeError(f"Unknown parts: {', '.join(sorted(changes))}.")
    return updates


def open_tab(services: Services, secret: str, names: Any, chosen: str | None) -> tuple[Update, ...]:
    """(the notice about the storage, the chooser of evaluations, PARTS)."""
    visitor = Visitor.read(secret, names)
    return (
        storage_notice(services.settings, services.backup),
        offer_evaluations(services, chosen),
        *parts(list=review_list(services, visitor), **run_parts(services.review_runs.get(visitor.secret))),
    )


def follow_link(
    services: Services, secret: str, names: Any, token: str, profile: gr.OAuthProfile | None = None
) -> tuple[Update, ...]:
    """(tabs, PARTS): open the review of the page's address, if it names one."""
    if not token or not isinstance(token, str):
        return gr.skip(), *parts()
    try:
        visitor, review = Visitor.read(secret, names, account_name(profile)), services.reviews.by_token(token)
        return gr.update(selected="review"), *_show(services, visitor, review)
    except DsumError as error:
        return gr.update(selected="review"), *parts(notice=notice(services.told(error), "error"))


def start_samples(services: Services, secret: str, names: Any) -> tuple[Update, ...]:
    """Review the shipped evaluation without any question."""
    try:
        visitor = Visitor.read(secret, names)
        visitor.check_secret()
        return _opened(services, visitor, samples_draft(services), "")
    except DsumError as error:
        return parts(notice=notice(services.told(error), "error"))


def start(services: Services, secret: str, names: Any, *values: Any) -> tuple[Update, ...]:
    """Start the review in the form, or the run that becomes one. After an error the form keeps its values."""
    try:
        visitor = Visitor.read(secret, names)
        visitor.check_secret()
        filled = FormValues(*values)
        if filled.source in NEW:
            return parts(notice="", **run_parts(start_run(services, secret, filled)))
        return _opened(services, visitor, wanted_review(services, filled), check_reviewer(filled.reviewer))
    except DsumError as error:
        return parts(notice=notice(services.told(error), "error"))


def tick(services: Services, secret: str, names: Any, shown: str) -> tuple[Update, ...]:
    """The progress of this browser's run. Its review opens when it is done, unless another one is `shown`."""
    visitor = Visitor.read(secret, names)
    started = services.review_runs.get(visitor.secret)
    if started is None or not started.run.over:
        return parts(**run_parts(started))
    if services.review_runs.pop(visitor.secret, None) is None:
        return parts(**run_parts(None))  # another tab of this browser opens it
    if started.run.stopping:
        return parts(notice=notice(stopped(started.run, "Start the same review")), **run_parts(None))
    try:
        draft = draft_of_run(services, started)
        if not shown:
            return _opened(services, visitor, draft, started.reviewer, started.run.error)
        review = services.reviews.create(draft, visitor.secret)
        if visitor.may_judge(review):
            visitor = visitor.joined(review, started.reviewer)
        said = notice(f"{review.name} is ready under All reviews.")
        return parts(notice=said, names=dict(visitor.names), list=review_list(services, visitor), **run_parts(None))
    except DsumError as error:
        return parts(notice=notice(services.told(error), "error"), **run_parts(None))


def ask_to_stop(services: Services, secret: Any) -> Update:
    if started := services.review_runs.get(Visitor.read(secret, {}).secret):
        started.run.stop()
    return gr.update(value="Stopping…", interactive=False)


def review_comparison(services: Services, comparison: Comparison | None, secret: str, names: Any) -> tuple[Update, ...]:
    """(tabs, PARTS): start a review of the comparison on the screen."""
    try:
        if comparison is None:
            raise InputError("There is no comparison yet; press Compare first.")
        visitor = Visitor.read(secret, names)
        visitor.check_secret()
        draft = draft_from_comparison(comparison, weights=_weights(services, comparison))
        return gr.update(selected="review"), *_opened(services, visitor, draft, "")
    except DsumError as error:
        return gr.update(selected="review"), *parts(notice=notice(services.told(error), "error"))


def act(
    services: Services, secret: str, names: Any, event: gr.EventData, profile: gr.OAuthProfile | None = None
) -> tuple[Update, ...]:
    """One action of a reviewer. A verdict is on disk when this answers."""
    return perform(services, Visitor.read(secret, names, account_name(profile)), clicked(event))


def perform(services: Services, visitor: Visitor, data: Mapping[str, Any]) -> tuple[Update, ...]:
    try:
        return _perform(services, visitor, data)
    except DsumError as error:
        return parts(notice=notice(services.told(error), "error"))


def _perform(services: Services, visitor: Visitor, data: Mapping[str, Any]) -> tuple[Update, ...]:
    action, store = data.get("do"), services.reviews
    if action == "leave":
        return parts(
            notice="", desk="", start=gr.update(visible=True), list=review_list(services, visitor), results=HIDDEN
        )
    review = store.by_token(_text(data, "token"))
    if action == "view":
        return _show(services, visitor, review)
    if action == "results":
        check_access(services, visitor, review)
        return parts(notice="", desk="", start=HIDDEN, **draw_results(services, review))
    if action == "delete":
        return _delete(services, visitor, review)
    if action == "join":
        visitor.check_judge(review)
        return _show(services, visitor.joined(review, data.get("name", "")), review)
    reviewer = visitor.reviewer(review)
    if not reviewer:
        return _show(services, visitor, review)
    item, round = _text(data, "item"), _integer(data.get("round"), 0)
    if action == "submit":
        _save(services, review, reviewer, item, round, data)
        if review.settings.reveal == "item":
            store.reveal(review.id, reviewer, item, round)
            return _desk(services, visitor, review, store.task(review.id, reviewer, item, round))
        return _show(services, visitor, review)
    if action == "skip":
        seconds = _seconds(data.get("seconds"))
        reason = _text(data, "reason").strip()
        if not reason:
            raise InputError("Give a reason to skip this item.")
        store.save_verdict(
            review.id, reviewer, item, round, skipped=reason, comment=_text(data, "comment"), seconds=seconds
        )
        return _show(services, visitor, review)
    if action == "open":
        return _desk(services, visitor, review, store.task(review.id, reviewer, item, round))
    if action == "reveal":
        store.reveal(review.id, reviewer)
        return _show(services, visitor, review)
    if action in ("next", "end"):
        return _show(services, visitor, review)
    raise InputError(f"Unknown action {action!r}; reload the page.")


def _save(services: Services, review: Review, reviewer: str, item: str, round: int, data: Mapping[str, Any]) -> None:
    task = services.reviews.task(review.id, reviewer, item, round)
    bad = data.get("bad") is True
    ranks = data.get("ranks")
    ranks = [] if bad or not isinstance(ranks, list) else [_integer(rank, 0) for rank in ranks]
    if not bad and (not ranks or 0 in ranks):
        raise InputError("Rank every summary, or press 0 if all are bad.")
    services.reviews.save_verdict(
        review.id,
        reviewer,
        item,
        round,
        ranks=ranks,
        all_bad=bad,
        spans=_spans(task, data.get("spans")),
        comment=_text(data, "comment"),
        seconds=_seconds(data.get("seconds")) + (task.verdict.seconds if task.verdict else 0),
    )


def _spans(task: ReviewTask, raw: Any) -> list[ErrorSpan]:
    """The marks that the page sent: kind, start, end, and the number of the card, or none for all cards."""
    if not isinstance(raw, list) or len(raw) > MOST_SPANS:
        raise InputError(f"The marked errors are not a list of at most {MOST_SPANS}; reload the page.")
    spans = []
    for span in raw:
        if not isinstance(span, dict):
            raise InputError(f"A marked error is {span!r}; reload the page.")
        card = span.get("card")
        systems = task.cards[card].systems if type(card) is int and 0 <= card < len(task.cards) else ("",)
        spans.append(
            ErrorSpan(_text(span, "kind"), _integer(span.get("start"), -1), _integer(span.get("end"), -1), systems[0])
        )
    return spans


def _opened(
    services: Services, visitor: Visitor, draft: ReviewDraft, reviewer: str, said: str = ""
) -> tuple[Update, ...]:
    """A new review, whose creator is the first reviewer if it is to judge."""
    review = services.reviews.create(draft, visitor.secret)
    if visitor.may_judge(review):
        visitor = visitor.joined(review, reviewer)
    said = " ".join(filter(None, (said, _left_out(draft.identical, draft.without_dialogue))))
    return _show(services, visitor, review, said)


def _show(services: Services, visitor: Visitor, review: Review, said: str = "") -> tuple[Update, ...]:
    """The review for this visitor: joining, the next item, or the end."""
    reviewer = visitor.reviewer(review)
    if not visitor.may_judge(review):
        return _shown(services, visitor, desk.owner_view(review, services.reviews.reviewers(review.id)), said)
    if not reviewer:
        return _shown(services, visitor, desk.join_view(review, visitor.account), said)
    task = services.reviews.next_task(review.id, reviewer)
    if task is not None:
        return _desk(services, visitor, review, task, said)
    store = services.reviews
    progress, answered = store.progress(review.id, reviewer), store.tasks(review.id, reviewer)
    results = visitor.may_see_results(store, review)
    return _shown(services, visitor, desk.end_view(review, progress, answered, results), said)


def _desk(services: Services, visitor: Visitor, review: Review, task: ReviewTask, said: str = "") -> tuple[Update, ...]:
    store = services.reviews
    progress, answered = store.progress(review.id, task.reviewer), store.tasks(review.id, task.reviewer)
    if task.revealed:
        view = desk.revealed_view(review, task, progress, answered, last=progress.remaining == 0)
    else:
        view = desk.item_view(review, task, progress, answered)
    return _shown(services, visitor, view, said)


def _shown(services: Services, visitor: Visitor, view: str, said: str = "") -> tuple[Update, ...]:
    run = run_parts(services.review_runs.get(visitor.secret))
    return parts(notice=notice(said), start=HIDDEN, desk=view, names=dict(visitor.names), results=HIDDEN, **run)


def _delete(services: Services, visitor: Visitor, review: Review) -> tuple[Update, ...]:
    """The page has asked for confirmation."""
    visitor.check_owner(review)
    services.reviews.delete(review.id)
    return parts(notice=notice(f"Deleted {review.name}."), list=review_list(services, visitor))


def _weights(services: Services, comparison: Comparison) -> dict[str, str]:
    """Fingerprints of the compared models' files by name; without those of files that have changed or gone since."""
    found = {}
    models = [result.spec for result in comparison.systems if isinstance(result.spec, ModelSpec)]
    for spec in models:
        with contextlib.suppress(DsumError):
            if identity := identify(spec, services.registry, services.evaluations.cache):
                found[spec.name] = identity.weights
    return found


def _left_out(identical: int, without_dialogue: int) -> str:
    said = []
    if identical:
        what = "dialogue was" if identical == 1 else "dialogues were"
        said.append(f"{identical:,} {what} left out because all systems wrote the same text.")
    if without_dialogue:
        what = "example was" if without_dialogue == 1 else "examples were"
        said.append(f"{without_dialogue:,} {what} left out because the dialogue is not available.")
    return " ".join(said)


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key, "")
    return value if isinstance(value, str) else ""


def _integer(value: Any, otherwise: int) -> int:
    """Numbers in HTML attributes arrive as text."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return otherwise


def _seconds(value: Any) -> float:
    number = float(value) if isinstance(value, int | float) else 0.0
    return number if math.isfinite(number) and number > 0 else 0.0
