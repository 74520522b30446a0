"""`accelerate launch -m dsum_demo train …` with two processes on the CPU gives the same run as one process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dsum_demo.runs.store import Runs, RunState
from dsum_demo.training.dataset import sample_csv
from dsum_demo.training.events import read_curve

SETTINGS = {"max_steps": 3, "evaluations": 1, "precision": "fp32", "max_source_tokens": 64, "max_target_tokens": 16,
            "lora_dropout": 0, "r": 4, "validation_share": 0.3}  # fmt: skip


def test_two_processes_give_the_same_run_as_one(tiny_environment, tmp_path, forked_python):
    rows = sample_csv().splitlines(keepends=True)
    (tmp_path / "rows.csv").write_text("".join(rows))
    environment = {**tiny_environment, "DSUM_DATA_DIR": str(tmp_path / "data")}
    words = ["train", "--data", str(tmp_path / "rows.csv")]
    words += [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
              "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
              "-m", "dsum_demo"]  # fmt: skip
    one = [forked_python, "-m", "dsum_demo", *words, "--name", "one", "--set", "batch_size=2"]
    two = [*launch, *words, "--name", "two", "--set", "batch_size=1"]
    for command in (one, two):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    runs = Runs(tmp_path / "data" / "runs")
    assert {run.name for run in runs.all()} == {"one", "two"}, "the second process creates no run"
    curves = [read_curve(runs.get(name).events_file) for name in ("one", "two")]
    assert [curve.start["processes"] for curve in curves] == [1, 2]
    assert all(runs.get(name).status().state is RunState.FINISHED for name in ("one", "two"))
    assert [point["step"] for point in curves[1].steps] == [1, 2, 3], "each step is reported once"
    # The model has dropout, which each process draws for its own dialogues.
    for first, second in zip(curves[0].steps, curves[1].steps, strict=True):
        assert second["loss"] == pytest.approx(first["loss"], rel=0.25)
        assert second["learning_rate"] == first["learning_rate"]
    assert len(curves[1].best["summaries"]) == len(curves[0].best["summaries"]) == 1
