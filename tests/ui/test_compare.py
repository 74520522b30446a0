"""The Compare tab's handlers and their output, without a browser."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
from dataclasses import replace
from html import unescape
from types import SimpleNamespace

import gradio as gr
import pytest
from safetensors import safe_open

from dsum_demo.comparison import Comparison, RecordedSummary, SystemResult, compare
from dsum_demo.errors import InputError
from dsum_demo.evaluation.model_proof import ModelProof, first_difference
from dsum_demo.generation.streaming import Generation
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.models.catalog import Kind
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.settings import PROJECT_ROOT
from dsum_demo.ui import assets, html
from dsum_demo.ui.appearance import KINDS
from dsum_demo.ui.compare import cards, charts, families, tab
from dsum_demo.ui.compare import dialogue_input as dialogue
from dsum_demo.ui.compare.columns import (
    ADDED,
    LAYOUT,
    PASTED,
    PLACES,
    chosen,
    laid_out,
    more,
    system_choices,
    values_of,
)
from dsum_demo.ui.compare.results import shown_results
from dsum_demo.ui.models_tab import show_models
from dsum_demo.ui.services import Services

DIALOGUE = "#Person1#: Can you lend me ten dollars?\n#Person2#: Sure, Tom. Pay me back on Friday."
REFERENCES = ("Tom borrows ten dollars.", "#Person2# lends Tom ten dollars until Friday.")


@pytest.fixture(scope="module")
def services(tiny_settings) -> Services:
    return Services.start(tiny_settings)


@pytest.fixture(scope="module")
def comparison(services) -> Comparison:
    family = services.registry.default_family
    specs = [spec for spec in family.default_trio() if spec]
    return compare(services.store, family, specs, DIALOGUE, REFERENCES, DecodingConfig(max_new_tokens=16))


def with_text(comparison: Comparison, text: str) -> Comparison:
    """The comparison with `text` as the full fine-tune's summary."""
    result = replace(comparison.systems[1], generation=Generation(text, 5, 1.0, 0.1, finished=True))
    return replace(comparison, systems=(comparison.systems[0], result, comparison.systems[2]))


def html_text(card: str) -> str:
    return unescape(re.sub("<[^>]+>", "", card))


# Cards


def test_html_in_a_summary_is_escaped(comparison):
    evil = with_text(comparison, "<script>alert(1)</script> & ten dollars")
    for highlight in (html.NO_HIGHLIGHT, html.SHARED, html.COPIED):
        card = cards.system_card(evil, 1, highlight)
        assert "<script>" not in card and "&lt;" in card
    evil = replace(evil, references=("<img src=x onerror=alert(1)>",))
    assert "<img" not in cards.human_card(evil, html.NO_HIGHLIGHT)


def test_highlighting_leaves_the_text_unchanged(comparison):
    shown = with_text(comparison, "Tom borrows ten dollars & pays.")
    card = cards.system_card(shown, 1, html.SHARED)
    assert '<mark class="shared">Tom borrows ten dollars</mark> &amp; pays.' in card


def test_a_card_shows_trained_parameters_speed_and_length(comparison):
    base, full, lora = (cards.system_card(comparison, i, "none") for i in range(3))
    assert "not fine-tuned" in base and "trained: 100 %" in full
    share = 100 * comparison.systems[2].trained_parameters / comparison.systems[2].parameters
    assert f"trained: {share:.3g} %" in lora
    for card in (base, full, lora):
        assert "tokens/s" in card and "words" in card and "first token" in card


@pytest.mark.parametrize(
    ("phase", "text"),
    [
        ("waiting", "Waiting"),
        ("loading", "Loading"),
        ("writing", "Reading"),
        ("stopped", "Stopped"),
        ("done", "No output"),
    ],
)
def test_a_card_without_a_summary_shows_its_phase(comparison, phase, text):
    result = SystemResult(comparison.systems[0].spec, phase=phase)
    card = cards.system_card(replace(comparison, systems=(result,)), 0, "none")
    assert text in card and "Copy" not in card


def test_a_card_lists_names_and_numbers_that_are_not_in_the_dialogue(comparison):
    card = cards.system_card(with_text(comparison, "Tom will pay Brian 20 dollars on Friday."), 1, "none")
    assert "not found in the dialogue: Brian, 20<" in card
    assert "not found" not in cards.system_card(with_text(comparison, "Tom pays."), 1, "none")


def test_an_error_appears_escaped_in_the_systems_card(comparison):
    result = SystemResult(comparison.systems[0].spec, phase="failed", error="The <disk> is full.")
    card = cards.system_card(replace(comparison, systems=(result,)), 0, "none")
    assert "The &lt;disk&gt; is full." in card


def test_a_download_shows_its_progress(comparison):
    result = SystemResult(comparison.systems[0].spec, phase="loading", note="Downloading x: 3 of 9 MB", share=1 / 3)
    card = cards.system_card(replace(comparison, systems=(result,)), 0, "none")
    assert "3 of 9 MB" in card and '<progress value="0.3333"' in card
    unknown = replace(result, share=None)
    assert "<progress" not in cards.system_card(replace(comparison, systems=(unknown,)), 0, "none")


