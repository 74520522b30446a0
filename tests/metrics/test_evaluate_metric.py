"""metrics/dsum_rouge in the `evaluate` library: in a child process, another folder, offline and with an empty cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.metrics.scores import score_summary

ROOT = Path(__file__).resolve().parents[2]
METRIC = ROOT / "metrics" / "dsum_rouge"

SCRIPT = """
import json, sys
import evaluate

def result_or_error(work):
    try:
        return work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def computed(**arguments):
    return result_or_error(lambda: evaluate.load(sys.argv[1]).compute(**arguments))

sys.modules["dsum_demo.metrics.rouge"] = None
found = {"without_dsum": result_or_error(lambda: evaluate.load(sys.argv[1]))}
del sys.modules["dsum_demo.metrics.rouge"]

outputs = ["a b", "the cat sat"]
several = [["a b c d", "a b"], ["the cat sat"]]
found["single"] = computed(predictions=outputs, references=["a b c d", "the cat sat"])
found["several"] = computed(predictions=outputs, references=several)
found["mixed"] = computed(predictions=outputs, references=[several[0], "the cat sat"])
for policy in ("best", "first", "worst"):
    found[policy] = computed(predictions=outputs, references=several, policy=policy)
found["empty_output"] = computed(predictions=["", "x"], references=["a", "x"])
found["no_output"] = computed(predictions=["a", None], references=["a", "b"])
found["no_reference"] = computed(predictions=outputs, references=[["a"], []])
found["lengths"] = computed(predictions=outputs, references=["a"])
found["nothing"] = computed(predictions=[], references=[])
metric = evaluate.load(sys.argv[1])
metric.add(prediction="a b", reference="a b c d")
metric.add_batch(predictions=["the cat sat"], references=[["the cat sat"]])
found["added"] = metric.compute()
found["name"] = metric.name
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("evaluate")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(folder / "huggingface"), "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(METRIC)],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_results_are_means_of_f1(found):
    # Row 1 has 2 of 2 and 2 of 4 words, 1 of 1 and 1 of 3 bigrams; row 2 is an exact match.
    assert found["single"] == pytest.approx(
        {"rouge1": (2 / 3 + 1) / 2, "rouge2": (1 / 2 + 1) / 2, "rougeL": (2 / 3 + 1) / 2, "rougeLsum": (2 / 3 + 1) / 2}
    )
    assert found["name"] == "dsum_rouge"


@pytest.mark.parametrize(("case", "policy"), [("several", "mean"), ("best", "best"), ("first", "first")])
def test_several_references_are_combined_as_in_score_summary(found, case, policy):
    first = score_summary("a b", ["a b c d", "a b"], policy)
    assert found[case] == {rouge: (first[rouge].fmeasure + 1.0) / 2 for rouge in ROUGE_TYPES}


def test_rows_with_one_and_several_references_can_be_mixed_and_added_one_by_one(found):
    assert found["mixed"] == found["several"]
    assert found["added"] == found["single"]


def test_an_empty_output_scores_zero(found):
    assert found["empty_output"]["rouge1"] == 0.5


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("without_dsum", "pip install -e ."),
        ("worst", "'worst'; choose one of: mean, best, first"),
        ("no_output", "Prediction 2 is None"),
        ("no_reference", "Reference 2 is []"),
        ("lengths", "predictions (2) and references (1)"),
        ("nothing", "no scores"),
    ],
)
def test_invalid_input_raises_an_error_that_names_it(found, case, message):
    assert message in found[case]
