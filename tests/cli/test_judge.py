"""`dsum judge`, and --judge of `score`, `compare` and `evaluate`, with a tiny decoder-only model as the judge."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess

import pytest

from dsum_demo.settings import PROJECT_ROOT

JUDGE = "smollm2-135m"  # the default, whose weights are tiny here


@pytest.fixture
def environment(environment, root, causal_root) -> dict[str, str]:
    shutil.copytree(causal_root / "models" / "causal-base", root / "models" / JUDGE)
    return {**environment, "DSUM_ROOT": str(root)}


def rows(file, count):
    """`count` dialogues, each with a reference and two systems, of which the second is empty."""
    with file.open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table)
        writer.writerow(["dialogue", "reference", "mine", "empty"])
        for n in range(count):
            writer.writerow(
                [f"Ana: Lunch at {n}?\nBen: Yes, Ana.", f"Ana asks Ben for lunch at {n}.", "Ben agrees.", ""]
            )
    return file


def test_list_names_every_judge_and_marks_an_untested_one(dsum):
    result = dsum("judge", "list")
    assert result.returncode == 0 and result.stdout.startswith(f"{JUDGE}\n")
    assert f"The judge {JUDGE} has not been tested" in result.stdout


def test_list_shows_the_shares_of_the_shipped_tests(dsum, root):
    (root / "judges").mkdir()
    shutil.copy(PROJECT_ROOT / "judges" / "tests.json", root / "judges")
    printed = dsum("judge", "list").stdout
    assert f"The judge {JUDGE} has not been tested" not in printed
    assert "coverage is not tested" in printed and "95 % intervals" in printed


def test_a_test_prints_json_and_repeats_itself(dsum):
    command = ("judge", "test", "--limit", "4", "--names", "--json")
    first = dsum(*command)
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert (found["judge"], found["dialogues"], found["names"], found["data"]) == (JUDGE, 4, True, "samples")
    assert found["shares"]["choice"]["speakers"]["n"] > 0
    assert json.loads(dsum(*command).stdout)["shares"] == found["shares"]


def test_a_test_prints_a_table_of_shares_with_the_number_of_pairs(dsum):
    lines = dsum("judge", "test", "--limit", "3", "--seed", "2").stdout.splitlines()
    assert lines[0].startswith("True summaries preferred, %")
    assert any(line.startswith("pairs ") for line in lines)
    assert any("choice" in line and "[" in line for line in lines)
    assert lines[-1].startswith("Judge: coverage is not tested")


def test_ctrl_c_prints_the_results_so_far_and_exits_with_130(environment, tmp_path, forked_python):
    file = rows(tmp_path / "rows.csv", 3000)
    process = subprocess.Popen(
        [forked_python, "-m", "dsum_demo", "judge", "test", "--data", str(file), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("dsum: 20 of"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert 20 <= json.loads(out)["dialogues"] < 3000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--judge", "gpt"), "There is no judge 'gpt'; choose one of: "),
        (("--data", "nowhere.csv"), "nowhere.csv"),
        (("--column", "dialogue=text"), "give a file with --data, or remove --column"),
    ],
)
def test_invalid_input_of_a_test_prints_a_message_and_exits_with_2(dsum, arguments, message):
    result = dsum("judge", "test", *arguments)
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr


def test_score_adds_the_judge_s_values_with_intervals_and_its_trust(dsum, tmp_path):
    file = rows(tmp_path / "rows.csv", 12)
    command = ("score", str(file), "--references", "reference", "--systems", "mine,empty", "--judge", JUDGE)
    result = dsum(*command, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["judge"]["name"] == JUDGE
    for mean in found["judged"]["mine"].values():
        assert mean["low"] <= mean["mean"] <= mean["high"] and mean["n"] == 12
    assert set(found["judged"]["empty"].values()) == {None}
    table = dsum(*command).stdout
    assert "\nbits per token" in table and "–" in table and f"The judge {JUDGE} has not been tested" in table


DIALOGUE = "Maya: Are you free on Friday?\nTom: Yes, after six.\n"


def test_compare_prints_the_judge_s_values_below_the_scores(dsum):
    command = ("compare", "-", "--family", "dsum-t5", "--reference", "Tom is free on Friday.", "--judge", JUDGE)
    printed = dsum(*command, stdin=DIALOGUE).stdout
    scores, _, judged = printed.partition("Bits per token")
    assert scores.count("R1 ") == 3 and "F1 x 100. " in scores
    assert judged.count("Original") == judged.count("Full fine-tune") == judged.count("LoRA") == 1
    assert f"The judge {JUDGE} has not been tested" in judged
    found = json.loads(dsum(*command, "--json", stdin=DIALOGUE).stdout)
    assert found["judge"]["name"] == JUDGE and len(found["judge"]["bits_per_token"]) == 4


def test_best_of_needs_a_judge_that_finds_wrong_speakers(dsum, root):
    command = ("compare", "-", "--family", "dsum-t5", "--best-of", "3", "--max-new-tokens", "12", "--judge", JUDGE)
    refused = dsum(*command, stdin=DIALOGUE)
    assert refused.returncode == 2 and f"The judge {JUDGE} is not shown to find wrong speakers" in refused.stderr
    (root / "judges").mkdir()
    shutil.copy(PROJECT_ROOT / "judges" / "tests.json", root / "judges")
    result = dsum(*command, stdin=DIALOGUE)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("chose candidate") == 3 and "95 % intervals" in result.stderr


def test_evaluate_adds_the_judge_s_values(dsum, tmp_path):
    file = rows(tmp_path / "rows.csv", 3)
    result = dsum(
        "evaluate", "--data", str(file), "--references", "reference", "--recorded", "mine,empty", "--judge", JUDGE
    )
    assert result.returncode == 0, result.stderr
    assert f"The judge {JUDGE} has not been tested" in result.stdout
