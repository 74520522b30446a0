"""Compares the summaries of several systems for one dialogue: text, speed and scores; used by the UI and the CLI."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, ClassVar

from dsum_demo.data.conversations.reader import Reading
from dsum_demo.data.dialogues import doubts, read_dialogue
from dsum_demo.errors import DsumError, InputError, Stopped
from dsum_demo.generation.scheduler import Waiting
from dsum_demo.generation.streaming import Generation, stream
from dsum_demo.judge.best_of import BestOf, best_of
from dsum_demo.judge.judged_texts import TITLES, JudgedTexts
from dsum_demo.judge.judges import judge_lines
from dsum_demo.judge.likelihood_judge import LikelihoodJudge
from dsum_demo.metrics.scores import (
    METRICS,
    Score,
    Signature,
    f1_of,
    mean_scores,
    score_summary,
    shown_f1,
    shown_unit,
    signature,
)
from dsum_demo.metrics.words import words
from dsum_demo.models.adapter_scaling import check_strength
from dsum_demo.models.catalog import Family, ModelSpec
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import FittedDialogue
from dsum_demo.models.registry import Registry
from dsum_demo.models.store import LoadedModel, ModelStore
from dsum_demo.settings import MAX_INPUT_CHARS
from dsum_demo.utils.formatting import csv_line, markdown_table
from dsum_demo.utils.threads import run_in_thread

log = logging.getLogger(__name__)

MAX_SYSTEMS = 6
MAX_REFERENCES = 3
MAX_REFERENCE_CHARS = 5_000
NOTE_SECONDS = 0.5


@dataclass(frozen=True)
class Choice:
    """Best of n: `load` returns the judge that chooses among `candidates` summaries of each system. turn: a lock to
    hold meanwhile; comparisons that run at the same time share one.
    """

    load: Callable[[], LikelihoodJudge]
    candidates: int = 4
    turn: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class RecordedSummary:
    """A summary from elsewhere, such as another program's, as a system of a comparison. It has a model's descriptive
    fields, so that both can be shown alike.

    origin: EVALUATION:SYSTEM if it is from a saved evaluation, recorded on the date `made` (YYYY-MM-DD); `missing` is
    then the reason if the evaluation has no such summary.
    """

    name: str
    text: str
    origin: str = ""
    made: str = ""
    missing: str = ""
    kind: ClassVar[str] = "recorded"
    family: ClassVar[str] = ""
    base: ClassVar[None] = None
    source: ClassVar[None] = None
    parameters: ClassVar[None] = None
    trained_parameters: ClassVar[None] = None

    @property
    def title(self) -> str:
        return self.name


System = ModelSpec | RecordedSummary
Generate = Callable[
    [LoadedModel, Sequence[int], DecodingConfig, Callable[[], bool]],
    Iterator[Generation] | Iterator[Generation | Waiting],
]


@dataclass(frozen=True)
class SystemResult:
    """One system's part of a comparison, complete or still being written.

    phase: "waiting", "loading", "writing", "done", "stopped" or "failed". `note` is a progress message, such as that of
    a download, or the reason for a stop; `share` is the fraction that is done (0 to 1, None if unknown). `error` is
    set if the system failed.
    parameters / trained_parameters: counts, known once loaded. scores: None without a reference. strength: what the
    adapter's part is multiplied by; 1 is the model as it was trained. best_of: the candidates if a judge chose the
    summary. fitted: the dialogue as the model reads it, None until its tokenizer is loaded.
    """

    spec: System
    phase: str = "waiting"
    note: str = ""
    share: float | None = None
    generation: Generation | None = None
    parameters: int | None = None
    trained_parameters: int | None = None
    scores: dict[str, Score] | None = None
    error: str = ""
    strength: float = 1.0
    best_of: BestOf | None = None
    fitted: FittedDialogue | None = None

    @property
    def summary(self) -> str:
        return self.generation.text if self.generation else ""


@dataclass(frozen=True)
class Comparison:
    """A comparison's input and results.

    family: the one whose base model the systems are compared with; a system may be of another family, and uses that
    family's prompt. reading: how the text was read, such as a chat export; its dialogue is `dialogue`. recorded: the
    date (YYYY-MM-DD) of a saved evaluation from which the summaries are, or of a link; "" if they were generated for
    this comparison. shared: whether the texts are from a link, whose origin is unknown. judged: a judge's values of the
    summaries and references, if the user requested them; not kept across a reload.
    """

    family: Family
    dialogue: str
    references: tuple[str, ...]
    decode: DecodingConfig
    systems: tuple[SystemResult, ...]
    signature: Signature | None = field(default=None)
    reading: Reading | None = None
    recorded: str = ""
    shared: bool = False
    judged: JudgedTexts | None = None

    @property
    def judgeable(self) -> dict[str, str]:
        """What a judge can score: the complete summaries and the references by their titles."""
        summaries = {self.title_of(system): system.summary for system in self.systems if system.phase == "done"}
        references = {f"Reference {number}": text for number, text in enumerate(self.references, 1)}
        return {title: text for title, text in (summaries | references).items() if words(text)}

    @property
    def preferred(self) -> str:
        """The title of the system whose summary the judge prefers; "" if there is none or the judge may not rank."""
        summaries = {system.summary: self.title_of(system) for system in self.systems if system.phase == "done"}
        found = self.judged.preferred(list(summaries)) if self.judged else None
        return "" if found is None else summaries[found]

    @property
    def original(self) -> SystemResult | None:
        """The system that the others are compared with: the family's base, if it is one of the systems."""
        return next((system for system in self.systems if system.spec.name == self.family.base.name), None)

    def title_of(self, system: SystemResult) -> str:
        """The system's title, or its name if another system has the same title."""
        same = [other for other in self.systems if other.spec.title == system.spec.title]
        return system.spec.title if len(same) == 1 else system.spec.name

    @property
    def failure(self) -> str:
        """The reasons if every system failed; empty if one has a summary or was stopped."""
        if not self.systems or any(system.phase != "failed" for system in self.systems):
            return ""
        return " ".join(dict.fromkeys(system.error for system in self.systems))

    def stopped(self) -> Comparison:
        """The comparison if it is stopped now: systems that have not ended keep their partial summaries."""
        ended = ("done", "stopped", "failed")
        systems = (each if each.phase in ended else replace(each, phase="stopped", note="") for each in self.systems)
        return replace(self, systems=tuple(systems))

    @property
    def human_agreement(self) -> dict[str, Score] | None:
        """Mean scores of each reference against the others, as context for the systems' scores. None below two."""
        if len(self.references) < 2:
            return None
        rest = ((text, self.references[:i] + self.references[i + 1 :]) for i, text in enumerate(self.references))
        return mean_scores([score_summary(text, others) for text, others in rest])

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the input, one sentence each: no dialogue, not in English, or truncated."""
        return (*doubts(self.dialogue, self.reading.turns if self.reading else 0), *self.truncated)

    @property
    def truncated(self) -> tuple[str, ...]:
        """What was left out of the dialogue; for which systems, if not for all that have read it."""
        notes: dict[str, list[SystemResult]] = {}
        for system in self.systems:
            if system.fitted:
                notes.setdefault(system.fitted.note, []).append(system)
        if len(notes) == 1:
            return tuple(note for note in notes if note)
        named = {note: ", ".join(map(self.title_of, systems)) for note, systems in notes.items()}
        return tuple(f"{names}: {note}" for note, names in named.items() if note)

    def as_dict(self) -> dict[str, Any]:
        """What `dsum compare --json` prints; scores are between 0 and 1, times in seconds."""
        return {
            "signature": self.signature.as_dict() if self.signature else None,
            "family": self.family.name,
            "dialogue": self.dialogue,
            "reading": self.reading.as_dict() if self.reading else None,
            "references": list(self.references),
            "decode": self.decode.as_dict(),
            "recorded": self.recorded,
            "warnings": list(self.warnings),
            "turns_left_out": max((s.fitted.turns_left_out for s in self.systems if s.fitted), default=0),
            "cut_inside_turn": any(s.fitted.cut_inside_turn for s in self.systems if s.fitted),
            "systems": [_system_dict(system) for system in self.systems],
            **({"judge": self._judge_dict(self.judged)} if self.judged else {}),
        }

    def _judge_dict(self, judged: JudgedTexts) -> dict[str, Any]:
        values = {title: judged.values(text) for title, text in self.judgeable.items()}
        return {**judged.about, "seconds": judged.seconds, "preferred": self.preferred, "bits_per_token": values}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], registry: Registry) -> Comparison:
        """Read the result of `as_dict`; scores are computed again from the texts, and `fitted` has no token ids.

        Raises KeyError, TypeError, ValueError or AttributeError for other data, and a DsumError for values that are
        invalid or models that the registry does not have.
        """
        reading = read_dialogue(raw["dialogue"], as_is=True)
        if raw["reading"]:
            of = raw["reading"]
            dropped = {str(kind): int(number) for kind, number in of["dropped"].items()}
            reading = replace(reading, format=str(of["format"]), dropped=dropped)
        references = clean_references(raw["references"])
        recorded = date.fromisoformat(raw["recorded"]).isoformat() if raw["recorded"] else ""
        return cls(
            registry.family(raw["family"]),
            reading.dialogue,
            references,
            DecodingConfig(**raw["decode"]),
            tuple(_system(system, references, registry, reading) for system in raw["systems"]),
            signature(n=1, references=len(references)) if references else None,
            reading,
            recorded,
        )

    def as_json(self) -> str:
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=2) + "\n"

    def as_csv(self) -> str:
        """One row per system. Texts that a spreadsheet would run as a formula get a leading apostrophe."""
        facts = "name kind family phase summary new_tokens seconds first_token_seconds tokens_per_second".split()
        columns = [*facts, *(column for metric in METRICS.values() for column in metric.columns)]
        judge = [f"judge_{name}" for name in TITLES] if self.judged else []
        lines = [csv_line([*columns, *judge, "error", "signature"])]
        for system in self.systems:
            row = _system_dict(system)
            values = [value for metric in METRICS.values() for value in metric.values(system.scores or {})]
            if self.judged:
                values += self.judged.values(system.summary).values()
            signature = self.signature.text if self.signature else ""
            lines.append(csv_line([*(row[fact] for fact in facts), *values, system.error, signature]))
        return "".join(lines)

    def as_markdown(self) -> str:
        lines = ["# Comparison", "", f"Family: {self.family.title}", "", "```", self.dialogue, "```", ""]
        for number, reference in enumerate(self.references, 1):
            lines += [f"**Reference {number}**: {reference}", ""]
        for system in self.systems:
            lines += [f"**{self.title_of(system)}** (`{system.spec.name}`): {system.summary or system.error}", ""]
        if self.signature:
            heads = ["System", *(metric.heading for metric in METRICS.values())]
            scored = [system for system in self.systems if system.scores]
            lines += markdown_table(
                heads, ([self.title_of(s), *(shown_f1((s.scores or {}).get(name)) for name in METRICS)] for s in scored)
            )
            lines += ["", f"{shown_unit().replace('×', 'x')}. {self.signature.text}"]
        if self.judged:
            rows = (
                [name, *map(shown_bits, self.judged.values(text).values())] for name, text in self.judgeable.items()
            )
            lines += ["", *markdown_table(["Bits per token", *TITLES.values()], rows)]
            lines += ["", *(f"- {line}" for line in judge_lines(self.judged.about))]
        return "\n".join(lines).rstrip() + "\n"


def shown_bits(value: float | None) -> str:
    """Bits per token with two decimals; – without a value."""
    return "–" if value is None else f"{value:.2f}"


def _system_dict(system: SystemResult) -> dict[str, Any]:
    generation, spec = system.generation, system.spec
    return {
        "name": spec.name,
        "kind": str(spec.kind),
        "family": spec.family,
        "title": spec.title,
        "summary": system.summary,
        "rouge": f1_of(system.scores) if system.scores else None,
        "phase": system.phase,
        "strength": system.strength,
        "error": system.error,
        "parameters": system.parameters,
        "trained_parameters": system.trained_parameters,
        "new_tokens": generation.new_tokens if generation else 0,
        "seconds": generation.seconds if generation else None,
        "first_token_seconds": generation.first_token_seconds if generation else None,
        "tokens_per_second": generation.tokens_per_second if generation else None,
        "hit_length_limit": bool(generation and generation.hit_length_limit),
        **({"best_of": system.best_of.as_dict()} if system.best_of else {}),
        **({"origin": spec.origin, "made": spec.made} if isinstance(spec, RecordedSummary) and spec.origin else {}),
        "turns_left_out": system.fitted.turns_left_out if system.fitted else None,
        "cut_inside_turn": bool(system.fitted and system.fitted.cut_inside_turn),
    }


def _recorded_summary(raw: Mapping[str, Any]) -> RecordedSummary:
    origin = str(raw.get("origin", ""))
    made = date.fromisoformat(raw["made"]).isoformat() if raw.get("made") else ""
    return RecordedSummary(
        str(raw["name"]), str(raw["summary"]), origin, made, str(raw["error"]) if raw["phase"] == "failed" else ""
    )


def _system(raw: Mapping[str, Any], references: Sequence[str], registry: Registry, reading: Reading) -> SystemResult:
    """Read a finished system's result of `_system_dict`."""
    text, first = str(raw["summary"]), raw["first_token_seconds"]
    name, recorded, left_out = str(raw["name"]), raw["kind"] == RecordedSummary.kind, raw["turns_left_out"]
    if raw["phase"] not in ("done", "stopped", "failed"):
        raise ValueError(f"A kept system's phase is done, stopped or failed, not {raw['phase']!r}.")
    generation = (
        Generation(
            text,
            int(raw["new_tokens"]),
            float(raw["seconds"]),
            None if first is None else float(first),
            finished=raw["phase"] == "done",
            stopped=raw["phase"] == "stopped",
            hit_length_limit=bool(raw["hit_length_limit"]),
        )
        if raw["seconds"] is not None
        else None
    )
    fitted = None
    if left_out is not None:
        kept = reading.turns - int(left_out)
        fitted = FittedDialogue(reading.dialogue, (), kept, int(left_out), bool(raw["cut_inside_turn"]))
    return SystemResult(
        _recorded_summary(raw) if recorded else registry.spec(name),
        raw["phase"],
        generation=generation,
        parameters=raw["parameters"],
        trained_parameters=raw["trained_parameters"],
        scores=score_summary(text, references) if raw["phase"] == "done" and references and text else None,
        error=str(raw["error"]),
        strength=check_strength(raw["strength"]),
        fitted=fitted,
    )


