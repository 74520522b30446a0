"""The judge's training: pairs that share a dialogue, a margin that grows, and the same result after a resume."""

from __future__ import annotations

import random
from itertools import islice

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from recipes.judge import JudgeRecipe, JudgeTraining, comparisons, save_adapter
from recipes.smollm2.__main__ import PROMPT

PAIRS = [
    (
        f"#Person1#: Can you lend me {n} dollars?\n#Person2#: No, ask Tom.",
        f"#Person1# wants {n} dollars; #Person2# refuses.",
    )
    for n in range(20, 30)
]
RECIPE = JudgeRecipe(
    steps=6, learning_rate=5e-3, warmup_steps=1, batch_dialogues=4, micro_batch_dialogues=2, max_prompt_tokens=2000,
    max_summary_tokens=500, lora_rank=4,
)  # fmt: skip


def training(tiny_causal, tokenizer, folder, recipe=RECIPE) -> JudgeTraining:
    torch.manual_seed(0)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    return JudgeTraining(get_peft_model(tiny_causal(1), lora), tokenizer, recipe, folder)


def test_a_comparison_has_a_true_summary_and_wrong_ones_of_the_same_dialogue(chat_tokenizer):
    found = list(islice(comparisons(PAIRS, chat_tokenizer, PROMPT, RECIPE), 30))
    again = list(islice(comparisons(PAIRS, chat_tokenizer, PROMPT, RECIPE), 30))
    assert found == again
    for each in found:
        assert 2 <= len(each.summaries) <= 4 and len(set(map(tuple, each.summaries))) == len(each.summaries)
        assert len({ids[-1] for ids in each.summaries}) == 1  # the end token
    texts = [chat_tokenizer.decode(each.prompt) for each in found]
    assert 0 < sum("#Person1#" in text for text in texts) < 30  # most have names


def test_long_pairs_are_left_out(chat_tokenizer):
    short = JudgeRecipe(steps=1, max_prompt_tokens=2000, max_summary_tokens=500)
    long = ("\n".join(f"#Person{1 + n % 2}#: word {n}" for n in range(3000)), "#Person1# talks; #Person2# listens.")
    found = list(islice(comparisons([*PAIRS, long], chat_tokenizer, PROMPT, short), 40))
    assert max(len(each.prompt) for each in found) <= 2000


def test_training_separates_the_true_summaries_and_resumes(tiny_causal, chat_tokenizer, tmp_path, capsys):
    whole = training(tiny_causal, chat_tokenizer, tmp_path / "whole")
    whole.run(PAIRS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and "prefers the true one in" in lines[-1]
    begun = training(tiny_causal, chat_tokenizer, tmp_path / "parts")
    source = comparisons(PAIRS, chat_tokenizer, PROMPT, RECIPE)
    begun.model.train()
    for _ in range(3):
        begun._one_step(sorted(islice(source, 4), key=lambda c: len(c.prompt)))
        begun.step += 1
    begun._save()
    resumed = training(tiny_causal, chat_tokenizer, tmp_path / "parts")
    resumed.run(PAIRS)
    for one, other in zip(whole.parameters, resumed.parameters, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_the_adapter_is_saved_in_bfloat16(tiny_causal, chat_tokenizer, tmp_path):
    trained = training(tiny_causal, chat_tokenizer, tmp_path)
    save_adapter(trained.model, tmp_path / "adapter", "smollm2-135m")
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16} and len(tensors) == 8
    assert '"base_model_name_or_path": "smollm2-135m"' in (tmp_path / "adapter" / "adapter_config.json").read_text()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_corruptions_of_training_are_wrong_speakers_only(chat_tokenizer, seed):
    recipe = JudgeRecipe(steps=1, max_prompt_tokens=2000, max_summary_tokens=500, named_share=0.0, seed=seed)
    found = next(comparisons(random.Random(seed).sample(PAIRS, 5), chat_tokenizer, PROMPT, recipe))
    true, *wrong = (chat_tokenizer.decode(ids, skip_special_tokens=True) for ids in found.summaries)
    for text in wrong:
        assert text.replace("#Person1#", "#Person2#") == true.replace("#Person1#", "#Person2#") and text != true
