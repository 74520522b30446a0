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
from dsum_demo.settings import MAX_INPUT_CHARS

CHUNK = 512  # dialogues that every system does before the next ones; enough to batch by similar length


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
    max_chars: int = MAX_INPUT_CHARS,
    bf16: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[EvaluationProgress]:
    """Yield the evaluation after each step; the last one is complete, unless `should_stop` stopped it.

    All systems process the same chunk of dialogues before the next chunk, in random order, so a partial evaluation is a
    random and paired sample. reading: "dialogues" keeps examples, "rows" makes every reference its own example, as in
    published results. decode: for all systems; by default that of the first system's family. limit: size of a random
    sample. cache: cached summaries are not generated again. skipped: invalid rows, for the report; if given, invalid
    dialogues are added to it instead of raising. max_chars: a longer dialogue is invalid. bf16: generate with copies in
    bfloat16, which is faster if the CPU supports it; a few summaries differ from float32. If a system fails, its result
    has the error and the others continue.

    Before a model is loaded, raises InputError for invalid arguments, and DataError with the numbers of invalid
    examples.
    """
    check_reading(reading)
    signature(n=0, references=1, policy=policy)  # raises for an unknown policy
    if not specs or len({spec.name for spec in specs}) < len(specs):
        raise InputError("Give at least one system, and each one once.")
    decode = decode or store.registry.family(specs[0].family).decode
    if decode.do_sample:
        raise InputError("Sampling is not supported in batches; turn it off.")
    numbered, texts = _usable(examples, max_chars, skipped)
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
    """The valid examples with their numbers, from 1, and their cleaned dialogues by number."""
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
        raise InputError("There are no valid examples to evaluate.")
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
    """Published scores on DialogSum: those of the family, or of the first family that has some."""
    families = sorted(registry.families(), key=lambda f: f.name != family)
    known = next((f for f in families if f.published), None)
    return Published(known.title, known.published_source, dict(known.published)) if known else None
