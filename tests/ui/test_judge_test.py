"""The judges in the Models tab, the judge in Evaluate and Compare, and best of n in Compare, with tiny real models."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from dsum_demo.comparison import Comparison, RecordedSummary, compare
from dsum_demo.composition import make_run_queue
from dsum_demo.data.examples import read_samples
from dsum_demo.data.sources import SAMPLES
from dsum_demo.errors import InputError
from dsum_demo.evaluation.background import RECORDED, Wanted
from dsum_demo.judge.own_test import JudgeTest, wilson
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.ui import api, best_of, judge_test, long_task
from dsum_demo.ui.compare import judging
from dsum_demo.ui.compare.cards import comparison_page, system_card
from dsum_demo.ui.evaluate.form import judge_choices
from dsum_demo.ui.evaluate.tab import start_own
from dsum_demo.ui.services import Services


@pytest.fixture
def services(causal_settings, causal_store) -> Services:
    samples = read_samples(causal_settings.samples_file)[:4]
    return Services(causal_settings, causal_store.registry, causal_store, samples, make_run_queue(causal_settings))


@pytest.fixture
def tested(services, causal_root):
    file = causal_root / "judges" / "tests.json"
    file.parent.mkdir()
    shares = {"choice": {"speakers": wilson(150, 200), "number": wilson(101, 200)}}
    file.write_text(json.dumps([JudgeTest("causal-base", "dialogsum:validation", 200, 0, False, shares).as_dict()]))
    yield
    file.unlink()
    file.parent.rmdir()


def test_the_judges_are_the_models_on_this_machine(services):
    assert judge_choices(services) == [
        ("No judge", ""), ("causal-base", "causal-base"), ("causal-full", "causal-full")
    ]  # fmt: skip


def test_a_test_shows_progress_and_then_the_judge_next_to_the_baselines(services):
    *progress, last = judge_test.run_judge_test(services, "causal-base", None, long_task.StopFlag())
    assert "Loading causal-base" in progress[0] and "of at most 4 dialogues" in progress[1]
    assert "Judge: speakers" in last and "The shorter one" in last and "swapped speakers" in last
    assert "Over 4 dialogues of samples, seed 0." in last and 'class="chance"' in last


def test_a_test_of_an_upload_uses_its_rows_and_an_error_hides_the_folder(services, tmp_path):
    file = tmp_path / "mine.jsonl"
    row = {"dialogue": "Tom: Pay 30 dollars.\nAnn: No.", "summary": "Tom wants 30 dollars; Ann refuses."}
    file.write_text("".join(json.dumps({**row, "id": str(n)}) + "\n" for n in range(3)))
    *_, last = judge_test.run_judge_test(services, "causal-base", str(file), None)
    assert "dialogues of mine.jsonl" in last and "changed numbers" in last
    file.write_text("not a table\n")
    *_, last = judge_test.run_judge_test(services, "causal-base", str(file), None)
    assert 'role="alert"' in last and "mine.jsonl" in last and str(tmp_path) not in last


def test_a_stop_keeps_the_results_so_far(services):
    stop, shown = long_task.StopFlag(), []
    for part in judge_test.run_judge_test(services, "causal-base", None, stop):
        shown.append(part)
        long_task.ask_to_stop(stop)
    assert "Stopped." in shown[-1] and len(shown) <= 3


def test_trust_is_shown_beside_the_name(services, tested):
    shown = judge_test.trust_of(services, "causal-base")
    assert "75 % [69, 80]" in shown and '<span class="chance">50 % [44, 57]</span>' in shown
    assert "Over 200 dialogues of dialogsum:validation" in shown
    assert "with names" not in shown
    assert "coverage is not tested" in shown
    assert "has not been tested" in judge_test.trust_of(services, "causal-full")
    (test,) = services.evaluations.judges.tests("causal-base")
    assert "with names instead of labels, seed 0" in judge_test.result_table(replace(test, names=True))


def test_an_evaluation_with_a_judge_shows_its_values(services):
    run = services.evaluations.start(Wanted(SAMPLES, ("causal-base",), limit=2, judge="causal-base"))
    while not run.over:
        run._asked.wait(0.05)
    assert not run.error
    opened = services.evaluations.get(run.key)
    values = [o.checks["judge_faithfulness"] for e in opened.evaluation.examples for o in e.outputs.values()]
    assert len(values) == 2 and opened.evaluation.judge["name"] == "causal-base"


def test_best_of_n_is_offered_only_with_a_tested_judge(services, tested):
    assert services.chooser.name == "causal-base"
    assert "75 % [69, 80] of swapped speakers" in best_of.best_of_info(services, "Here.")
    assert services.choice.candidates == best_of.CANDIDATES and services.choice.turn is services.choosing


def test_best_of_n_in_the_form_adds_a_system_per_model(services, tested):
    values = [SAMPLES, ["causal-full"], None, [], [], 2, 0, "mean", "dialogues", False]
    start_own(services, "", "", True, *values)
    run = services.evaluations.run
    while not run.over:
        run._asked.wait(0.05)
    assert not run.error
    systems = services.evaluations.get(run.key).evaluation.systems
    assert [system.name for system in systems] == ["causal-full", "causal-full-best-of-4"]


def test_best_of_n_of_recorded_outputs_is_refused_before_the_file_is_read(services):
    with pytest.raises(InputError, match="not available for recorded outputs"):
        services.evaluations.start(Wanted(RECORDED, ("a",), Path("x.csv"), ("b",), best_of=4))


def test_without_a_tested_judge_best_of_n_is_not_available(services):
    assert services.chooser is None and services.choice is None
    assert best_of.best_of_info(services, "Here.").startswith("Not available")


def test_a_card_shows_which_candidate_was_chosen(services, tested):
    family = services.registry.default_family
    result = compare(
        services.store, family, [family.base], services.samples[0].dialogue, [], DecodingConfig(max_new_tokens=6),
        choice=services.choice,
    )  # fmt: skip
    assert "Judge causal-base chose" in system_card(result, 0, "none")


@pytest.fixture
def compared(services) -> Comparison:
    family = services.registry.default_family
    specs = [*filter(None, family.default_trio()), RecordedSummary("Elsewhere", "Tom asks Ann; Ann is in Paris.")]
    texts = ("Tom: Are you free on Friday?\nAnn: No, I am in Paris.", ["Ann is in Paris, so Tom has to wait."])
    return compare(services.store, family, specs, *texts, DecodingConfig(max_new_tokens=6))


def test_a_judge_scores_the_summaries_of_a_comparison_and_its_downloads_have_the_values(services, tested, compared):
    (progress, nothing), (shown, found) = judging.run_judging(services, "causal-base", compared, None)
    assert "with causal-base" in progress and nothing is None
    judged = judging.with_judged(compared, found)
    assert all(f'scope="row">{title}<' in shown for title in judged.judgeable) and "Reference 1" in judged.judgeable
    assert "catches 75 % [69, 80] of swapped speakers" in shown and "not tested" in shown
    best = max((s for s in judged.systems if s.summary), key=lambda s: found.judgements[s.summary].choice)
    assert f"prefers the summary of <b>{judged.title_of(best)}</b>" in shown
    raw = json.loads(judged.as_json())["judge"]
    assert raw["bits_per_token"]["Elsewhere"] == found.values(compared.systems[-1].summary)
    assert raw["name"] == "causal-base" and raw["can_rank"] and raw["preferred"] == judged.title_of(best)
    row = list(csv.DictReader(io.StringIO(judged.as_csv())))[-1]
    assert float(row["judge_choice"]) == raw["bits_per_token"]["Elsewhere"]["choice"]
    assert "| Reference 1 |" in judged.as_markdown() and "75 % [69, 80]" in judged.as_markdown()
    assert "<h2>Judge</h2>" in comparison_page(judged) and "<h2>Judge</h2>" not in comparison_page(compared)
    assert "judge" not in compared.as_dict() and "judge_choice" not in compared.as_csv()


def test_a_judge_without_a_test_does_not_rank(services, compared):
    *_, (shown, found) = judging.run_judging(services, "causal-base", compared, None)
    assert "Do not rank by this judge" in shown and "prefers" not in shown
    assert judging.with_judged(compared, found).preferred == ""


def test_values_of_another_dialogue_or_other_summaries_are_not_added(services, compared):
    *_, (_, found) = judging.run_judging(services, "causal-base", compared, None)
    assert judging.with_judged(replace(compared, dialogue="Tom: Hi.\nAnn: Hello."), found) is None
    assert judging.with_judged(replace(compared, references=("Another reference.",)), found) is None
    assert judging.with_judged(None, found) is None and judging.with_judged(compared, None) is None


def test_judging_can_be_stopped_and_an_error_is_shown(services, compared):
    stop, shown = long_task.StopFlag(), []
    for part, found in judging.run_judging(services, "causal-base", compared, stop):
        shown.append(part)
        long_task.ask_to_stop(stop)
        assert found is None
    assert "stopped" in shown[-1] and 'role="alert"' not in shown[-1]
    *_, (refused, _) = judging.run_judging(services, "causal-base", replace(compared, systems=(), references=()), None)
    assert 'role="alert"' in refused and "no complete summary" in refused


def test_check_scores_a_summary_with_a_judge(services, tested):
    dialogue, summary = "Tom: Are you free on Friday?\nAnn: No, I am in Paris.", "Ann is in Paris."
    found = api.check_summary(services, summary, dialogue, None, "causal-base")["judge"]
    assert set(found["bits_per_token"]) == {"faithfulness", "speakers", "choice", "coverage"}
    assert found["name"] == "causal-base" and "75 % [69, 80]" in found["trust"][0]
    assert "judge" not in api.check_summary(services, summary, dialogue)
    with pytest.raises(InputError, match="needs a summary and its dialogue"):
        api.check_summary(services, summary, None, None, "causal-base")
    with pytest.raises(InputError, match="There is no judge 'gpt'"):
        api.check_summary(services, summary, dialogue, None, "gpt")
