"""ROUGE of one summary against its references, with the signature that a score travels with, and whether the names and
numbers of a summary stand in its dialogue. Knows texts only: nothing of models, files or pages.

rouge_score brings nltk and absl; it is imported with the first score, so that importing this module stays cheap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from statistics import fmean
from typing import Any

from dsum_demo.errors import InputError

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
ROUGE_TITLES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "rougeLsum": "ROUGE-Lsum"}
SHORT_TITLES = {"rouge1": "R1", "rouge2": "R2", "rougeL": "RL", "rougeLsum": "RLsum"}
POLICIES = ("mean", "best", "first")
# L and Lsum each fill tables of words by words: ten million cells take them four seconds and 80 MB.
MAX_LCS_CELLS = 10_000_000

_TITLES = ("Mr", "Mrs", "Ms", "Dr", "Prof", "St")
# "So do I." ends a sentence far more often than "I." stands for Isaac.
_UNFINISHED = (*_TITLES, r"[Ee]\.g", r"[Ii]\.e", "[A-HJ-Z]")
_CLOSER = r"[\"'”’)\]]"
_SENTENCE_GAP = re.compile(
    rf"(?:(?<=[.!?])|(?<=[.!?]{_CLOSER})|(?<=[.!?]{_CLOSER}{_CLOSER}))"
    + "".join(rf"(?<!\b{word}\.)" for word in _UNFINISHED)
    + r"(?!(?<=\b[AaPp]\.[Mm]\.)\s+[a-z])\s+"
)

# A speaker label, a number, or a word; the parts of "New York-based" are words of their own.
_TOKEN = re.compile(r"#\w+#|\d+(?:[.,:]\d+)*|[^\W\d_]\w*(?:['’]\w+)*")
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


@dataclass(frozen=True, slots=True)
class Score:
    """Precision, recall and F1, each from 0 to 1."""

    precision: float
    recall: float
    fmeasure: float


@dataclass(frozen=True)
class Signature:
    """What has to be equal for two scores to be comparable. n: examples; references: how many each example has."""

    library: str
    version: str
    stemmer: bool
    lsum_split: str
    policy: str
    references: int
    n: int

    @property
    def text(self) -> str:
        """One line for people."""
        over = {"mean": "mean over", "best": "best of", "first": "first of"}[self.policy]
        compared = "1 reference" if self.references == 1 else f"{over} {self.references} references"
        stemmer = "stemmer" if self.stemmer else "no stemmer"
        return f"{self.library} {self.version}, {stemmer}, F1, {compared}, Lsum split by {self.lsum_split}, n={self.n}"

    def as_dict(self) -> dict[str, Any]:
        return {"text": self.text, **asdict(self)}


def signature(n: int, references: int, policy: str = "mean") -> Signature:
    """The signature of scores over `n` examples with `references` references each. Raises InputError for a policy that
    is not in POLICIES.
    """
    _check_policy(policy)
    return Signature("rouge_score", version("rouge_score"), True, "dsum", policy, references, n)


def score_summary(prediction: str, references: Sequence[str], policy: str = "mean") -> dict[str, Score]:
    """ROUGE-1, -2, -L and -Lsum of one summary, as rouge_score computes them with its Porter stemmer.

    With several references, policy "mean" is the plain mean of precision, of recall and of F1 over them, "best" the
    reference with the highest F1, for each ROUGE type on its own, and "first" the first one. For Lsum both texts are
    split by `split_sentences`. A text without a letter of a-z or a digit scores 0: that is all that rouge_score reads.

    Raises InputError without a reference, for an unknown policy, and for two texts that are both too long for ROUGE-L.
    """
    _check_policy(policy)
    return combine(score_references(prediction, references), policy)


def score_references(prediction: str, references: Sequence[str]) -> list[dict[str, Score]]:
    """The scores against each reference, in their order. Raises InputError as `score_summary` does."""
    if isinstance(references, str):
        raise InputError("The references are one text; give a list of texts.")
    if not references:
        raise InputError("There is no reference summary; ROUGE compares with at least one.")
    prediction = "\n".join(split_sentences(prediction))
    return [_score(prediction, "\n".join(split_sentences(text))) for text in references]


def combine(scores: Sequence[Mapping[str, Score]], policy: str = "mean") -> dict[str, Score]:
    """What a policy makes of the scores against several references. Raises InputError for another policy."""
    _check_policy(policy)
    if policy == "mean" and len(scores) > 1:
        return mean_scores(scores)
    if policy == "best":
        return {rouge: max((score[rouge] for score in scores), key=lambda s: s.fmeasure) for rouge in ROUGE_TYPES}
    return dict(scores[0])


def mean_scores(scores: Sequence[Mapping[str, Score]]) -> dict[str, Score]:
    """Plain means of precision, recall and F1 for each ROUGE type. Raises InputError without scores."""
    if not scores:
        raise InputError("There are no scores to take the mean of.")
    return {
        rouge: Score(
            fmean(score[rouge].precision for score in scores),
            fmean(score[rouge].recall for score in scores),
            fmean(score[rouge].fmeasure for score in scores),
        )
        for rouge in scores[0]
    }


def split_sentences(text: str) -> list[str]:
    """Sentences: they end with a line, and with . ! or ? (and closing quotes or brackets) before a space.

    They do not end after a title ("Dr."), "e.g.", "i.e." or an initial ("J. Smith"), nor after "a.m." and "p.m." where
    a lower-case letter follows. Only white space is taken away. Other abbreviations ("etc.", "No. 5") do end one.
    """
    parts = (part.strip() for line in text.splitlines() for part in _SENTENCE_GAP.split(line))
    return [part for part in parts if part]


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


def _check_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise InputError(f"The reference policy is {policy!r}; choose one of: {', '.join(POLICIES)}.")


def too_long(prediction: str, reference: str) -> str:
    """Why these two cannot be scored, in a sentence; empty where they can."""
    if len(prediction) * len(reference) <= MAX_LCS_CELLS:
        return ""
    words = [len(re.findall("[A-Za-z0-9]+", text)) for text in (prediction, reference)]
    if words[0] * words[1] <= MAX_LCS_CELLS:
        return ""
    return (
        f"ROUGE-L compares every word with every word, and {words[0]:,} words of a summary with {words[1]:,} of a "
        f"reference are more than {MAX_LCS_CELLS:,} pairs; shorten one of the two."
    )


def _score(prediction: str, reference: str) -> dict[str, Score]:
    if reason := too_long(prediction, reference):
        raise InputError(reason)
    # The line ends between sentences mean something to Lsum only: the other types read them as spaces.
    scores = _scorer().score(target=reference, prediction=prediction)
    return {rouge: Score(*map(float, scores[rouge])) for rouge in ROUGE_TYPES}


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(ROUGE_TYPES, tokenizer=_Tokenizer())


class _Tokenizer:
    """rouge_score's own tokenizer with its Porter stemmer, which remembers: a data set says the same words again."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        stemmer = PorterStemmer()
        self.stem = lru_cache(maxsize=100_000)(stemmer.stem)
        # A text is compared with several others.
        self.tokenize = lru_cache(maxsize=256)(self._tokenize)

    def _tokenize(self, text: str) -> list[str]:
        from rouge_score.tokenize import tokenize

        return tokenize(text, self)


def _tokens(text: str) -> Iterator[str]:
    return (_CLITIC.sub("", token) for token in _TOKEN.findall(text))


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
