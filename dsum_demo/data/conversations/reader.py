"""Detects the format of a pasted conversation and converts it to one turn per line, `Name: text`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

from dsum_demo.data.conversations import cues, email, structured
from dsum_demo.data.conversations.cleaning import SYSTEM, clean_lines, visible
from dsum_demo.data.conversations.formats import (
    EDITED,
    FORMATS,
    NICK_MARK,
    TIME_MARK,
    Format,
    is_divider,
    is_emoji,
    is_event,
    is_notice,
    is_quoting_reaction,
    is_reaction,
)
from dsum_demo.data.conversations.names import (
    MAX_NAME,
    distinct,
    is_name_like,
    is_speaker,
    is_surname_first,
    person,
    same,
    split_heads,
)
from dsum_demo.data.conversations.stamps import (
    DATED,
    STAMP,
    only_a_day,
    only_a_stamp,
    only_ago,
    only_relative,
    shape,
)
from dsum_demo.data.conversations.turns import Parsed, Turn
from dsum_demo.utils.formatting import quantity

_ORDINARY_HEAD = re.compile(r"[^:：]+:(?=\s|$)")
_NUMBERED_ROLE = re.compile(r"(?:q|a|question|answer|frage|antwort) ?\d{1,3}:", re.IGNORECASE)
_USER = ("You", "Me")
_ITEM = re.compile(r"(?:>|\d{1,4}[.)]|[-*•–])\s+")
_ACTION = re.compile(r"\* (\S{1,30}) (.+)")  # of IRC, without a time
_CLOCK = re.compile(r"\[?\d{1,2}:\d{2}:\d{2}\]?")
_ENDS_WITH_TIME = re.compile(r"\d[:.]\d\d(?: [ap]\.?m\.?)?[\])]?$", re.IGNORECASE)
_DATED_LINE = re.compile(rf"\[?{DATED}\]?", re.IGNORECASE)
_REPLIED = re.compile(
    r"original message ?:|(?:(?P<who>.{1,60}?) )?(?:(?:has )?replied to|replying to|in reply to|antwortete"
    r"|respondió a|respondeu a|a répondu à|ha risposto a) (?P<to>.{1,60}?)",
    re.IGNORECASE,
)
_FILE_SIZE = re.compile(r"\d{1,4}(?:[.,]\d{1,2})? ?(?:bytes|[KMG]i?B)", re.IGNORECASE)
_DELIVERY = re.compile(
    r"sent|delivered|read|seen|viewed|gesendet|zugestellt|gelesen|enviado|entregado|leído|lido|lu|envoyé|remis",
    re.IGNORECASE,
)
_FILE_NAME = re.compile(r"\S.{0,120}\.\w{1,5}")
_ORDINARY_TURN = re.compile(r"[^:：*]+: \S")
_LONGEST_HEAD = 160
_LONGEST_TIME = 60
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
        comma = "; " if any("," in name for name in self.speakers) else ", "
        names = comma.join([*self.speakers[:_MANY], *["…"] * (len(self.speakers) > _MANY)])
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
    return quantity(number, f"{what[:-3]}y" if what.endswith("ies") else what.removesuffix("s"))


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
    if "\t" in text:
        text = _with_colons_for_tabs(text)
    cleaned = visible(_with_nicks(text))
    for read in _READERS:
        if parsed := read(cleaned):
            return _as_reading(parsed)
    return _as_reading(_plain(clean_lines(text)))


_TABBED = re.compile(rf"\s*(\[?{STAMP}\]?)\t+ *(\S[^\t\n]{{0,40}}?) *\t+(.*)", re.IGNORECASE)


_NAME_AND_TEXT = re.compile(r" *([^\W\d][^\t\n:：]{0,40}?) *:?\t+ *([^\t\n]*\S[^\t\n]*)")


def _with_colons_for_tabs(text: str) -> str:
    """The text with a colon for the tab in lines of a name and a message, if all lines are."""
    pairs = [_NAME_AND_TEXT.fullmatch(line.rstrip("\r")) for line in text.split("\n") if line.strip()]
    names = Counter(same(pair[1]) for pair in pairs if pair)
    if not all(pairs) or len(names) < 2 or not all(n > 1 or is_name_like(name.title()) for name, n in names.items()):
        return text
    return "\n".join(f"{pair[1]}: {pair[2]}" for pair in pairs if pair)


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
    spoken = _without_times(lines)
    heads = split_heads(spoken)
    times = len(lines) - len(spoken)
    turns = [
        Turn(*head, line if _ORDINARY_HEAD.match(line) else "") if head else Turn("", line)
        for line, head in zip(spoken, heads, strict=True)
    ]
    return Parsed("transcript with times" if times else "", turns, Counter({"time stamps": times}))


def _without_times(lines: Sequence[str]) -> list[str]:
    """The lines without those that are only a time, if they are before or after the turns and most others are turns."""
    for is_time in (_CLOCK.fullmatch, _is_time):
        spoken = [line for line in lines if not is_time(line)]
        heads = split_heads(spoken)
        turns = sum(map(bool, heads))
        if len(spoken) == len(lines) or 2 * turns < len(spoken):
            continue
        known = {line for line, head in zip(spoken, heads, strict=True) if head}
        if is_time is not _is_time or _are_between(lines, known):
            return spoken
    return list(lines)


def _are_between(lines: Sequence[str], turns: Collection[str]) -> bool:
    """Whether the lines with a time divide the turns: two or more, none inside a turn, for half of the turns if they
    are without a date.
    """
    times = [at for at, line in enumerate(lines) if _is_time(line)]
    dated = all(_DATED_LINE.fullmatch(lines[at]) for at in times)
    divide = all(at + 1 == len(lines) or lines[at + 1] in turns for at in times)
    return divide and len(times) > 1 and (dated or 2 * len(times) >= len(turns))


def _is_time(line: str) -> bool:
    return len(line) <= _LONGEST_TIME and bool(only_a_stamp(line) or only_relative(line))


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
        begins = [not at or not lines[at - 1] for at in range(len(lines))]
        heads = [
            m
            if m
            and (
                labels[same(m["who"])] > 1
                or m["who"] in _USER
                or is_speaker(
                    m["who"], 1, expected=form.clear or (begin and (" " not in m["who"] or is_surname_first(m["who"])))
                )
            )
            else None
            for m, begin in zip(heads, begins, strict=True)
        ]
    if form.recurs and not _has_conversation(form, lines, heads):
        return [None] * len(lines)
    # A message may quote another log: if most stamps have one shape, heads of other shapes need a known speaker.
    shapes = Counter(_shape(match) for match in heads if match)
    if not shapes:
        return heads
    title, *others = [match for match in heads if match]
    other_shapes = {_shape(match) for match in others}
    if form.whole and len(others) > 1 == len(other_shapes) and _shape(title) not in other_shapes:
        heads[heads.index(title)] = None  # the title and the date of a transcript
    usual, times = shapes.most_common(1)[0]
    if times < 3 or 5 * times < 4 * shapes.total():
        return heads
    known = {same(match["who"]) for match in heads if match and _shape(match) == usual}
    return [m if m and (_shape(m) == usual or same(m["who"]) in known) else None for m in heads]


def _has_conversation(form: Format, lines: Sequence[str], heads: Sequence[re.Match[str] | None]) -> bool:
    """Whether a speaker recurs and, if heads are separate lines, most of them are followed by a message."""
    speakers = Counter(same(head["who"]) for head in heads if head)
    filled = [bool(head) for head, line in zip(heads, lines, strict=True) if line]
    followed = sum(one and not other for one, other in pairwise(filled))
    return len(speakers) > 1 and max(speakers.values()) > 1 and (not form.whole or 5 * followed >= 4 * sum(filled))


def _is_short(label: str) -> bool:
    return len(label.split()) < 3 and not re.search(r"[^\w .'’~@+&-]", label)


def _match(form: Format, line: str) -> re.Match[str] | None:
    if form.whole and len(line) > _LONGEST_HEAD and "text" not in form.heads[0].groupindex:
        return None
    if form.notice and "stamp" not in form.notice.groupindex and form.notice.fullmatch(line):
        return None
    return next((match for head in form.heads if (match := head.fullmatch(line))), None)


def _shape(match: re.Match[str]) -> str:
    """The shape of the head's stamp; equal for all relative times."""
    stamp = _stamp(match)
    return "" if stamp.startswith(TIME_MARK) or only_relative(stamp) else shape(stamp)