def test_the_human_card_numbers_several_references(comparison):
    assert cards.human_card(comparison, "none").count("<li") == 2
    assert cards.human_card(replace(comparison, references=()), "none") == ""


def test_download_links_contain_the_files(comparison):
    links = cards.downloads(comparison)
    data = re.search(r"data:application/json;charset=utf-8;base64,([^\"]+)", links)
    assert json.loads(base64.b64decode(data[1])) == comparison.as_dict()
    assert [name in links for name in ("comparison.json", "comparison.csv", "comparison.md")] == [True] * 3


def test_the_table_has_every_score(comparison):
    table = cards.scores_table(comparison)
    for system in comparison.systems:
        for rouge in ROUGE_TYPES:
            assert f"<td>{100 * system.scores[rouge].fmeasure:.2f}</td>" in table


# Chart


def test_bars_show_the_scores_and_the_difference_to_the_original(comparison):
    figure = charts.rouge_chart(comparison)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [bar.name for bar in bars] == [system.spec.title for system in comparison.systems]
    for bar, system in zip(bars, comparison.systems, strict=True):
        assert list(bar.y) == [100 * system.scores[rouge].fmeasure for rouge in ROUGE_TYPES]
    assert "(" not in bars[0].text[0] and "(" in bars[1].text[0]
    assert len({bar.marker.pattern.shape for bar in bars}) == 3, "bars are distinguishable without color"


def test_two_systems_of_one_kind_keep_their_columns_and_differ_in_name_and_color(comparison):
    twin = replace(comparison.systems[1], spec=replace(comparison.systems[1].spec, name="my-run"))
    both = replace(comparison, systems=(*comparison.systems[:2], twin))
    bars = [trace for trace in charts.rouge_chart(both).data if trace.type == "bar"]
    assert [bar.name for bar in bars] == ["Original", "dsum-t5-full", "my-run"]
    assert len({bar.marker.color for bar in bars}) == 3
    card = cards.system_card(both, 2, "none")
    assert "<h3>my-run</h3>" in card and "card other-0" in card


def test_the_human_line_needs_two_references(comparison):
    assert any(trace.type == "scatter" for trace in charts.rouge_chart(comparison).data)
    one = replace(comparison, references=REFERENCES[:1])
    assert not any(trace.type == "scatter" for trace in charts.rouge_chart(one).data)


def test_the_headline_names_the_best_system(comparison):
    best = max(comparison.systems, key=lambda system: system.scores["rouge1"].fmeasure)
    assert charts.headline(comparison).startswith(f"{best.spec.title} has the highest ROUGE-1 on this dialogue")
    unscored = replace(comparison, systems=tuple(replace(system, scores=None) for system in comparison.systems))
    assert charts.headline(unscored) == ""
    assert len(charts.rouge_chart(unscored).data) == 1


# Input


def test_examples_are_grouped_by_topic(services):
    labels = [label for label, _ in dialogue.example_choices(services)]
    topics = [label.split(" · ")[0] for label in labels]
    assert len(labels) == len(services.samples) >= 24
    assert len(set(topics)) == sum(a != b for a, b in zip(topics, ["", *topics], strict=False))


def test_choosing_an_example_over_typed_text_can_be_undone(services):
    typed = ("mine", "", "", "")
    *texts, kept, undo, problem, chosen = dialogue.choose_example(services, services.samples[2].id, 4, *typed)
    assert texts == [services.samples[2].dialogue, *services.samples[2].references]
    assert kept == typed and undo["visible"] is True and problem == "" and chosen == 5
    assert dialogue.put_back(kept, *texts) == (*typed, tuple(texts))


def test_choosing_an_example_over_an_unedited_example_needs_no_undo(services):
    first = services.samples[0]
    answer = dialogue.choose_example(services, services.samples[1].id, 0, first.dialogue, *first.references)
    assert answer[5] == {"__type__": "update"}


def test_leaving_the_examples_without_a_choice_keeps_edited_references(services):
    first = services.samples[0]
    assert dialogue.choose_example(services, first.id, 0, first.dialogue, "mine", "", "") == (gr.skip(),) * 8
    assert dialogue.choose_example(services, None, 0, "mine", "", "", "") == (gr.skip(),) * 8


def test_clearing_can_be_undone(services):
    answer = dialogue.clear_texts(services, "mine", "r", "", "")
    assert answer[:4] == ("", "", "", "") and answer[4] == ("mine", "r", "", "")


def test_a_dropped_file_that_is_too_long_is_refused(services, tmp_path):
    file = tmp_path / "long.txt"
    file.write_text("a" * 1_000_001)
    answer = dialogue.read_drop(services, str(file), "mine", "", "", "")
    assert answer[0] == "mine" and "1,000,001" in answer[6]


