"""Self-supervised objectives: a window of turns -> (source, target). No human summary of DialogSum is used.

- span corruption: T5's own (Raffel et al. 2020, arXiv:1910.10683, section 3.1.4).
- recall: span corruption whose spans are names, numbers and rare words that stand elsewhere in the window.
- gap sentence: the sentence closest to the rest is masked and asked for (PEGASUS, arXiv:1912.08777), under the prompt.
- reported speech: the salient sentences, left in place, are asked for as a reporter would tell them ("I want a refund"
  becomes "#Person1# wants a refund"), by rules, under the prompt. It teaches to point, to copy and who said what.
- weak summaries: another corpus's loose summaries, under the prompt.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable

from recipes.corpus import Conversation

Turn = tuple[str, str]

# share of the mix
OBJECTIVES = {"reported": 0.45, "spans": 0.27, "recall": 0.17, "gap": 0.07, "weak": 0.04}

INTERJECTIONS = re.compile(
    r"^(?:(?:well|oh|ah|yes|yeah|no|ok|okay|sure|hi|hello|hey|great|so|and|but|um|uh|alright|all right|right|really|"
    r"good|fine|actually|anyway|you know|i see|of course|also|then|wow)\b[\s,.!-]*)+",
    re.IGNORECASE,
)
PRESENT = frozenset(
    """
    ask agree believe call come cost eat enjoy expect feel find forget get give go guess hate have hear help
    hope keep know like live look love make mean mind miss need own pay plan play prefer promise read recommend
    remember run say see sell send spend start stay study suggest suppose take talk teach tell think travel try
    understand use visit wait walk want wear wish wonder work worry
    """.split()
)
ADVERBS = frozenset(
    """
    also always just really still usually often never only totally definitely already
    """.split()
)
LOWERED = frozenset(
    """
    a an the this that these those it he she they we there here my your his her its our their some any all what
    where when how why who if in on at for from with by to of about after before because is are was were not
    just maybe perhaps you one two please can could would will let do does did have has had i'm it's that's
    there's he's she's
    """.split()
)
STOP = LOWERED | frozenset(
    """
    i me and or but so be been am as than then too very up out no yes oh well okay ok don't i'll i've i'd you're
    know think get go like want really good just thank thanks
    """.split()
)
SUBJECTS = {
    "i'm": "{S} is", "i've": "{S} has", "i'll": "{S} will", "i'd": "{S} would", "my": "{S}'s", "me": "{S}",
    "mine": "{S}'s", "you're": "{O} is", "you've": "{O} has", "you'll": "{O} will", "you'd": "{O} would",
    "your": "{O}'s", "yours": "{O}'s", "we": "they", "we're": "they are", "we've": "they have", "we'll": "they will",
    "we'd": "they would", "us": "them", "our": "their",
}  # fmt: skip
AUXILIARIES = {"am": "is", "are": "is", "have": "has", "do": "does", "don't": "doesn't", "haven't": "hasn't",
               "aren't": "isn't", "were": "was", "weren't": "wasn't"}  # fmt: skip


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])(?<!Mr\.)(?<!Mrs\.)(?<!Ms\.)(?<!Dr\.)\s+", text)


def third_person(verb: str) -> str:
    if verb in ("go", "do"):
        return verb + "es"
    if verb == "have":
        return "has"
    if re.search(r"(?:s|sh|ch|x|z)$", verb):
        return verb + "es"
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ies"
    return verb + "s"


def retell(text: str, speaker: str, other: str) -> str:
    """First and second person to the speakers' labels: "I need your help" -> "#Person1# needs #Person2#'s help"."""
    words, out, i = text.split(), [], 0
    while i < len(words):
        bare = re.sub(r"[^\w']+$", "", words[i])
        tail, low = words[i][len(bare) :], bare.lower()
        who = speaker if low == "i" else other if low == "you" else None
        if who:
            j = i + 1
            out.append(who + tail)
            while not tail and j < len(words) and words[j].lower() in ADVERBS:
                out.append(words[j])
                j += 1
            if not tail and j < len(words) and (j > i):
                after = re.sub(r"[^\w']+$", "", words[j])
                rest, verb = words[j][len(after) :], after.lower()
                inverted = i > 0 and re.sub(r"\W", "", words[i - 1].lower()) in ("to", "do", "does", "did", "can",
                    "could", "would", "will", "should", "let", "help", "if")  # fmt: skip
                if verb in AUXILIARIES:
                    out.append(AUXILIARIES[verb] + rest)
                    j += 1
                elif verb in PRESENT and not inverted:
                    out.append(third_person(verb) + rest)
                    j += 1
            i = j
            continue
        if low in SUBJECTS and bare != "US":
            out.append(SUBJECTS[low].replace("{S}", speaker).replace("{O}", other) + tail)
        elif low in ("am", "are") and i + 1 < len(words) and words[i + 1].lower() in ("i", "you"):
            out.append("is")
        else:
            out.append(words[i])
        i += 1
    return " ".join(out)


