"""The commands models, compare and score, on a root with tiny models."""

from __future__ import annotations

import json

import pytest

DIALOGUE = "Maya: Are you free on Friday?\nTom: Yes, after six.\n"


def test_compare_prints_three_scored_systems_as_json(dsum_process):
    result = dsum_process("compare", "-", "--reference", "Tom is free on Friday.", "--json", stdin=DIALOGUE)
    assert result.returncode == 0 and "Warning" not in result.stderr, result.stderr
    printed = json.loads(result.stdout)
    assert [system["kind"] for system in printed["systems"]] == ["base", "full", "adapter"]
    assert printed["signature"]
    for system in printed["systems"]:
        assert set(system["rouge"]) == {"rouge1", "rouge2", "rougeL", "rougeLsum"}
        assert all(0 <= value <= 1 for value in system["rouge"].values())


def test_compare_without_reference_has_null_scores(dsum, tmp_path):
    file = tmp_path / "dialogue.txt"
    file.write_text(DIALOGUE, encoding="utf-8-sig")
    printed = json.loads(dsum("compare", str(file), "--json").stdout)
    assert printed["signature"] is None
    assert [system["rouge"] for system in printed["systems"]] == [None, None, None]


def test_compare_for_people_names_systems_and_says_why_there_is_no_rouge(dsum):
    result = dsum("compare", "-", stdin=DIALOGUE)
    assert result.returncode == 0
    assert "No ROUGE" in result.stdout and "Original" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("compare", "nowhere.txt"), "nowhere.txt cannot be read"),
        (("compare", "-"), "no dialogue"),
        (("compare", "-", "--family", "gpt"), "gpt"),
        (("compare", "-", "--beams", "99"), "num_beams is 99"),
        (("score", "nowhere.csv", "--references", "a", "--systems", "b"), "nowhere.csv"),
    ],
)
def test_wrong_input_is_a_sentence_and_exit_code_2(dsum, arguments, sentence):
    stdin = DIALOGUE if len(arguments) > 2 else ""
    result = dsum(*arguments, stdin=stdin)
    assert result.returncode == 2
    assert sentence in result.stderr and "Traceback" not in result.stderr
    assert result.stdout == ""


def test_bytes_that_are_no_text_are_refused(dsum, tmp_path):
    file = tmp_path / "photo.txt"
    file.write_bytes(b"\x89PNG\0\0\0\rIHDR")
    result = dsum("compare", str(file))
    assert result.returncode == 2 and "photo.txt is not a text file" in result.stderr


def test_compare_says_what_it_read_a_file_as_and_as_is_keeps_the_text(dsum, tmp_path):
    file = tmp_path / "chat.txt"
    file.write_bytes("[18:03] Ana: Lunch at the café?\n[18:04] Bo: Yes.\n[18:05] Ana: <Media omitted>".encode("cp1252"))
    result = dsum("compare", str(file), "--json")
    printed = json.loads(result.stdout)
    assert printed["dialogue"] == "Ana: Lunch at the café?\nBo: Yes."
    assert printed["reading"]["format"] == "chat with times" and printed["reading"]["dropped"]["notices"] == 1
    assert "Read as chat with times: 2 turns, 2 speakers (Ana, Bo)" in result.stderr
    assert "Windows-1252" in result.stderr
    kept = json.loads(dsum("compare", str(file), "--json", "--as-is").stdout)
    assert kept["dialogue"].startswith("[18:03] Ana: Lunch") and kept["reading"]["format"] == ""


def test_compare_doubts_a_text_that_is_not_english_before_it_summarizes(dsum):
    result = dsum("compare", "-", "--json", stdin="小林：几点开门？\n小美：八点半。")
    assert "not in English" in result.stderr
    assert "not in English" in json.loads(result.stdout)["warnings"][0]


def test_score_prints_means_over_rows(dsum, tmp_path):
    file = tmp_path / "outputs.csv"
    file.write_text("human,a,b\nthe cat sat,the cat sat,dogs\na b c d,a b,a b c d\n")
    result = dsum("score", str(file), "--references", "human", "--systems", "a,b", "--json")
    assert result.returncode == 0, result.stderr
    systems = json.loads(result.stdout)["systems"]
    # a: row 1 is identical (1), row 2 has precision 1 and recall 1/2 (F1 2/3); b: 0 and 1.
    assert systems["a"]["rouge1"] == pytest.approx((1 + 2 / 3) / 2)
    assert systems["b"]["rouge1"] == pytest.approx(0.5)
    assert list(systems["a"]) == ["rouge1", "rouge2", "rougeL", "rougeLsum"]


def test_score_names_the_columns_that_exist(dsum, tmp_path):
    file = tmp_path / "columns.csv"
    file.write_text("human,a\nx,y\n")
    result = dsum("score", str(file), "--references", "reference", "--systems", "a")
    assert result.returncode == 2
    assert "reference" in result.stderr and "human" in result.stderr


def test_models_lists_the_trio_as_shipped(dsum):
    rows = json.loads(dsum("models", "--json").stdout)["models"]
    assert sum(row["state"] == "shipped" for row in rows) == 3
    assert {row["kind"] for row in rows} == {"base", "full", "adapter"}


def test_without_gradio_the_command_line_works_and_serve_names_what_to_install(dsum_process, environment, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['gradio'] = None\n")
    environment["PYTHONPATH"] = f"{tmp_path}:{environment.get('PYTHONPATH', '')}"
    assert dsum_process("compare", "-", "--json", stdin=DIALOGUE).returncode == 0
    refused = dsum_process("serve")
    assert refused.returncode == 2 and "gradio" in refused.stderr and "pip install" in refused.stderr