def test_a_chat_export_is_described_and_the_text_can_be_used_as_it_is(services):
    chat = "[18:03] Ana: <b>Lunch?</b>\n[18:04] Bo: Yes."
    shown, button = dialogue.describe_reading(services, chat, "")
    assert "Read as chat with times: 2 turns, 2 speakers (Ana, Bo); dropped 2 time stamps." in shown
    assert "<b>" not in shown and button["visible"]
    chosen, shown, button = dialogue.switch_reading(services, chat, "")
    assert chosen == "chat with times" and "Used as it is" in shown and button["value"] == "Read as chat with times"
    assert run(services, text=chat, as_is=chosen)[-1]["comparison"].dialogue == chat
    assert run(services, text=chat)[-1]["comparison"].dialogue == "Ana: <b>Lunch?</b>\nBo: Yes."
    assert dialogue.switch_reading(services, chat, chosen)[0] == ""


def test_a_choice_to_use_a_text_as_it_is_ends_with_another_format(services):
    other = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ana>Lunch?</v>\n\n00:03.000 --> 00:04.000\n<v Bo>Yes.</v>"
    assert "Read as WebVTT" in dialogue.describe_reading(services, other, "chat with times")[0]
    assert not dialogue.uses_as_is(other, "chat with times")


def test_a_plain_dialogue_is_counted_and_prose_is_doubted(services):
    shown, button = dialogue.describe_reading(services, DIALOGUE, "")
    assert "2 turns, 2 speakers" in shown and not button["visible"]
    assert "does not look like a dialogue" in dialogue.describe_reading(services, "It rained.", "")[0]
    assert dialogue.describe_reading(services, "", "")[0] == ""


def test_a_dropped_file_in_windows_1252_is_used_with_a_notice(services, tmp_path):
    file = tmp_path / "chat.vtt"
    file.write_bytes("Ana: café".encode("cp1252"))
    answer = dialogue.read_drop(services, str(file), "mine", "", "", "")
    assert answer[0] == "Ana: café" and "Windows-1252" in answer[6] and answer[4] == ("mine", "", "", "")


# The run


def test_references_of_an_example_are_ignored_for_another_dialogue(services):
    sample = services.samples[0]
    first, second, third = sample.references
    turns = sample.dialogue.splitlines()
    others = dialogue.references_of_others
    assert others(services, "Ana: Rice?\nBo: Yes, please.", [first, second, third]) == [0, 1, 2]
    assert others(services, "Ana: Rice?\nBo: Yes, please.", ["My own.", f" {second}\n", ""]) == [1]
    assert others(services, f"{turns[0]}\nBo: No.", [first, second, third]) == [0, 1, 2]
    assert others(services, sample.dialogue, [first, second, third]) == []
    assert others(services, "\n".join([*turns[:-1], "Bo: No."]), [first, second, third]) == [], "a corrected turn"
    assert others(services, sample.dialogue, [first, services.samples[1].references[0], ""]) == [1]


ANYONE = SimpleNamespace(session_hash="anyone")


def run(
    services: Services, text: str = DIALOGUE, reference: str = "", others=("", ""), session: str = "s", **changes
) -> list[dict]:
    added, texts, strengths = (
        changes.pop(name, [empty] * 3) for name, empty in (("added", None), ("texts", ""), ("strengths", 1.0))
    )
    values = {
        "as_is": "", "family": services.registry.default_family.name, "highlight": "none", "strategy": tab.GREEDY,
        "beams": 4, "temperature": 1.0, "seed": 0, "length": 12, "ngram": 0, "owner": "", "best": False, **changes,
    }  # fmt: skip
    columns = ["dsum-t5-full", "dsum-t5-lora", *added, *texts, *strengths, 1.0, 1.0]
    request = SimpleNamespace(session_hash=session)
    states = tab.run_comparison(services, request, text, reference, *others, *values.values(), *columns)
    return [dict(zip(tab.RESULTS, state, strict=True)) for state in states]


def test_a_comparison_ends_with_scores_or_the_reason_for_having_none(services):
    last = run(services, reference=REFERENCES[0])[-1]
    assert last["scores"]["visible"] and last["no_rouge"] == "" and last["chart"].data
    last = run(services)[-1]
    assert not last["scores"]["visible"] and "add a reference summary" in last["no_rouge"]
    assert isinstance(last["comparison"], Comparison)


def test_ignored_references_are_not_scored_and_are_named(services):
    sample = services.samples[0]
    states = run(services, reference=REFERENCES[0], others=sample.references[1:])
    told = [state["warnings"] for state in states if state["warnings"] != {"__type__": "update"}]
    assert len(told) > 1 and states[-1]["problem"] == "", "a late answer may have changed them"
    assert all("References 2 and 3 belong to an example" in text for text in told)
    assert states[-1]["comparison"].references == (REFERENCES[0],)


def test_a_redraw_updates_only_what_changed(services):
    states = run(services)
    for before, state in itertools.pairwise(states[:-1]):
        changed = {name for name, update in state.items() if update != {"__type__": "update"}}
        assert changed and changed <= {"base", "full", "adapter"}
        assert all(state[name] != before[name] for name in changed)


def test_a_text_that_is_not_a_dialogue_is_summarized_with_a_warning(services):
    states = run(services, text="hello there")
    assert "does not look like a dialogue" in states[0]["warnings"]
    assert [system.phase for system in states[-1]["comparison"].systems] == ["done"] * 3