def _stamp(match: re.Match[str]) -> str:
    return (match["stamp"] if "stamp" in match.re.groupindex else "") or ""


def _joined_heads(lines: Sequence[str]) -> list[str]:
    """The lines, with a name and the time below it, as copied from Slack and Teams, joined into one head; a time and
    the name below it, as exported from iMessage, too.
    """
    lines = _with_colons(_with_dashes(lines))
    filled = [line for line in lines if line]
    above = Counter(one for one, other in pairwise(filled) if _below_name(other))
    below = Counter(other for one, other in pairwise(filled) if _is_time(one))
    stamp_first = bool(filled and _is_time(filled[0])) and all(is_speaker(n, below[n], expected=True) for n in below)
    relative = [one for one, other in pairwise(filled) if only_relative(other) and is_speaker(one, above[one])]
    ago = sum(1 for line in filled if only_ago(line)) > 1
    is_relative = len(relative) > 1 and (ago or len(set(relative)) < len(relative))
    mixed = stamp_first and any(map(only_relative, filled))
    joined: list[str] = []
    last = ""
    for line in lines:
        at = next((i for i in range(len(joined) - 1, -1, -1) if joined[i]), -1) if line else -1
        if stamp_first and at >= 0 and _is_time(last):
            time = last.strip("[]()")
            joined[at] = f"{line} {TIME_MARK}{time}" if mixed else f"[{time}] {line}"
            last = line
            continue
        if line and not stamp_first and (stamp := _below_name(line)) and (is_relative or not only_relative(line)):
            before = at < 1 or not joined[at - 1] or is_reaction(joined[at - 1])
            full_name = is_name_like(last) and (
                " " in last or bool(_DATED_LINE.fullmatch(line)) or (ago and bool(only_relative(line)))
            )
            dashed = stamp[0] in "—–" and is_speaker(last, above[last], expected=True)
            if (
                at >= 0
                and last
                and not _ENDS_WITH_TIME.search(last)
                and (
                    dashed
                    or ((last in _USER or is_speaker(last, above[last])) and (before or full_name or above[last] > 1))
                )
            ):
                joined[at] += f" {TIME_MARK * bool(only_relative(line))}{stamp}"
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
    if text and len(text) <= _LONGEST_TIME and only_a_stamp(text.lstrip("—– ")):
        return text
    return line if len(line) <= _LONGEST_TIME and only_relative(line) else ""


