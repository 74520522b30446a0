"""Corrupted twins of a reference summary: the same text with one kind of error, to test judges with.

Each kind is one row of CORRUPTIONS. A generator returns None if the summary has nothing to corrupt in that way.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dsum_demo.data.dialogues import speakers
from dsum_demo.data.examples import Example
from dsum_demo.metrics.grounding import names_and_numbers, ungrounded
from dsum_demo.metrics.words import WORD


@dataclass(frozen=True)
class Pair:
    """A dialogue and its true summary."""

    dialogue: str
    summary: str


@dataclass(frozen=True)
class Twin:
    """A true summary of a dialogue and the same summary with an error. kind: a name in CORRUPTIONS."""

    kind: str
    dialogue: str
    summary: str
    corrupted: str


@dataclass(frozen=True)
class Corruption:
    """One kind of error.

    title: the corrupted thing, as in "71 % of swapped speakers". how: how it is made, one sentence. corrupt: gets the
    pair, another pair of the same data, and a random generator.
    """

    name: str
    title: str
    how: str
    corrupt: Callable[[Pair, Pair, random.Random], str | None]


# -- speakers


def _mention(*names: str) -> re.Pattern[str]:
    return re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names))


def speaker_pair(dialogue: str, summary: str) -> tuple[str, str] | None:
    """Two speakers of the dialogue, those first whom the summary mentions; None if it mentions none of two."""
    found = sorted(speakers(dialogue), key=lambda name: not _mention(name).search(summary))
    return (found[0], found[1]) if len(found) > 1 and _mention(found[0]).search(summary) else None


def exchange_names(text: str, new: Mapping[str, str]) -> str:
    """The text with names replaced, all at once."""
    return _mention(*new).sub(lambda match: new[match[0]], text) if new else text


def _in_order(text: str, one: str, other: str) -> str:
    """The text with "Tom and Ann" for "Ann and Tom", which means the same."""
    return re.sub(rf"(?<!\w){re.escape(other)} and {re.escape(one)}(?!\w)", f"{one} and {other}", text)


def _swap(pair: Pair, _: Pair, __: random.Random) -> str | None:
    names = speaker_pair(pair.dialogue, pair.summary)
    if names is None:
        return None
    swapped = exchange_names(pair.summary, {names[0]: names[1], names[1]: names[0]})
    return None if _in_order(swapped, *names) == _in_order(pair.summary, *names) else swapped


def _move_one_mention(pair: Pair, _: Pair, rng: random.Random) -> str | None:
    names = speaker_pair(pair.dialogue, pair.summary)
    if names is None:
        return None
    one, other = names
    found = list(_mention(one, other).finditer(pair.summary))
    together = [m.span() for m in re.finditer(_either_order(one, other), pair.summary)]
    alone = [m for m in found if not any(begin <= m.start() < end for begin, end in together)]
    if len(found) < 2 or not alone:
        return None  # a single mention is what swapping exchanges
    chosen = rng.choice(alone)
    return pair.summary[: chosen.start()] + (other if chosen[0] == one else one) + pair.summary[chosen.end() :]


def _either_order(one: str, other: str) -> str:
    return rf"{re.escape(one)} and {re.escape(other)}|{re.escape(other)} and {re.escape(one)}"


# -- names and numbers

_NEW_NAMES = (
    "Adrian Bernard Celeste Dominic Estelle Florence Gordon Harriet Imogen Jasper Leopold Marjorie Nigel Ophelia "
    "Percival Quentin Rosalind Sebastian Tabitha Ulrich Viola Winston"
).split()


def _replace_name(pair: Pair, _: Pair, rng: random.Random) -> str | None:
    invented = ungrounded(pair.summary, pair.dialogue)
    names = [name for name in names_and_numbers(pair.summary) if name[0].isalpha() and name not in invented]
    if not names:
        return None
    new = rng.choice([name for name in _NEW_NAMES if name not in pair.dialogue and name not in pair.summary])
    return _mention(rng.choice(names)).sub(new, pair.summary)


_NUMBER_WORDS = (
    "two three four five six seven eight nine ten eleven twelve".split(),
    "twenty thirty forty fifty sixty seventy eighty ninety".split(),
)


def _change_number(pair: Pair, _: Pair, rng: random.Random) -> str | None:
    """Another number of the dialogue if it has one in digits, else one digit or number word is changed."""
    places = [m for m in WORD.finditer(pair.summary) if _number_words(m[0]) or m[0][0].isdigit()]
    if not places:
        return None
    chosen = rng.choice(places)
    own = {m[0] for m in places}
    if words := _number_words(chosen[0]):
        new = rng.choice([word for word in words if word not in own])
        new = new.capitalize() if chosen[0][0].isupper() else new
    else:
        others = [m[0] for m in WORD.finditer(pair.dialogue) if m[0][0].isdigit() and m[0] not in own]
        new = rng.choice(others) if others else _other_digit(chosen[0], rng)
    return pair.summary[: chosen.start()] + new + pair.summary[chosen.end() :]


def _number_words(word: str) -> list[str]:
    return next((words for words in _NUMBER_WORDS if word.lower() in words), [])


def _other_digit(number: str, rng: random.Random) -> str:
    """ "9:30" with another hour, "1,000" with another thousand, "25" with another last digit."""
    place = re.match(r"\d+", number).end() - 1  # type: ignore[union-attr]
    return number[:place] + rng.choice([d for d in "123456789" if d != number[place]]) + number[place + 1 :]


# -- negation

_AUXILIARIES = "is are was were will would can could should has had".split()
_VERBS = {
    third: plain
    for plain in (
        "want like think agree know need love believe understand feel prefer plan have hope decide promise remember "
        "enjoy accept mind work live help invite suggest recommend buy offer"
    ).split()
    for third in ["has" if plain == "have" else f"{plain}s"]
}
_CONTRACTED = {"won't": "will", "can't": "can", "cannot": "can"} | {
    f"{word}n't": word for word in _AUXILIARIES if word not in ("will", "can")
}
_NEGATED = re.compile(
    rf"\b(?:(?P<contracted>{'|'.join(_CONTRACTED)})|(?P<auxiliary>{'|'.join(_AUXILIARIES)}) not"
    rf"|(?:doesn't|does not) (?P<verb>\w+)|(?P<past>didn't|did not)|(?P<plural>don't|do not))(?= |\b)"
)
_POSITIVE = re.compile(rf"\b(?:(?P<auxiliary>{'|'.join(_AUXILIARIES)})|(?P<verb>{'|'.join(_VERBS)}))(?= )")


def _flip_negation(pair: Pair, _: Pair, rng: random.Random) -> str | None:
    """A "not" is removed if there is one, else one is inserted."""
    if negated := list(_NEGATED.finditer(pair.summary)):
        chosen = rng.choice(negated)
        new = _without_not(chosen)
    elif positive := list(_POSITIVE.finditer(pair.summary)):
        chosen = rng.choice(positive)
        if word := chosen["auxiliary"]:
            new = "cannot" if word == "can" else f"{word} not"
        else:
            new = f"does not {_VERBS[chosen['verb']]}"
    else:
        return None
    return pair.summary[: chosen.start()] + new + pair.summary[chosen.end() :]


def _without_not(negated: re.Match[str]) -> str:
    if negated["contracted"]:
        return _CONTRACTED[negated["contracted"]]
    if negated["auxiliary"]:
        return negated["auxiliary"]
    if verb := negated["verb"]:
        ending = "es" if verb.endswith(("s", "sh", "ch", "x", "o")) else "s"
        return "has" if verb == "have" else f"{verb[:-1]}ies" if re.search(r"[^aeiou]y$", verb) else verb + ending
    return "did" if negated["past"] else "do"


# -- another dialogue


def _other_summary(pair: Pair, other: Pair, _: random.Random) -> str | None:
    """The other summary, about this dialogue's speakers."""
    own, others = speakers(pair.dialogue), speakers(other.dialogue)
    renamed = dict(zip(others, own, strict=False))
    if not renamed or pair.dialogue == other.dialogue:
        return None
    text = exchange_names(other.summary, renamed)
    return None if text == pair.summary else text


