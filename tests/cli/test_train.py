"""`dsum train`: arguments and errors, a run in the foreground, Ctrl-C, and the probe."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from dsum_demo.cli.console import say
from dsum_demo.cli.main import build_parser, main
from dsum_demo.cli.train import config_of, stopping_on_signals
from dsum_demo.composition import make_registry
from dsum_demo.runs.store import Runs, RunState
from dsum_demo.settings import Settings
from dsum_demo.training.config import RunConfig, TrainingConfig
from dsum_demo.training.dataset import sample_csv
from dsum_demo.training.events import read_curve
from dsum_demo.training.first_batch import explain
from dsum_demo.ui.train.first_batch_view import first_batch_details

SMALL = ["--set", "max_steps=4", "--set", "batch_size=1", "--set", "evaluations=2", "--set", "max_source_tokens=64",
         "--set", "max_target_tokens=16", "--set", "r=4"]  # fmt: skip


@pytest.fixture
def here(settings, tmp_path, monkeypatch) -> Settings:
    """An environment with tiny models, and rows.csv in the working directory."""
    (tmp_path / "rows.csv").write_text(sample_csv())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DSUM_ROOT", str(settings.root))
    monkeypatch.setenv("DSUM_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("SPACE_ID", "DSUM_PUBLIC", "DSUM_DIALOGSUM"):
        monkeypatch.delenv(name, raising=False)
    return settings


def parsed(here: Settings, *words: str) -> RunConfig:
    return config_of(build_parser().parse_args(["train", *words]), here)


# arguments


def test_the_default_is_lora_on_the_samples(here):
    config = parsed(here)
    assert (config.base, config.training.method, config.data.source) == ("dsum-t5-base", "lora", "samples")


def test_settings_override_the_method_and_the_method_overrides_the_preset(here):
    config = parsed(here, "--preset", "notebook-lora", "--set", "r=8", "--set", "batch_size=2", "--data", "samples")
    assert (config.preset, config.training.options["r"], config.training.learning_rate) == ("notebook-lora", 8, 1e-3)
    assert config.training.options["target_modules"] == ("q", "v") and config.training.batch_size == 2
    other = parsed(here, "--preset", "notebook-lora", "--method", "ia3")
    assert (other.training.method, other.training.learning_rate) == ("ia3", 6e-2), "the method's own"
    assert other.training.batch_size == config.training.batch_size * 4, "the preset's"


def test_base_accepts_the_name_of_a_family(here):
    assert parsed(here, "--base", "dsum-t5").base == "dsum-t5-base"


def test_the_command_of_a_config_reproduces_the_config(here):
    words = ["--preset", "good-full", "--data", "rows.csv", "--column", "dialogue=dialogue", "--validation", "samples",
             "--set", "limit=5", "--set", "compile=yes", "--set", "best_by=loss"]  # fmt: skip
    config = parsed(here, *words)
    command = config.command("again")
    assert parsed(here, *command[1:]).as_record() == {**config.as_record(), "preset": ""}
    swept = parsed(here, *words, "--sweep", "7")
    assert (swept.training.max_steps, len(swept.sweep)) == (7, 4)
    assert parsed(here, *swept.command()[1:]).as_record() == {**swept.as_record(), "preset": ""}
    assert shlex.split(shlex.join(command)) == command and command[-2:] == ["--name", "again"]


def test_given_settings_of_preference_training_are_kept_even_if_they_are_the_defaults_of_other_runs(here):
    words = ["--preferences", "pairs.jsonl", "--from", "smollm2-135m"]
    plain = parsed(here, *words)
    assert (plain.training.learning_rate, plain.training.batch_size, plain.training.accumulation) == (5e-5, 1, 4)
    assert "--set" not in plain.command()
    usual = TrainingConfig("lora", task_type="CAUSAL_LM")
    given = {name: getattr(usual, name) for name in ("learning_rate", "batch_size", "accumulation")}
    config = parsed(here, *words, *(word for name, value in given.items() for word in ("--set", f"{name}={value}")))
    assert {name: getattr(config.training, name) for name in given} == given
    assert parsed(here, *config.command()[1:]) == config


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "best"], "There is no preset 'best'; choose one of: good-lora, "),
        (["--method", "qlora"], "There is no fine-tuning method 'qlora'; choose one of: full, lora"),
        (["--base", "t5"], "There is no model 't5'"),
        (["--base", "dsum-t5-lora"], "dsum-t5-lora is fine-tuned already; train its base model dsum-t5-base instead"),
        (["--set", "r=0"], "r is 0; give a whole number from 1 to 512"),
        (["--set", "r"], "--set 'r' has no '='"),
        (["--set", "rank=4"], "there is no field 'rank'; the fields are: r, lora_alpha, target_modules"),
        (["--set", "learning_rate=fast"], "learning_rate is 'fast'; give a number above 0 and at most 1"),
        (["--set", "compile=perhaps"], "compile is 'perhaps'; give true or false"),
        (["--method", "full", "--set", "r=4"], "there is no field 'r'"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
        (["--data", "rows.csv", "--column", "dialogue"], "--column 'dialogue' has no '='"),
        (
            ["--data", "rows.csv", "--column", "summary=gist"],
            "There is no column 'gist'; the columns are: id, dialogue",
        ),
        (["--data", "rows.csv", "--column", "text=gist"], "unknown role 'text'; give one of: dialogue, summary"),
        (["--from", "dsum-t5-lora"], "give the pairs with --preferences"),
        (["--preferences", "rows.csv", "--sweep"], "--sweep cannot be used with --preferences"),
        (["--preferences", "rows.csv", "--from", "dsum-t5-lora"], "dsum-t5-base is encoder-decoder: TRL"),
        (["--sweep", "1"], "sweep steps is 1; give a whole number from 2 to 1000"),
        (["--resume", "x", "--sweep"], "--sweep cannot be used with --resume"),
        (["--resume", "nowhere"], "There is no run 'nowhere'"),
        (["--resume", "x", "--set", "r=4"], "--set cannot be used with --resume"),
    ],
)
def test_invalid_arguments_print_a_message_and_exit_with_2(here, capsys, words, message):
    assert main(["train", *words]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and "Traceback" not in printed.err and printed.out == ""


@pytest.mark.parametrize("more", [[], ["--probe"]])
def test_a_run_that_a_public_space_does_not_allow_is_not_resumed(here, capsys, monkeypatch, more):
    run = Runs(here.runs_dir).create(parsed(here, "--data", "rows.csv").as_record(), "mine")
    monkeypatch.setenv("DSUM_PUBLIC", "1")
    assert main(["train", "--resume", "mine", *more]) == 2
    assert "This Space trains on the samples or an uploaded file only" in capsys.readouterr().err
    assert run.status().state is RunState.QUEUED and not run.events_file.exists()


@pytest.mark.parametrize(
    ("data", "validation", "messages"),
    [
        (
            "rows.csv",
            "rows.csv",
            ["0 dialogues for training and 3 for validation", "3 dialogues are also in the valid"],
        ),
        ("empty.csv", "", ["no row with both a dialogue and a summary: row 1 (no summary)"]),
    ],
)
def test_invalid_data_prints_the_reasons_and_creates_no_run(here, tmp_path, capsys, data, validation, messages):
    (tmp_path / "empty.csv").write_text("dialogue,summary\nAna: Hi,nan\n")
    assert main(["train", "--data", data, *SMALL, *(["--validation", validation] if validation else [])]) == 2
    printed = capsys.readouterr().err
    assert all(message in printed for message in messages) and Runs(here.runs_dir).all() == []


# running


def test_a_finished_run_is_a_model_in_the_registry(here, capsys):
    assert main(["train", "--data", "rows.csv", "--name", "my run", *SMALL]) == 0
    printed = capsys.readouterr()
    run = Runs(here.runs_dir).get("my-run")
    assert printed.out == f"{run.best}\n" and run.status().state is RunState.FINISHED
    assert "step 4/4  loss " in printed.err and "validation loss" in printed.err
    assert "dsum: my-run finished." in printed.err
    assert make_registry(here).spec("my-run").kind == "adapter"
    assert main(["train", "--resume", "my-run"]) == 2
    assert "my-run is finished" in capsys.readouterr().err


def test_show_batch_prints_the_batch_that_a_run_then_records(here, capsys):
    assert main(["train", "--data", "rows.csv", "--show-batch", *SMALL]) == 0
    printed = capsys.readouterr().out
    assert "1 row of " in printed and "trained  " in printed and "</s>" in printed
    assert Runs(here.runs_dir).all() == []
    assert main(["train", "--data", "rows.csv", "--name", "shown", *SMALL]) == 0
    batch = read_curve(Runs(here.runs_dir).get("shown").events_file).first_batch
    assert explain(batch) in printed and f"Training dialogue {batch['rows'][0]['number']}" in printed
    details = first_batch_details(batch)
    assert (
        "&lt;/s&gt;</span>" in details
        and "more tokens" not in details
        and "trained on" in details
        and first_batch_details(None) == ""
    )


def test_resume_starts_a_queued_run(here, capsys):
    queued = Runs(here.runs_dir).create(parsed(here, "--data", "rows.csv", *SMALL).as_record(), "waiting")
    assert main(["train", "--resume", "waiting"]) == 0
    assert queued.status().state is RunState.FINISHED


def test_ctrl_c_stops_the_run_and_keeps_the_best_weights_and_a_checkpoint(here, forked_python):
    words = ["--data", "rows.csv", "--name", "long", *SMALL, "--set", "max_steps=100000", "--set", "evaluations=1000"]
    child = subprocess.Popen(
        [forked_python, "-m", "dsum_demo", "train", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    try:
        lines = []
        for line in child.stderr:
            lines.append(line)
            if line.startswith("step "):
                child.send_signal(signal.SIGINT)
                break
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0, "".join(lines) + err
    assert "stopping; the best weights are kept" in err and "dsum: long stopped. Stopped on request at step" in err
    run = Runs(here.runs_dir).get("long")
    assert run.status().state is RunState.STOPPED and out == f"{run.best}\n" and run.result()["stopped"]
    stopped_at = run.result()["steps"]
    assert [path.name for path in run.checkpoints.iterdir()] == [f"checkpoint-{stopped_at}"]


def test_ctrl_c_while_a_line_is_printed_stops_the_run(here, monkeypatch):
    class Interrupted(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            signal.raise_signal(signal.SIGINT)
            return len(data)

    run = Runs(here.runs_dir).create(parsed(here).as_record(), "mine")
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BufferedWriter(Interrupted()), line_buffering=True))
    with stopping_on_signals(run):
        say("a line")
    assert run.stop_request() == "keep"


def test_a_killed_run_is_crashed_and_can_be_resumed(here, forked_python):
    words = ["--data", "rows.csv", "--name", "crash", *SMALL, "--set", "max_steps=12", "--set", "evaluations=6"]
    child = subprocess.Popen(
        [forked_python, "-m", "dsum_demo", "train", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    for line in child.stderr:
        if "validation loss" in line:
            child.kill()
            break
    child.communicate(timeout=60)
    run = Runs(here.runs_dir).get("crash")
    assert child.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while run.status().state is RunState.RUNNING and time.monotonic() < deadline:
        time.sleep(0.05)  # the forked process is killed after the one that was started
    assert run.status().state is RunState.CRASHED
    assert main(["train", "--resume", "crash"]) == 0
    assert run.status().state is RunState.FINISHED
    assert [point["step"] for point in read_curve(run.events_file).steps] == list(range(1, 13))


# the probe


def test_the_probe_prints_the_cost_and_creates_no_run(here, capsys):
    assert main(["train", "--data", "rows.csv", "--probe", *SMALL]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["base"], found["method"], found["fits"], found["refusal"]) == ("dsum-t5-base", "lora", True, "")
    assert (found["steps"], found["train_dialogues"], found["validation_dialogues"]) == (4, 2, 1)
    assert found["seconds"] > 0 and found["seconds_per_step"] > 0
    assert Runs(here.runs_dir).all() == []


def test_a_queued_run_can_be_probed(here, capsys):
    run = Runs(here.runs_dir).create(parsed(here, "--data", "rows.csv", *SMALL).as_record(), "waiting")
    assert main(["train", "--resume", "waiting", "--probe"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 4
    assert run.status().state is RunState.QUEUED and not run.events_file.exists()
