"""Means with intervals for slices of an evaluation: by topic, dialogue length and number of speakers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dsum_demo.evaluation.records import ExampleRecord, by_metric, f1_table
from dsum_demo.metrics.bootstrap import RESAMPLES, Bootstrap, Interval
from dsum_demo.metrics.scores import METRICS

MIN_SLICE = 3  # topics with fewer examples get no slice
MAX_TOPICS = 12


@dataclass(frozen=True)
class Slice:
    """Means over a slice of the examples. by: "topic", "length" or "speakers"; f1: by system and metric; ids: of the
    examples.
    """

    by: str
    name: str
    n: int
    f1: Mapping[str, Mapping[str, Interval]]
    ids: tuple[str, ...] = ()


def slice_examples(
    examples: Sequence[ExampleRecord], systems: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[Slice, ...]:
    """All slices: the MAX_TOPICS topics with the most examples, thirds by the dialogue's words, and numbers of
    speakers. An example with several topics counts in each of them.
    """
    return tuple(
        _slice(by, name, part, systems, seed, resamples)
        for parts in (_by_topic, _by_length, _by_speakers)
        for by, name, part in parts(examples)
    )


Part = tuple[str, str, list[ExampleRecord]]


def _by_topic(examples: Sequence[ExampleRecord]) -> Iterator[Part]:
    topics: dict[str, list[ExampleRecord]] = {}
    for example in examples:
        for topic in dict.fromkeys(topic.strip().casefold() for topic in example.topics):
            topics.setdefault(topic, []).append(example)
    large = sorted(topics.items(), key=lambda item: (-len(item[1]), item[0]))[:MAX_TOPICS]
    yield from (("topic", topic, part) for topic, part in large if len(part) >= MIN_SLICE)


def _by_length(examples: Sequence[ExampleRecord]) -> Iterator[Part]:
    words = sorted(example.words for example in examples if example.words is not None)
    if len(words) < 3 * MIN_SLICE:
        return
    first, second = words[len(words) // 3], words[2 * len(words) // 3]
    parts: dict[str, list[ExampleRecord]] = {
        f"up to {first} words": [], f"{first + 1} to {second} words": [], f"over {second} words": []
    }  # fmt: skip
    for example in examples:
        if example.words is not None:
            list(parts.values())[(example.words > first) + (example.words > second)].append(example)
    yield from (("length", name, part) for name, part in parts.items() if part)


def _by_speakers(examples: Sequence[ExampleRecord]) -> Iterator[Part]:
    parts: dict[str, list[ExampleRecord]] = {"1 speaker": [], "2 speakers": [], "3 speakers": [], "4 or more": []}
    for example in examples:
        if example.speakers:
            list(parts.values())[min(example.speakers, 4) - 1].append(example)
    yield from (("speakers", name, part) for name, part in parts.items() if part)


def _slice(
    by: str, name: str, examples: list[ExampleRecord], systems: Sequence[str], seed: int, resamples: int
) -> Slice:
    resampled = Bootstrap(
        f1_table(examples, systems), [example.group for example in examples], seed=seed, resamples=resamples
    )
    width = len(METRICS)
    return Slice(
        by,
        name,
        len(examples),
        {
            system: by_metric(range(place * width, (place + 1) * width), resampled.mean)
            for place, system in enumerate(systems)
        },
        tuple(example.id for example in examples),
    )