def _with_colons(lines: Sequence[str]) -> Sequence[str]:
    """The lines with a colon after names that are separate lines, if these recur and a message follows each of them."""
    filled = [line for line in lines if line]
    often = Counter(line for line in filled if len(line) <= MAX_NAME)
    names = {line for line, times in often.items() if times > 1 and is_name_like(line) and not re.search("[:：]", line)}
    are_names = [line in names for line in filled]
    alternate = filled and are_names[0] and not any(one and other for one, other in pairwise([*are_names, True]))
    if len(names) < 2 or not alternate or 3 * sum(are_names) < len(filled) or any(map(_is_time, filled)):
        return lines
    return [f"{line}:" if line in names else line for line in lines]


def _with_dashes(lines: Sequence[str]) -> list[str]:
    """The lines without badges, and with a dash on a line alone moved to the time below it, as Discord copies them."""
    found: list[str] = []
    dash = ""
    for at, line in enumerate(lines):
        following = ""
        if line in _BADGES:
            following = next((lines[i] for i in range(at + 1, len(lines)) if lines[i]), "")
        if line in ("—", "–"):
            dash = f"{line} "
        elif (badge := line.partition(" "))[0] in _BADGES and _below_name(badge[2].strip()):
            found.append(badge[2].strip())
        elif line in _BADGES and (following in ("—", "–") or _below_name(following)):
            continue
        else:
            found.append(dash * bool(line and only_a_stamp(line)) + line)
            dash = dash if not line else ""
    return found