def lower_first(text: str) -> str:
    first = text.split(" ", 1)[0]
    return text[0].lower() + text[1:] if re.sub(r"[^\w']", "", first).lower() in LOWERED else text


def report(sentence: str, speaker: str, other: str, rng: random.Random) -> str | None:
    """One spoken sentence as a reporter would tell it, or None where no rule fits."""
    text = INTERJECTIONS.sub("", sentence).strip()
    words = text.split()
    if not 4 <= len(words) <= 26:
        return None
    body, low = text.rstrip(" .!?,"), text.lower()
    told = lambda rest: retell(rest, speaker, other)  # noqa: E731
    if text.endswith("?"):
        if match := re.match(r"(?:can|could|will|would) you (?:please )?(?!like|mind|be |have|say)(.+)", body, re.I):
            return f"{speaker} asks {other} to {told(match[1])}."
        if match := re.match(r"would you like (to )?(.+)", body, re.I):
            return f"{speaker} asks if {other} would like {match[1] or ''}{told(match[2])}."
        if match := re.match(r"(?:do|did) (?:you|u) (.+)", body, re.I):
            return f"{speaker} asks {rng.choice(('if', 'whether'))} {told('you ' + match[1])}."
        if match := re.match(r"(?:can|could|may|shall|should) i (.+)", body, re.I):
            return f"{speaker} asks if {speaker} can {told(match[1])}."
        if match := re.match(r"(is|are|was|were) (there|it|this|that|he|she|they|you) (.+)", body, re.I):
            verb, subject = match[1].lower(), match[2].lower()
            return (
                f"{speaker} asks if {told('you are') if subject == 'you' else subject + ' ' + verb} {told(match[3])}."
            )
        if match := re.match(r"(what|where|who|how|when) (is|are|was|were) (.+)", body, re.I):
            if match[3].lower().startswith("you "):
                return None
            return f"{speaker} asks {match[1].lower()} {told(match[3])} {match[2].lower()}."
        if match := re.match(r"(?:what|how) about (.+)", body, re.I):
            return f"{speaker} suggests {told(lower_first(match[1]))}."
        if match := re.match(
            r"(what|where|why|how|when|which|how much|how many) (.*?)(?:do|did|can|should|would|will) (you|i) (.+)",
            body,
            re.I,
        ):
            who = "you" if match[3].lower() == "you" else "I"
            return f"{speaker} asks {match[1].lower()} {match[2]}{told(who + ' ' + match[4])}."
        return None
    if match := re.match(r"let(?:'s| us) (.+)", body, re.I):
        return f"{speaker} suggests they {told(match[1])}."
    if match := re.match(r"(?:please|you should|you'd better|you can|you could) (.+)", body, re.I):
        soft = low.startswith(("please", "you should", "you'd"))
        verb = rng.choice(("asks", "advises", "tells")) if soft else "tells"
        return f"{speaker} {verb} {other} to {told(match[1])}."
    if match := re.match(r"(?:thank you|thanks) (?:so much |very much |a lot )?for (.+)", body, re.I):
        return f"{speaker} thanks {other} for {told(match[1])}."
    if re.match(r"(?:i|i'm|i've|i'll|i'd)\b", low):
        return f"{told(body)}."
    verb = rng.choice(("says", "says", f"tells {other}", "thinks", "explains"))
    return f"{speaker} {verb} {told(lower_first(body))}."


class Windows:
    """Word statistics of the corpus, for what is salient."""

    def __init__(self, conversations: list[Conversation]):
        seen: Counter[str] = Counter()
        for conversation in conversations:
            seen.update({w for _, text in conversation.turns for w in content_words(text)})
        self.rarity = {w: math.log(len(conversations) / n) for w, n in seen.items()}

    def weight(self, word: str) -> float:
        return self.rarity.get(word, 8.0)

    def salience(self, text: str, elsewhere: Counter[str]) -> float:
        """How much of the window's repeated, rare words this sentence carries."""
        words = set(content_words(text))
        return sum(self.weight(w) * math.log1p(elsewhere[w] - 1) for w in words) + 0.15 * sum(map(self.weight, words))


