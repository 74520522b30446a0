"""An evaluation with a judge: values per output, cache, stops, missing dialogues, exports, and the command line."""

from __future__ import annotations

import csv
import html
import io
import json
from dataclasses import replace

import pytest

from dsum_demo.cli.evaluate import report_text
from dsum_demo.data.examples import read_samples
from dsum_demo.errors import InputError
from dsum_demo.evaluation.candidates import with_best_of
from dsum_demo.evaluation.export import examples_csv, report_markdown
from dsum_demo.evaluation.judging import judged
from dsum_demo.evaluation.output_cache import OutputCache
from dsum_demo.evaluation.recorded import evaluate_recorded
from dsum_demo.evaluation.records import Evaluation, ExampleRecord
from dsum_demo.evaluation.report import build_report
from dsum_demo.evaluation.runner import evaluate
from dsum_demo.evaluation.storage import read_evaluation, write_evaluation
from dsum_demo.judge.judges import COVERAGE_UNTESTED, Judges, judge_lines
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.settings import Settings
from dsum_demo.ui.evaluate.tables import checks_table

COLUMNS = (["human1", "human2", "human3"], ["original", "full"])
NAMES = ("judge_faithfulness", "judge_coverage")  # of texts without speakers too


@pytest.fixture
def judges(causal_store, tmp_path) -> Judges:
    return Judges(causal_store, tmp_path)


@pytest.fixture
def cache(tmp_path) -> OutputCache:
    return OutputCache(tmp_path / "outputs.sqlite")


def run(file, judges, cache, name="causal-base", limit=20, **options):
    return list(judged(evaluate_recorded(file, *COLUMNS, limit=limit), judges, name, cache, **options))


@pytest.fixture
def whole(recorded_file, judges, cache) -> Evaluation:
    return run(recorded_file, judges, cache)[-1].evaluation


def test_every_output_gets_the_judge_s_values(whole, judges):
    assert whole.finished and whole.judge["name"] == "causal-base" and whole.judge["seconds_per_100"] > 0
    judge = judges.load(judges.find("causal-base"))
    example = whole.examples[3]
    ((_, alone),) = judge.judge([(example.dialogue, [output.text for output in example.outputs.values()])])
    for output, judgement in zip(example.outputs.values(), alone, strict=True):
        assert output.checks["judge_faithfulness"] == pytest.approx(judgement.faithfulness, abs=1e-4)
        assert output.checks["judge_coverage"] == pytest.approx(judgement.coverage, abs=1e-4)
        assert output.checks["judge_speakers"] == (judgement.speakers and pytest.approx(judgement.speakers, abs=1e-4))
    for system in build_report(whole, resamples=100).systems:
        assert all(system.checks[name].n == 20 for name in NAMES)


def test_progress_is_shown_and_judged_texts_are_not_judged_again(recorded_file, judges, cache, whole, monkeypatch):
    monkeypatch.setattr(Judges, "load", lambda *_: pytest.fail("everything is cached"))
    states = run(recorded_file, judges, cache)
    assert states[-1].evaluation.examples == whole.examples and states[-1].seconds_left == 0.0
    assert "Loading the judge" in [state.note for state in states]


def test_a_stop_keeps_the_judged_outputs(recorded_file, judges, cache):
    seen = []

    def stop() -> bool:
        return bool(seen)

    for state in judged(evaluate_recorded(recorded_file, *COLUMNS, limit=12), judges, "causal-base", cache, stop):
        if state.note.startswith("Judging: 8 of"):
            seen.append(state.note)
    assert state.note == "Stopped" and not state.evaluation.finished
    values = [o.checks["judge_faithfulness"] for e in state.evaluation.examples for o in e.outputs.values()]
    assert sum(value is not None for value in values) == 8 and len(values) == 24
    resumed = run(recorded_file, judges, cache, limit=12)
    assert next(s.note for s in resumed if s.note.startswith("Judging")).startswith("Judging: 16 of 24")


def test_an_unknown_judge_is_refused_before_the_first_output_and_dialogues_are_needed(recorded_file, judges, cache):
    with pytest.raises(InputError, match="There is no judge 'gpt'"):
        next(judged(evaluate_recorded(recorded_file, *COLUMNS), judges, "gpt", cache))

    def without_dialogues():
        for state in evaluate_recorded(recorded_file, *COLUMNS):
            bare = tuple(replace(example, dialogue=None) for example in state.evaluation.examples)
            yield replace(state, evaluation=replace(state.evaluation, examples=bare))

    with pytest.raises(InputError, match="The judge needs the dialogues"):
        list(judged(without_dialogues(), judges, "causal-base", cache))


