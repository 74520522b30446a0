"""The recipe of the SmolLM2 trio: names, rounding, the GGUF file, and fine-tuning of tiny models."""

from __future__ import annotations

import gzip
import json
import random
from contextlib import nullcontext
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from dsum_demo.models.prompts import Prompt
from recipes.smollm2.finetuning import Example, FineTuning, Recipe, read_pairs, split
from recipes.smollm2.packaging import package_base, package_full, package_lora
from recipes.smollm2.quantization import bits_of, rounded, rounded_weights
from recipes.smollm2.speakers import first_names, name_speakers, write_informally

PROMPT = Prompt("{dialogue}\n\nSummarize it.", chat=True)
NAMES = ["Ada", "Bo", "Cem", "Dora", "Emre", "Fleur"]
PAIRS = [
    (
        f"#Person1#: Can you lend me {n} dollars?\n#Person2#: Yes, on Friday.",
        f"#Person1# asks #Person2# for {n} dollars.",
    )
    for n in range(1, 13)
]
RECIPE = Recipe(learning_rate=1e-3, steps=4, decay_steps=2, batch_pairs=3, warmup_steps=2, informal_share=0.0)


# -- names


def test_names_kept_from_training_are_none_of_those_for_training():
    known, unseen = first_names(), first_names(unseen=True)
    assert len(known) > 10_000 and len(unseen) > 1_000
    assert not set(known) & set(unseen)


def test_labels_become_different_names_in_dialogue_and_summary():
    dialogue, summary = name_speakers(*PAIRS[0], NAMES, random.Random(0))
    first, second = (line.split(":")[0] for line in dialogue.split("\n"))
    assert {first, second} < set(NAMES) and first != second
    assert summary == f"{first} asks {second} for 1 dollars."


@pytest.mark.parametrize(
    ("dialogue", "summary"),
    [
        ("#Person1#: Hello, Tom! Are you free?\n#Person2#: Yes.", "#Person1# meets Tom."),
        ("#Person1#: Who is it?\n#Person2#: This is Tom, your neighbour.", "#Person1# meets Tom."),
        ("#Person1#: Tom, are you ready?\n#Person2#: No.", "Tom is not ready, says #Person1#."),
    ],
)
def test_a_speaker_whom_the_summary_calls_by_name_gets_that_name(dialogue, summary):
    named, target = name_speakers(dialogue, summary, NAMES, random.Random(0))
    assert named.split("\n")[1].startswith("Tom: ")
    assert "#Person" not in named + target


def test_a_pair_in_which_two_names_fit_one_speaker_is_unchanged():
    pair = ("#Person1#: Tom, Ann, are you ready?\n#Person2#: No.", "#Person1# asks Tom and Ann.")
    assert name_speakers(*pair, NAMES, random.Random(0)) == pair


def test_a_name_in_the_text_is_given_to_no_speaker():
    dialogue, _ = name_speakers(
        "#Person1#: Ada left.\n#Person2#: Oh.", "Ada left.", ["Ada", "Bo", "Cem"], random.Random(1)
    )
    assert sorted(line.split(":")[0] for line in dialogue.split("\n")) == ["Bo", "Cem"]


def test_more_speakers_than_names_raise():
    with pytest.raises(ValueError, match="The 2 names are all in the dialogue or taken; give more names"):
        name_speakers("#Person1#: Ada left.\n#Person2#: Oh.", "Ada left.", ["Ada", "Bo"], random.Random(1))


def test_informal_writing_changes_capitals_and_full_stops_only():
    dialogue = "Ada: Are you there?\nBo: Yes. I am here.\nAda: I see."
    written = write_informally(dialogue, random.Random(0))
    assert written != dialogue
    assert written.lower().replace(".", "") == dialogue.lower().replace(".", "")