def recorded_result(spec: RecordedSummary, references: Sequence[str]) -> SystemResult:
    """A summary from elsewhere with its scores, or the reason why there is none."""
    if spec.missing:
        return SystemResult(spec, "failed", error=spec.missing)
    scores = score_summary(spec.text, references) if references else None
    return SystemResult(spec, "done", generation=Generation(spec.text, 0, 0.0, finished=True), scores=scores)


def check_systems(systems: Sequence[System]) -> None:
    """Raises InputError unless there are one to six different systems, and each recorded summary is a usable text."""
    if not systems or len(systems) > MAX_SYSTEMS:
        raise InputError(f"There are {len(systems)} systems; compare 1 to {MAX_SYSTEMS}.")
    names = [system.name for system in systems]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise InputError(f"{twice} was chosen twice; choose another system or remove one of the two.")
    for system in systems:
        if not isinstance(system, RecordedSummary) or system.missing:
            continue
        if not words(system.text):
            raise InputError(f"{system.name} has no words; give the text of a summary or remove it.")
        if len(system.text) > MAX_REFERENCE_CHARS:
            raise InputError(
                f"{system.name} has {len(system.text):,} characters; the limit is {MAX_REFERENCE_CHARS:,}. "
                "Give a summary, not the dialogue."
            )


