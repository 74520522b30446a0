"""The command `dsum export` with tiny models."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest
from transformers import AutoModelForSeq2SeqLM


def test_export_prints_the_files_and_the_check_and_the_folder_loads(dsum, tmp_path):
    out = tmp_path / "out"
    result = dsum("export", "dsum-t5-lora", "--format", "merged", "--out", str(out), "--json")
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("dsum: ") and len(set(result.stderr.splitlines())) == len(
        result.stderr.splitlines()
    )
    found = json.loads(result.stdout)
    assert (found["model"], found["format"], found["dtype"], found["folder"]) == (
        "dsum-t5-lora", "merged", "float32", str(out),
    )  # fmt: skip
    assert found["files"]["model.safetensors"] == (out / "model.safetensors").stat().st_size
    assert found["check"]["identical"] == 20
    assert AutoModelForSeq2SeqLM.from_pretrained(out).config.model_type == "t5"
    again = dsum("export", "dsum-t5-lora", "--format", "merged", "--out", str(out))
    assert again.returncode == 2 and "out" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gpt", "--format", "merged"), "There is no model 'gpt'"),
        (("dsum-t5-lora", "--format", "gguf-f16"), "Choose merged."),
        (("dsum-t5-lora", "--format", "onnx"), "optimum"),
        (("flan-t5-base", "--format", "merged"), "flan-t5-base is not available"),
        (("dsum-t5-lora", "--format", "zip"), "invalid choice: 'zip'"),
    ],
)
def test_an_export_that_is_impossible_gives_the_reason_and_exits_with_2(dsum, tmp_path, arguments, message):
    result = dsum("export", *arguments, "--out", str(tmp_path / "out"))
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_keeps_nothing_and_exits_with_130(environment, tmp_path, forked_python):
    place = tmp_path / "place"
    place.mkdir()
    process = subprocess.Popen(
        [forked_python, "-m", "dsum_demo", "export", "dsum-t5-lora", "--format", "merged", "--out", str(place / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert process.stderr is not None
    process.stderr.readline()  # the first step has begun
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert out == "" and list(place.iterdir()) == []
