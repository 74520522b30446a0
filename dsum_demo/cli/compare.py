"""The command `dsum compare`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from dsum_demo.cli.console import DONE, FAILED, say, split_names
from dsum_demo.composition import make_judges, make_registry, make_store, saved_evaluations
from dsum_demo.errors import InputError
from dsum_demo.metrics.scores import METRICS, shown_f1
from dsum_demo.settings import Settings
from dsum_demo.utils.formatting import token_rate, written_date

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dsum_demo.comparison import Choice, Comparison, RecordedSummary, System
    from dsum_demo.judge.judged_texts import JudgedTexts
    from dsum_demo.models.store import ModelStore


def run_compare(options: argparse.Namespace, settings: Settings) -> int:
    # All arguments are checked before anything imports torch, which takes seconds.
    text = _read_text(options.file)
    from dsum_demo.data.dialogues import doubts, read_dialogue

    reading = read_dialogue(text, as_is=options.as_is)
    say(f"dsum: {reading.sentence}" + ("" if options.as_is or not reading.format else " --as-is keeps the text."))
    for doubt in doubts(reading.dialogue, reading.turns):
        say(f"dsum: {doubt}")
    registry = make_registry(settings)
    specs: list[System] = [*registry.systems(split_names(options.systems or ""), options.family)]
    family = registry.family(options.family or specs[0].family)
    wanted = {"num_beams": options.beams, "max_new_tokens": options.max_new_tokens}
    decode = replace(family.decode, **{name: value for name, value in wanted.items() if value is not None})

    from dsum_demo.comparison import check_systems, stream_comparison

    specs += [_recorded(argument, reading.dialogue, settings) for argument in options.recorded]
    check_systems(specs)
    store = make_store(settings, registry)
    say(f"dsum: comparing {', '.join(spec.name for spec in specs) if options.systems else family.title}")
    printed = ""
    choice = _choice(options.best_of, options.judge, settings, store) if options.best_of else None
    judging = None if options.judge is None or options.best_of else _judging(options.judge, settings, store)
    states = stream_comparison(
        store, family, specs, text, options.reference, decode, as_is=options.as_is, choice=choice
    )
    for comparison in states:
        note = next((system.note for system in comparison.systems if system.note), "")
        if note and note != printed:
            say(f"dsum: {note}")
            printed = note
    if judging is not None and (texts := list(comparison.judgeable.values())):
        comparison = replace(comparison, judged=judging(comparison.dialogue, texts))
    for note in comparison.truncated:
        say(f"dsum: {note}")
    print(comparison.as_json() if options.json else _comparison_text(comparison), end="")
    failed = [system for system in comparison.systems if system.error]
    for system in failed:
        say(f"dsum: {system.spec.name}: {system.error}")
    return FAILED if failed else DONE


def _judging(name: str, settings: Settings, store: ModelStore) -> Callable[[str, Sequence[str]], JudgedTexts]:
    """Judges the texts of a dialogue. Raises InputError for an unknown judge."""
    from dsum_demo.judge.judged_texts import judge_texts

    judges = make_judges(settings, store)
    return partial(judge_texts, judges, judges.find(name))


def _choice(number: int, judge: str | None, settings: Settings, store: ModelStore) -> Choice:
    from dsum_demo.comparison import Choice

    judges = make_judges(settings, store)
    spec = judges.chooser(judge or "")
    for sentence in judges.trust(spec.name):
        say(f"dsum: {sentence}")
    return Choice(cache(lambda: judges.load(spec)), number)


def _recorded(text: str, dialogue: str, settings: Settings) -> RecordedSummary:
    """Read the argument NAME=FILE, or EVALUATION:SYSTEM for the summary of `dialogue` in a saved evaluation."""
    from dsum_demo.comparison import RecordedSummary

    name, equals, file = text.partition("=")
    if name.strip() and equals and file:
        return RecordedSummary(name.strip(), _summary_in(_read_text(file).strip(), name.strip()))
    if equals or not all(text.partition(":")):
        raise InputError(
            f"--recorded is {text!r}; give NAME=FILE, where the file contains the summary, or EVALUATION:SYSTEM for a "
            "summary in a saved evaluation."
        )
    from dsum_demo.evaluation.recorded_comparison import recorded_summary

    found = recorded_summary(saved_evaluations(settings), text, dialogue)
    if found.missing:
        raise InputError(found.missing)
    return found


def _summary_in(text: str, name: str) -> str:
    """The text, or, if it is a comparison in JSON, its summary by the system `name`."""
    try:
        raw = json.loads(text)
    except ValueError:
        return text
    if not isinstance(raw, dict) or not isinstance(raw.get("systems"), list):
        return text
    found = {str(one.get("name")): str(one.get("summary", "")) for one in raw["systems"] if isinstance(one, dict)}
    if name not in found:
        raise InputError(f"The comparison has no system {name!r}; choose one of: {', '.join(found) or 'none'}.")
    return found[name]


def _read_text(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.") from None
    from dsum_demo.data.conversations.files import read_file_text

    read = read_file_text(data, "standard input" if name == "-" else name)
    if read.notice:
        say(f"dsum: {read.notice}")
    return read.text


def _comparison_text(comparison: Comparison) -> str:
    from dsum_demo.comparison import RecordedSummary

    lines = []
    for system in comparison.systems:
        name = f" ({system.spec.name})" if system.spec.name != system.spec.title else ""
        lines += [f"{system.spec.title}{name}", f"  {system.summary or '(no output)'}"]
        if system.scores:
            lines.append(
                "  " + "  ".join(f"{m.short} {shown_f1(system.scores.get(name))}" for name, m in METRICS.items())
            )
        if isinstance(system.spec, RecordedSummary) and system.spec.made:
            lines.append(f"  recorded on {written_date(system.spec.made)}, not generated here")
        elif system.best_of:
            lines.append(f"  {system.best_of.sentence}")
        elif system.generation and system.generation.new_tokens:
            lines.append(f"  {system.generation.seconds:.2f} s, {token_rate(system.generation.tokens_per_second)}")
        lines.append("")
    if comparison.signature:
        lines.append(f"F1 x 100. {comparison.signature.text}")
    else:
        lines.append("No ROUGE scores: add a reference summary with --reference to compute them.")
    if comparison.judged:
        lines += ["", *_judged_lines(comparison, comparison.judged)]
    return "\n".join(lines) + "\n"


def _judged_lines(comparison: Comparison, judged: JudgedTexts) -> list[str]:
    from dsum_demo.comparison import shown_bits
    from dsum_demo.judge.judged_texts import TITLES
    from dsum_demo.judge.judges import judge_lines

    lines = [f"{'Bits per token':<24}" + "".join(f"{title:>21}" for title in TITLES.values())]
    for title, text in comparison.judgeable.items():
        cells = (f"{shown_bits(value):>21}" for value in judged.values(text).values())
        lines.append(f"{title:<24}" + "".join(cells))
    preferred = [f"The judge prefers the summary of {comparison.preferred}."] if comparison.preferred else []
    return [*lines, *preferred, *judge_lines(judged.about)]
