"""Evaluates systems on examples in batches, until finished or stopped."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from dsum_demo.data.dialogues import clean_dialogue
from dsum_demo.data.examples import Example, draw
from dsum_demo.data.tables import Broken, name_rows
from dsum_demo.errors import DataError, InputError, Stopped
from dsum_demo.evaluation.output_cache import OutputCache
from dsum_demo.evaluation.records import BrokenRow, Evaluation, EvaluationProgress, ExampleRecord, Published
from dsum_demo.evaluation.run_state import EvaluationState, System
from dsum_demo.evaluation.scoring import check_reading, new_record, split_references
from dsum_demo.metrics.scores import signature
from dsum_demo.models.catalog import ModelSpec
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.registry import Registry
from dsum_demo.models.store import ModelStore

CHUNK = 512  # dialogues that all systems do before the next: enough to find many of similar length in


DIALOGSUM = "dialogsum"


def evaluate(
    store: ModelStore,
    specs: Sequence[ModelSpec],
    examples: Sequence[Example],
    *,
    data: str = "",
    decode: DecodingConfig | None = None,
    policy: str = "mean",
    reading: str = "dialogues",
    seed: int = 0,
    limit: int | None = None,
    cache: OutputCache | None = None,
    skipped: Broken | None = None,
    bf16: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[EvaluationProgress]:
    """Yield as it grows; the last one is complete, or as far as it was when `should_stop` said so.

    All systems do the same dialogues before the next ones, in an order drawn by the seed: what there is at any time is
    a fair and paired sample. reading: "dialogues" takes an example as it is, "rows" takes every reference as an example
    of its own, as published figures do. decode: one for all systems; the first one's family's, where it is None. limit:
    so many of the examples, drawn by the seed. cache: texts that it has are not written again. skipped: rows that were
    left out, to be told in the report; where it is given, dialogues that cannot be used join them, else they are
    refused. bf16: write with copies in bfloat16, faster where the processor has it; a few texts differ from those that
    the page shows. A system that fails says so and leaves the others alone.

    Raises InputError for what cannot be used, DataError with the examples' numbers, before a model is loaded.
    """
    check_reading(reading)
    signature(n=0, references=1, policy=policy)  # refuses an unknown policy
    if not specs or len({spec.name for spec in specs}) < len(specs):
        raise InputError("Give the systems to be evaluated, each once.")
    decode = decode or store.registry.family(specs[0].family).decode
    if decode.do_sample:
        raise InputError("Sampling is not supported in batches; turn it off.")
    numbered, texts = _usable(examples, store.settings.max_input_chars, skipped)
    records = _records(draw(numbered, limit, seed), policy, reading)
    titles = Counter(spec.title for spec in specs)
    evaluation = Evaluation(
        data=data,
        systems=(),
        examples=(),
        total=len(records),
        policy=policy,
        reading=reading,
        seed=seed,
        family=", ".join(dict.fromkeys(spec.family for spec in specs)),
        decode=decode.as_dict(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        skipped=tuple(BrokenRow(number, reason) for number, reason in sorted((skipped or {}).items())),
        published=_published(store.registry, specs[0].family) if data.startswith(DIALOGSUM) else None,
    )
    run = EvaluationState(
        store,
        evaluation,
        [System(spec, spec.title if titles[spec.title] == 1 else spec.name) for spec in specs],
        decode,
        cache or OutputCache(),
        should_stop,
        records,
        bf16,
    )
    for place, record in enumerate(records):
        run.places.setdefault(texts[record.row], []).append(place)
    dialogues = list(run.places)
    random.Random(seed).shuffle(dialogues)
    yield run.progress("Starting")
    try:
        for family in dict.fromkeys(spec.family for spec in specs):
            of_family = [system for system in run.systems if system.spec.family == family]
            for start in range(0, len(dialogues), CHUNK):
                for system in of_family:
                    yield from run.write(system, dialogues[start : start + CHUNK])
    except Stopped:
        yield run.progress("Stopped")
        return
    yield run.progress("Done", finished=True)


def _usable(
    examples: Sequence[Example], max_chars: int, skipped: Broken | None
) -> tuple[list[tuple[int, Example]], dict[int, str]]:
    """The examples by their numbers, from 1, and their dialogues as the models read them."""
    texts: dict[int, str] = {}
    wrong: Broken = {}
    for number, example in enumerate(examples, 1):
        try:
            if not any(map(str.strip, example.references)):
                raise InputError("It has no reference.")
            texts[number] = clean_dialogue(example.dialogue, max_chars)
        except InputError as error:
            wrong[number] = str(error)
    if wrong and skipped is None:
        first = next(iter(wrong))
        raise DataError(f"{name_rows(list(wrong)).capitalize()} cannot be used: {wrong[first]}", list(wrong))
    if skipped is not None:
        skipped.update(wrong)
    if not texts:
        raise InputError("There is no dialogue to evaluate on.")
    return [(number, example) for number, example in enumerate(examples, 1) if number in texts], texts


def _records(numbered: Sequence[tuple[int, Example]], policy: str, reading: str) -> list[ExampleRecord]:
    records, taken = [], Counter[str]()
    for number, example in numbered:
        for row in split_references([example]) if reading == "rows" else [example]:
            taken[row.id] += 1
            named = row if taken[row.id] == 1 else replace(row, id=f"{row.id} ({taken[row.id]})")
            others = [text for text in example.references if text not in row.references]
            records.append(new_record(named, number, policy, other_references=others))
    return records


def _published(registry: Registry, family: str) -> Published | None:
    """What others reported on DialogSum: the family's own scores, else those of the first family that has some."""
    families = sorted(registry.families(), key=lambda f: f.name != family)
    known = next((f for f in families if f.published), None)
    return Published(known.title, known.published_source, dict(known.published)) if known else None
