"""Makes reviews from evaluations, recorded outputs and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dsum_demo.comparison import Comparison
from dsum_demo.data.examples import draw
from dsum_demo.errors import InputError
from dsum_demo.evaluation.recorded import read_recorded, recorded_system
from dsum_demo.evaluation.records import Evaluation, SystemInfo
from dsum_demo.review.records import MAX_SYSTEMS, ReviewDraft, ReviewItem, ReviewSettings, ReviewText


def draft_from_evaluation(
    evaluation: Evaluation,
    name: str = "",
    *,
    systems: Sequence[str] = (),
    limit: int | None = None,
    settings: ReviewSettings | None = None,
    source: str = "",
) -> ReviewDraft:
    """A review of an evaluation's texts. Examples that share a dialogue and all outputs become one item.

    systems: names, by default all. limit: size of a random sample of the items, drawn with the settings' seed. Left out
    and counted: examples without the text of each system, without a dialogue (`evaluation.storage.fill_texts`), and
    with equal texts of all systems. Raises InputError for unknown systems, and if no item remains.
    """
    settings = settings or ReviewSettings()
    names = list(systems) or [system.name for system in evaluation.systems]
    known = {system.name: system for system in evaluation.systems}
    if unknown := [system for system in names if system not in known]:
        raise InputError(f"The evaluation has no system {unknown[0]!r}; its systems are: {', '.join(known)}.")
    complete = [example for example in evaluation.examples if all(system in example.outputs for system in names)]
    items = [
        ReviewItem(
            id=example.id,
            dialogue=example.dialogue or "",
            references=example.references,
            texts={
                name: ReviewText(output.text, output.tokens, output.seconds)
                for name, output in ((name, example.outputs[name]) for name in names)
            },
        )
        for example in complete
    ]
    return draft_from_items(
        name, source or evaluation.data, [known[system] for system in names], items, limit, settings, evaluation.decode
    )


def draft_from_file(
    file: Path,
    references: Sequence[str],
    systems: Sequence[str],
    name: str = "",
    *,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    settings: ReviewSettings | None = None,
) -> ReviewDraft:
    """A review of outputs that were recorded in a file, in the format of `evaluation.recorded.read_recorded`. Raises
    its errors and those of `draft_from_evaluation`.
    """
    items = [
        ReviewItem(
            id=row.example.id,
            dialogue=row.example.dialogue,
            references=row.example.references,
            texts={system: ReviewText(text) for system, text in row.outputs.items()},
        )
        for row in read_recorded(file, references, systems, columns=columns)
    ]
    return draft_from_items(
        name, file.name, list(map(recorded_system, systems)), items, limit, settings or ReviewSettings()
    )


def draft_from_comparison(comparison: Comparison, *, weights: Mapping[str, str] | None = None) -> ReviewDraft:
    """A review of one comparison's complete summaries. weights: fingerprints by model name
    (`evaluation.output_cache.identify`). Raises InputError with fewer than two different summaries, and with more
    systems than a review can have.
    """
    done = [result for result in comparison.systems if result.phase == "done" and result.summary.strip()]
    systems = tuple(
        SystemInfo(
            name=result.spec.name,
            title=result.spec.title,
            kind=str(result.spec.kind),
            parameters=result.parameters,
            trained_parameters=result.trained_parameters,
            weights=(weights or {}).get(result.spec.name, ""),
        )
        for result in done
    )
    item = ReviewItem(
        id="comparison",
        dialogue=comparison.dialogue,
        references=comparison.references,
        texts={
            result.spec.name: ReviewText(
                result.summary,
                result.generation.new_tokens if result.generation else None,
                result.generation.seconds if result.generation else None,
            )
            for result in done
        },
    )
    if len(done) > MAX_SYSTEMS:
        raise InputError(f"The comparison has {len(done)} systems; compare at most {MAX_SYSTEMS} to review them.")
    if len(item.cards) < 2:
        raise InputError("The comparison has fewer than two different summaries; there is nothing to rank.")
    return ReviewDraft(
        name=f"Comparison of {comparison.family.title}",
        source="comparison",
        systems=systems,
        items=(item,),
        decode=comparison.decode.as_dict(),
        settings=ReviewSettings(verdicts_per_item=20, repeat_share=0.0, reveal="item"),
    )


def draft_from_items(
    name: str,
    source: str,
    systems: Sequence[SystemInfo],
    items: Sequence[ReviewItem],
    limit: int | None,
    settings: ReviewSettings,
    decode: Mapping[str, Any] | None = None,
) -> ReviewDraft:
    """A review of a sample of the items that can be ranked; the others are counted. Raises InputError if none can be,
    or for items without the text of each system.
    """
    with_dialogue = [item for item in items if item.dialogue.strip()]
    if items and not with_dialogue:
        raise InputError(f"The dialogues of {source} are not available; reviewers need them to judge.")
    merged = _merged(with_dialogue)
    different = [item for item in merged if len(item.cards) > 1]
    return ReviewDraft(
        name=name or f"Review of {source}",
        source=source,
        systems=tuple(systems),
        items=tuple(draw(different, limit, settings.seed)),
        decode=decode,
        settings=settings,
        identical=len(merged) - len(different),
        without_dialogue=len(items) - len(with_dialogue),
    )


def _merged(items: Sequence[ReviewItem]) -> list[ReviewItem]:
    """One item for those with the same dialogue and the same texts, with all their references, in order."""
    groups: dict[tuple[str, ...], list[ReviewItem]] = {}
    for item in items:
        groups.setdefault((item.group, *(text.text for text in item.texts.values())), []).append(item)
    return [
        replace(same[0], references=tuple(dict.fromkeys(text for item in same for text in item.references)))
        for same in groups.values()
    ]