def _gather(form: Format, lines: Sequence[str], heads: Sequence[re.Match[str] | None]) -> Parsed | None:
    first = next(match for match in heads if match)
    usual = Counter(_shape(match) for match in heads if match).most_common(1)[0][0]
    known = {same(match["who"]) for match in heads if match}
    dropped: Counter[str] = Counter()
    messages: list[tuple[str, list[str]]] = []
    in_notice = False
    quoted = _quoted_replies(lines, heads, dropped) if form.whole else frozenset()
    for at, (line, head) in enumerate(zip(lines, heads, strict=True)):
        if not line or at in quoted:
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
        elif form.whole and messages[-1][1] and (only_a_stamp(line) or only_ago(line)):
            dropped["time stamps"] += 1
            messages.append((messages[-1][0], []))
        elif messages[-1][1] and only_a_day(line) and _head_follows(lines, heads, at):
            dropped["dates"] += 1
        else:
            # Discord's older copies have the colon on the message's line.
            messages[-1][1].append(line if messages[-1][1] else line.removeprefix(": "))
    turns = [Turn(who, text) for who, parts in messages if (text := _message(parts, dropped))]
    return Parsed(form.titled(first.string), turns, dropped) if turns else None


def _is_own(form: Format, match: re.Match[str], usual: str) -> bool:
    return "stamp" not in match.re.groupindex or shape(match["stamp"]) == usual


def _head_follows(lines: Sequence[str], heads: Sequence[re.Match[str] | None], at: int) -> bool:
    # The line that marks the unread messages may be between the day and the head.
    following = next(
        (i for i in range(at + 1, len(lines)) if lines[i] and (heads[i] or not is_divider(lines[i]))), None
    )
    return following is not None and heads[following] is not None


def _quoted_replies(
    lines: Sequence[str], heads: Sequence[re.Match[str] | None], dropped: Counter[str]
) -> frozenset[int]:
    """The indexes of lines that quote the message which is answered, above the head of the answer or below it, and of
    names and sizes of attached files.
    """
    known = {same(head["who"]) for head in heads if head}
    filled = [at for at, line in enumerate(lines) if line]
    places = [-1, *(place for place, at in enumerate(filled) if heads[at]), len(filled)]
    bounds = dict(zip(places[1:-1], zip(places, places[2:], strict=False), strict=True))
    found: set[int] = set()
    first_at: dict[str, int] = {}
    for at in filled:
        first_at.setdefault(lines[at], at)

    def is_quote(quote: Sequence[int], who: str, *, above: bool) -> bool:
        def are_repeated(texts: Sequence[str]) -> bool:
            return all(first_at.get(text, quote[0]) < quote[0] or _is_begin(text, lines, quote[0]) for text in texts)

        first, *rest = (lines[at] for at in quote)
        if reply := _REPLIED.fullmatch(first):
            if same(reply["to"] or "") in known or same(reply["who"] or "") == who:
                return are_repeated(rest) or (above and len(rest) == 1)  # the quoted message may not be in the copy
            return reply["to"] is None and bool(rest) and are_repeated(rest)
        if same(first) in known:
            return bool(rest) and are_repeated(rest)
        words = first.split(" ")
        names = (n for n in range(1, min(6, len(words))) if first[0] == "@" and same(" ".join(words[:n])) in known)
        return any(are_repeated([" ".join(words[n:]), *rest]) for n in names)

    for place, at in enumerate(filled):
        if head := heads[at]:
            previous, end = bounds[place]
            above = [filled[p:place] for p in range(max(previous + 1, place - 3), place)]
            below = [filled[place + 1 : p] for p in range(min(place + 4, end - 1), place + 1, -1)]
            for spans in (above, below):
                who, is_above = same(head["who"]), spans is above
                quote = next((span for span in spans if is_quote(span, who, above=is_above)), [])
                dropped["quotations"] += bool(quote)
                found.update(quote)
        elif place and _FILE_SIZE.fullmatch(lines[at]) and _FILE_NAME.fullmatch(lines[filled[place - 1]]):
            dropped["notices"] += 1
            found.update((filled[place - 1], at))
    return frozenset(found)


