"""What a run reads before it trains: dialogues that are longer than the model reads are named."""

from __future__ import annotations

import json

import pytest

from dsum_demo.composition import make_registry, make_sources
from dsum_demo.runs.setup import set_up
from dsum_demo.training.config import DataConfig, RunConfig, TrainingConfig


@pytest.mark.parametrize("limit", [64, 512])
def test_truncated_dialogues_are_named_with_the_turns_that_they_lose(settings, tmp_path, limit):
    long = "\n".join(["Ana: Are we there yet?"] * 60)
    rows = [*({"dialogue": f"Bo: I have {n} keys.", "summary": "Keys."} for n in range(3)),
            {"dialogue": long, "summary": "No."}]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = RunConfig(
        "dsum-t5-base", TrainingConfig(max_source_tokens=limit), DataConfig(str(tmp_path / "rows.jsonl"))
    )
    setup = set_up(config, make_registry(settings), make_sources(settings))
    fitted = setup.family.prompt.fit(setup.tokenizer, long, limit)
    assert fitted.turns_left_out > 0
    assert setup.data.notes[-1] == (
        f"The model reads {limit} tokens; 1 dialogue is longer and loses its last turns: row 4 "
        f"({fitted.turns_left_out} turns)."
    )