def test_validation_dialogues_and_those_for_choosing_are_not_trained_on(monkeypatch):
    monkeypatch.setattr("recipes.smollm2.finetuning.SELECTION_DIALOGUES", 2)
    validation = [(PAIRS[3][0].replace("?", " ?").lower(), "another summary")]
    own, chosen = split([*PAIRS, PAIRS[0], PAIRS[0]], validation)
    assert len(chosen) == 2
    assert not {d for d, _ in own} & {d for d, _ in chosen} and PAIRS[3] not in own + chosen


def test_pairs_are_read_with_plain_line_ends(tmp_path):
    file = tmp_path / "validation.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        lines.write(json.dumps({"dialogue": "A: one\r\nB: two", "summary": "They count."}) + "\n")
    assert read_pairs(file) == [("A: one\nB: two", "They count.")]


# -- rounding


@pytest.mark.parametrize(("bits", "kind"), [(4, "Q4_0"), (5, "Q5_0")])
def test_rounded_values_are_those_of_the_file_format(bits, kind):
    weights = torch.randn(48, 96, generator=torch.Generator().manual_seed(0)) * 0.05
    weights[3] = 0.0
    type = gguf.GGMLQuantizationType[kind]
    expected = gguf.dequantize(gguf.quantize(weights.numpy(), type), type)
    assert np.array_equal(rounded(weights, bits).numpy(), expected)


