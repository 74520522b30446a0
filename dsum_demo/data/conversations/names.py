"""Decides whether the text before a colon is a speaker."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

MAX_NAME = 40
_CLEAR_HEAD = re.compile(r"([^:：\n]{1,40}?)\s?(?::(?=\s|$)|：(?!//))\s*")
_TIGHT_HEAD = re.compile(r"([^:：\s\d][^:：\n]{0,39}):(?=[^\s\d/:])")
_PARTICLES = frozenset(
    "al ap ben bin da dal de del della den der des di do dos du e el ibn la le las los of op ten ter the "
    "van vom von y zu zum zur".split()
)
# Words that occur in sentences but not in names.
_SENTENCE_WORDS = frozenset(
    """
    i you he she it we they me him us them my your his its our their this that these those here there what when where
    why how who whom which is are was were be been being have has had do does did done could should would shall
    must if then because but not for from with without about on in at to by as than so just only also please
    ich du er sie wir ihr ist sind war hat haben nicht wenn dass hier folgende
    yo tú él es fue que qué por para con como aquí eu você ele não je tu il nous vous est sont pas
    changed added removed created left joined said says asked asks wrote writes replied answered
    """.split()
)
# Headings in notes and letters; they are never speakers.
_HEADINGS = frozenset(
    "note|notes|nb|n.b.|ps|p.s.|pps|p.p.s.|todo|to-do|fyi|btw|tl;dr|tldr|eta|rsvp|re|fw|fwd|cc|bcc|subject|date|time|"
    "place|location|venue|address|where|when|what|who|why|how|agenda|topic|topics|title|summary|conclusion|result|"
    "results|update|updates|edit|edited|warning|attention|caution|important|urgent|reminder|remember|tip|tips|hint|"
    "example|examples|for example|problem|issue|solution|reason|reasons|plan|step|steps|option|options|goal|goals|"
    "price|prices|cost|total|budget|deadline|due|start|end|duration|from|to|via|source|sources|link|links|url|website|"
    "web|email|e-mail|mail|phone|tel|fax|mobile|contact|file|files|attachment|attachments|see|see also|also|next|"
    "next steps|action|actions|action items|decision|decisions|first|second|third|finally|lastly|however|"
    "therefore|anyway|fact|facts|fun fact|news|good news|bad news|breaking|disclaimer|background|context|overview|"
    "introduction|details|description|ingredients|directions|instructions|requirements|rules|list|items|"
    "participants|attendees|present|absent|speakers|minutes|transcript|recording|status|type|name|names|id|password|"
    "username|code|error|warn|info|debug|fatal|critical|action item|next meeting|day|week|lesson|exercise|task|phase|"
    "slide|scene|act|round|level|item|rule|stage|tier|total|pros|cons|else|try|finally|default|am|pm|"
    "a.m.|p.m.|uhr|utc|gmt|http|https|ftp|mailto|file|chapter|section|input|output|command|verdict|expected|actual|usage|license|author|authors|keywords|abstract|part|table|figure|page|version|"
    "monday|tuesday|wednesday|thursday|friday|saturday|sunday|today|tomorrow|yesterday|tonight|morning|afternoon|"
    "evening|january|february|march|july|september|october|november|december|"
    "hinweis|achtung|betreff|datum|ort|zeit|uhrzeit|thema|anmerkung|beispiel|zusammenfassung|wichtig|erinnerung|von|"
    "gesendet|nota|asunto|fecha|hora|lugar|importante|ejemplo|resumen|assunto|local|exemplo|resumo|objet|lieu|"
    "heure|remarque|exemple|résumé|oggetto|esempio|注意|备注|時間|时间|地点|主题|标题|问题|提醒|例如|总结".split("|")
)
# Roles in an interview are speakers only if they recur.
_ROLES = frozenset("q a question answer frage antwort pregunta respuesta pergunta resposta réponse".split())
# How chat programs name the user. These are speakers only if they recur or something else suggests one.
_SELVES = frozenset("me you i myself ich du yo tú moi toi eu você io ik ja я ty 我 你 나 私 أنا אני".split())
_PHONE = re.compile(r"\+?[\d\s().\-/]{6,24}")
_PART = r"[^\W\d_][\w'’.-]*(?: [^\W\d_][\w'’.-]*){0,2}"
_SURNAME_FIRST = re.compile(rf"({_PART}), ({_PART})(?: \([^()]{{1,30}}\))?")
# Words before a comma that begin a sentence: "Well, Tom: no."
_OPENERS = frozenset(
    "well okay ok yes yeah no nope hello hi hey dear thanks sorry look listen and or so now then right sure oh ah hm "
    "again still sir madam guys folks everyone remember first second third finally lastly next once later "
    "ja nein also hallo liebe lieber sí si hola querida querido oui non bonjour salut cher chère olá oi sim".split()
)
_NUMBERED = re.compile(r"#?([^\W\d_]+)[ _-]?\d{1,3}#?")
_SUFFIX = re.compile(
    r"\s*\((?:you|guest|external|unverified|host|co-host|me|gast|extern|sie|invitado|invité|[^\W\d]{2,5}(?:/[^\W\d]{2,6}){1,2})\)$",
    re.IGNORECASE,
)


def person(label: str) -> str:
    """The label without additions of chat programs: `Nora` for `~ Nora` and `Nora (Guest)`."""
    return _SUFFIX.sub("", label.strip().lstrip("~@").strip("*_ ")).strip()


def same(label: str) -> str:
    """A key that is equal for different spellings of a person's name."""
    return " ".join(unicodedata.normalize("NFKC", person(label)).casefold().split())


