"""Names for the speakers of training dialogues: `#Person1#` becomes a first name, alike in dialogue and summary."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
import random
import re
from collections.abc import Collection, Sequence

_LABEL = re.compile(r"#Person\d+#")
_TURN = re.compile(r"^(#Person\d+#): ?(.*)$", re.MULTILINE)
# Latin letters, as the base's tokenizer cuts other scripts into single bytes.
_FIRST_NAME = re.compile(r"[A-ZÀ-Þ][a-zà-ÿ]{1,10}")
_PERSON = re.compile(r"\b(?:(?:Mr|Mrs|Ms|Miss|Dr)\.? )?[A-Z][a-z]+\b")
_UNSEEN_SHARE = 10  # per cent of all names, which training never uses


def first_names(unseen: bool = False) -> list[str]:
    """First names of every language that Faker knows in Latin letters: those for training, or those kept from it."""
    from faker.providers import person

    names: set[str] = set()
    for locale in pkgutil.iter_modules(person.__path__):
        provider = importlib.import_module(f"{person.__name__}.{locale.name}").Provider
        for part in ("first_names", "first_names_male", "first_names_female"):
            listed = getattr(provider, part, ())
            if not isinstance(listed, property):
                names.update(name for name in listed if _FIRST_NAME.fullmatch(name))
    return [name for name in sorted(names) if (_hash(name) % 100 < _UNSEEN_SHARE) == unseen]


def _hash(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def name_speakers(dialogue: str, summary: str, names: Sequence[str], rng: random.Random) -> tuple[str, str]:
    """The pair with a different name for each label; unchanged where it is unclear who is who. Raises ValueError if the
    names run out.

    DialogSum's annotators write a speaker's own name where the dialogue gives it away, so a label that the summary does
    not mention may be a person whom it does: that speaker keeps this name.
    """
    labels = sorted(set(_LABEL.findall(dialogue)))
    mapping: dict[str, str] = {}
    people = set(_PERSON.findall(summary))
    for label in labels:
        if label not in summary:
            called = {name for name in people if _is_called(label, name, dialogue)}
            if len(called) > 1 or called & set(mapping.values()):
                return dialogue, summary
            mapping.update((label, name) for name in called)
    text = f"{dialogue}\n{summary}"
    for label in labels:
        if label not in mapping:
            # A name of another person, or within another word, would be ambiguous.
            mapping[label] = _unused_name(names, text, mapping.values(), rng)

    def replaced(part: str) -> str:
        return _LABEL.sub(lambda match: mapping.get(match[0], match[0]), part)

    return replaced(dialogue), replaced(summary)


def _unused_name(names: Sequence[str], text: str, taken: Collection[str], rng: random.Random) -> str:
    """A random name that the text does not contain. Raises ValueError if every name is in the text or taken."""

    def is_free(name: str) -> bool:
        return name not in text and name not in taken

    for _ in range(100):  # nearly always enough, and faster than a list of the free names
        if is_free(name := rng.choice(names)):
            return name
    if not (free := list(filter(is_free, names))):
        raise ValueError(f"The {len(names)} names are all in the dialogue or taken; give more names.")
    return rng.choice(free)


def _is_called(label: str, name: str, dialogue: str) -> bool:
    """Whether others address this speaker by the name, or the speaker introduces themselves with it."""
    introduction = rf"\b(?:I'm|I am|[Mm]y name is|[Tt]his is|[Cc]all me)\b[^.?!]{{0,20}}\b{re.escape(name)}\b"
    address = rf", {re.escape(name)}\b|\b{re.escape(name)}[,!?]"
    return any(
        re.search(introduction if speaker == label else address, turn) for speaker, turn in _TURN.findall(dialogue)
    )


def write_informally(dialogue: str, rng: random.Random) -> str:
    """The dialogue as people type in chats: small letters at the start of turns, few full stops."""

    def typed(line: str) -> str:
        name, colon, text = line.partition(": ")
        if rng.random() < 0.7 and not text.startswith(("I ", "I'")):
            text = text[:1].lower() + text[1:]
        if rng.random() < 0.7:
            text = text.removesuffix(".")
        return f"{name}{colon}{text}"

    return "\n".join(typed(line) for line in dialogue.split("\n"))
