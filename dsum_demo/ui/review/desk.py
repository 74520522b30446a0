"""The reviewer's page as HTML: joining, an item to judge, an item with revealed systems, the end.

review.js handles clicks and keys; a button with `data-do` sends its action and the section's data to the app. Before
the reveal, nothing in the HTML names a system.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dsum_demo.data.examples import Example
from dsum_demo.evaluation.scoring import new_record, score_output
from dsum_demo.metrics.checks import check_summary
from dsum_demo.review.records import (
    LABELS,
    LONGEST_COMMENT,
    MISSING,
    SPAN_KINDS,
    Card,
    Review,
    ReviewProgress,
    ReviewTask,
    Verdict,
)
from dsum_demo.ui import html
from dsum_demo.ui.appearance import HUMAN, system_looks, system_titles
from dsum_demo.ui.evaluate.example_detail import checks_list, output_footer, scores_table
from dsum_demo.ui.review.visitor import LONGEST_REVIEWER

KEYS = {"wrong speaker": "W", "invented": "I", "wrong number": "N", "unclear": "U", MISSING: "M"}
HOW = "Give each summary a rank, equal ranks for a tie. Select a text to mark an error in it."
REASONS = ("I do not understand the dialogue.", "I know this dialogue.", "The text is not readable.")
KEYS_HELP = (
    ("1 2 3 4", "rank the summaries A, B, C, D: press the best first"),
    ("=", "the next summary shares the rank of the previous one"),
    ("0", "all are bad"),
    ("Backspace", "clear the ranks"),
    ("Tab, ← →", "go to a text, then move word by word; with Shift, select more words"),
    (
        " ".join(KEYS.values()),
        f"mark the selection: {', '.join(KEYS)}; a missing point is marked in the dialogue",
    ),
    ("C", "comment; Escape leaves it"),
    ("Enter", "submit, then continue"),
    ("[ ]", "the previous and the next of your verdicts"),
)


def join_view(review: Review, name: str = "") -> str:
    """The first page of a review's link. name: of the visitor's account."""
    systems = len(review.systems)
    how = (
        f"You see {review.items} dialogue{'' if review.items == 1 else 's'}, one at a time, with up to {systems} "
        "summaries in random order. Rank them; who wrote which is revealed "
        + ("after each verdict." if review.settings.reveal == "item" else "at the end.")
    )
    return (
        f"{_open(review, 'join', f'Review {review.name}')}{_head(review, None)}<p>{escape(how)}</p>"
        '<div class="review-join"><label for="review-name">Your name, shown with your verdicts (optional)</label>'
        f'<input id="review-name" type="text" maxlength="{LONGEST_REVIEWER}" autocomplete="off" '
        f'placeholder="a random id is used without a name" value="{escape(name)}">'
        f"{_button('join', 'Start reviewing', 'primary', enter=True)}</div></section>"
    )


def owner_view(review: Review, reviewers: Mapping[str, int]) -> str:
    """For a creator who does not judge: the reviewers so far."""
    title = "Reviewers"
    rows = [[escape(name), str(answers)] for name, answers in reviewers.items()]
    table = html.html_table(["Reviewer", "Answers"], rows, "small") if rows else "<p>No verdicts yet.</p>"
    return (
        f"{_open(review, 'owner', title)}{_head(review, None)}<p>Send the link to the reviewers. You do not judge this "
        f"review, so its results are open to you.</p>{table}"
        f'<div class="review-answer">{_button("results", "See the results", "primary", enter=True)}</div></section>'
    )


def item_view(review: Review, task: ReviewTask, progress: ReviewProgress, answered: Sequence[ReviewTask]) -> str:
    """An item to judge, or to judge again: its dialogue and unnamed cards."""
    draft = escape(json.dumps(_draft(task)), quote=True)
    title = f"Item {_number(task, answered)} of {progress.total}"
    seconds = f'data-item="{escape(task.item.id)}" data-round="{task.round}" data-draft="{draft}"'
    cards = "".join(_blind_card(index, card, len(task.cards)) for index, card in enumerate(task.cards))
    revised = '<p class="notice" role="status">You have answered this item; submit to change it.</p>'
    return (
        f"{_open(review, 'item', title, seconds)}{_head(review, progress)}{revised if task.verdict else ''}"
        f'<div class="review-grid"><div class="review-dialogue"><h3 id="review-dialogue">{escape(title)}: dialogue</h3>'
        f"{_markable(task.item.dialogue, 'dialogue', 'Dialogue')}"
        '<ul class="marks" data-marks="dialogue" aria-label="Missing points"></ul></div>'
        f'<div class="review-cards">{cards}</div></div>'
        f"{_marking(task.cards)}{_answer(task)}{_verdict_list(answered, task)}{_keys()}</section>"
    )


def revealed_view(
    review: Review, task: ReviewTask, progress: ReviewProgress, answered: Sequence[ReviewTask], last: bool
) -> str:
    """An answered item with names, scores, checks and costs. last: nothing remains to be answered."""
    title = f"Item {_number(task, answered)} of {progress.total}, revealed"
    cards = "".join(
        _named_card(review, task, name, label)
        for label, card in zip(LABELS, task.cards, strict=False)
        for name in card.systems
    )
    button = (
        _button("end", "Continue", "primary", enter=True) if last else _button("next", "Next item", "primary", True)
    )
    return (
        f"{_open(review, 'revealed', title, _place(task))}{_head(review, progress)}"
        f'<div class="review-grid"><div class="review-dialogue"><h3>{escape(title)}</h3>'
        f'<div class="turns" tabindex="0" role="group" aria-label="Dialogue">{_plain(task.item.dialogue)}</div>'
        f'{_human(task)}</div><div class="review-cards">{cards}</div></div>{_said(task)}'
        f'<div class="review-answer">{button}</div>{_verdict_list(answered, task)}</section>'
    )


def end_view(review: Review, progress: ReviewProgress, answered: Sequence[ReviewTask], results: bool) -> str:
    """Nothing remains: reveal the names. results: whether the reviewer may see them."""
    title = "All items are answered"
    open_ = any(not task.revealed for task in answered)
    if not answered:
        said = "Nothing is left to review: every dialogue has as many verdicts as were asked for."
    elif open_:
        said = "You have answered everything. Until you reveal the systems, you can still change your verdicts below."
    else:
        said = "You have answered everything, and the systems are revealed. Open a verdict below to see its systems."
        said += "" if results else " The results are only for the browser that started this review."
    button = _button("reveal", "Reveal the systems", "primary", enter=True) if open_ else ""
    if results:
        button = _button("results", "See the results", "primary", enter=True)
    table = "" if open_ or not answered else _own_ranks(review, answered)
    return (
        f"{_open(review, 'end', title)}{_head(review, progress)}<h3>{title}</h3><p>{said}</p>{table}"
        f'<div class="review-answer">{button}</div>{_verdict_list(answered)}</section>'
    )


def _open(review: Review, kind: str, title: str, data: str = "") -> str:
    return (
        f'<section class="review-{kind}" data-view="{kind}" data-serial="{secrets.token_hex(4)}" '
        f'data-token="{escape(review.token)}" {data} tabindex="-1" aria-label="{escape(title)}">'
    )


def _place(task: ReviewTask) -> str:
    return f'data-item="{escape(task.item.id)}" data-round="{task.round}"'


def _head(review: Review, progress: ReviewProgress | None) -> str:
    bar = ""
    if progress and progress.total:
        share = 100 * progress.answered / progress.total
        bar = (
            f'<div class="progress" role="progressbar" aria-label="Answered items" aria-valuemin="0" '
            f'aria-valuemax="{progress.total}" aria-valuenow="{progress.answered}">'
            f'<div style="width:{share:.1f}%"></div></div>'
            f'<p class="progress-text">{progress.answered} of {progress.total} answered</p>'
        )
    simulated = '<span class="tag">simulated verdicts</span>' if review.simulated else ""
    return (
        f'<header class="review-head"><h2>{escape(review.name)}</h2>{simulated}<span class="review-links">'
        f"{_button('link', 'Copy link')}{_button('leave', 'All reviews')}</span></header>{bar}"
    )


def _button(action: str, text: str, css: str = "", enter: bool = False) -> str:
    key = " <kbd>Enter</kbd>" if enter else ""
    default = " data-enter" if enter else ""
    return f'<button type="button" class="{css}" data-do="{action}"{default}>{escape(text)}{key}</button>'


def _markable(text: str, source: str, title: str) -> str:
    """A text in which errors can be marked. A carriage return must survive the HTML parser, or offsets would differ."""
    shown = escape(text).replace("\r", "&#13;")
    css = "turns" if source == "dialogue" else "summary"
    return (
        f'<div class="markable {css}" data-source="{source}" tabindex="0" role="textbox" aria-readonly="true" '
        f'aria-multiline="true" aria-label="{title}" dir="auto">{shown}</div>'
    )


def _blind_card(index: int, card: Card, cards: int) -> str:
    label = LABELS[index]
    ranks = "".join(
        f'<label><input type="radio" name="review-rank-{index}" value="{rank}"><span>{rank}</span></label>'
        for rank in range(1, cards + 1)
    )
    text = _markable(card.text, str(index), f"Summary {label}")
    if not card.text.strip():
        text = f'{text}<p class="hint">This summary is empty.</p>'
    return (
        f'<article class="card blind" data-card="{index}" aria-label="Summary {label}"><header><h3>{label}</h3>'
        f"<kbd>{index + 1}</kbd></header>{text}"
        f'<ul class="marks" data-marks="{index}" aria-label="Marked errors of {label}"></ul>'
        f"<fieldset><legend>Rank<span> of {label}, 1 is best</span></legend>{ranks}</fieldset></article>"
    )


def _marking(cards: Sequence[Card]) -> str:
    """The bar that appears for a selected text."""
    kinds = "".join(
        f'<button type="button" data-mark="{kind}">{kind} <kbd>{KEYS[kind]}</kbd></button>'
        for kind in SPAN_KINDS
        if kind != MISSING
    )
    of_one = "".join(
        f'<button type="button" data-mark="{MISSING}" data-of="{index}">in {LABELS[index]}</button>'
        for index in range(len(cards))
    )
    return (
        '<div class="review-marking" role="group" aria-label="Mark the selected text" hidden><p class="selected"></p>'
        f'<span data-for="summary">{kinds}</span><span data-for="dialogue"><button type="button" data-mark="{MISSING}">'
        f"missing in all <kbd>{KEYS[MISSING]}</kbd></button>{of_one}</span></div>"
    )


def _answer(task: ReviewTask) -> str:
    reasons = "".join(f'<option value="{escape(reason)}"></option>' for reason in REASONS)
    submit = "Change the verdict" if task.verdict else "Submit"
    return (
        '<div class="review-answer"><button type="button" data-bad aria-pressed="false">All are bad <kbd>0</kbd>'
        "</button>"
        f'<label for="review-comment">Comment <kbd>C</kbd></label><textarea id="review-comment" rows="1" '
        f'maxlength="{LONGEST_COMMENT}"></textarea>{_button("submit", submit, "primary", enter=True)}</div>'
        f'<p class="review-status" role="status" aria-live="polite">{HOW}</p>'
        '<details class="review-skip"><summary>Skip this item…</summary><label for="review-reason">Reason</label>'
        f'<input id="review-reason" type="text" list="review-reasons" maxlength="{LONGEST_COMMENT}" autocomplete="off">'
        f'<datalist id="review-reasons">{reasons}</datalist>{_button("skip", "Skip")}</details>'
    )


def _verdict_list(answered: Sequence[ReviewTask], now: ReviewTask | None = None) -> str:
    """A button for each answered item, to revise or see it."""
    if not answered:
        return ""
    here = (now.item.id, now.round) if now else None
    buttons = []
    for number, task in enumerate(answered, 1):
        current = ' aria-current="true"' if (task.item.id, task.round) == here else ""
        what = "revealed" if task.revealed else "can be changed"
        if task.verdict and task.verdict.skipped:
            what = f"skipped, {what}"
        buttons.append(
            f'<button type="button" data-do="open" {_place(task)} aria-label="Item {number}, {what}"{current}>{number}'
            "</button>"
        )
    back = _button("next", "Back to the open item") if now and now.verdict and not now.revealed else ""
    return (
        '<nav class="review-verdicts" aria-label="Your verdicts"><span>Your verdicts</span>'
        f"{''.join(buttons)}{back}</nav>"
    )


def _keys() -> str:
    rows = "".join(f"<dt><kbd>{escape(keys)}</kbd></dt><dd>{escape(what)}</dd>" for keys, what in KEYS_HELP)
    return f'<details class="review-keys"><summary>Keys</summary><dl>{rows}</dl></details>'


def _number(task: ReviewTask, answered: Sequence[ReviewTask]) -> int:
    places = [(other.item.id, other.round) for other in answered]
    return places.index((task.item.id, task.round)) + 1 if task.verdict else len(answered) + 1


def _draft(task: ReviewTask) -> dict[str, Any]:
    """The verdict by card, as review.js keeps it."""
    verdict = task.verdict
    if verdict is None:
        return {}
    of = {name: index for index, card in enumerate(task.cards) for name in card.systems}
    return {
        "ranks": [verdict.ranks.get(card.systems[0]) for card in task.cards],
        "bad": verdict.all_bad,
        "spans": [
            {"kind": span.kind, "card": of.get(span.system), "start": span.start, "end": span.end}
            for span in verdict.spans
        ],
        "comment": verdict.comment,
        "reason": verdict.skipped,
        "revision": verdict.revision,
    }


def _plain(dialogue: str) -> str:
    return "".join(f'<p dir="auto">{escape(line)}</p>' for line in dialogue.splitlines())


def _human(task: ReviewTask) -> str:
    if not task.item.references:
        return ""
    body = "".join(f'<li class="text" dir="auto">{escape(text)}</li>' for text in task.item.references)
    return html.card(HUMAN.css_class, HUMAN.title, "", f'<ol class="summary">{body}</ol>', "", copyable=False)


def _named_card(review: Review, task: ReviewTask, name: str, label: str) -> str:
    text, verdict = task.item.texts[name], task.verdict
    titles, looks = system_titles(review.systems), system_looks(review.systems)
    body = f'<p class="summary text" dir="auto">{escape(text.text)}</p>{_marks(task, name)}'
    footer = ""
    if task.item.references:
        example = Example(task.item.id, task.item.dialogue, task.item.references, ())
        output = score_output(new_record(example, 0), text.text, tokens=text.tokens, seconds=text.seconds)
        body += scores_table("mean", output) + checks_list(output)
        footer = output_footer(output)
    else:
        invented = check_summary(text.text, task.item.dialogue, ()).ungrounded
        footer = f"not found in the dialogue: {escape(', '.join(invented))}" if invented else ""
    if text.seconds is not None:
        footer += f" · {text.seconds:.2f} s"
    rank = _rank(verdict, name)
    return html.card(looks[name].css_class, titles[name], f"{label}: {rank}", body, footer, copyable=False)


def _rank(verdict: Verdict | None, name: str) -> str:
    if verdict is None or verdict.skipped:
        return "skipped"
    if verdict.all_bad:
        return "all bad"
    tied = sum(rank == verdict.ranks[name] for rank in verdict.ranks.values()) > 1
    return f"your rank {verdict.ranks[name]}{', shared' if tied else ''}"


def _marks(task: ReviewTask, name: str) -> str:
    """The reviewer's marks on this system's card."""
    if not task.verdict:
        return ""
    card = next(card for card in task.cards if name in card.systems)
    shown = []
    for span in task.verdict.spans:
        if span.system in card.systems or (span.in_dialogue and not span.system):
            text = task.item.dialogue if span.in_dialogue else task.item.texts[span.system].text
            shown.append(f"<li><b>{escape(span.kind)}</b> “{escape(text[span.start : span.end])}”</li>")
    return f'<ul class="marks">{"".join(shown)}</ul>' if shown else ""


def _said(task: ReviewTask) -> str:
    verdict = task.verdict
    if verdict is None:
        return ""
    parts = [f"Skipped: {verdict.skipped}"] if verdict.skipped else []
    parts += [f"Your comment: {verdict.comment}"] if verdict.comment else []
    return html.notice(" · ".join(parts))


def _own_ranks(review: Review, answered: Sequence[ReviewTask]) -> str:
    """How often this reviewer ranked each system first, and its mean rank."""
    titles = system_titles(review.systems)
    ranked = [task.verdict for task in answered if task.verdict and task.verdict.ranks and not task.round]
    if not ranked:
        return ""
    rows = []
    for name, title in titles.items():
        ranks = [verdict.ranks[name] for verdict in ranked]
        rows.append([escape(title), f"{sum(rank == 1 for rank in ranks)}", f"{sum(ranks) / len(ranks):.2f}"])
    return html.html_table(["System", f"Your first ranks of {len(ranked)}", "Your mean rank"], rows, "small")