def test_an_input_error_changes_nothing_but_the_error_text(services):
    (only,) = run(services, text="")
    assert "no dialogue" in only.pop("problem")
    assert all(value == {"__type__": "update"} for value in only.values())
    assert "num_beams" in run(services, strategy=tab.BEAMS, beams=99)[0]["problem"]


def test_a_requested_stop_ends_the_comparison(services):
    services.begin("stopped")
    services.stop("stopped")
    last = run(services, reference=REFERENCES[0], session="stopped")[-1]
    assert [system.phase for system in last["comparison"].systems] == ["stopped"] * 3
    assert not last["scores"]["visible"] and "no model completed a summary" in last["no_rouge"]
    services.forget("stopped")
    assert "stopped" not in services.running


@pytest.fixture
def with_recorded(services, comparison):
    """Services whose first sample has recorded summaries."""
    sample = services.samples[0]
    recorded = replace(
        comparison,
        dialogue=sample.dialogue,
        references=sample.references,
        recorded="2026-03-04",
        systems=tuple(replace(system, fitted=None) for system in comparison.systems),
    )
    return replace(services, recorded={(comparison.family.name, sample.dialogue): recorded})


def typed_sample(services, number: int = 0) -> tuple[str, ...]:
    sample = services.samples[number]
    return (sample.dialogue, *dialogue.padded(sample.references))


def reopened(services, kept, typed, opened=None, session="reload") -> dict:
    family = services.registry.default_family.name
    example, chosen, *rest = tab.reopen(
        services, SimpleNamespace(session_hash=session), kept, opened, family, "", *typed
    )
    return {"example": example, "family": chosen, **dict(zip(tab.RESULTS, rest[-len(tab.RESULTS) :], strict=True))}


def test_the_page_opens_on_an_example_with_its_recorded_summaries(with_recorded, comparison):
    shown = dict(
        zip(
            tab.RESULTS,
            tab.show_example(with_recorded, ANYONE, comparison.family.name, "", *typed_sample(with_recorded)),
            strict=True,
        )
    )
    assert "recorded on 4 March 2026" in shown["warnings"] and shown["scores"]["visible"] and shown["chart"].data
    assert comparison.systems[1].summary in html_text(shown[Kind.FULL]) and "tokens/s" not in shown[Kind.FULL]


def test_an_example_without_recorded_summaries_has_empty_cards(with_recorded, comparison):
    shown = dict(
        zip(
            tab.RESULTS,
            tab.show_example(with_recorded, ANYONE, comparison.family.name, "", *typed_sample(with_recorded, 1)),
            strict=True,
        )
    )
    # A column that was added in the meantime keeps its card.
    assert all("appears here" in shown[kind] for kind in KINDS) and shown[ADDED[0]] == {"__type__": "update"}
    assert shown["comparison"] is None and not shown["scores"]["visible"]


def test_a_comparison_of_fewer_than_three_systems_empties_the_other_cards(comparison):
    alone = replace(comparison, systems=comparison.systems[:1])
    shown = dict(zip(tab.RESULTS, shown_results(comparison.family, alone), strict=True))
    assert (
        comparison.systems[0].summary in html_text(shown[Kind.BASE]) and shown[Kind.FULL] == shown[Kind.ADAPTER] == ""
    )


def test_an_edited_example_loses_its_recorded_summaries_and_a_generated_comparison_stays(with_recorded, comparison):
    name, request = comparison.family.name, SimpleNamespace(session_hash="edited")
    recorded = next(iter(with_recorded.recorded.values()))
    typed = typed_sample(with_recorded)

    def follow(shown, *typed):
        updates = tab.follow_dialogue(with_recorded, request, shown, None, name, "", *typed)
        return dict(zip(tab.RESULTS, updates, strict=True))

    nothing = {"__type__": "update"}
    assert all(update == nothing for update in follow(recorded, *typed).values())
    assert follow(recorded, typed[0] + "\nA: More.", *typed[1:])["comparison"] is None
    same, other = (follow(comparison, text, "", "", "") for text in (DIALOGUE, DIALOGUE + "\nA: More."))
    assert same.pop("other_text") == "" and "of another text" in other.pop("other_text")
    assert all(update == nothing for update in [*same.values(), *other.values()])
    with_recorded.begin("edited")
    assert all(update == nothing for update in follow(comparison, "A: Other.\nB: Yes.", "", "", "").values())
    assert all(update == nothing for update in tab.show_example(with_recorded, request, name, "", *typed))
    assert all(update == nothing for update in follow(recorded, "A: Other.\nB: Yes.", "", "", "").values())
    with_recorded.forget("edited")


def test_a_reload_keeps_the_comparison_of_the_typed_dialogue(services, comparison):
    kept = json.loads(json.dumps(tab.keep(comparison)))
    shown = reopened(services, kept, (DIALOGUE, *REFERENCES, ""))
    systems = tuple(replace(s, fitted=replace(s.fitted, source_ids=())) for s in comparison.systems)
    assert shown["comparison"] == replace(comparison, systems=systems)
    assert shown["family"] == comparison.family.name and shown["example"] is None
    assert comparison.systems[1].summary in html_text(shown[Kind.FULL]) and "recorded" not in shown["warnings"]
    other = reopened(services, kept, ("A: Something else.\nB: Yes.", "", "", ""))
    assert other["comparison"] is None and "appears here" in other[Kind.FULL]


