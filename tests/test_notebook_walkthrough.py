"""docs/from-the-notebook.md is a script: its code blocks run unchanged and in order, on tiny models."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "from-the-notebook.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.+?)^```", PAGE, re.DOTALL | re.MULTILINE)

# The variables at the end of the page, and the original's output with both fine-tuned models loaded.
REPORT = """
from rouge_score.rouge_scorer import RougeScorer

scorer, tuned, by_hand = RougeScorer(["rouge1"], use_stemmer=True), store.load(store.registry.spec("my-full")), []
for each in test_examples:
    source_ids = family.prompt.fit(tuned.tokenizer, each.dialogue, family.max_source_tokens).source_ids
    text = generate(tuned, source_ids, family.decode).text
    scores = [scorer.score(reference, text)["rouge1"].fmeasure for reference in each.references]
    by_hand.append(sum(scores) / len(scores))
again = generate(original, prompt.source_ids, DecodingConfig(max_new_tokens=200))
report = {
    "by_hand": sum(by_hand) / len(by_hand),
    "zero_shot": zero_shot.text,
    "zero_shot_again": again.text,
    "total": original.total_parameters,
    "full": full_result.trained_parameters,
    "lora": lora_result.trained_parameters,
    "adapter": adapted.trained_parameters,
    "labels": [row["labels"] for row in rows],
    "pad": original.tokenizer.pad_token_id,
    "means": {name: {kind: score.fmeasure for kind, score in mean.items()} for name, mean in means.items()},
    "shared": adapted.model.get_input_embeddings().weight is original.model.get_input_embeddings().weight,
    "adapter_files": sorted(file.name for file in lora_result.folder.iterdir()),
}
import sys
print(json.dumps(report), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def walked(tiny_root, tiny_environment, tmp_path_factory):
    """(what the page's script prints, what its names hold in the end), run in a folder like a checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("models", "adapters", "samples"):
        shutil.copytree(tiny_root / name, folder / name)
    own = {"DSUM_ROOT": str(folder), "DSUM_DATA_DIR": str(folder / "dsum-data")}
    script = folder / "walk.py"
    script.write_text("\n".join([*BLOCKS, REPORT]), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env={**tiny_environment, **own},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, json.loads(result.stderr.splitlines()[-1])


def test_the_page_has_the_steps_in_the_notebooks_order():
    headings = re.findall(r"^## (\d+)\. (.+)$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in headings] == list(range(1, 14))
    assert len(BLOCKS) == 13


def test_the_original_is_the_same_after_everything_else(walked):
    _, found = walked
    assert found["zero_shot"] and found["zero_shot_again"] == found["zero_shot"]
    assert found["shared"]


def test_full_fine_tuning_trains_all_and_lora_a_part(walked):
    printed, found = walked
    assert found["full"] == found["total"]
    assert 0 < found["lora"] == found["adapter"] < found["total"]
    assert f"trained {found['lora']:,} of {found['total'] + found['lora']:,} parameters" in printed
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= set(found["adapter_files"])
    assert "model.safetensors" not in found["adapter_files"]


def test_no_padding_is_among_the_labels(walked):
    _, found = walked
    assert len(found["labels"]) == 17
    assert all(found["pad"] not in labels for labels in found["labels"])


def test_three_systems_are_scored_with_different_results(walked):
    printed, found = walked
    assert list(found["means"]) == ["dsum-t5-base", "my-full", "my-lora"]
    assert found["means"]["my-full"]["rouge1"] == pytest.approx(found["by_hand"]) and found["by_hand"] > 0
    assert "n=10" in printed
    difference = 100 * (found["means"]["my-full"]["rouge1"] - found["means"]["dsum-t5-base"]["rouge1"])
    assert f"my-full over dsum-t5-base: rouge1 {difference:+.2f}" in printed


def test_local_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