def clean_references(references: Sequence[str]) -> tuple[str, ...]:
    """The references that are not blank, at most three. Raises InputError for more or for one that is too long."""
    if isinstance(references, str) or not all(isinstance(r, str | None) for r in references):
        raise InputError("References must be a list of texts, one per summary.")
    kept = tuple(reference.strip() for reference in references if reference and reference.strip())
    for number, reference in enumerate(kept, 1):
        if len(reference) > MAX_REFERENCE_CHARS:
            raise InputError(
                f"Reference {number} has {len(reference):,} characters; the limit is {MAX_REFERENCE_CHARS:,}. "
                "Give a summary, not the dialogue."
            )
    if len(kept) > MAX_REFERENCES:
        raise InputError(f"There are {len(kept)} reference summaries; give at most {MAX_REFERENCES}.")
    return kept


def stream_comparison(
    store: ModelStore,
    family: Family,
    specs: Sequence[System],
    dialogue: str,
    references: Sequence[str] = (),
    decode: DecodingConfig | None = None,
    *,
    max_chars: int = MAX_INPUT_CHARS,
    should_stop: Callable[[], bool] | None = None,
    strengths: Mapping[str, float] | None = None,
    as_is: bool = False,
    choice: Choice | None = None,
    generate: Generate = stream,
) -> Iterator[Comparison]:
    """Yield the comparison after each change; the last one is complete.

    Systems run one after the other, so that they do not slow each other down, and family by family, because loading
    one may evict another. If a system fails, its result has the error and the others continue. A stop keeps the results
    so far. strengths: by model name, 0 to 2, for adapters that support it (`LoadedModel.at_strength`). as_is: do not
    convert the text from a chat export or transcript. choice: of the best of several candidates, which are not
    streamed. generate: `streaming.stream`, or that of a `Scheduler` that several comparisons share. Raises InputError
    for an invalid dialogue, references, systems or strengths before any model is loaded.
    """
    check_systems(specs)
    reading, kept = read_dialogue(dialogue, max_chars, as_is=as_is), clean_references(references)
    stopping = should_stop or (lambda: False)
    wanted = {name: check_strength(strength) for name, strength in (strengths or {}).items()}
    systems = tuple(SystemResult(spec, strength=wanted.get(spec.name, 1.0)) for spec in specs)
    comparison = Comparison(family, reading.dialogue, kept, decode or family.decode, systems, reading=reading)
    if kept:
        comparison = replace(comparison, signature=signature(n=1, references=len(kept)))
    yield comparison
    families = [spec.family for spec in specs]
    for index in sorted(range(len(specs)), key=lambda index: families.index(families[index])):
        comparison = yield from _run_system(store, comparison, index, stopping, choice, generate)