CORRUPTIONS = {
    kind.name: kind
    for kind in (
        Corruption(
            "speakers",
            "swapped speakers",
            "Two speakers are exchanged in the whole summary; “Tom and Ann” for “Ann and Tom” is not a change.",
            _swap,
        ),
        Corruption(
            "mention",
            "one wrong speaker",
            "One mention of a speaker is replaced by the other speaker.",
            _move_one_mention,
        ),
        Corruption(
            "number",
            "changed numbers",
            "A number is replaced by another number of the dialogue, or one digit or number word is changed.",
            _change_number,
        ),
        Corruption(
            "name",
            "replaced names",
            "A name that occurs in the dialogue is replaced by one that does not.",
            _replace_name,
        ),
        Corruption(
            "negation",
            "flipped negations",
            "A “not” is removed, or inserted after an auxiliary or before a frequent verb.",
            _flip_negation,
        ),
        Corruption(
            "other",
            "other dialogues' summaries",
            "The summary of another dialogue, about this dialogue's speakers.",
            _other_summary,
        ),
    )
}


def twins(examples: Sequence[Example], seed: int = 0, kinds: Sequence[str] = tuple(CORRUPTIONS)) -> list[Twin]:
    """At most one twin of each kind for each example, of its first reference. The result depends on the seed and the
    example's place only.
    """
    found = []
    for place, example in enumerate(examples):
        if not example.references:
            continue
        pair = Pair(example.dialogue, example.references[0])
        for kind in kinds:
            rng = random.Random(f"{seed} {place} {kind}")
            stranger = examples[(place + rng.randrange(1, max(2, len(examples)))) % len(examples)]
            if not stranger.references:
                continue
            other = Pair(stranger.dialogue, stranger.references[0])
            corrupted = CORRUPTIONS[kind].corrupt(pair, other, rng)
            if corrupted is not None and corrupted != pair.summary:
                found.append(Twin(kind, pair.dialogue, pair.summary, corrupted))
    return found
