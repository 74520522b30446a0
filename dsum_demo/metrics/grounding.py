"""Names and numbers of a summary that do not occur in its dialogue."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from statistics import fmean

from dsum_demo.metrics.rouge import _TITLES, split_sentences
from dsum_demo.metrics.words import WORD

_CLITIC = re.compile(r"['’](?:s|d|m|ll|re|ve)$", re.IGNORECASE)


_NO_NAMES = frozenset({*_TITLES, "I", "AM", "PM", "OK", "Ok"})


# March and May are left out: at a sentence's start they may be a verb.
_DAYS_AND_MONTHS = frozenset(
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday "
    "January February April June July August September October November December".split()
)


_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()


_NUMBERS_IN_WORDS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS)}


def names_and_numbers(summary: str) -> list[str]:
    """What a summary claims by name: names, numbers in digits and speaker labels, each once, in order of appearance.

    A name is a capitalized word inside a sentence, without its possessive 's. A sentence's first word is capitalized
    anyway: it counts only where it has another capital ("IKEA"), is a day or a month, or also stands capitalized inside
    a sentence of this summary. Whether the dialogue knows it must not decide: that would count the right names and pass
    over the invented ones.

    Misses: names that only begin sentences, numbers in words, lower-case names. Takes for a name: any other capitalized
    word, such as the first one of a quotation. "Peter Wilson" is two names.
    """
    claims = [
        (token, position == 0 and _could_be_ordinary(token))
        for sentence in split_sentences(summary)
        for position, token in enumerate(_tokens(sentence))
        if _may_name(token)
    ]
    sure = {token for token, doubtful in claims if not doubtful}
    return list(dict.fromkeys(token for token, _ in claims if token in sure))


def ungrounded(summary: str, dialogue: str) -> list[str]:
    """The names and numbers of a summary that do not stand in its dialogue, by the rules of `grounded_share`."""
    standing = _standing_in(dialogue)
    return [claim for claim in names_and_numbers(summary) if _key(claim) not in standing]


def grounded_share(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Of all names and numbers in the summaries of (summary, dialogue) pairs, the share that stands in the pair's own
    dialogue, from 0 to 1; None where there are none.

    Compared as whole words, without regard to case, possessive 's or a currency sign; "1,000" is 1000, "9:00" is 9, and
    a number up to twenty may stand in words. A name or number counts once a summary.

    It misses a right name at the wrong place ("Tom" for "Maya"), and whatever `names_and_numbers` misses. It calls
    invented what is right but written otherwise: "10:30" for "half past ten", "30" for "thirty", "US" for "U.S.".
    """
    grounded: list[bool] = []
    for summary, dialogue in pairs:
        invented = ungrounded(summary, dialogue)
        grounded += [claim not in invented for claim in names_and_numbers(summary)]
    return fmean(grounded) if grounded else None


def _tokens(text: str) -> Iterator[str]:
    return (_CLITIC.sub("", token) for token in WORD.findall(text))


def _may_name(token: str) -> bool:
    return not token[0].isalpha() or (token[0].isupper() and token not in _NO_NAMES)


def _could_be_ordinary(token: str) -> bool:
    """Whether a word may be capitalized for no other reason than that it begins a sentence."""
    return token[0].isalpha() and token not in _DAYS_AND_MONTHS and not any(c.isupper() for c in token[1:])


@lru_cache(maxsize=8)  # a page asks again for every piece of text that it draws
def _standing_in(dialogue: str) -> frozenset[str]:
    keys = {_key(token) for token in _tokens(dialogue)}
    return frozenset(keys | {_NUMBERS_IN_WORDS[key] for key in keys & _NUMBERS_IN_WORDS.keys()})


def _key(token: str) -> str:
    """What two spellings of a name or number have in common."""
    if token[0].isdigit():
        return re.sub(r"[:.]00$", "", token.replace(",", ""))
    return token.replace("’", "'").casefold()
