"""Names and numbers of a summary that do not occur in its dialogue."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from statistics import fmean

from dsum_demo.metrics.rouge import TITLES, split_sentences, stems
from dsum_demo.metrics.words import WORD

_CLITIC = re.compile(r"['’](?:s|d|m|ll|re|ve)$", re.IGNORECASE)


_NO_NAMES = frozenset({*TITLES, "I", "AM", "PM", "OK", "Ok"})


_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()


_NUMBERS_IN_WORDS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS)}


# English words that begin sentences and are not names. A given name that is also one of them ("Will") is not counted
# at the start of a sentence; words in -ing and -ly are recognized by their ending.
_ORDINARY_WORDS = frozenset(
    """
    a an the this that these those some any no none each every either neither both all many much more most few fewer
    less several enough such another other others one half i you he she it we they who whoever what whatever which
    whichever whose whom my your his her its our their mine yours hers ours theirs him them us me himself herself
    itself themselves somebody someone something anybody anyone anything everybody everyone everything nobody nothing
    here there and or but nor so yet for if unless whether because since as although though while whereas when
    whenever where wherever why how until till once before after than like unlike despite of in on at by to from with
    without within into onto through throughout during about above across against along alongside amid among amongst
    around behind below beneath beside besides between beyond concerning considering due except following given
    including inside instead near off opposite out outside over past per regarding regardless thanks toward towards
    under underneath up upon via based according compared am is are was were be been being do does did has have had
    can could may might must shall should will would ought let not never always often sometimes seldom soon now then
    today tonight tomorrow yesterday later afterward afterwards again also too still just even only first second third
    last next finally lastly moreover furthermore however therefore thus hence otherwise nevertheless nonetheless
    meanwhile meantime indeed instead perhaps maybe almost already ever far further quite rather somehow somewhat
    anyway anyhow overall altogether together apart aside elsewhere everywhere somewhere back down away yes yeah no ok
    okay well oh hey hello hi bye please sorry two three four five six seven eight nine ten eleven twelve hundreds
    thousands millions dozens people person man men woman women boy boys girl girls child children kid kids friend
    friends student students teacher teachers parent parents mother father mom mum dad mommy mummy daddy brother
    sister son daughter husband wife grandma grandpa grandmother grandfather family customer customers client clients
    guest guests visitor visitors passenger passengers employee employees employer worker workers colleague colleagues
    boss manager doctor doctors patient patients nurse police driver waiter waitress interviewer interviewers
    interviewee interviewees speaker speakers expert experts scientists researchers tourists neighbor neighbors
    neighbour neighbours classmates being doing going having seeing using asked told surprised worried concerned tired
    inspired shocked disappointed excited happy sad bad great new old good better best worse worst long short right
    wrong time times work school home dinner lunch breakfast
    """.split()
)
_ORDINARY_ENDING = re.compile(r"(?!Beijing|Sterling|Beverly|Kimberly).{4,}(?:ing|ly)")


def names_and_numbers(summary: str) -> list[str]:
    """The distinct names, numbers in digits and speaker labels of a summary in order of appearance.

    A name is a capitalized word, without its possessive 's. A sentence's first word is always capitalized, so it is
    ignored if it is an ordinary English word, unless the summary also has it capitalized inside a sentence. The
    dialogue is not used to decide this: correct names would count and invented ones would not.

    False negatives: numbers in words, lower-case names, ordinary words as names that only begin sentences ("Will").
    False positives: other capitalized words, such as the first one of a quotation, and rare or non-English words that
    begin a sentence. "Peter Wilson" is two names.
    """
    return list(_claims(summary))


def ungrounded(summary: str, dialogue: str) -> list[str]:
    """The names and numbers of a summary that do not occur in its dialogue, by the rules of `grounded_share`.

    A sentence's first word is not reported if the dialogue has another form of it in lower case ("Drivers", "driver").
    """
    known = _keys_in(dialogue)
    missing = {claim: first for claim, first in _claims(summary).items() if _key(claim) not in known}
    if not any(missing.values()):
        return list(missing)
    ordinary = _lower_case_stems(dialogue)
    return [claim for claim, first in missing.items() if not (first and ordinary.issuperset(stems(claim) or [""]))]


def recalled(summary: str, references: Sequence[str]) -> float | None:
    """The share of the names and numbers of a reference that occur in the summary, averaged over the references that
    have some; None without one. Compared as in `grounded_share`.
    """
    known = _keys_in(summary)
    claims = [found for reference in references if (found := names_and_numbers(reference))]
    return fmean(fmean(_key(claim) in known for claim in found) for found in claims) if claims else None


def grounded_share(pairs: Sequence[tuple[str, str]]) -> float | None:
    """The share of the names and numbers in the summaries of (summary, dialogue) pairs that occur in the pair's
    dialogue, from 0 to 1; None if there are none.

    Compared as whole words, ignoring case, possessive 's and currency signs; "1,000" equals 1000, "9:00" equals 9, and
    numbers up to twenty also match their words. A name or number counts once per summary.

    It does not detect a name used in the wrong place ("Tom" for "Maya") or names that `names_and_numbers` misses. It
    counts other notations as ungrounded: "10:30" for "half past ten", "30" for "thirty", "US" for "U.S.".
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


def _claims(summary: str) -> dict[str, bool]:
    """Names and numbers, and whether each occurs only at the beginning of sentences."""
    first_words: dict[str, bool] = {}
    for sentence in split_sentences(summary):
        for position, token in enumerate(_tokens(sentence)):
            if _may_name(token):
                first = position == 0 and token[0].isalpha() and not any(c.isupper() for c in token[1:])
                first_words[token] = first and first_words.get(token, True)
    return {token: first for token, first in first_words.items() if not (first and _is_ordinary(token))}


def _is_ordinary(token: str) -> bool:
    return token.lower() in _ORDINARY_WORDS or _ORDINARY_ENDING.fullmatch(token) is not None


@lru_cache(maxsize=8)
def _lower_case_stems(dialogue: str) -> frozenset[str]:
    return frozenset(stem for token in _tokens(dialogue) if token.islower() for stem in stems(token))


@lru_cache(maxsize=8)  # shared by the summaries of one dialogue
def _keys_in(dialogue: str) -> frozenset[str]:
    keys = {_key(token) for token in _tokens(dialogue)}
    return frozenset(keys | {_NUMBERS_IN_WORDS[key] for key in keys & _NUMBERS_IN_WORDS.keys()})


def _key(token: str) -> str:
    """A key that is equal for different spellings of a name or number."""
    if token[0].isdigit():
        return re.sub(r"[:.]00$", "", token.replace(",", ""))
    return token.replace("’", "'").casefold()