def _run_system(
    store: ModelStore,
    comparison: Comparison,
    index: int,
    should_stop: Callable[[], bool],
    choice: Choice | None,
    generate: Generate,
) -> Generator[Comparison, None, Comparison]:
    result = comparison.systems[index]
    spec = result.spec

    def now(**changes: Any) -> Comparison:
        nonlocal result, comparison
        result = replace(result, **changes)
        systems = (*comparison.systems[:index], result, *comparison.systems[index + 1 :])
        comparison = replace(comparison, systems=systems)
        return comparison

    if isinstance(spec, RecordedSummary):
        result = recorded_result(spec, comparison.references)
        yield now()
        return comparison
    if should_stop():
        yield now(phase="stopped")
        return comparison
    try:
        yield now(phase="loading")
        loaded = yield from _load(store, spec, should_stop, lambda text, share: now(note=text, share=share))
        loaded, family = loaded.at_strength(result.strength), store.registry.family(spec.family)
        yield from _write(loaded, family, now, comparison, should_stop, choice, generate)
    except Stopped as stop:
        yield now(phase="stopped", note=str(stop), share=None)
    except DsumError as error:
        yield now(phase="failed", error=str(error))
    except Exception as error:
        # Isolate failures: the other systems continue.
        log.exception("%s failed", spec.name)
        yield now(phase="failed", error=f"{spec.name} failed unexpectedly: {type(error).__name__}: {error}")
    return comparison