def test_a_late_answer_to_a_reload_s_change_of_the_dialogue_keeps_the_comparison(with_recorded, comparison):
    kept = json.loads(json.dumps(tab.keep(comparison)))
    opened_with = next(iter(with_recorded.recorded.values()))
    request, typed = SimpleNamespace(session_hash="reload"), (DIALOGUE, *REFERENCES, "")
    follow = with_recorded, request, opened_with, kept, comparison.family.name, ""
    late = dict(zip(tab.RESULTS, tab.follow_dialogue(*follow, *typed), strict=True))
    shown = reopened(with_recorded, kept, typed, opened_with)
    assert late["comparison"] == shown["comparison"] and not late["comparison"].recorded
    assert all(late[kind] == shown[kind] for kind in Kind)
    assert comparison.systems[1].summary in html_text(late[Kind.FULL])
    other = dict(zip(tab.RESULTS, tab.follow_dialogue(*follow, "A: Other.\nB: Yes.", "", "", ""), strict=True))
    assert other["comparison"] is None and "appears here" in other[Kind.FULL]


@pytest.mark.parametrize("kept", [None, [], "x", 5, {}, {"dialogue": DIALOGUE}, {"dialogue": DIALOGUE, "reading": 1}])
def test_a_kept_comparison_that_cannot_be_read_gives_the_example(with_recorded, kept):
    shown = reopened(with_recorded, kept, typed_sample(with_recorded))
    assert shown["comparison"].recorded and shown["example"] == with_recorded.samples[0].id


def test_a_reload_during_a_comparison_of_the_session_changes_nothing(services, comparison):
    services.begin("busy")
    shown = reopened(services, tab.keep(comparison), (DIALOGUE, *REFERENCES, ""), session="busy")
    assert shown["comparison"] == {"__type__": "update"} == shown["family"]
    services.forget("busy")


def test_a_finished_comparison_no_longer_counts_as_running(services):
    services.begin("one")
    run(services, session="one")
    assert not services.is_running("one")


def test_another_family_shows_its_recorded_summaries_of_the_example(with_recorded, comparison):
    changed = tab.change_family(with_recorded, ANYONE, comparison.family.name, "", *typed_sample(with_recorded))
    assert changed[tab.RESULTS.index("comparison") - len(tab.RESULTS)].recorded == "2026-03-04"


def test_leaving_the_family_without_a_choice_changes_nothing(services):
    family = services.registry.default_family
    values = (DIALOGUE, "", "", "")
    assert tab.choose_family(services, ANYONE, family.name, family.base.name, "", *values) == (gr.skip(),) * (
        tab.CompareTab.PARTS - 1
    )
    assert tab.choose_family(services, ANYONE, "flan-t5-base", family.base.name, "", *values) == tab.change_family(
        services, ANYONE, "flan-t5-base", "", *values
    )


def test_a_new_comparison_of_a_session_stops_the_previous_one(services):
    services.begin("twice")
    earlier = services.running["twice"]
    services.begin("twice")
    assert earlier.is_set() and not services.running["twice"].is_set()
    services.forget("twice")


def test_decoding_settings_of_other_strategies_are_ignored(services):
    family = services.registry.default_family
    assert tab.decode_config(family, tab.GREEDY, 4, 2.0, 7, 30, 2) == replace(
        family.decode, max_new_tokens=30, no_repeat_ngram_size=2
    )
    assert tab.decode_config(family, tab.BEAMS, 4, 2.0, 7, 30, 2).num_beams == 4
    sampled = tab.decode_config(family, tab.SAMPLING, 4, 2.0, None, 30, 2)
    assert (sampled.do_sample, sampled.temperature, sampled.seed, sampled.num_beams) == (True, 2.0, 0, 1)
    with pytest.raises(InputError):
        tab.decode_config(family, tab.SAMPLING, 4, 9.0, 0, 30, 2)


def test_redrawing_before_the_first_comparison_changes_nothing():
    for handler in (tab.redraw, tab.show_again):
        assert all(value == {"__type__": "update"} for value in handler(None, html.SHARED))


# More than three systems

TRIO = ["dsum-t5-base", "dsum-t5-full", "dsum-t5-lora"]


def added(services, comparison, *names: str, texts=("", "", "")) -> tuple[list[str | None], dict]:
    """(the values of the added columns, the results) after *Add a system*."""
    family = services.registry.default_family.name
    updates = tab.add_system(services, comparison, family, "", DIALOGUE, *TRIO, *more(names, texts[: len(names)]))
    visible, choosers = updates[: len(ADDED)], updates[len(ADDED) : 2 * len(ADDED)]
    values = [update.get("value") for update in choosers]
    assert [update.get("visible") for update in visible] == [value is not None for value in values]
    return values, dict(zip(tab.RESULTS, updates[LAYOUT:], strict=True))


