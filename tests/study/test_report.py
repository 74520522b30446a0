"""Study results: rows, confidence intervals, the Pareto front and the textual summary."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import fmean

import pytest

from dsum_demo.cli.study import study_text
from dsum_demo.errors import DataError
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.study.report import (
    COSTS,
    Study,
    finding,
    method_rows,
    original_means,
    pareto_front,
    ranked,
    read_study,
    recorded_qualities,
)
from dsum_demo.ui.methods_tab import methods_table

METHODS = ["full", "lora", "ia3", "ln_tuning"]
PLAN = {"methods": METHODS, "steps": 240, "batch_size": 16, "search_steps": 60, "factors": [0.3, 1.0, 3.0],
        "seeds": [1, 2]}  # fmt: skip


def f1(mean: float, seed: int, n: int = 40) -> dict[str, list[float]]:
    drawn = random.Random(seed)
    return {rouge: [round(mean + drawn.uniform(-0.05, 0.05), 4) for _ in range(n)] for rouge in ROUGE_TYPES}


def final(method: str, seed: int, mean: float, trained: int) -> dict[str, object]:
    return {
        "method": method, "seed": seed, "learning_rate": 1e-3, "trained_parameters": trained,
        "share": trained / 12_000_000, "checkpoint_bytes": 2 * trained, "f1": f1(mean, seed),
    }  # fmt: skip


def example_study() -> Study:
    """Full, LoRA, IA3 and prompt tuning with one or two seeds; OFT, whose runs failed; costs of LoRA only."""
    return Study(
        plan=PLAN,
        original={"model": "dsum-t5-base", "f1": f1(0.25, 0)},
        search={
            "lora": [[1e-4, 3.0, ""], [1e-3, 2.0, ""], [1e-2, None, "The loss became nan."]],
            "oft": [[1, None, ""]],
        },
        finals=[
            final("full", 1, 0.38, 12_000_000), final("full", 2, 0.39, 12_000_000),
            final("lora", 1, 0.36, 900_000), final("lora", 2, 0.37, 900_000),
            final("ia3", 1, 0.28, 20_000), final("prompt", 1, 0.26, 25_000),
            {"method": "oft", "seed": 1, "reason": "Training failed with all learning rates."},
        ],
        costs={"lora": {"peak_memory_bytes": 10**9, "trained_parameters": 900_000, "seconds_per_step": 0.5}},
    )  # fmt: skip


def checked_study() -> Study:
    """The same with checks, as of a study that recorded them: fewer repetitions are better, one value is missing."""
    study, level = example_study(), {"full": 0.3, "lora": 0.1, "ia3": 0.2, "prompt": 0.4}

    def checks(value: float) -> dict[str, list[float | None]]:
        values = [round(value + (0.01 if number % 2 else -0.01), 4) for number in range(40)]
        return {"repetition": [None, *values[1:]], "judge_coverage": [round(1 - each, 4) for each in values]}

    return replace(
        study,
        original={**study.original, "checks": checks(0.5)},
        finals=[{**row, "checks": checks(level[row["method"]])} if "f1" in row else row for row in study.finals],
        judge={"name": "smollm2-135m", "method": "how it judges", "trust": ["It is untested."], "can_rank": True},
    )


@pytest.fixture
def study() -> Study:
    return example_study()


def test_rows_are_means_over_seeds_and_dialogues_best_first(study):
    rows = method_rows(study)
    assert [row.method for row in rows] == ["full", "lora", "ia3", "prompt"]
    lora = rows[1]
    values = [study.final("lora", seed)["f1"]["rouge1"] for seed in (1, 2)]
    assert lora.f1["rouge1"].mean == pytest.approx(fmean(values[0] + values[1]))
    assert lora.f1["rouge1"].low < lora.f1["rouge1"].mean < lora.f1["rouge1"].high
    assert lora.spread == (pytest.approx(fmean(values[0])), pytest.approx(fmean(values[1])))
    assert (lora.peak_memory_bytes, lora.seconds_per_step) == (10**9, 0.5)
    assert rows[2].peak_memory_bytes is None


def test_forgetting_is_the_mean_rise_over_seeds_and_none_if_not_measured(study):
    finals = [{**row, "general_loss": [3.0, 3.0 + 0.1 * row["seed"]]} if row["method"] == "full" else row
              for row in study.finals]  # fmt: skip
    rows = method_rows(replace(study, finals=finals))
    assert rows[0].forgetting == pytest.approx(0.15) and rows[1].forgetting is None
    assert "+0.150" in methods_table(replace(study, finals=finals), rows)
    assert "Forgetting" not in methods_table(study, method_rows(study))


def test_recovered_is_the_share_of_the_full_fine_tunes_gain(study):
    full, lora, *_ = method_rows(study)
    gain = full.f1["rouge1"].mean - original_means(study)["rouge1"].mean
    expected = (lora.f1["rouge1"].mean - original_means(study)["rouge1"].mean) / gain
    assert lora.recovered.mean == pytest.approx(expected)
    assert lora.recovered.low < expected < lora.recovered.high
    assert full.recovered.mean == pytest.approx(1)


def test_pareto_front_excludes_methods_beaten_in_quality_and_cost(study):
    front = pareto_front(method_rows(study), "trained_parameters")
    assert [row.method for row in front] == ["ia3", "lora", "full"]
    assert [row.method for row in pareto_front(method_rows(study), "peak_memory_bytes")] == ["lora"]


def test_finding_states_scores_budget_and_limits_of_the_intervals(study):
    rows = method_rows(study)
    text = finding(study, rows)
    assert f"from {100 * original_means(study)['rouge1'].mean:.1f} to {100 * rows[0].f1['rouge1'].mean:.1f}" in text
    assert "other method is LoRA" in text and "7.5 % of the parameters" in text and "IA3 is best" in text
    assert "Not measured yet: LayerNorm tuning. " in text
    assert "240 steps of 16 dialogues and the best of 3 learning rates" in text
    assert "40 dialogues, not over the 2 seeds" in text


def test_a_variant_has_its_own_row_and_an_unknown_method_has_none(study):
    found = [*study.finals, final("lora:r=4", 1, 0.35, 200_000), final("magic:r=4", 1, 0.9, 1)]
    plan = {**PLAN, "methods": [*METHODS, "lora:r=4", "lora:r=64", "magic:r=4"], "search_steps": 0, "seeds": [1]}
    more = replace(study, plan=plan, finals=found)
    rows = method_rows(more)
    (row,) = (row for row in rows if row.method == "lora:r=4")
    assert (row.title, row.parent.name, row.trained_parameters) == ("LoRA (r=4)", "lora", 200_000)
    assert len(rows) == len(method_rows(study)) + 1
    assert "LoRA (r=4)" in methods_table(more, rows) and "LoRA (r=4)" in study_text(more, rows)
    text = finding(more, rows)
    assert "Not measured yet: LayerNorm tuning, LoRA (r=64). " in text
    assert "240 steps of 16 dialogues and its default learning rate; " in text
    assert text.endswith("not over the 1 seed.")


def test_finding_includes_lora_if_another_method_is_better(study):
    more = Study(plan=PLAN, original=study.original, finals=[*study.finals, final("dora", 1, 0.375, 950_000)])
    text = finding(more, method_rows(more))
    assert "other method is DoRA" in text
    lora = next(row for row in method_rows(more) if row.method == "lora")
    assert f"LoRA reaches {100 * lora.f1['rouge1'].mean:.1f}, {100 * lora.recovered.mean:.0f} % of that gain" in text
    assert "LoRA reaches" not in finding(study, method_rows(study))


def test_recovered_is_none_without_full_fine_tuning(study):
    only = Study(plan=PLAN, original=study.original, finals=[final("lora", 1, 0.3, 10)])
    assert method_rows(only)[0].recovered is None
    assert "not complete" in finding(only, method_rows(only))


def test_recovered_is_none_if_the_gain_may_be_zero(study):
    same = Study(plan=PLAN, original={"f1": f1(0.38, 5)}, finals=study.finals)
    assert [row.recovered for row in method_rows(same)] == [None] * 4


def test_the_best_learning_rate_has_the_lowest_loss_and_failures_do_not_count(study):
    assert study.best_learning_rate("lora") == 1e-3
    assert study.best_learning_rate("oft") is None
    assert study.best_learning_rate("full") is None


def test_a_written_study_is_read_back_unchanged(study, tmp_path):
    study.write(tmp_path)
    assert method_rows(read_study(tmp_path)) == method_rows(study)


@pytest.mark.parametrize("content", [None, "", "[1]", '{"unknown": 1}'])
def test_a_folder_without_a_readable_study_raises(tmp_path, content):
    if content is not None:
        (tmp_path / "study.json").write_text(content)
    with pytest.raises(DataError, match="has no readable study"):
        read_study(tmp_path)


def test_checks_have_intervals_over_the_dialogues_with_values():
    study = checked_study()
    rows = method_rows(study)
    assert list(recorded_qualities(study)) == [*ROUGE_TYPES, "repetition", "judge_coverage"]
    assert [row.method for row in rows] == ["full", "lora", "ia3", "prompt"], "by ROUGE-1"
    repetition = rows[1].mean("repetition")
    assert repetition == rows[1].checks["repetition"] and repetition.n == 39
    assert repetition.low < repetition.mean < repetition.high and repetition.mean == pytest.approx(0.1, abs=1e-3)
    assert original_means(study)["judge_coverage"].n == 40
    for row, before in zip(rows, method_rows(example_study()), strict=True):
        assert (row.f1, row.recovered, row.spread) == (before.f1, before.recovered, before.spread)


def test_fewer_repetitions_rank_first_and_are_on_the_pareto_front():
    rows = method_rows(checked_study())
    assert [row.method for row in ranked(rows, "repetition")] == ["lora", "ia3", "full", "prompt"]
    assert [row.method for row in ranked(rows, "judge_coverage")] == ["lora", "ia3", "full", "prompt"]
    assert [row.method for row in pareto_front(rows, "trained_parameters", "repetition")] == ["ia3", "lora"]
    older = [replace(row, checks={}) if row.method == "lora" else row for row in rows]
    assert [row.method for row in ranked(older, "repetition")] == ["ia3", "full", "prompt", "lora"]
    assert [row.method for row in pareto_front(older, "trained_parameters", "repetition")] == ["ia3"]


def test_a_study_without_checks_has_only_its_metrics(study):
    assert list(recorded_qualities(study)) == list(ROUGE_TYPES)
    assert all(row.checks == {} for row in method_rows(study)) and set(original_means(study)) == set(ROUGE_TYPES)
    assert "Repetition" not in study_text(study, method_rows(study))


def test_the_text_has_the_metrics_by_method_and_the_checks_with_the_judge():
    study = checked_study()
    rows = method_rows(study)
    lines = study_text(study, rows).splitlines()
    assert lines[0].split() == ["method", "R1", "R2", "RL", "RLsum", "trained", "share", "lr"]
    assert lines[1].split()[:2] == ["Original", f"{100 * original_means(study)['rouge1'].mean:.1f}"]
    assert "original" in lines[7] and lines[7].split()[-4:] == ["full", "lora", "ia3", "prompt"]
    assert lines[8].startswith("Repetition ")
    assert lines[8].split()[-8:] == ["30.0", "%", "10.0", "%", "20.0", "%", "40.0", "%"]
    assert lines[9].startswith("Judge: coverage ")
    assert "It is untested." in lines and finding(study, rows) in lines


def test_finding_without_rouge_1_names_what_it_needs(study):
    """References that ROUGE does not read have no ROUGE-1 in any record."""
    finals = [{**row, "f1": {**row["f1"], "rouge1": [None] * 40}} if "f1" in row else row for row in study.finals]
    none = replace(study, finals=finals)
    rows = method_rows(none)
    assert [row.spread for row in rows] == [()] * 4 and all(row.recovered is None for row in rows)
    assert finding(none, rows).startswith("The study has no ROUGE-1: it needs references with letters")
    assert "–" in study_text(none, rows)


def test_every_cost_is_a_field_of_a_row(study):
    for cost in COSTS:
        assert hasattr(method_rows(study)[0], cost.key)