def content_words(text: str) -> list[str]:
    return [w for w in re.findall(r"[\w']+", text.lower()) if w not in STOP]


def reported_speech(turns: list[Turn], windows: Windows, rng: random.Random) -> str | None:
    """A pseudo-summary of one to three reported sentences, in the order of the dialogue."""
    speakers = list(dict.fromkeys(s for s, _ in turns))
    elsewhere = Counter(w for _, text in turns for w in content_words(text))
    told: list[tuple[float, int, str]] = []
    for position, (speaker, text) in enumerate(turns):
        near = [
            s for s, _ in turns[max(0, position - 1) : position] + turns[position + 1 : position + 2] if s != speaker
        ]
        other = near[0] if near else next((s for s in speakers if s != speaker), "someone")
        for sentence in sentences(text):
            line = report(sentence, speaker, other, rng)
            if line:
                score = windows.salience(sentence, elsewhere) * rng.uniform(0.7, 1.3) * (1.3 if position < 3 else 1.0)
                told.append((score, len(told), line))
    if not told:
        return None
    count = min(len(told), rng.choice((1, 1, 2, 2, 3) if len(turns) > 4 else (1, 1, 2)))
    chosen: list[tuple[float, int, str]] = []
    words = 0
    for item in sorted(told, reverse=True)[:count]:
        if not chosen or words + len(item[2].split()) <= 45:
            chosen.append(item)
            words += len(item[2].split())
    return " ".join(line for _, _, line in sorted(chosen, key=lambda item: item[1]))


def gap_sentence(turns: list[Turn], windows: Windows, mask: str, rng: random.Random) -> tuple[list[Turn], str] | None:
    """(turns with the most salient sentence replaced by `mask`, that sentence)."""
    elsewhere = Counter(w for _, text in turns for w in content_words(text))
    best = None
    for i, (_, text) in enumerate(turns):
        for sentence in sentences(text):
            if 5 <= len(sentence.split()) <= 30:
                score = windows.salience(sentence, elsewhere) * rng.uniform(0.7, 1.3)
                if best is None or score > best[0]:
                    best = (score, i, sentence)
    if best is None:
        return None
    _, i, sentence = best
    speaker, text = turns[i]
    return [*turns[:i], (speaker, text.replace(sentence, mask, 1)), *turns[i + 1 :]], sentence


def corrupt(ids: list[int], spans: list[tuple[int, int]], sentinel: int, end: int) -> tuple[list[int], list[int]]:
    """T5's format: each [start, stop) becomes a sentinel in the source and follows it in the target."""
    source, target, position = [], [], 0
    for k, (start, stop) in enumerate(spans):
        source += [*ids[position:start], sentinel + k]
        target += [sentinel + k, *ids[start:stop]]
        position = stop
    return source + ids[position:], [*target, end]


def random_spans(length: int, rng: random.Random, density: float = 0.15, mean: int = 3) -> list[tuple[int, int]]:
    count = max(1, min(24, int(length * density / mean)))
    starts = sorted(rng.sample(range(length), min(count, length)))
    spans: list[tuple[int, int]] = []
    for start in starts:
        if spans and start <= spans[-1][1]:
            continue
        spans.append((start, min(length, start + min(8, 1 + int(rng.expovariate(1 / (mean - 1)))))))
    return spans


def recall_spans(ids: list[int], is_salient: Callable[[int], bool], rng: random.Random) -> list[tuple[int, int]]:
    """Spans around salient tokens that occur elsewhere in the window, most often unmasked."""
    counts = Counter(ids)
    candidates = [i for i, token in enumerate(ids) if counts[token] > 1 and is_salient(token)]
    rng.shuffle(candidates)
    spans: list[tuple[int, int]] = []
    for i in candidates:
        if len(spans) == 10:
            break
        if counts[ids[i]] < 2 or any(start - 2 <= i <= stop + 1 for start, stop in spans):
            continue
        counts[ids[i]] -= 1
        start = i - 1 if i and rng.random() < 0.5 else i
        spans.append((start, min(len(ids), i + rng.choice((1, 2, 3)))))
    return sorted(s for k, s in enumerate(sorted(spans)) if k == 0 or s[0] > sorted(spans)[k - 1][1])