def test_a_judged_evaluation_is_saved_and_in_every_table_and_export(whole, tmp_path):
    again = read_evaluation(write_evaluation(whole, tmp_path / "saved"))
    assert again.judge == whole.judge
    assert ExampleRecord.from_dict(json.loads(json.dumps(whole.examples[0].as_dict()))) == whole.examples[0]
    report = build_report(again, resamples=100)
    trust = "The judge causal-base has not been tested"
    for text in (report_text(again, report), report_markdown(again, report), checks_table(again, report)):
        assert "Judge: faithfulness" in text and trust in text and "seconds per 100 summaries" in text
        assert "Do not rank by this judge" in text
    row, *_ = csv.DictReader(io.StringIO("".join(examples_csv(again, report)), newline=""))
    assert float(row["judge_coverage"]) == whole.examples[0].outputs["original"].checks["judge_coverage"]


def test_a_tested_judge_s_coverage_is_marked_as_not_tested(whole):
    tested = ["Judge: faithfulness catches 71 % [66, 76] of swapped speakers.", "Judge: speakers catches none."]
    for trust in (tested, [*tested, COVERAGE_UNTESTED]):  # as an older version recorded it, and as this one does
        evaluation = replace(whole, judge={**whole.judge, "trust": trust})
        report = build_report(evaluation, resamples=100)
        table = checks_table(evaluation, report)
        assert "Judge: coverage (bits per token)<br><small>not tested</small>" in table
        assert table.count("<small>not tested</small>") == 1
        for text in (report_text(evaluation, report), report_markdown(evaluation, report), html.unescape(table)):
            assert text.count(COVERAGE_UNTESTED) == 1
    report = build_report(whole, resamples=100)
    assert checks_table(whole, report).count("<small>not tested</small>") >= 2, "the whole judge is untested"
    assert COVERAGE_UNTESTED not in report_text(whole, report)


def test_without_a_judge_no_table_mentions_it(recorded):
    report = build_report(recorded, resamples=100)
    for text in (report_text(recorded, report), report_markdown(recorded, report), checks_table(recorded, report)):
        assert "Judge" not in text


def test_a_judge_that_can_rank_has_no_warning(whole):
    assert not [line for line in judge_lines({**whole.judge, "can_rank": True}) if "Do not rank" in line]


def test_best_of_n_adds_a_system_that_the_report_compares_in_pairs(judges, causal_store):
    full = causal_store.registry.spec("causal-full")
    examples = read_samples(Settings().samples_file)[:10]
    spec, decode = judges.find("causal-base"), DecodingConfig(max_new_tokens=6)
    states = list(with_best_of(evaluate(causal_store, [full], examples, decode=decode), judges, spec, 3))
    last = states[-1]
    assert last.evaluation.finished and (last.done, last.total) == (20, 20)
    assert [system.name for system in last.evaluation.systems] == ["causal-full", "causal-full-best-of-3"]
    greedy, best = ([e.outputs[s.name].text for e in last.evaluation.examples] for s in last.evaluation.systems)
    assert greedy != best
    (difference,) = build_report(last.evaluation, resamples=100).differences
    assert (difference.system, difference.baseline) == ("causal-full-best-of-3", "causal-full")
    assert difference.f1["rouge1"].low is not None


def test_a_stop_during_best_of_n_keeps_the_systems(judges, causal_store):
    full, seen = causal_store.registry.spec("causal-full"), []
    examples = read_samples(Settings().samples_file)[:4]
    states = evaluate(causal_store, [full], examples, decode=DecodingConfig(max_new_tokens=6))
    for state in with_best_of(states, judges, judges.find("causal-base"), 2, lambda: bool(seen)):
        if state.done == 6:
            seen.append(1)
    assert state.note == "Stopped" and not state.evaluation.finished and state.done == 6


def test_best_of_n_is_refused_for_recorded_outputs(recorded_file, judges):
    states = evaluate_recorded(recorded_file, *COLUMNS, limit=10)
    with pytest.raises(InputError, match="not available for recorded outputs"):
        list(with_best_of(states, judges, judges.find("causal-base"), 2))
