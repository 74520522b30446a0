"""`dsum evaluate` on tiny models: output, files, errors and Ctrl+C."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from dsum_demo.evaluation.storage import read_evaluation

FEW = ("--limit", "3", "--max-new-tokens", "6")


def test_the_default_trio_is_evaluated_saved_and_cached(dsum, tmp_path):
    result = dsum("evaluate", "--data", "samples", *FEW)
    assert result.returncode == 0, result.stderr
    for words in ("dsum-t5-base", "dsum-t5-lora", "Paired differences", "LEAD-3", "Human", "n=3", "Too few dialogues"):
        assert words in result.stdout
    (folder,) = (tmp_path / "data" / "evaluations").iterdir()
    assert str(folder) in result.stderr
    evaluation = read_evaluation(folder)
    assert len(evaluation.examples) == 3 and evaluation.finished and evaluation.examples[0].dialogue
    again = json.loads(dsum("evaluate", "--data", "samples", *FEW, "--json").stdout)
    assert again["report"]["n"] == 3 and again["folder"] != str(folder)
    assert all(o.cached for e in read_evaluation(Path(again["folder"])).examples for o in e.outputs.values())


def test_out_and_export_write_to_the_folder_and_without_texts_omits_dialogues(dsum, tmp_path):
    assert (
        dsum("evaluate", "--data", "samples", *FEW, "--systems", "dsum-t5-full", "--out", "mine", "--export").returncode
        == 0
    )
    with (tmp_path / "mine" / "examples.csv").open(newline="") as file:
        assert {row["system"] for row in csv.DictReader(file)} == {"dsum-t5-full"}
    assert {"report.json", "examples.jsonl.gz", "report.md"} <= {file.name for file in (tmp_path / "mine").iterdir()}
    bare = dsum("evaluate", "--data", "samples", *FEW, "--systems", "dsum-t5-full", "--out", "bare", "--without-texts")
    assert bare.returncode == 0 and read_evaluation(tmp_path / "bare").examples[0].dialogue is None
    taken = dsum("evaluate", "--data", "samples", "--out", "mine")
    assert taken.returncode == 2 and "mine is not empty: it contains 'examples.csv'" in taken.stderr
    assert "mine/report.md is a file" in dsum("evaluate", "--data", "samples", "--out", "mine/report.md").stderr
    assert not (tmp_path / "data" / "evaluations").exists()


def test_recorded_outputs_need_no_torch(dsum_process, recorded_file, tmp_path, environment):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None\n")
    environment["PYTHONPATH"] = f"{tmp_path}:{environment['PYTHONPATH']}"
    columns = ("--references", "human1,human2,human3", "--recorded", "original,full,lora")
    result = dsum_process(
        "evaluate", "--data", str(recorded_file), *columns, "--policy", "best", "--seed", "4", "--json"
    )
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout)
    assert printed["report"]["signature"]["policy"] == "best" and printed["report"]["signature"]["seed"] == 4
    assert printed["report"]["recovery"]["sentence"].startswith("LoRA recovers")


def test_columns_of_a_file_are_mapped_for_models_and_for_recorded_outputs(dsum, tmp_path):
    (tmp_path / "rows.csv").write_text(
        "nr,talk,gist,a\n7,Ana: Hi Bo!,Ana greets.,Ana greets.\n8,Bo: Bye.,Bo goes.,Go.\n"
    )
    mapped = ("--data", "rows.csv", "--column", "id=NR,dialogue=talk")
    result = dsum("evaluate", *mapped, "--column", "summary=gist", "--systems", "dsum-t5-base", "--out", "models", *FEW)
    assert result.returncode == 0, result.stderr
    assert [(e.id, e.references) for e in read_evaluation(tmp_path / "models").examples] == [
        ("7", ("Ana greets.",)), ("8", ("Bo goes.",))
    ]  # fmt: skip
    result = dsum("evaluate", *mapped, "--references", "gist", "--recorded", "a", "--out", "recorded")
    assert result.returncode == 0, result.stderr
    assert [(e.id, e.dialogue) for e in read_evaluation(tmp_path / "recorded").examples] == [
        ("7", "Ana: Hi Bo!"), ("8", "Bo: Bye.")
    ]  # fmt: skip
    refused = dsum("evaluate", *mapped, "--column", "summary=gist", "--references", "gist", "--recorded", "a")
    assert refused.returncode == 2 and "leave summary out" in refused.stderr
    refused = dsum("evaluate", "--data", "rows.csv", "--systems", "dsum-t5-base")
    assert refused.returncode == 2 and "its columns are: nr, talk, gist, a" in refused.stderr


def test_a_windows_1252_file_is_read_with_a_note(dsum, tmp_path):
    file = tmp_path / "old.csv"
    file.write_bytes("dialogue;summary;ours\nJosé: ¿Café?\\nZoë: Sí.;José pide un café.;Un café.\n".encode("cp1252"))
    result = dsum("evaluate", "--data", str(file), "--systems", "dsum-t5-base", "--max-new-tokens", "4")
    assert result.returncode == 0 and "old.csv is not UTF-8 (byte 25) and was read as Windows-1252" in result.stderr
    result = dsum("evaluate", "--data", str(file), "--references", "summary", "--recorded", "ours")
    assert result.returncode == 0 and "Windows-1252" in result.stderr
    result = dsum("score", str(file), "--references", "summary", "--systems", "ours")
    assert result.returncode == 0 and "Windows-1252" in result.stderr
    file.write_bytes("dialogue;summary\n;café\n".encode("cp1252"))
    result = dsum("evaluate", "--data", str(file), "--systems", "dsum-t5-base")
    assert result.returncode == 2 and "no dialogue in row 1" in result.stderr and "Windows-1252" in result.stderr


def test_an_empty_folder_is_accepted_as_out(dsum, tmp_path):
    (tmp_path / "rows.csv").write_text("human,a\nthe cat,the cat\n")
    (tmp_path / "empty").mkdir()
    result = dsum("evaluate", "--data", "rows.csv", "--references", "human", "--recorded", "a", "--out", "empty")
    assert result.returncode == 0, result.stderr
    assert read_evaluation(tmp_path / "empty").examples[0].outputs["a"].text == "the cat"


def test_invalid_rows_are_rejected_and_skipped_with_skip_broken(dsum, tmp_path):
    (tmp_path / "rows.csv").write_text("human,a\nthe cat,the cat\n,x\ny,\n")
    arguments = ("--data", "rows.csv", "--references", "human", "--recorded", "a")
    rejected = dsum("evaluate", *arguments)
    assert rejected.returncode == 2 and "no reference in row 2" in rejected.stderr and rejected.stdout == ""
    result = dsum("evaluate", *arguments, "--skip-broken")
    assert result.returncode == 0 and "1 invalid row skipped: 2." in result.stdout
    (tmp_path / "data.csv").write_text("id,dialogue,summary\na,Tom: hi,Tom says hi.\nb,,nothing\n")
    assert "no dialogue in row 2" in dsum("evaluate", "--data", "data.csv").stderr
    kept = dsum(
        "evaluate",
        "--data",
        "data.csv",
        "--skip-broken",
        "--systems",
        "dsum-t5-base",
        "--max-new-tokens",
        "4",
        "--json",
    )
    assert json.loads(kept.stdout)["evaluation"]["skipped"] == [{"row": 2, "reason": "It has no dialogue."}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "nowhere"), "There is no file 'nowhere'"),
        (("--data", "samples", "--systems", "gpt"), "no model 'gpt'"),
        (("--data", "samples", "--systems", "dsum-t5-base,dsum-t5-base"), "each one once"),
        (("--data", "samples", "--limit", "0"), "limit is 0"),
        (("--data", "samples", "--beams", "99"), "num_beams is 99"),
        (("--data", "x.csv", "--references", "a"), "--references and --recorded"),
        (("--data", "nowhere.csv", "--references", "a", "--recorded", "b"), "nowhere.csv cannot be read"),
        (("--data", "samples", "--export", "--without-texts"), "choose one"),
    ],
)
def test_invalid_input_prints_a_message_and_exits_with_2(dsum, arguments, message):
    result = dsum("evaluate", *arguments)
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr
    assert result.stdout == ""


def test_an_unavailable_model_exits_with_1_and_keeps_the_other_results(dsum):
    result = dsum("evaluate", "--data", "samples", *FEW, "--systems", "dsum-t5-base,flan-t5-small-full", "--json")
    assert result.returncode == 1 and "flan-t5-small-full" in result.stderr
    assert [system["name"] for system in json.loads(result.stdout)["report"]["systems"]] == ["dsum-t5-base"]


def test_ctrl_c_saves_the_results_so_far_and_exits_with_130(environment, tmp_path, dsum, forked_python):
    arguments = ("--data", "samples", "--beams", "2", "--max-new-tokens", "40")
    process = subprocess.Popen(
        [forked_python, "-m", "dsum_demo", "evaluate", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    cache, deadline = tmp_path / "data" / "outputs.sqlite", time.monotonic() + 120
    while time.monotonic() < deadline and not written(cache):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "stopping; the results so far are kept" in err and "Traceback" not in err
    done = written(cache)
    assert 0 < done < 87 and list((tmp_path / "data" / "evaluations").iterdir())
    assert "Incomplete" in out


def written(cache: Path) -> int:
    import sqlite3

    if not cache.exists():
        return 0
    with sqlite3.connect(cache) as database:
        try:
            return int(database.execute("SELECT COUNT(*) FROM outputs").fetchone()[0])
        except sqlite3.Error:
            return 0
