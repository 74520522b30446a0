"""The shipped sample dialogues have the format described in samples/README.md."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "dialogues.jsonl"
KEYS = {"id", "dialogue", "summary1", "summary2", "summary3", "topic1", "topic2", "topic3"}
TOPICS = {
    "work",
    "travel",
    "shopping",
    "health",
    "school",
    "family",
    "complaint",
    "phone support",
    "group talk",
}
TURN = re.compile(r"(#Person[1-9]#|[A-Z][\w.]*(?: [A-Z][\w.]*)?): (\S.*)")
PERSON = re.compile(r"#Person\d+#")
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
CAPITALIZED = re.compile(r"\b[A-Z]\w+")
# Capitalized words at the start of sentences that are not names.
OPENERS = set("A About After As At Both He Her His If In It She Since The There They When While".split())


def read() -> list[dict[str, str]]:
    return [json.loads(line) for line in SAMPLES.read_text(encoding="utf-8").splitlines()]


def speakers(row: dict[str, str]) -> set[str]:
    return {line.split(": ", 1)[0] for line in row["dialogue"].split("\n")}


def summaries(row: dict[str, str]) -> list[str]:
    return [row[f"summary{number}"] for number in (1, 2, 3)]


def numbers(text: str) -> set[str]:
    return set(NUMBER.findall(PERSON.sub(" ", text)))


ROWS = read()
each_row = pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])


def test_there_are_24_samples_with_unique_ids() -> None:
    ids = [row["id"] for row in ROWS]
    assert len(ids) >= 24
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"sample_\d\d", id_) for id_ in ids)
    assert len({row["dialogue"] for row in ROWS}) == len(ROWS)


def test_every_topic_is_present() -> None:
    assert {row["topic1"] for row in ROWS} == TOPICS
    assert min(Counter(row["topic1"] for row in ROWS).values()) >= 3


def test_two_dialogues_are_long() -> None:
    assert sum(len(row["dialogue"].split()) > 600 for row in ROWS) >= 2


def test_some_have_three_speakers_and_some_four() -> None:
    counts = {len(speakers(row)) for row in ROWS}
    assert {2, 3, 4} <= counts


def test_both_label_styles_are_present() -> None:
    numbered = sum(all(PERSON.fullmatch(name) for name in speakers(row)) for row in ROWS)
    named = sum(not any(PERSON.fullmatch(name) for name in speakers(row)) for row in ROWS)
    assert numbered and named
    assert numbered + named == len(ROWS), "a dialogue mixes the two styles"


@each_row
def test_all_values_are_nonempty_strings(row: dict[str, str]) -> None:
    assert set(row) == KEYS
    for key, value in row.items():
        assert isinstance(value, str), key
        assert value and value == value.strip(), key


@each_row
def test_every_line_is_a_turn(row: dict[str, str]) -> None:
    lines = row["dialogue"].split("\n")
    assert len(lines) >= 8
    for line in lines:
        assert TURN.fullmatch(line), line
    assert len(speakers(row)) >= 2
    # Every speaker has at least two turns, so a misspelled label is detected.
    assert min(Counter(line.split(": ", 1)[0] for line in lines).values()) >= 2


@each_row
def test_topics_are_distinct_and_short(row: dict[str, str]) -> None:
    labels = [row["topic1"], row["topic2"], row["topic3"]]
    assert row["topic1"] in TOPICS
    assert len(set(labels)) == 3
    for label in labels:
        assert label == label.lower()
        assert len(label.split()) <= 5


@each_row
def test_the_three_summaries_are_distinct(row: dict[str, str]) -> None:
    texts = summaries(row)
    assert len(set(texts)) == 3
    for text in texts:
        assert 8 <= len(text.split()) <= 60, text
        assert text.endswith("."), text
        assert "\n" not in text


@each_row
def test_numbers_in_summaries_occur_in_the_dialogue(row: dict[str, str]) -> None:
    for text in summaries(row):
        assert numbers(text) <= numbers(row["dialogue"]), text


@each_row
def test_names_in_summaries_occur_in_the_dialogue(row: dict[str, str]) -> None:
    names = speakers(row)
    words = set(re.findall(r"\w+", row["dialogue"]))
    for text in summaries(row):
        assert "#" not in PERSON.sub("", text), text
        assert set(PERSON.findall(text)) <= names, text
        assert any(name in text for name in names), text
        unknown = set(CAPITALIZED.findall(PERSON.sub(" ", text))) - words - OPENERS
        assert not unknown, (unknown, text)
