"""Subtitles and meeting transcripts with cues: WebVTT (Teams, Zoom), SRT, and copied transcripts with `-->` lines."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence

from dsum_demo.data.conversations.names import is_speaker, same, split_heads
from dsum_demo.data.conversations.turns import Parsed, Turn

_TIMING = re.compile(
    r"(?:\d{1,3}:)?\d{1,2}:\d{1,2}(?:[.,]\d{1,7})? ?--> ?(?:\d{1,3}:)?\d{1,2}:\d{1,2}(?:[.,]\d{1,7})?.*"
)
_VOICE = re.compile(r"<v(?:\.[^\s>]*)? ([^>\n]{1,80})>")
_TAG = re.compile(r"</?[a-z][^<>]{0,60}>|<[\d:.]{5,15}>|\{\\[^{}]{1,40}\}", re.IGNORECASE)
_HEAD = re.compile(r"(?:>{1,3} ?|[-–—] ?)?(?:([^:：\n\[\]]{1,60}?) ?[:：]|\[([^:：\n\[\]]{1,60})\] ?[:：]?) ?(.*)")
_DASH = re.compile(r"[-–—]{1,2} ?(?=\S)|>{2,3} ?")
# Sounds in subtitles: "[applause]", "♪ ♪", "(PHONE RINGS)"; in lower case, parentheses may contain speech.
_BRACKETS = r"\[[^\[\]]{1,120}\]|[♪♫♬♩][^♪♫♬♩]*[♪♫♬♩]|[♪♫♬♩]"
_LOUD = r"\((?=[^()]*[^\W\d_])[^()a-zß-öø-ÿа-я]{1,120}\)"
_SOUND_LINE = re.compile(rf"(?:[-–—]{{1,2}} ?)?(?:(?:{_BRACKETS}|{_LOUD}) ?)+")
_SOUND = re.compile(rf"(?:[-–—]{{1,2}} ?)?(?:(?:{_BRACKETS}|{_LOUD}|\([^().?!…]{{1,120}}\)|\*[^*.?!]{{1,80}}\*) ?)+")
_SPEECH = re.compile(r"\b(?:i|i['’]m|you|we|he|she|they|it|yes|no|ok|okay)\b", re.IGNORECASE)
_SOUND_WORDS = re.compile(
    r"\b(?:applau\w+|laugh\w*|music\w*|cheer\w*|silence|paus\w+|inaudible|unintelligible|crosstalk|overlapping|noise"
    r"|sigh\w*|cough\w*|gasp\w*|sob\w*|cr(?:y|ies|ying)|scream\w*|whisper\w*|chuckl\w+|giggl\w+|knock\w*|ring\w*"
    r"|beep\w*|bark\w*|clears throat|door \w+|phone \w+|chatter\w*|static|thunder|theme|song|singing|sounds?"
    r"|beifall|applaus|gelächter|lachen|lacht|musik|stille|seufzt|hustet|aplausos?|risas?|música|silencio|"
    r"applaudissements|rires?|musique|silence|掌声|笑声|笑|音乐|音樂|拍手)(?!\w)",
    re.IGNORECASE,
)
_SENTENCE_END = tuple('.?!…。？！"”»)')


def read_cues(text: str) -> Parsed | None:
    """The turns of a text with cue times (`00:01 --> 00:04`), or None for another format.

    A cue that continues the sentence of the previous one is joined to its turn; a cue without a name belongs to the
    last speaker.
    """
    lines = text.split("\n")
    filled = [line for line in lines if line]
    first = next((at for at, line in enumerate(filled) if _TIMING.fullmatch(line)), None)
    if first is None:
        return None
    # A dialogue may quote one cue; a transcript begins with its header, a cue's id or cue times.
    if not filled[0].startswith("WEBVTT") and (first > 1 or split_heads(filled[:first]) not in ([], [None])):
        return None
    dropped: Counter[str] = Counter()
    cues = _cues(lines, dropped)
    dialogues = any(map(_has_several, cues))
    spoken = [voice for cue in cues for voice in _voices(_without_sounds(cue, dropped))]
    heads = [_HEAD.fullmatch(line) if not who else None for who, line in spoken]
    heads = [None if head and head[2] and _SOUND_WORDS.search(head[2]) else head for head in heads]
    labels = Counter(same(head[1] or head[2]) for head in heads if head)
    turns: list[Turn] = []
    for (who, line), head in zip(spoken, heads, strict=True):
        label = (head[1] or head[2]) if head else ""
        changed = bool(_DASH.match(line)) and (dialogues or line.startswith(">"))  # marks another, unknown speaker
        if head and is_speaker(label, labels[same(label)], expected=labels.total() * 2 >= len(spoken)):
            who, line, changed = label, head[3], False
        line = _DASH.sub("", line, count=1) if changed else line
        if _is_sound(line):
            dropped["sounds"] += 1
            continue
        last = turns[-1] if turns else None
        if changed:
            turns.append(Turn("", line))
        elif last and (not who or same(who) == same(last.speaker)) and not last.text.endswith(_SENTENCE_END):
            turns[-1] = Turn(last.speaker, f"{last.text} {line}".strip())
        elif line:
            turns.append(Turn(who or (last.speaker if last else ""), line))
    srt = any(re.match(r"[\d:]+,", line) for line in lines if "-->" in line)
    title = "WebVTT transcript" if text.lstrip().startswith("WEBVTT") else "subtitles (SRT)" if srt else "transcript"
    return Parsed(title, turns, dropped)


def _cues(lines: list[str], dropped: Counter[str]) -> list[list[str]]:
    """The text lines of every cue, without id and times."""
    cues: list[list[str]] = []
    block: list[str] | None = None  # None outside of a cue
    pending: list[str] = []  # may be the id of the next cue
    for line in lines:
        if _TIMING.fullmatch(line):
            dropped["cue times"] += 1
            if block and re.fullmatch(r"\d{1,6}|[\da-f-]{20,}/\S+", block[-1]):  # no blank line before the next id
                block.pop()
                dropped["cue ids"] += 1
            dropped["cue ids"] += len(pending) == 1
            dropped["notices"] += len(pending) > 1
            block, pending = [], []
            cues.append(block)
        elif not line:
            block = None
            pending = pending if len(pending) == 1 and not pending[0].startswith(("WEBVTT", "NOTE", "STYLE")) else []
        elif block is not None:
            block.append(line)
        elif not line.startswith("WEBVTT"):
            pending.append(line)
    return _with_names(cues)


def _with_names(cues: list[list[str]]) -> list[list[str]]:
    """Add a colon if the first line of each cue is the speaker's name, as in Word documents of Teams."""
    firsts = Counter(same(cue[0]) for cue in cues if len(cue) > 1)
    named = [len(cue) > 1 and is_speaker(cue[0], firsts[same(cue[0])]) and not _VOICE.match(cue[0]) for cue in cues]
    if sum(named) * 3 < len(cues) * 2 or any(":" in cue[0] for cue in cues if cue):
        return cues
    return [[f"{cue[0]}: {cue[1]}", *cue[2:]] if name else cue for cue, name in zip(cues, named, strict=True)]