def test_weights_are_rounded_inside_the_context_only(tiny_causal):
    model = tiny_causal(1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with rounded_weights(model):
        for name, parameter in model.named_parameters():
            same = torch.equal(parameter, before[name])
            assert same == (parameter.ndim == 1), name
            parameter.grad = torch.ones_like(parameter)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


# -- fine-tuning


@pytest.fixture
def base(tiny_causal, chat_tokenizer, save_gguf, tmp_path) -> Path:
    return save_gguf(tiny_causal(1), chat_tokenizer, tmp_path / "base" / "base.gguf")


def tuning(model, tokenizer, folder: Path, recipe: Recipe = RECIPE) -> FineTuning:
    torch.manual_seed(0)
    return FineTuning(model, tokenizer, PROMPT, recipe, PAIRS, NAMES, folder)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_the_loss_is_that_of_the_summaries_whatever_the_padding(tiny_causal, chat_tokenizer, tmp_path):
    model = tiny_causal(1)
    own = tuning(model, chat_tokenizer, tmp_path)
    own.autocast = nullcontext()  # bfloat16 would hide small differences
    rows = [Example([5, 6, 7, 8, 9], [10, 11, 4]), Example([12], [13, 4])]
    with torch.no_grad():
        together = own._loss(rows)
        separate = 0.0
        for row in rows:
            ids = torch.tensor([[*row.prompt, *row.summary]])
            labels = torch.tensor([[-100] * len(row.prompt) + row.summary])
            separate += model(input_ids=ids, labels=labels).loss * len(row.summary)
    torch.testing.assert_close(together, torch.as_tensor(separate))


def test_a_resumed_fine_tuning_ends_with_the_weights_of_an_uninterrupted_one(tiny_causal, chat_tokenizer, tmp_path):
    whole = tuning(tiny_causal(1), chat_tokenizer, tmp_path / "whole")
    assert whole.run(lambda line: None)
    first = tuning(tiny_causal(1), chat_tokenizer, tmp_path / "parts")
    assert not first.run(lambda line: None, lambda: first.step == 3)
    second = tuning(tiny_causal(1), chat_tokenizer, tmp_path / "parts")
    assert second.run(lambda line: None) and second.step == 6
    expected = weights(whole.model)
    assert all(torch.equal(value, expected[name]) for name, value in weights(second.model).items())


def test_fine_tuning_continued_from_packaged_weights_warms_up_again(tiny_causal, chat_tokenizer, tmp_path):
    own = tuning(tiny_causal(1), chat_tokenizer, tmp_path)
    own.start_at(3)
    assert own.rate() == pytest.approx(RECIPE.learning_rate / 2)
    assert not own.run(lambda line: None, lambda: own.step == 4)
    again = tuning(tiny_causal(1), chat_tokenizer, tmp_path)
    again.resume()
    assert (again.step, again.warmup_from) == (4, 3)


def test_a_frozen_embedding_keeps_its_rounded_values_also_after_a_resume(tiny_causal, chat_tokenizer, tmp_path):
    def stopped_at(step: int) -> FineTuning:
        own = tuning(tiny_causal(1), chat_tokenizer, tmp_path)
        own.run(lambda line: None, lambda: own.step == step)
        return own

    base = weights(tiny_causal(1))["model.embed_tokens.weight"]
    moved = weights(stopped_at(2).model)["model.embed_tokens.weight"]
    own = tuning(tiny_causal(1), chat_tokenizer, tmp_path)
    own.freeze_embedding(base, share=0.5)
    frozen = weights(own.model)["model.embed_tokens.weight"]
    assert torch.equal(frozen, rounded((moved + base) / 2, 4)) and not torch.equal(frozen, rounded(moved, 4))
    before, after = weights(stopped_at(3).model), weights(stopped_at(6).model)
    assert torch.equal(after["model.embed_tokens.weight"], frozen)
    assert not torch.equal(after["model.layers.0.mlp.up_proj.weight"], before["model.layers.0.mlp.up_proj.weight"])
    with pytest.raises(RuntimeError, match="has a frozen embedding already"):
        tuning(tiny_causal(1), chat_tokenizer, tmp_path).freeze_embedding(base, share=0.5)


def test_fine_tuning_lowers_the_loss_and_ends_at_a_rate_near_zero(tiny_causal, chat_tokenizer, tmp_path):
    recipe = Recipe(learning_rate=1e-2, steps=30, decay_steps=10, batch_pairs=6, warmup_steps=2, informal_share=0.0)
    own = tuning(tiny_causal(1), chat_tokenizer, tmp_path, recipe)
    losses: list[float] = []
    own.run(lambda line: losses.append(float(line.split()[3])))
    assert losses[-1] < 0.8 * losses[0]
    assert 0 < own.optimizer.param_groups[0]["lr"] <= 1e-3


def test_what_is_packaged_loads_in_transformers_and_peft(tiny_causal, chat_tokenizer, base, tmp_path):
    out = tmp_path / "out"
    own = tuning(tiny_causal(1), chat_tokenizer, tmp_path / "full")
    package_base(base, chat_tokenizer, own.model, out)
    own.run(lambda line: None)
    package_full(base, chat_tokenizer, own.model, [PAIRS[0][0]], out)
    shipped = (out / "models" / "smollm2-135m" / "base.gguf").read_bytes()
    assert shipped == base.read_bytes()

    folder = out / "models" / "smollm2-135m-dialogsum"
    loaded = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file="smollm2-135m-dialogsum.Q5_0.gguf", dtype=torch.float32
    )
    for name, parameter in own.model.named_parameters():
        expected = rounded(parameter, bits_of(name)) if parameter.ndim == 2 else parameter
        torch.testing.assert_close(loaded.state_dict()[name], expected.detach(), rtol=0, atol=0, msg=name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert PROMPT.encode(tokenizer, "A: hi") == PROMPT.encode(chat_tokenizer, "A: hi")
    assert len((folder / "train_fingerprints.txt").read_text().split()) == 1

    adapted = get_peft_model(
        tiny_causal(1), LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    )
    lora = tuning(adapted, chat_tokenizer, tmp_path / "lora", Recipe(**{**vars(RECIPE), "lora_rank": 2}))
    lora.run(lambda line: None)
    package_lora(adapted, [PAIRS[0][0]], out)
    folder = out / "adapters" / "smollm2-135m-dialogsum-lora"
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["target_modules"]) == ("smollm2-135m", ["down_proj", "q_proj"])
    again = PeftModel.from_pretrained(tiny_causal(1), folder)
    saved = {name: p for name, p in again.named_parameters() if "lora_" in name}
    assert saved and all("embed" not in name for name in saved)
    assert any(p.abs().max() > 0 for name, p in saved.items() if "lora_B" in name)
