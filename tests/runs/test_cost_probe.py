"""The probe against what a run then really is: parameters, size on the disk, steps; and what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

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
def test_it_tells_what_the_run_then_is(name, config, settings):
    told = probe.measure(config(name), settings)
    run = Runs(settings.runs_dir).create(config(name).as_record())
    execute(run, settings)
    record = run.result()
    assert (told.parameters, told.trained_parameters) == (record["parameters"], record["trained_parameters"])
    assert told.share == record["share"]
    # The file has a head of some kilobytes beside its tensors.
    assert 0 <= record["checkpoint_bytes"] - told.checkpoint_bytes < 60_000
    assert told.steps == record["planned_steps"] and told.fits
    assert told.peak_memory_bytes > 0 and told.seconds_per_step > 0 and told.evaluation_seconds > 0
    assert told.notes and "split off" in told.notes[-1]


def test_accumulation_and_evaluations_are_counted_in(config, settings):
    one = probe.measure(config(max_steps=10), settings)
    four = probe.measure(config(max_steps=10, accumulation=4, evaluations=5), settings)
    assert one.seconds == pytest.approx(10 * one.seconds_per_step + one.evaluation_seconds)
    assert four.seconds == pytest.approx(10 * four.seconds_per_step + 5 * four.evaluation_seconds)
    assert four.samples_per_second == pytest.approx(8 / four.seconds_per_step)


@pytest.mark.parametrize(
    ("name", "advice"), [("full", "Choose LoRA, a smaller batch_size"), ("lora", "Choose a smaller")]
)
def test_what_cannot_fit_is_refused_without_trying(name, advice, config, settings, monkeypatch):
    monkeypatch.setattr(probe, "free_memory_bytes", lambda: 100_000)
    told = probe.measure(config(name), settings)
    assert not told.fits and told.seconds == 0
    assert re.search(r"takes at least \d+ kB of memory, and 100 kB are free\.", told.refusal)
    assert advice in told.refusal
    assert told.as_dict()["fits"] is False


def test_what_a_real_step_shows_to_be_too_much_is_refused_with_its_size(config, settings, monkeypatch):
    monkeypatch.setattr(probe, "free_memory_bytes", lambda: 10_000_000)
    monkeypatch.setattr(probe, "peak_memory_bytes", lambda: hardware.memory_bytes() + 1_500_000_000)
    told = probe.measure(config(), settings)
    assert (
        "LoRA of dsum-t5-base with batches of 2 takes 1.5 GB of memory" in told.refusal and told.trained_parameters > 0
    )


def test_the_least_that_a_run_takes(config, settings):
    base = settings.root / "models" / "dsum-t5-base"
    lora, full = config("lora").training, config("full").training
    weights = least_bytes(base, lora)
    assert least_bytes(base, full) == 2 * weights, "gradients; Adafactor remembers next to nothing"
    assert least_bytes(base, replace(full, optimizer="adamw")) == 4 * weights
