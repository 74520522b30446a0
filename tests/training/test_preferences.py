"""Preference training: reading pairs, their split, and DPO on tiny decoder-only models."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dsum_demo.composition import make_sources
from dsum_demo.errors import DataError, InputError
from dsum_demo.generation.streaming import generate
from dsum_demo.models.loading import load_adapted
from dsum_demo.models.prompts import PROMPT_TEMPLATE
from dsum_demo.runs import runner
from dsum_demo.runs.store import Runs, RunState
from dsum_demo.training.config import PREFERENCE_DEFAULTS, RunConfig, TrainingConfig
from dsum_demo.training.events import read_curve
from dsum_demo.training.preference_pairs import preference_config, read_pairs, split_pairs, startable


def row(number: int, **changes: str) -> dict[str, str]:
    dialogue = f"Maya: Can you lend me {number // 2} dollars?\nTom: Sure."
    rejected = ("Anna has to rest.", "They may meet on Friday.")[number % 2]
    pair = {
        "prompt": PROMPT_TEMPLATE.format(dialogue=dialogue),
        "chosen": "Tom lends Maya money.",
        "rejected": rejected,
    }
    return pair | changes


def write(file: Path, rows: list[dict[str, str]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def pairs(tmp_path) -> Path:
    return write(tmp_path / "pairs.jsonl", [row(number) for number in range(60)])


def config_of(store, pairs: Path, start_from: str, **training) -> RunConfig:
    plain = TrainingConfig("lora", {"r": 4}, task_type="CAUSAL_LM", **training)
    return preference_config(RunConfig("causal-base", plain), store.registry, str(pairs), start_from)


def test_pairs_are_read_without_their_prompt_and_all_of_a_dialogue_are_in_one_part(pairs):
    read = read_pairs(pairs)
    assert len(read) == 60 and read[2].dialogue == "Maya: Can you lend me 1 dollars?\nTom: Sure."
    train, validation = split_pairs(read, 0.1, seed=0)
    assert len(train) + len(validation) == 60 and len(validation) == 6
    assert not {pair.dialogue for pair in train} & {pair.dialogue for pair in validation}
    with pytest.raises(InputError, match="same dialogue"):
        split_pairs(read[:2], 0.1, seed=0)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (
            [row(number) for number in range(12)] * 5,
            InputError,
            "12 different pairs; .* at least 50.*dsum review export",
        ),
        ([row(0), {"prompt": "a", "chosen": "b"}], DataError, "line 2 has no prompt, chosen and rejected"),
        ([row(0, chosen=" ")], DataError, "line 1 has an empty text"),
        ([row(0, prompt="Tell me.")], DataError, "line 1 has a prompt that is not dsum's"),
    ],
    ids=["too few", "no key", "empty", "other prompt"],
)
def test_invalid_pairs_raise(tmp_path, rows, error, message):
    with pytest.raises(error, match=message):
        read_pairs(write(tmp_path / "pairs.jsonl", rows))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "^pairs.jsonl cannot be read: No such file or directory.$"),
        (b"\x9b\xff", "^pairs.jsonl cannot be read: it is not UTF-8 text.$"),
        (b"[" * 100_000, "^pairs.jsonl, line 1 has no prompt"),
    ],
    ids=["missing", "binary", "deeply nested"],
)
def test_an_unreadable_file_raises_without_its_folder(tmp_path, content, message):
    file = tmp_path / "pairs.jsonl"
    if content:
        file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_pairs(file)


def test_only_loras_and_bases_of_decoder_only_families_can_be_started_from(causal_store, tiny_store, pairs):
    assert [spec.name for spec in startable(causal_store.registry)] == ["causal-base", "causal-lora"]
    assert not [spec for spec in startable(tiny_store.registry) if spec.family == "dsum-t5"]
    with pytest.raises(InputError, match=r"causal-full is a full fine-tune, .* Choose causal-base or a LoRA"):
        config_of(causal_store, pairs, "causal-full")
    with pytest.raises(InputError, match="dsum-t5-base is encoder-decoder: TRL's DPOTrainer supports causal"):
        preference_config(RunConfig("dsum-t5-base"), tiny_store.registry, str(pairs))
    with pytest.raises(InputError, match="the method is ia3"):
        plain = TrainingConfig("ia3", task_type="CAUSAL_LM")
        preference_config(RunConfig("causal-base", plain), causal_store.registry, str(pairs))
    training = config_of(causal_store, pairs, "causal-lora").training
    assert {name: getattr(training, name) for name in PREFERENCE_DEFAULTS} == PREFERENCE_DEFAULTS
    assert config_of(causal_store, pairs, "causal-lora", learning_rate=1e-4).training.learning_rate == 1e-4


@pytest.mark.parametrize("start_from", ["causal-base", "causal-lora"])
def test_dpo_prefers_the_chosen_summaries_and_its_result_is_a_lora_of_the_base(
    causal_store, tiny_settings, pairs, tmp_path, start_from
):
    config = config_of(
        causal_store, pairs, start_from, max_steps=4, batch_size=4, evaluations=2, warmup_share=0, learning_rate=1e-2,
        max_source_tokens=128, max_target_tokens=32, precision="fp32",
    )  # fmt: skip
    assert RunConfig.from_record(config.as_record()) == config
    run = Runs(tmp_path / "runs").create(config.as_record(), "dpo")
    status = runner.execute(run, causal_store.registry, make_sources(tiny_settings))
    assert status.state is RunState.FINISHED
    curve = read_curve(run.events_file)
    assert curve.steps[0]["loss"] == pytest.approx(math.log(2), rel=1e-4), "the reference is the model at the start"
    assert curve.steps[-1]["loss"] < 0.5 and curve.best["accuracy"] == 1.0 and len(curve.evaluations) == 2
    assert curve.forgetting and curve.start["train_dialogues"] == 54
    record = run.result()
    assert (record["base"], record["method"], record["best"]["accuracy"]) == ("causal-base", "lora", 1.0)
    assert record["signature"] is None and "Preference training (DPO" in (run.folder / "README.md").read_text()
    saved = load_file(run.best / "adapter_model.safetensors")
    assert saved and not [name for name in saved if "ref" in name], "without the reference"
    assert sum(tensor.numel() for tensor in saved.values()) == curve.start["trained_parameters"]
    assert json.loads((run.best / "adapter_config.json").read_text())["base_model_name_or_path"] == "causal-base"
    loaded = causal_store.load(causal_store.registry.spec("causal-base"))
    best = replace(loaded, model=load_adapted(run.best, loaded.model)[0])
    family = causal_store.registry.family("causal")
    held_out = {pair.dialogue: pair.chosen for pair in split_pairs(read_pairs(pairs), 0.1, seed=0)[1]}
    for event in curve.evaluations:
        assert {row["dialogue"]: row["reference"] for row in event["summaries"]} == held_out and len(held_out) == 3
    for row in curve.best["summaries"]:
        prompt = family.prompt.fit(loaded.tokenizer, row["dialogue"], 128).source_ids
        assert row["summary"] == generate(best, prompt, family.decode).text and 0 <= row["rouge1"] <= 1
    assert "best_rows" not in curve.best, "of a few dialogues, all of which are shown"
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        trained = best.model(input_ids=ids).logits
        started = causal_store.load(causal_store.registry.spec(start_from)).model(input_ids=ids).logits
    assert not torch.equal(trained, started)


@pytest.mark.parametrize("ending", ["stopped", "crashed"])
def test_a_resumed_run_equals_an_uninterrupted_one(causal_store, tiny_settings, pairs, tmp_path, ending):
    config = config_of(
        causal_store, pairs, "causal-lora", max_steps=4, batch_size=2, accumulation=2, evaluations=2, warmup_share=0,
        learning_rate=1e-2, max_source_tokens=128, max_target_tokens=32, precision="fp32",
    )  # fmt: skip
    runs, sources = Runs(tmp_path / "runs"), make_sources(tiny_settings)
    whole, run = (runs.create(config.as_record(), name) for name in ("whole", "interrupted"))
    assert runner.execute(whole, causal_store.registry, sources).state is RunState.FINISHED

    def interrupt(event: dict) -> None:
        if event["event"] == "step" and event["step"] == (3 if ending == "crashed" else 2):
            if ending == "crashed":
                raise RuntimeError("The process ends here.")
            run.request_stop()

    if ending == "crashed":
        with pytest.raises(RuntimeError):
            runner.execute(run, causal_store.registry, sources, on_event=interrupt)
    else:
        stopped = runner.execute(run, causal_store.registry, sources, on_event=interrupt)
        assert stopped.state is RunState.STOPPED and "of 4; the best weights were kept" in stopped.reason
    torch.manual_seed(12345)
    assert runner.execute(run, causal_store.registry, sources).state is RunState.FINISHED
    curves = [read_curve(each.events_file) for each in (run, whole)]
    assert curves[0].start["resumed"] and curves[0].start["step"] == 2, "the incomplete step 3 is lost"
    for kind, keys in (
        ("steps", ("step", "loss", "grad_norm", "accuracy")),
        ("evaluations", ("step", "loss", "best", "summaries")),
    ):
        resumed, wanted = ([[event[key] for key in keys] for event in getattr(curve, kind)] for curve in curves)
        assert resumed == wanted and len(wanted) == (4 if kind == "steps" else 2)
    weights, wanted_weights = (load_file(each.best / "adapter_model.safetensors") for each in (run, whole))
    assert all(torch.equal(weights[name], tensor) for name, tensor in wanted_weights.items())
    assert not run.checkpoints.exists() and run.result()["steps"] == 4


def test_several_processes_are_refused(tiny_store, tiny_settings, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    run = Runs(tmp_path / "runs").create(RunConfig("dsum-t5-base", start_from="any").as_record(), "dpo")
    with pytest.raises(InputError, match="runs in one process, not in 2"):
        runner.execute(run, tiny_store.registry, make_sources(tiny_settings))
    assert run.status().state is RunState.FAILED