@pytest.fixture
def with_run(services, tiny_root, tiny_model, save_adapter, tmp_path) -> Services:
    """Services with a finished training run named my-lora."""
    settings = replace(services.settings, data_dir=tmp_path)
    best = settings.runs_dir / "my-lora" / "best"
    shutil.copytree(tiny_root / "adapters" / "dsum-t5-lora", best)
    (best.parent / "result.json").write_text(json.dumps({"family": "dsum-t5", "method": "lora"}))
    return Services.start(settings)


def test_add_a_system_opens_a_column_with_a_model_that_is_not_shown_yet(with_run, comparison):
    values, shown = added(with_run, comparison)
    assert values == ["my-lora", None, None]
    assert "my-lora" in shown[ADDED[0]] and "appears here" in shown[ADDED[0]]
    assert shown[KINDS[0]] == {"__type__": "update"} and shown["comparison"] == {"__type__": "update"}
    # Only tiny models of one family are on this disk, so nothing but a text from elsewhere is left.
    assert added(with_run, comparison, "my-lora")[0] == ["my-lora", PASTED, None]
    family = with_run.registry.default_family.name
    full = tab.add_system(with_run, comparison, family, "", DIALOGUE, *TRIO, "my-lora", PASTED, PASTED, "", "a", "b")
    assert all(update == {"__type__": "update"} for update in full), "there is no seventh column"


def test_added_systems_are_compared_scored_and_downloaded(with_run):
    states = run(with_run, reference=REFERENCES[0], added=["my-lora", PASTED, None], texts=["", REFERENCES[0], ""])
    last = states[-1]
    names = [system.spec.name for system in last["comparison"].systems]
    assert names == [*TRIO, "my-lora", "Pasted summary"] and not last["comparison"].failure
    assert "tokens/s" in last[ADDED[0]] and REFERENCES[0] in html_text(last[ADDED[1]])
    assert last[ADDED[2]] == {"__type__": "update"}
    bars = [trace for trace in last["chart"].data if trace.type == "bar"]
    assert [bar.name for bar in bars] == ["Original", "Full fine-tune", "LoRA", "my-lora", "Pasted summary"]
    assert len({bar.marker.color for bar in bars}) == 5 and bars[4].y[0] == 100
    assert last["table"].count("Pasted summary") == 4
    exported = base64.b64decode(re.search(r"csv;charset=utf-8;base64,([^\"]+)", last["downloads"])[1]).decode()
    assert "my-lora" in exported and "Pasted summary" in exported


def test_a_card_and_the_bars_of_a_system_have_one_color(with_run):
    comparison = run(with_run, reference=REFERENCES[0], added=["my-lora", None, None])[-1]["comparison"]
    bar = [trace for trace in charts.rouge_chart(comparison).data if trace.type == "bar"][3]
    css = re.search(r"card (other-\d)", cards.system_card(comparison, 3, "none"))[1]
    (color,) = re.findall(rf"\.card\.{css} {{ --system: (#\w+); }}", assets.read("shared.css"))
    assert color == bar.marker.color


def test_a_removed_system_is_gone_from_columns_scores_and_downloads(with_run):
    two = {"added": ["my-lora", PASTED, None], "texts": ["", REFERENCES[0], ""]}
    comparison = run(with_run, reference=REFERENCES[0], **two)[-1]["comparison"]
    values = [*TRIO, *two["added"], *two["texts"]]
    updates = tab.remove_system(with_run, 0, comparison, html.NO_HIGHLIGHT, "", DIALOGUE, *values)
    layout, shown = updates[:LAYOUT], dict(zip(tab.RESULTS, updates[LAYOUT:], strict=True))
    assert [update["visible"] for update in layout[:3]] == [True, False, False]
    assert [update["value"] for update in layout[3:6]] == [PASTED, None, None]
    assert layout[6]["value"] == REFERENCES[0] and layout[6]["visible"]
    assert [system.spec.name for system in shown["comparison"].systems] == [*TRIO, "Pasted summary"]
    assert REFERENCES[0] in html_text(shown[ADDED[0]]) and shown[ADDED[1]] == {"__type__": "update"}
    assert "my-lora" not in shown["downloads"] + shown["table"] + shown["headline"]
    assert len([trace for trace in shown["chart"].data if trace.type == "bar"]) == 4


def test_removing_a_column_without_a_result_keeps_the_results(with_run, comparison):
    updates = tab.remove_system(
        with_run, 0, comparison, "none", "", DIALOGUE, *TRIO, "my-lora", PASTED, None, "", "A text.", ""
    )
    shown = dict(zip(tab.RESULTS, updates[LAYOUT:], strict=True))
    assert shown["comparison"] == {"__type__": "update"} == shown[KINDS[1]]
    assert "Pasted summary" in shown[ADDED[0]] and shown[ADDED[1]] == {"__type__": "update"}