def _is_begin(text: str, lines: Sequence[str], before: int) -> bool:
    """Whether the text is the truncated begin, with an ellipsis, of one of the previous lines."""
    begin = text.rstrip("….")
    return 3 < len(begin) < len(text) and any(line.startswith(begin) for line in lines[max(0, before - 500) : before])


def _by_times_below(text: str) -> Parsed | None:
    """The turns of blocks of a name, a message and its time, as copied from Signal, or None. A block without a name
    gets no speaker: it may be the user's or a further one of the last person.
    """
    dropped: Counter[str] = Counter()
    blocks: list[list[str]] = [[]]
    for line in filter(None, text.split("\n")):
        if _is_time(line):
            dropped["time stamps"] += 1
            blocks.append([])
        elif blocks[1:] and not blocks[-1] and _DELIVERY.fullmatch(line):
            dropped["notices"] += 1
        else:
            blocks[-1].append(line)
    if blocks.pop() or not blocks or not all(blocks):  # the last line is a time, the first is not
        return None
    labels = [block[0].rstrip(":： ") if len(block) > 1 else "" for block in blocks]
    often = Counter(map(same, filter(None, labels)))
    named = [bool(label) and is_speaker(label, often[same(label)]) for label in labels]
    names = {same(label) for label, name in zip(labels, named, strict=True) if name}
    if len(names) < 2 or 3 * sum(named) < 2 * len(blocks) or not (all(named) or len(names) < sum(named)):
        return None
    turns = []
    for label, name, block in zip(labels, named, blocks, strict=True):
        if message := _message(block[1:] if name else block, dropped):
            turns.append(Turn(label if name else "", message))
    return Parsed("copy with times", turns, dropped)


def _message(parts: Sequence[str], dropped: Counter[str]) -> str:
    """The lines of a message joined, without notices and reactions."""
    kept: list[str] = []
    counting = counted_below = False
    for at, part in enumerate(parts):
        text = EDITED.sub("", part.lstrip(SYSTEM)).strip()
        # Reactions and events are below a text; a first line such as "<3" or "I just left the call." is a message.
        if part.startswith(SYSTEM) or is_notice(text) or (at and is_event(text)):
            dropped["notices"] += 1
        elif (is_reaction if at else is_quoting_reaction)(text):
            dropped["reactions"] += bool(text)
            counted_below = text.rstrip(".").endswith(("reaction", "reactions"))
            continue
        elif counted_below and re.fullmatch(r"\d{1,4}", text):
            pass
        elif counting and re.fullmatch(r"\d{1,4}", text):
            kept.pop()
            dropped["reactions"] += 1
        elif text:
            kept.append(text)
        counted_below = False
        counting = bool(len(kept) > 1 and is_emoji(text))
    return " ".join(kept)


_READERS: tuple[Callable[[str], Parsed | None], ...] = (
    structured.read_json,
    structured.read_csv,
    cues.read_cues,
    email.read_thread,
    _by_times_below,
    _by_heads,
)