def is_name_like(label: str) -> bool:
    """Whether the label alone looks like a name: a few capitalized words, a numbered label, a phone number."""
    label = person(label)
    if _PHONE.fullmatch(label) or (_NUMBERED.fullmatch(label) and _may_be_name(label)):
        return True
    words = [bare for word in label.split() if (bare := word.strip("()[]\"'“”‘’.-_#@&/|·"))]
    letters = [word for word in words if any(c.isalpha() for c in word)]
    if not letters or len(words) > 5 or not _may_be_name(label) or label.casefold() in _ROLES:
        return False
    return all(
        not next(c for c in word if c.isalpha()).islower() or (at and word.casefold() in _PARTICLES)
        for at, word in enumerate(letters)
    )


def is_surname_first(label: str) -> bool:
    """Whether the label has the form of "Lindqvist, Maja", as Teams, Zoom and Outlook show names of a directory."""
    match = _SURNAME_FIRST.fullmatch(person(label))
    if not match or match[1].casefold() in _OPENERS:
        return False
    family = re.sub(rf"^(?:(?:{'|'.join(_PARTICLES)}) )+", "", match[1])
    return all(is_name_like(part) and len(part) > 1 for part in (family, match[2]))


def is_speaker(label: str, times: int, *, expected: bool = False) -> bool:
    """Whether a label at the start of `times` lines is a speaker.

    expected: other evidence suggests a name, such as a time stamp, or speakers on most of the lines.
    """
    if not 0 < len(person(label)) <= (60 if expected else MAX_NAME):
        return False
    if is_name_like(label):
        return True
    if is_surname_first(label):
        return expected or times > 1
    words = len(label.split())
    if same(label) in _SELVES:
        return expected or times > 1
    if expected and not any(c.isalnum() for c in label):
        return words <= 3  # an emoji
    return _may_be_name(label) and ((times > 1 and words <= 4) or (expected and words <= 2))


def _may_be_name(label: str) -> bool:
    words = label.casefold().split()
    name = label.strip()
    return (
        not re.search(r"[?!;…<>{}=]|[,，。] |//|\.$(?<!\b\w\.)(?<!r\.)", name)
        and " ".join(words).strip("#*_() ") not in _HEADINGS
        and not _SENTENCE_WORDS.intersection(words)
        and not (len(words) > 1 and name.split()[-1] in _HEADINGS)  # "Prep time", but not "Tom Price"
        and name.count("(") == name.count(")")
        and name.count('"') % 2 == 0
        and not name[:1].isdigit()
        and not ((numbered := _NUMBERED.fullmatch(name)) and numbered[1].casefold() in _HEADINGS)  # "Step 1"
        and not re.search(r"\d{6}", name)
        and any(c.isalpha() for c in name)
        and not (_is_unspaced(name) and len(name) > 10)
    )


def _is_unspaced(name: str) -> bool:
    return any("\u3040" <= c <= "\u9fff" or "\u0e00" <= c <= "\u0e7f" for c in name)


def split_heads(lines: Sequence[str]) -> list[tuple[str, str] | None]:
    """(speaker, text) of each line that starts with a speaker and a colon, None for other lines."""
    clear, tight = _match(_CLEAR_HEAD, lines), _match(_TIGHT_HEAD, lines)
    labels = Counter(same(head[0]) for head in clear if head)
    tight_labels = Counter(same(head[0]) for head in tight if head)
    filled = sum(1 for line in lines if line)
    if _is_list(clear, labels):
        return [None] * len(lines)
    most = filled > 1 and 5 * labels.total() >= 4 * filled
    inverted = most and any(head and labels[same(head[0])] > 1 and is_surname_first(head[0]) for head in clear)
    all_labels = labels + tight_labels
    most_tight = filled > 1 and 5 * all_labels.total() >= 4 * filled
    found: list[tuple[str, str] | None] = []
    for one, other in zip(clear, tight, strict=True):
        expected = most if one is None or not is_surname_first(one[0]) else inverted
        if one and is_speaker(one[0], labels[same(one[0])], expected=expected and len(one[0]) <= MAX_NAME):
            found.append(one)
        elif other and is_name_like(other[0]) and (most_tight or all_labels[same(other[0])] > 1):
            found.append(other)
        else:
            found.append(None)
    return found


def _is_list(heads: Sequence[tuple[str, str] | None], labels: Counter[str]) -> bool:
    """Whether the lines are a form or a list, such as "Color: red": four or more labels, which do not recur and of
    which some cannot be names, before short texts.
    """
    found = [head for head in heads if head]
    if len(found) < 4 or max(labels.values()) > 1 or any(len(who.split()) > 3 for who, _ in found):
        return False
    if all(_may_be_name(who) for who, _ in found):
        return False
    return median(len(text.split()) for _, text in found) <= 2


def distinct(labels: Iterable[str]) -> list[str]:
    """The labels in order of appearance, each person once in the first spelling."""
    first: dict[str, str] = {}
    for label in labels:
        first.setdefault(same(label), label)
    return list(first.values())


def _match(pattern: re.Pattern[str], lines: Sequence[str]) -> list[tuple[str, str] | None]:
    return [(m[1].strip(), line[m.end() :]) if (m := pattern.match(line)) else None for line in lines]