def test_another_choice_changes_the_card_of_a_column_without_a_result_only(with_run, comparison):
    values = [*TRIO, "my-lora", None, None, "", "", ""]
    shown = dict(zip(tab.RESULTS, tab.choose_system(with_run, comparison, "none", "", DIALOGUE, *values), strict=True))
    assert "my-lora" in shown[ADDED[0]] and shown[KINDS[1]] == {"__type__": "update"}
    values[1] = "my-lora"
    shown = dict(zip(tab.RESULTS, tab.choose_system(with_run, None, "none", "", DIALOGUE, *values), strict=True))
    assert "my-lora" in shown[KINDS[1]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"added": ["dsum-t5-full", None, None]}, "dsum-t5-full was chosen twice"),
        ({"added": [PASTED, None, None]}, "Pasted summary has no words"),
        ({"added": ["gone", None, None]}, "There is no model"),
    ],
)
def test_unusable_added_systems_give_an_error_and_change_nothing_else(services, columns, message):
    (only,) = run(services, **columns)
    assert message in html_text(only.pop("problem"))
    assert all(value == {"__type__": "update"} for value in only.values())


def test_a_reload_keeps_added_systems(with_run):
    comparison = run(with_run, reference=REFERENCES[0], added=[PASTED, "my-lora", None], texts=["Tom pays.", "", ""])[
        -1
    ]["comparison"]
    kept = json.loads(json.dumps(tab.keep(comparison)))
    request = SimpleNamespace(session_hash="reload")
    family = comparison.family.name
    updates = tab.reopen(with_run, request, kept, None, family, "", DIALOGUE, REFERENCES[0], "", "")
    layout = updates[-len(tab.RESULTS) - LAYOUT : -len(tab.RESULTS)]
    assert [update["value"] for update in layout[3:6]] == [PASTED, "my-lora", None]
    assert layout[6]["value"] == "Tom pays."
    shown = dict(zip(tab.RESULTS, updates[-len(tab.RESULTS) :], strict=True))
    assert [system.spec for system in shown["comparison"].systems] == [s.spec for s in comparison.systems]
    assert "my-lora" in shown[ADDED[1]]


def test_another_family_keeps_added_systems(with_run):
    values = typed_sample(with_run) + tuple(more(["my-lora"], [""]))
    changed = tab.change_family(with_run, ANYONE, "flan-t5-base", "", *values)
    layout, shown = changed[-len(tab.RESULTS) - LAYOUT : -len(tab.RESULTS)], changed[-len(tab.RESULTS) :]
    assert all(update == {"__type__": "update"} for update in layout)
    assert "my-lora" in dict(zip(tab.RESULTS, shown, strict=True))[ADDED[0]]


# Recorded outputs


@pytest.fixture
def with_saved(services, tmp_path) -> Services:
    """Services with a saved evaluation of the samples, named mine."""
    settings = replace(services.settings, data_dir=tmp_path)
    shutil.copytree(PROJECT_ROOT / "evaluations" / "samples", settings.evaluations_dir / "mine")
    return replace(services, settings=settings)


MINE = "mine:dsum-t5-lora"


def test_a_recorded_output_of_the_dialogue_joins_the_comparison_when_it_is_chosen(with_saved, comparison):
    assert any(
        value == MINE and label.startswith("LoRA · recorded 2026-")
        for label, value in system_choices(with_saved, with_saved.registry)
    )
    sample = with_saved.samples[0]
    (expected,) = [
        one.outputs["dsum-t5-lora"].text
        for one in with_saved.evaluations.saved.open("mine").examples
        if one.dialogue == sample.dialogue
    ]
    values = [*TRIO, MINE, None, None, "", "", ""]
    before = tab.choose_system(with_saved, None, "none", "", sample.dialogue, *values)
    assert expected in html_text(dict(zip(tab.RESULTS, before, strict=True))[ADDED[0]])

    of_sample = replace(comparison, dialogue=sample.dialogue, references=sample.references)
    updates = tab.choose_system(with_saved, of_sample, "none", "", "another text", *values)
    shown = dict(zip(tab.RESULTS, updates, strict=True))
    system = shown["comparison"].systems[3]
    assert system.summary == expected and system.scores and shown["comparison"].systems[:3] == of_sample.systems
    assert "recorded on 24 November 2026, not generated here" in shown[ADDED[0]]
    assert [bar.name for bar in shown["chart"].data if bar.type == "bar"][3] == "LoRA of mine"
    last = run(with_saved, sample.dialogue, sample.references[0], added=[MINE, None, None])[-1]
    assert last["comparison"].systems[3].summary == expected

    kept = json.loads(json.dumps(tab.keep(shown["comparison"])))
    assert Comparison.from_dict(kept, with_saved.registry).systems[3].spec == system.spec
    assert values_of([system.spec]) == ([MINE], [""])


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        (MINE, "The evaluation mine has no summary of this dialogue by LoRA."),
        ("mine:gone", "The evaluation mine has no system 'gone'; choose one of: dsum-t5-base, "),
        ("gone:dsum-t5-lora", "Unknown saved evaluation 'gone'"),
        ("../samples:dsum-t5-lora", "Unknown saved evaluation '../samples'"),
    ],
)
def test_a_column_of_recorded_outputs_without_this_dialogue_gives_the_reason(with_saved, comparison, origin, reason):
    values = [*TRIO, origin, None, None, "", "", ""]
    updates = tab.choose_system(with_saved, comparison, "none", "", DIALOGUE, *values)
    shown = dict(zip(tab.RESULTS, updates, strict=True))
    assert reason in html_text(shown[ADDED[0]]) and shown["comparison"].systems[3].phase == "failed"
    last = run(with_saved, added=[origin, None, None])[-1]["comparison"]
    assert [system.phase for system in last.systems] == ["done", "done", "done", "failed"]
    kept = json.loads(json.dumps(tab.keep(last)))
    assert Comparison.from_dict(kept, with_saved.registry).systems[3].spec == last.systems[3].spec


