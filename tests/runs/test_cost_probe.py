"""The cost probe compared with real runs (parameters, checkpoint size, steps), and the runs that it refuses."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dsum_demo.composition import make_registry, make_sources
from dsum_demo.runs import cost_probe as probe
from dsum_demo.runs.runner import execute
from dsum_demo.runs.setup import least_bytes
from dsum_demo.runs.store import Runs
from dsum_demo.training.config import DataConfig, RunConfig, TrainingConfig
from dsum_demo.training.dataset import sample_csv
from dsum_demo.training.methods import METHODS
from dsum_demo.utils import hardware

SMALL = {"oft": {"oft_block_size": 4}, "vera": {"r": 8}, "lora": {"r": 4}}


@pytest.fixture
def config(tmp_path):
    (tmp_path / "rows.csv").write_text(sample_csv())

    def make(name: str = "lora", **changes) -> RunConfig:
        training = TrainingConfig(name, SMALL.get(name, {}), **{"max_steps": 2, "batch_size": 2, "evaluations": 1,
                                  "max_source_tokens": 64, "max_target_tokens": 16, **changes})  # fmt: skip
        return RunConfig("dsum-t5-base", training, DataConfig(str(tmp_path / "rows.csv")))

    return make


@pytest.mark.parametrize("name", METHODS)
def test_probe_matches_the_finished_run(name, config, settings):
    cost = probe.measure(config(name), make_registry(settings), make_sources(settings))
    run = Runs(settings.runs_dir).create(config(name).as_record())
    execute(run, make_registry(settings), make_sources(settings))
    record = run.result()
    assert (cost.parameters, cost.trained_parameters) == (record["parameters"], record["trained_parameters"])
    assert cost.share == record["share"]
    # The file has a header of some kilobytes in addition to its tensors.
    assert 0 <= record["checkpoint_bytes"] - cost.checkpoint_bytes < 60_000
    assert cost.steps == record["planned_steps"] and cost.fits
    assert cost.peak_memory_bytes > 0 and cost.seconds_per_step > 0 and cost.evaluation_seconds > 0
    assert "split off" in cost.notes[0]


def test_estimate_includes_accumulation_and_evaluations(config, settings):
    one = probe.measure(config(max_steps=10), make_registry(settings), make_sources(settings))
    four = probe.measure(
        config(max_steps=10, accumulation=4, evaluations=5), make_registry(settings), make_sources(settings)
    )
    assert one.seconds == pytest.approx(10 * one.seconds_per_step + one.evaluation_seconds)
    assert four.seconds == pytest.approx(10 * four.seconds_per_step + 5 * four.evaluation_seconds)
    assert four.samples_per_second == pytest.approx(8 / four.seconds_per_step)


@pytest.mark.parametrize(
    ("name", "advice"), [("full", "Choose LoRA, a smaller batch_size"), ("lora", "Choose a smaller")]
)
def test_a_run_that_cannot_fit_is_refused_without_training(name, advice, config, settings, monkeypatch):
    monkeypatch.setattr(probe, "free_memory_bytes", lambda: 100_000)
    cost = probe.measure(config(name), make_registry(settings), make_sources(settings))
    assert not cost.fits and cost.seconds == 0
    assert re.search(r"takes at least \d+ kB of memory, and 100 kB are free\.", cost.refusal)
    assert advice in cost.refusal
    assert cost.as_dict()["fits"] is False


def test_a_run_whose_measured_memory_is_too_high_is_refused_with_its_size(config, settings, monkeypatch):
    monkeypatch.setattr(probe, "free_memory_bytes", lambda: 10_000_000)
    monkeypatch.setattr(probe, "peak_memory_bytes", lambda: hardware.memory_bytes() + 1_500_000_000)
    cost = probe.measure(config(), make_registry(settings), make_sources(settings))
    assert (
        "LoRA of dsum-t5-base with batches of 2 takes 1.5 GB of memory" in cost.refusal and cost.trained_parameters > 0
    )


def test_least_bytes_of_lora_and_full_fine_tuning(config, settings):
    base = settings.root / "models" / "dsum-t5-base"
    lora, full = config("lora").training, config("full").training
    weights = least_bytes(base, lora)
    assert least_bytes(base, full) == 2 * weights, "weights and gradients; Adafactor has almost no state"
    assert least_bytes(base, replace(full, optimizer="adamw")) == 4 * weights
