"""The Methods tab with a study, without one and with an invalid study file."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from dsum_demo.metrics.scores import METRICS
from dsum_demo.settings import Settings
from dsum_demo.study.report import COSTS, method_rows, pareto_front, qualities, read_study
from dsum_demo.ui import methods_tab as methods
from tests.study.test_report import checked_study, example_study


@pytest.fixture
def study():
    return example_study()


@pytest.fixture
def services(tmp_path):
    return SimpleNamespace(settings=Settings(root=tmp_path / "root", data_dir=tmp_path / "data"))


def save(study, services):
    folder = services.settings.data_dir / "studies" / "mine"
    folder.mkdir(parents=True)
    study.write(folder)


def test_tab_without_a_study_shows_the_command(services):
    about, choices, chosen = methods.choose_study(services)
    assert "dsum study" in about and not choices["visible"] and chosen["value"] is None
    sentence, chart, table = methods.show(services, None, "share", "rouge1")
    assert (sentence, chart["visible"], table) == ("", False, "")


def test_study_is_shown_as_finding_chart_and_table(study, services):
    save(study, services)
    about, choices, chosen = methods.choose_study(services)
    assert "Each point is a fine-tuning method" in about and choices["visible"]
    assert chosen["value"] == "mine" and not chosen["visible"], "with one study there is no choice"
    sentence, chart, table = methods.show(services, "mine", "trained_parameters", "rouge1")
    assert "Full fine-tuning raises ROUGE-1 from" in sentence and chart["visible"]
    assert table.count("<tr>") == 1 + 4 + 1, "a heading, four methods, the base model"
    assert "7.50 %" in table and "arXiv:2106.09685" in table


def test_table_names_the_devices_of_training_and_cost_measurements(study, services):
    made = {"device": "NVIDIA H200", "precision": "bf16", "torch": "2.11.0", "cpu": "Some Xeon"}
    costs = {"lora": {**study.costs["lora"], "device": "CPU", "precision": "fp32"}}
    save(replace(study, environment=made, costs=costs), services)
    *_, table = methods.show(services, "mine", "trained_parameters", "rouge1")
    assert "Trained on NVIDIA H200, bf16, torch 2.11.0. Memory and speed: CPU, fp32." in table
    here = replace(study, environment={**made, "device": "CPU"}, costs=costs)
    here.write(services.settings.data_dir / "studies" / "mine")
    *_, table = methods.show(services, "mine", "trained_parameters", "rouge1")
    assert "Trained on Some Xeon, bf16, torch 2.11.0.</p>" in table


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.key)
@pytest.mark.parametrize("quality", [*list(METRICS)[:3], "repetition", "judge_coverage"])
def test_chart_contains_exactly_the_measured_points(cost, quality):
    study = checked_study()
    rows = method_rows(study)
    figure = methods.methods_chart(study, rows, cost, quality)
    shown = qualities()[quality]
    points = {
        title: (x, y)
        for trace in figure.data[1:]
        for title, x, y in zip(trace.hovertext, trace.x, trace.y, strict=True)
    }
    expected = {
        row.title: (getattr(row, cost.key) * cost.scale, shown.factor * row.mean(quality).mean)
        for row in rows
        if getattr(row, cost.key) is not None
    }
    assert points == pytest.approx(expected)
    assert cost.unit in figure.layout.xaxis.title.text and shown.title in figure.layout.yaxis.title.text
    assert ("less is better" in figure.layout.yaxis.title.text) == (quality == "repetition")
    front = [row.title for row in pareto_front(rows, cost.key, quality)]
    assert list(figure.data[0].y) == [points[title][1] for title in front]
    assert [line.line.dash for line in figure.layout.shapes] == ["dash", "dash"], "the base model and full fine-tuning"


def test_chart_of_an_unmeasured_cost_keeps_the_reference_lines(study):
    unmeasured = replace(study, costs={})
    (cost,) = (cost for cost in COSTS if cost.key == "peak_memory_bytes")
    figure = methods.methods_chart(unmeasured, method_rows(unmeasured), cost, "rouge1")
    assert len(figure.data) == 1 and len(figure.layout.shapes) == 2


def test_a_shipped_study_does_not_hide_one_of_the_same_name(study, services):
    save(study, services)
    for name in ("mine", "theirs"):
        folder = services.settings.root / "studies" / name
        folder.mkdir(parents=True)
        study.write(folder)
    found = methods.studies(services)
    assert list(found) == ["mine", "mine (shipped)", "theirs"]
    assert found["mine"].is_relative_to(services.settings.data_dir)


def test_the_quality_is_chosen_among_those_of_the_study(study, services):
    save(study, services)
    chosen = methods.choose_quality(services, "mine", "repetition")
    assert chosen["value"] == "rouge1" and [key for _, key in chosen["choices"]] == list(METRICS)
    checked_study().write(services.settings.data_dir / "studies" / "mine")
    chosen = methods.choose_quality(services, "mine", "repetition")
    assert chosen["value"] == "repetition"
    assert chosen["choices"][-2:] == [
        ("Repetition (less is better)", "repetition"),
        ("Judge: coverage", "judge_coverage"),
    ]
    assert "value" not in methods.choose_quality(services, "none", "rouge1")
    replace(study, original=None, finals=()).write(services.settings.data_dir / "studies" / "mine")
    begun = methods.choose_quality(services, "mine", "repetition")
    assert begun["value"] == "rouge1" and [key for _, key in begun["choices"]] == ["rouge1"]


def test_a_check_that_only_some_runs_of_each_method_have_is_not_offered(services):
    whole = checked_study()
    partly = [{**row, "seed": 99, "checks": {}} for row in whole.finals]
    save(replace(whole, finals=[*whole.finals, *partly]), services)
    offered = [key for _, key in methods.choose_quality(services, "mine", "repetition")["choices"]]
    assert offered and set(offered) <= set(METRICS)


def test_a_base_model_with_more_dialogues_than_the_methods_is_not_compared(study):
    more = {name: [*values, 0.5] for name, values in study.original["f1"].items()}
    assert all(row.recovered is None for row in method_rows(replace(study, original={**study.original, "f1": more})))


def test_table_of_a_check_is_sorted_by_it_and_explains_it(services):
    save(checked_study(), services)
    *_, table = methods.show(services, "mine", "trained_parameters", "repetition")
    assert re.findall(r"<tr><td[^>]*><b>([^<]+)</b>", table) == [
        "LoRA", "IA3", "Full fine-tuning", "Prompt tuning", "Original",
    ]  # fmt: skip
    assert (
        '<th>Repetition (%), 95 % interval</th><th class="whole">ROUGE-1</th>' in table and "seeds 10.0 / 10.0" in table
    )
    assert "Repetition, less is better: The share of" in table and "It is untested." not in table
    *_, table = methods.show(services, "mine", "trained_parameters", "judge_coverage")
    assert "Judge: coverage (bits per token), 95 % interval" in table and "It is untested." in table


def test_the_table_of_a_study_with_one_seed_does_not_repeat_its_means(study, services):
    seed = study.finals[0]["seed"]
    save(replace(study, finals=tuple(row for row in study.finals if row["seed"] == seed)), services)
    *_, table = methods.show(services, "mine", "trained_parameters", "rouge1")
    assert "<b>LoRA</b>" in table and "seeds" not in table


@pytest.mark.parametrize(("name", "methods_of_it"), [("dsum-t5", 12), ("smollm2-135m", 9)])
def test_labels_of_a_shipped_study_do_not_overlap_points_or_each_other(name, methods_of_it):
    rows = method_rows(read_study(Settings().root / "studies" / name))
    assert len(rows) == methods_of_it
    measured = [cost for cost in COSTS if all(getattr(row, cost.key) is not None for row in rows)]
    assert {"trained_parameters", "checkpoint_bytes"} <= {cost.key for cost in measured}
    for cost in measured:
        means = {row.method: methods._shown(row.f1["rouge1"], METRICS["rouge1"]) for row in rows}
        area = methods._area(rows, cost, means, [], logarithmic=cost.key in ("trained_parameters", "checkpoint_bytes"))
        offsets = methods.name_offsets(area)
        assert len(offsets) == len(area.names) == len(rows)
        for plot in methods.PLOTS:
            centers = [area.pixels(plot, point) for point in area.points]
            boxes = [
                methods.name_boxes(center, np.array([offset]), methods.LETTER * len(name))
                for center, offset, name in zip(centers, offsets, area.names, strict=True)
            ]
            points = np.array([(x - 6, y - 6, x + 6, y + 6) for x, y in centers])
            for number, box in enumerate(boxes):
                others = np.concatenate([points, *boxes[:number]])
                assert methods.shared(box, others)[0] <= 12, (cost.key, plot, area.names[number])


def test_names_in_the_chart_are_short_unless_two_would_be_equal(study):
    row = method_rows(study)[0]
    names = ["lora", "lora:r=4:lora_alpha=8", "lora:target_modules=q+v", "prompt"]
    found = methods.short_names([replace(row, method=name, title=name) for name in names])
    assert found == ["LoRA", "LoRA r=4", "LoRA q+v", "Prompt"]
    twice = ["lora:r=4:lora_alpha=8", "lora:r=4:lora_alpha=4"]
    assert methods.short_names([replace(row, method=name, title=name) for name in twice]) == twice


def test_invalid_study_file_shows_an_error(services):
    folder = services.settings.data_dir / "studies" / "broken"
    folder.mkdir(parents=True)
    (folder / "study.json").write_text("<b>")
    sentence, chart, table = methods.show(services, "broken", "trained_parameters", "rouge1")
    assert "no readable study" in sentence and not chart["visible"] and table == ""