def test_a_column_of_a_deleted_evaluation_can_still_be_chosen_and_removed(with_saved):
    # gradio refuses every event of a dropdown whose value is not a choice.
    gone = "gone:dsum-t5-lora"
    update = laid_out(with_saved, with_saved.registry, [gone, MINE], ["", ""])[len(ADDED)]
    chooser = gr.Dropdown(choices=update["choices"])
    assert [chooser.preprocess(value) for value in (gone, MINE)] == [gone, MINE]
    assert (f"{gone} (no longer available)", gone) in update["choices"]


def test_the_values_of_added_columns_are_read_as_they_are_set():
    assert chosen(more(["a", PASTED], ["", "text"])) == (["a", PASTED], ["", "text"])
    assert len(PLACES) == 6 and chosen(()) == ([], [])


# Proofs


def test_the_cards_claims_are_checked_on_the_loaded_models(services):
    comparison = run(services, strengths=[1.0, 0.0, 1.0])[-1]["comparison"]
    *_, shown = tab.prove_models(services, comparison)
    base, full, lora = re.findall("<div.*?</div>", shown)
    weights = [re.search(r"Weights: (\w{16})", one)[1] for one in (base, full, lora)]
    assert len(set(weights)) == 3
    assert "Original" in base and "no adapter attached" in base and "no adapter attached" in full
    layers = sum("lora_A" in name for name in safetensors_names(services, "dsum-t5-lora"))
    assert f"adapter attached: LORA in {layers} layers" in lora
    assert re.search(r"identical to the base, token by token: checked \(\d+ tokens\)", lora)
    assert "token by token" not in [*tab.prove_models(services, run(services)[-1]["comparison"])][-1]


def safetensors_names(services: Services, model: str) -> list[str]:
    folder = services.registry.folder_of(services.registry.spec(model))
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        return list(file.keys())


def test_a_pasted_summary_is_not_checked_and_a_missing_model_gives_its_reason(services, comparison):
    missing = replace(comparison.systems[0], spec=replace(comparison.systems[0].spec, name="gone", source=None))
    pasted = SystemResult(RecordedSummary("Pasted summary", "Tom pays."), phase="done")
    *_, shown = tab.prove_models(services, replace(comparison, systems=(missing, pasted)))
    assert "gone does not exist yet" in shown and "error" in shown and "Pasted" not in shown
    assert [*tab.prove_models(services, None)] == [""]


@pytest.mark.parametrize(
    ("tokens", "others", "place"), [([1, 2], [1, 2], None), ([1, 2], [1, 3], 1), ([1], [1, 2], 1), ([], [], None)]
)
def test_the_first_different_token_is_named(tokens, others, place):
    assert first_difference(tokens, others) == place
    if place is not None:
        assert f"token {place + 1} differs" in ModelProof("f", "LORA", 1, 2, place).sentences[-1]


# Families and models


def test_an_unavailable_family_gives_its_reason_once(services):
    registry = services.registry
    assert dict(families.family_choices(registry)).get("dsum-t5 (12.5 M, trained from scratch) · included") == "dsum-t5"
    labels = [label for label, name in families.family_choices(registry) if name == "flan-t5-base"]
    assert labels == ["FLAN-T5 base (248 M) · needs internet"]
    note = families.family_note(registry, registry.family("flan-t5-base"))
    assert note.count("HF_HUB_OFFLINE") == 1 and "42.2" in note
    assert "notice" not in families.family_note(registry, registry.default_family)


def test_both_fine_tuned_columns_offer_all_fine_tuned_models(services):
    offered = families.variants(services.registry, services.registry.default_family, Kind.ADAPTER)
    assert offered["value"] == "dsum-t5-lora"
    assert [value for _, value in offered["choices"]] == ["dsum-t5-lora", "dsum-t5-full"]


def test_a_selected_model_stays_selected_if_it_still_exists(services):
    answer = tab.describe_family(services, "dsum-t5", "dsum-t5-base", "dsum-t5-lora", "gone")
    assert [update["value"] for update in answer[1:]] == ["dsum-t5-base", "dsum-t5-lora", "dsum-t5-lora"]


def test_the_models_table_has_every_model_with_its_state_and_no_row_for_one_that_does_not_exist(services):
    table = show_models(services, "")
    sources = {spec.name: spec.source for family in services.registry.families() for spec in family.variants}
    for row in services.registry.as_rows():
        exists = sources[row["name"]] is not None
        assert (f"<code>{row['name']}</code>" in table) == exists
        assert f"state {row['state']}" in table or not exists
    assert "Full fine-tune and LoRA: not trained yet" in table