def _without_sounds(cue: list[str], dropped: Counter[str]) -> list[str]:
    """The lines of a cue without those that are only a sound, unless all are, or the first is a name in brackets."""
    kept = [
        line
        for at, line in enumerate(cue)
        if not _SOUND_LINE.fullmatch(line) or (not at and cue[1:] and not _SOUND_WORDS.search(line) and "[" in line)
    ]
    dropped["sounds"] += len(cue) - len(kept) if kept else 0
    return kept or cue


def _is_sound(line: str) -> bool:
    """Whether the text of a voice is only a sound, such as "(door slams)"; "(I think so)" may be speech."""
    return bool(_SOUND.fullmatch(line)) and not (
        "(" in line and _SPEECH.search(line) and not _SOUND_LINE.fullmatch(line)
    )


def _has_several(cue: Sequence[str]) -> bool:
    """Whether several lines of a cue begin with a dash, the first one too: one per speaker."""
    return len(cue) > 1 and bool(_DASH.match(cue[0])) and any(map(_DASH.match, cue[1:]))


def _joined(lines: list[str]) -> list[str]:
    return [" ".join(lines)]


def _voices(lines: list[str]) -> list[tuple[str, str]]:
    """(speaker or "", text) of each voice in a cue, and of each line that begins with a dash if there are several."""
    if _has_several(lines):
        starts = [at for at, line in enumerate(lines) if not at or _DASH.match(line)]
        return [
            voice
            for at, end in zip(starts, [*starts[1:], None], strict=True)
            for voice in _voices(_joined(lines[at:end]))
        ]
    text = " ".join(lines)
    parts = _VOICE.split(text)
    found = [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
    cleaned = [(html.unescape(who).strip(), html.unescape(_TAG.sub("", text)).strip()) for who, text in found]
    return [(who, " ".join(text.split())) for who, text in cleaned if text]
