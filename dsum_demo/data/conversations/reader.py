"""Detects the format of a pasted conversation and converts it to one turn per line, `Name: text`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

from dsum_demo.data.conversations import cues, email, structured
from dsum_demo.data.conversations.cleaning import SYSTEM, clean_lines, visible
from dsum_demo.data.conversations.formats import (
    EDITED,
    FORMATS,
    NICK_MARK,
    Format,
    is_emoji,
    is_event,
    is_notice,
    is_quoting_reaction,
    is_reaction,
)
from dsum_demo.data.conversations.names import distinct, is_name_like, is_speaker, person, same, split_heads
from dsum_demo.data.conversations.stamps import STAMP, only_a_day, only_a_stamp, shape
from dsum_demo.data.conversations.turns import Parsed, Turn

_ORDINARY_HEAD = re.compile(r"[^:：]+:(?=\s|$)")
_NUMBERED_ROLE = re.compile(r"(?:q|a|question|answer|frage|antwort) ?\d{1,3}:", re.IGNORECASE)
_USER = ("You", "Me")
_ITEM = re.compile(r"(?:>|\d{1,4}[.)]|[-*•–])\s+")
_ACTION = re.compile(r"\* (\S{1,30}) (.+)")  # of IRC, without a time
_CLOCK = re.compile(r"\[?\d{1,2}:\d{2}:\d{2}\]?")
_ORDINARY_TURN = re.compile(r"[^:：*]+: \S")
_LONGEST_HEAD = 160
_MANY = 5


@dataclass(frozen=True)
class Reading:
    """A dialogue read from a text.

    dialogue: one turn per line, `Name: text`. format: its title, "" if none was detected. turns: number of lines with a
    speaker. dropped: numbers of removed items by kind, such as {"notices": 2}.
    """

    dialogue: str
    format: str = ""
    turns: int = 0
    speakers: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """ "Read as WhatsApp export: 12 turns, 3 speakers (Ana, Bo, Cleo); dropped 12 time stamps, 2 notices." """
        names = ", ".join(self.speakers[:_MANY]) + (", …" if len(self.speakers) > _MANY else "")
        who = f"{counted(len(self.speakers), 'speaker')} ({names})" if self.speakers else "no speakers"
        begin = f"Read as {self.format}: " if self.format else ""
        gone = ", ".join(counted(number, what) for what, number in self.dropped.items())
        return f"{begin}{counted(self.turns, 'turn')}, {who}{'; dropped ' + gone if gone else ''}."

    def as_dict(self) -> dict[str, object]:
        return {
            "format": self.format, "turns": self.turns, "speakers": list(self.speakers), "dropped": dict(self.dropped),
        }  # fmt: skip


def counted(number: int, what: str) -> str:
    """ "1 notice", "2 notices"; `what` may be singular or plural."""
    one = what.removesuffix("s")
    return f"{number:,} {one if number == 1 else one + 's'}"


@lru_cache(maxsize=4)  # called when the text changes, before a comparison and in it
def read_conversation(text: str) -> Reading:
    """The dialogue of a pasted or exported conversation; the lines of a text in no known format are kept.

    In every text, line ends and white space are normalized, and invisible characters and blank lines removed.
    """
    if records := structured.dialogues_of_records(text):
        reading = read_conversation(records[0])
        rest = {"further dialogues": len(records) - 1} if records[1:] else {}
        return replace(reading, format=reading.format or "record of a data set", dropped={**reading.dropped, **rest})
    if "\t" in text.lstrip().split("\n", 1)[0] and (table := structured.read_csv(text)):
        return _as_reading(table)
    cleaned = visible(_with_nicks(text))
    for read in _READERS:
        if parsed := read(cleaned):
            return _as_reading(parsed)
    return _as_reading(_plain(clean_lines(text)))


_TABBED = re.compile(rf"\s*(\[?{STAMP}\]?)\t+ *(\S[^\t\n]{{0,40}}?) *\t+(.*)", re.IGNORECASE)


def _with_nicks(text: str) -> str:
    """The text with the names marked in lines of time, name and message between tabs, as WeeChat and LINE write."""
    lines = text.split("\n") if "\t" in text else []
    found = [_TABBED.fullmatch(line.rstrip("\r")) for line in lines]
    if 5 * sum(map(bool, found)) < sum(map(bool, map(str.strip, lines))) or sum(map(bool, found)) < 2:
        return text

    def line_of(match: re.Match[str]) -> str:
        stamp, who, said = match.groups()
        if who == "*":  # an action: "* Ana waves"
            who, _, said = said.strip().partition(" ")
        marked = f"{NICK_MARK}{who}{NICK_MARK}" if any(map(str.isalnum, who)) else "-!-"
        return f"{stamp} {marked} {said}"

    return "\n".join(line_of(match) if match else line for match, line in zip(found, lines, strict=True))


def _plain(lines: Sequence[str]) -> Parsed:
    """The lines unchanged, except that speakers are followed by an ASCII colon and a space, and that times on separate
    lines, as in transcripts of Google Meet, are removed.
    """
    if len(lines) > 1 and all(map(_ITEM.match, lines)):
        items = [_ITEM.sub("", line, count=1) for line in lines]
        if 5 * sum(map(bool, heads := split_heads(items))) >= 4 * len(items):
            return Parsed(
                "list of turns", [Turn(*head) if head else Turn("", i) for i, head in zip(items, heads, strict=True)]
            )
    spoken = [line for line in lines if not _CLOCK.fullmatch(line)]
    heads = split_heads(spoken)
    times = len(lines) - len(spoken)
    if times and 2 * sum(map(bool, heads)) < len(spoken):
        spoken, heads, times = list(lines), split_heads(lines), 0
    turns = [
        Turn(*head, line if _ORDINARY_HEAD.match(line) else "") if head else Turn("", line)
        for line, head in zip(spoken, heads, strict=True)
    ]
    return Parsed("transcript with times" if times else "", turns, Counter({"time stamps": times}))


def _as_reading(parsed: Parsed) -> Reading:
    spelled: dict[str, str] = {}
    lines, labels = [], []
    for turn in parsed.turns:
        if not turn.speaker:
            lines.append(turn.text)
            continue
        name = spelled.setdefault(same(turn.speaker), person(turn.speaker)) if parsed.format else turn.speaker
        labels.append(name)
        lines.append(turn.line or f"{name}: {turn.text}".rstrip())
    kept = [line for line in lines if line]
    dropped = {what: number for what, number in parsed.dropped.items() if number}
    return Reading("\n".join(kept), parsed.format, len(labels), tuple(distinct(labels)), dropped)


def _by_heads(text: str) -> Parsed | None:
    """The text in the format of FORMATS that matches the most lines, or None if none matches."""
    lines = _joined_heads(text.split("\n"))
    filled = sum(1 for line in lines if line)
    named = sum(1 for head in split_heads(lines) if head)  # already `Name: text`
    ordinary = all(_ORDINARY_TURN.match(line) and not _NUMBERED_ROLE.match(line) for line in lines if line)
    if named == filled and ordinary:
        return None
    best: tuple[int, Format, list[re.Match[str] | None]] | None = None
    for form in FORMATS:
        heads = _heads(form, lines)
        found = sum(1 for head in heads if head)
        enough = found >= max(2, named, form.least * filled) or (found == filled == 1 and not form.whole)
        if enough and (best is None or found > best[0]):
            best = found, form, heads
    return _gather(best[1], lines, best[2]) if best else None


def _heads(form: Format, lines: Sequence[str]) -> list[re.Match[str] | None]:
    """The match of each line that is a head with a speaker, None for other lines."""
    found = [_match(form, line) for line in lines]
    labels = Counter(same(match["who"]) for match in found if match)
    dated = form.notice is not None and "stamp" in form.notice.groupindex
    heads: list[re.Match[str] | None] = []
    for match in found:
        often = labels[same(match["who"])] if match else 0
        # After a date, every label that recurs or is short is a contact: "Anna from Work", "Me".
        contact = match is not None and dated and (often > 1 or _is_short(match["who"]))
        heads.append(match if match and (contact or is_speaker(match["who"], often, expected=True)) else None)
    if form.whole:  # a sentence may also end with a name and a time
        heads = [
            m
            if m and (labels[same(m["who"])] > 1 or m["who"] in _USER or is_speaker(m["who"], 1, expected=form.clear))
            else None
            for m in heads
        ]
    # A message may quote another log: if most stamps have one shape, heads of other shapes need a known speaker.
    shapes = Counter(shape(_stamp(match)) for match in heads if match)
    if not shapes:
        return heads
    title, *others = [match for match in heads if match]
    other_shapes = {shape(_stamp(match)) for match in others}
    if form.whole and len(others) > 1 == len(other_shapes) and shape(_stamp(title)) not in other_shapes:
        heads[heads.index(title)] = None  # the title and the date of a transcript
    usual, times = shapes.most_common(1)[0]
    if times < 3 or 5 * times < 4 * shapes.total():
        return heads
    known = {same(match["who"]) for match in heads if match and shape(_stamp(match)) == usual}
    return [m if m and (shape(_stamp(m)) == usual or same(m["who"]) in known) else None for m in heads]


def _is_short(label: str) -> bool:
    return len(label.split()) < 3 and not re.search(r"[^\w .'’~@+&-]", label)


def _match(form: Format, line: str) -> re.Match[str] | None:
    if form.whole and len(line) > _LONGEST_HEAD and "text" not in form.heads[0].groupindex:
        return None
    if form.notice and "stamp" not in form.notice.groupindex and form.notice.fullmatch(line):
        return None
    return next((match for head in form.heads if (match := head.fullmatch(line))), None)


def _stamp(match: re.Match[str]) -> str:
    return (match["stamp"] if "stamp" in match.re.groupindex else "") or ""


def _joined_heads(lines: Sequence[str]) -> list[str]:
    """The lines, with a name and the time below it, as copied from Slack and Teams, joined into one head; a time and
    the name below it, as exported from iMessage, too.
    """
    lines = _with_dashes(lines)
    filled = [line for line in lines if line]
    above = Counter(one for one, other in pairwise(filled) if _below_name(other))
    below = Counter(other for one, other in pairwise(filled) if only_a_stamp(one))
    stamp_first = bool(filled and only_a_stamp(filled[0])) and all(
        is_speaker(n, below[n], expected=True) for n in below
    )
    joined: list[str] = []
    last = ""
    for line in lines:
        if stamp_first and line and joined and only_a_stamp(last):
            at = max(i for i, other in enumerate(joined) if other)
            joined[at] = f"[{last.strip('[]()')}] {line}"
            last = line
            continue
        if line and not stamp_first and (stamp := _below_name(line)):
            at = next((i for i in range(len(joined) - 1, -1, -1) if joined[i]), -1)
            before = at < 1 or not joined[at - 1] or is_reaction(joined[at - 1])
            full_name = " " in last and is_name_like(last)
            dashed = stamp[0] in "—–" and is_speaker(last, above[last], expected=True)
            if (
                at >= 0
                and last
                and (
                    dashed
                    or ((last in _USER or is_speaker(last, above[last])) and (before or full_name or above[last] > 1))
                )
            ):
                joined[at] += f" {stamp}"
                last = ""
                continue
        joined.append(line)
        last = line or last
    return joined


_BADGES = ("BOT", "APP", "OP", "SERVER")
_STATUS = re.compile(r"(?::[a-z0-9_+'-]{1,40}: ?|[^\w\s\d.,;:!?()'\"…/\[\]—–-]{1,8} ?)+", re.IGNORECASE)


def _below_name(line: str) -> str:
    """The time in a line below a name, with the dash of Discord and without a status emoji; "" for other lines."""
    text = _STATUS.sub("", line, count=1) if len(line) <= 100 else ""
    return text if text and len(text) <= 60 and only_a_stamp(text.lstrip("—– ")) else ""


def _with_dashes(lines: Sequence[str]) -> list[str]:
    """The lines without badges, and with a dash on a line alone moved to the time below it, as Discord copies them."""
    found: list[str] = []
    dash = ""
    for at, line in enumerate(lines):
        following = next((other for other in lines[at + 1 :] if other), "")
        if line in ("—", "–"):
            dash = f"{line} "
        elif line in _BADGES and (following in ("—", "–") or _below_name(following)):
            continue
        else:
            found.append(dash * bool(line and only_a_stamp(line)) + line)
            dash = dash if not line else ""
    return found


def _gather(form: Format, lines: Sequence[str], heads: Sequence[re.Match[str] | None]) -> Parsed | None:
    first = next(match for match in heads if match)
    usual = Counter(shape(_stamp(match)) for match in heads if match).most_common(1)[0][0]
    known = {same(match["who"]) for match in heads if match}
    dropped: Counter[str] = Counter()
    messages: list[tuple[str, list[str]]] = []
    in_notice = False
    for at, (line, head) in enumerate(zip(lines, heads, strict=True)):
        if not line:
            continue
        if head:
            in_notice = False
            dropped["time stamps"] += bool(_stamp(head))
            text = (head["text"] if "text" in head.re.groupindex else "") or ""
            messages.append((head["who"], [text.strip()] if text.strip() else []))
        elif form.notice and (own := form.notice.fullmatch(line)) and _is_own(form, own, usual):
            dropped["notices"] += 1
            in_notice = "stamp" in own.re.groupindex
        elif in_notice:
            continue
        elif form.title == "IRC log" and (action := _ACTION.fullmatch(line)) and same(action[1]) in known:
            messages.append((action[1], [action[2]]))
        elif not messages:
            dropped["leading lines"] += 1
        elif form.whole and messages[-1][1] and only_a_stamp(line):
            dropped["time stamps"] += 1
            messages.append((messages[-1][0], []))
        elif messages[-1][1] and only_a_day(line) and _head_follows(lines, heads, at):
            dropped["dates"] += 1
        else:
            messages[-1][1].append(line)
    turns = [Turn(who, text) for who, parts in messages if (text := _message(parts, dropped))]
    return Parsed(form.titled(first.string), turns, dropped) if turns else None


def _is_own(form: Format, match: re.Match[str], usual: str) -> bool:
    return "stamp" not in match.re.groupindex or shape(match["stamp"]) == usual


def _head_follows(lines: Sequence[str], heads: Sequence[re.Match[str] | None], at: int) -> bool:
    following = next((i for i in range(at + 1, len(lines)) if lines[i]), None)
    return following is not None and heads[following] is not None


def _message(parts: Sequence[str], dropped: Counter[str]) -> str:
    """The lines of a message joined, without notices and reactions."""
    kept: list[str] = []
    counting = False
    for at, part in enumerate(parts):
        text = EDITED.sub("", part.lstrip(SYSTEM)).strip()
        # Reactions and events are below a text; a first line such as "<3" or "I just left the call." is a message.
        if part.startswith(SYSTEM) or is_notice(text) or (at and is_event(text)):
            dropped["notices"] += 1
        elif (is_reaction if at else is_quoting_reaction)(text):
            dropped["reactions"] += bool(text)
        elif counting and re.fullmatch(r"\d{1,4}", text):
            kept.pop()
            dropped["reactions"] += 1
        elif text:
            kept.append(text)
        counting = bool(len(kept) > 1 and is_emoji(text))
    return " ".join(kept)


_READERS: tuple[Callable[[str], Parsed | None], ...] = (
    structured.read_json,
    structured.read_csv,
    cues.read_cues,
    email.read_thread,
    _by_heads,
)
