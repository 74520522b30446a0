"""The results of a comparison on the Compare tab: which components show them, and the updates that draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import gradio as gr

from dsum_demo.comparison import Comparison, System
from dsum_demo.errors import InputError
from dsum_demo.models.catalog import Family, Kind, ModelSpec
from dsum_demo.ui import html
from dsum_demo.ui.appearance import KINDS, system_looks
from dsum_demo.ui.compare import cards
from dsum_demo.ui.compare.charts import headline, rouge_chart
from dsum_demo.ui.compare.columns import PLACES
from dsum_demo.ui.compare.families import default_of
from dsum_demo.ui.compare.judging import judged_table
from dsum_demo.ui.theme import Update
from dsum_demo.utils.formatting import written_date

NO_REFERENCE = "No ROUGE scores: add a reference summary under “Reference summaries” to compute them."
NO_OUTPUT = "No ROUGE scores: no model completed a summary."
OTHER_TEXT = "These summaries are of another text than the dialogue box has now. Press Compare to summarize that one."

RESULTS = (
    "problem", "other_text", "warnings", *PLACES, "proof", "human", "comparison", "options", "downloads", "legend",
    "scores", "headline", "chart", "signature", "table", "no_rouge", "judging", "judged",
)  # fmt: skip


def results(**changes: Update) -> tuple[Update, ...]:
    """Updates in the order of RESULTS; components that are not named keep their value."""
    updates = {name: changes.pop(name, gr.skip()) for name in RESULTS}
    if changes:
        raise InputError(f"The Compare tab has no {', '.join(changes)}; it has {', '.join(RESULTS)}.")
    return tuple(updates.values())


def shown_results(
    family: Family,
    comparison: Comparison | None,
    wanted: Mapping[Kind, ModelSpec] | None = None,
    added: Sequence[System] = (),
) -> tuple[Update, ...]:
    """A finished comparison without highlighting, or empty cards, by default of the family's default models. `added`:
    the systems in the added columns.
    """
    if comparison is None:
        specs = {kind: default_of(family, kind) for kind in KINDS} | dict(wanted or {})
        empty = empty_cards([*specs.values(), *added])
        notes = dict.fromkeys(("problem", "other_text", "warnings", "human"), "")
        return results(**empty, **emptied(), **no_scores(), **notes, comparison=None)
    own: list[System | None] = [system.spec for system in comparison.systems[: len(KINDS)]]
    systems = [*own, *[None] * (len(KINDS) - len(own)), *added]
    shown = empty_cards(systems) | no_scores() | finished(comparison, html.NO_HIGHLIGHT)
    return results(**shown, problem="", other_text="", warnings=notes_of(comparison))


def redraw(comparison: Comparison | None, highlight: str) -> tuple[Update, ...]:
    if comparison is None:
        return results()
    return results(**drawn_texts(comparison, highlight), legend=cards.legend(comparison, highlight))


def show_again(comparison: Comparison | None, highlight: str) -> tuple[Update, ...]:
    """All results of the last comparison."""
    return results(**finished(comparison, highlight)) if comparison else results()


def drawn_texts(comparison: Comparison, highlight: str) -> dict[str, Update]:
    shown = {
        place: cards.system_card(comparison, index, highlight)
        for index, place in enumerate(PLACES[: len(comparison.systems)])
    }
    return {**shown, "human": cards.human_card(comparison, highlight)}


def empty_cards(systems: Sequence[System | None]) -> dict[str, Update]:
    """A card for each system without a result, by place. Other places keep theirs: a late answer must not empty the
    card of a column that was added in the meantime.
    """
    looks = system_looks([system for system in systems if system])
    shown = [cards.empty_card(system, looks[system.name]) if system else "" for system in systems]
    return dict(zip(PLACES, shown, strict=False))


def no_scores() -> dict[str, Update]:
    return dict.fromkeys(("headline", "signature", "table", "downloads"), "") | {"chart": None}


def notes_of(comparison: Comparison) -> str:
    """What a finished comparison is, if it was not generated now, and its warnings."""
    return _recorded_note(comparison) + warnings_of(comparison)


def _recorded_note(comparison: Comparison) -> str:
    if not comparison.recorded:
        return ""
    shown = written_date(comparison.recorded)
    if comparison.shared:
        return html.notice(
            f"Shared by link: the texts are those of the link, made on {shown}; the scores are computed here. Press "
            "Compare to generate the summaries with these models."
        )
    return html.notice(f"Example: recorded on {shown} with these models. Press Compare to generate the summaries now.")


def emptied() -> dict[str, Update]:
    """Hide the scores of the previous comparison."""
    hidden = gr.update(visible=False)
    return {
        "options": hidden,
        "scores": hidden,
        "judging": hidden,
        "legend": "",
        "no_rouge": "",
        "proof": "",
        "judged": "",
    }


def finished(comparison: Comparison, highlight: str) -> dict[str, Update]:
    scored = any(system.scores for system in comparison.systems)
    drawn = {
        "headline": f"<h3>{escape(headline(comparison))}</h3>",
        "chart": rouge_chart(comparison),
        "signature": escape(comparison.signature.text) if comparison.signature else "",
        "table": cards.scores_table(comparison),
    }
    return {
        **drawn_texts(comparison, highlight),
        "comparison": comparison,
        "options": gr.update(visible=True),
        "judging": gr.update(visible=True),
        "judged": judged_table(comparison),
        "downloads": cards.downloads(comparison),
        "legend": cards.legend(comparison, highlight),
        "scores": gr.update(visible=scored),
        "no_rouge": html.notice("" if scored else NO_OUTPUT if comparison.references else NO_REFERENCE),
        **(drawn if scored else {}),
    }


def ignored_note(references: Sequence[int]) -> str:
    """A notice about references of an example that were not used; `references` are indexes."""
    if not references:
        return ""
    names = " and ".join(", ".join(f"{index + 1}" for index in references).rsplit(", ", 1))
    subject, verb = ("Reference", "belongs") if len(references) == 1 else ("References", "belong")
    return html.notice(
        f"{subject} {names} {verb} to an example, not to this dialogue: ignored. Edit the text under “Reference "
        "summaries” to use your own.",
        "warning",
    )


def warnings_of(comparison: Comparison) -> str:
    return "".join(html.notice(warning, "warning") for warning in comparison.warnings)