def _load(
    store: ModelStore,
    spec: ModelSpec,
    should_stop: Callable[[], bool],
    noted: Callable[[str, float | None], Comparison],
) -> Generator[Comparison, None, LoadedModel]:
    """Yield the comparison with the first progress message, then with the latest at most every NOTE_SECONDS.

    Closing the generator stops loading.
    """
    messages: list[tuple[str, float | None]] = []
    loading = run_in_thread(
        lambda stop: store.load(
            spec, lambda *message: messages.append(message), lambda: stop.is_set() or should_stop()
        ),
        f"load {spec.name}",
    )
    shown_at: float | None = None
    seconds, loaded = 0.0, None
    with closing(loading):
        while loaded is None:
            try:
                seconds = next(loading)
            except StopIteration as end:
                loaded = end.value
            if messages and shown_at is None:
                yield noted(*messages[0])
                shown_at = seconds
            elif shown_at is not None and loaded is None and seconds - shown_at >= NOTE_SECONDS:
                yield noted(*messages[-1])
                shown_at = seconds
    return loaded


def _write(
    loaded: LoadedModel,
    family: Family,
    now: Callable[..., Comparison],
    comparison: Comparison,
    should_stop: Callable[[], bool],
    choice: Choice | None,
    generate: Generate,
) -> Iterator[Comparison]:
    new_tokens = comparison.decode.max_new_tokens
    fitted = loaded.fit(family.prompt, comparison.dialogue, family.max_source_tokens, new_tokens)
    yield now(
        fitted=fitted,
        phase="writing",
        note="",
        share=None,
        parameters=loaded.total_parameters,
        trained_parameters=loaded.trained_parameters,
    )
    generation = None
    if choice is not None:
        while not choice.turn.acquire(timeout=NOTE_SECONDS):
            yield now(phase="waiting", note="Waiting for another comparison that chooses the best of several.")
            if should_stop():
                raise Stopped("Stopped while waiting for another comparison.")
        try:
            yield now(phase="writing", note="")
            found = best_of(choice.load(), loaded, fitted, comparison.decode, choice.candidates, should_stop)
        finally:
            choice.turn.release()
        generation = found.best
        yield now(generation=generation, best_of=found)
    else:
        for state in generate(loaded, fitted.source_ids, comparison.decode, should_stop):
            if isinstance(state, Waiting):
                yield now(phase="waiting", note=state.sentence)
            else:
                generation = state
                yield now(phase="writing", note="", generation=generation)
    if generation is None or generation.stopped:
        yield now(phase="stopped", note="")  # a part of a summary is not scored
        return
    scored = bool(comparison.references and generation.text)
    yield now(phase="done", scores=score_summary(generation.text, comparison.references) if scored else None)


def compare(*args: Any, **kwargs: Any) -> Comparison:
    """`stream_comparison`, run to its end."""
    *_, last = stream_comparison(*args, **kwargs)
    return last
