"""The commands models, compare and score with tiny models."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest

from dsum_demo.settings import PROJECT_ROOT

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


def test_compare_without_json_prints_systems_and_how_to_get_rouge(dsum):
    result = dsum("compare", "-", stdin=DIALOGUE)
    assert result.returncode == 0
    assert "No ROUGE" in result.stdout and "Original" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", "nowhere.txt"), "nowhere.txt cannot be read"),
        (("compare", "-"), "no dialogue"),
        (("compare", "-", "--family", "gpt"), "gpt"),
        (("compare", "-", "--beams", "99"), "num_beams is 99"),
        (("compare", "-", "--systems", "dsum-t5-base,gpt"), "There is no model 'gpt'"),
        (("compare", "-", "--systems", "dsum-t5-base,dsum-t5-base"), "dsum-t5-base was chosen twice"),
        (("compare", "-", "--recorded", "file.txt"), "give NAME=FILE"),
        (("compare", "-", "--recorded", "samples:"), "or EVALUATION:SYSTEM"),
        (("compare", "-", "--recorded", "gone:dsum-t5-lora"), "Unknown saved evaluation 'gone'; choose one of: "),
        (("compare", "-", "--judge", "gpt"), "There is no judge 'gpt'"),
        (("compare", "-", "--recorded", "a=nowhere.txt"), "nowhere.txt cannot be read"),
        (("score", "nowhere.csv", "--references", "a", "--systems", "b"), "nowhere.csv"),
    ],
)
def test_invalid_input_prints_a_message_and_exits_with_2(dsum, arguments, message):
    stdin = DIALOGUE if len(arguments) > 2 else ""
    result = dsum(*arguments, stdin=stdin)
    assert result.returncode == 2
    assert message in result.stderr and "Traceback" not in result.stderr
    assert result.stdout == ""


def test_compare_takes_models_by_name_and_summaries_from_files(dsum, tmp_path):
    file = tmp_path / "theirs.txt"
    file.write_text("Tom is free on Friday.\n")
    chosen = ("--systems", "dsum-t5-lora,dsum-t5-base", "--recorded", f"Another program={file}")
    result = dsum("compare", "-", *chosen, "--reference", "Tom is free.", "--json", stdin=DIALOGUE)
    printed = json.loads(result.stdout)
    assert [system["name"] for system in printed["systems"]] == ["dsum-t5-lora", "dsum-t5-base", "Another program"]
    assert printed["systems"][2]["summary"] == "Tom is free on Friday." and printed["systems"][2]["rouge"]["rouge1"] > 0
    comparison = tmp_path / "comparison.json"
    comparison.write_text(result.stdout)
    again = (*chosen[:2], "--recorded", f"Another program={comparison}")
    text = dsum("compare", "-", *again, stdin=DIALOGUE).stdout
    assert "\nAnother program\n  Tom is free on Friday.\n" in text
    unknown = dsum("compare", "-", "--recorded", f"other={comparison}", stdin=DIALOGUE)
    assert "has no system 'other'; choose one of: dsum-t5-lora, dsum-t5-base, Another program" in unknown.stderr


def test_compare_takes_a_summary_of_the_dialogue_from_a_saved_evaluation(dsum, tmp_path):
    shutil.copytree(PROJECT_ROOT / "evaluations" / "samples", tmp_path / "data" / "evaluations" / "mine")
    with gzip.open(PROJECT_ROOT / "evaluations" / "samples" / "examples.jsonl.gz") as lines:
        example = json.loads(next(iter(lines)))
    chosen = ("--systems", "dsum-t5-base", "--recorded", "mine:dsum-t5-lora")
    text = dsum("compare", "-", *chosen, stdin=example["dialogue"]).stdout
    expected = example["outputs"]["dsum-t5-lora"]["text"]
    assert f"\nLoRA of mine\n  {expected}\n  recorded on 24 November 2026, not generated here\n" in text
    unknown = dsum("compare", "-", "--recorded", "mine:gone", stdin=DIALOGUE)
    assert "mine has no system 'gone'; choose one of: dsum-t5-base, dsum-t5-full, dsum-t5-lora" in unknown.stderr
    other = dsum("compare", "-", *chosen, stdin=DIALOGUE)
    assert other.returncode == 2 and "mine has no summary of this dialogue by LoRA." in other.stderr


def test_compare_rejects_a_file_that_is_not_text(dsum, tmp_path):
    file = tmp_path / "photo.txt"
    file.write_bytes(b"\x89PNG\0\0\0\rIHDR")
    result = dsum("compare", str(file))
    assert result.returncode == 2 and "photo.txt is not a text file" in result.stderr


def test_compare_prints_the_detected_format_and_as_is_keeps_the_text(dsum, tmp_path):
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


def test_compare_warns_if_the_text_is_not_english(dsum):
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


def test_models_prints_the_code_that_loads_a_model_without_dsum(dsum):
    printed = dsum("models", "--snippet", "dsum-t5-lora").stdout
    assert 'PeftModel.from_pretrained(model, "adapters/dsum-t5-lora")' in printed and compile(printed, "code", "exec")
    unknown = dsum("models", "--snippet", "gpt")
    assert unknown.returncode == 2 and "There is no model 'gpt'" in unknown.stderr and unknown.stdout == ""


def test_models_lists_the_shipped_trio(dsum):
    rows = json.loads(dsum("models", "--json").stdout)["models"]
    assert sum(row["state"] == "shipped" for row in rows) == 3
    assert {row["kind"] for row in rows} == {"base", "full", "adapter"}


def test_without_gradio_compare_works_and_serve_names_the_package_to_install(dsum_process, environment, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['gradio'] = None\n")
    environment["PYTHONPATH"] = f"{tmp_path}:{environment.get('PYTHONPATH', '')}"
    assert dsum_process("compare", "-", "--json", stdin=DIALOGUE).returncode == 0
    serve = dsum_process("serve")
    assert serve.returncode == 2 and "gradio" in serve.stderr and "pip install" in serve.stderr
