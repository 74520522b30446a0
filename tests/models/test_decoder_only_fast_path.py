"""Faster ways through decoder-only models: the logits are those of the plain model, alone and padded."""

from __future__ import annotations

import pytest
import torch

from dsum_demo.models.decoder_only_fast_path import NAME, group_queries, keep_head_input_contiguous


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_new_tokens_see_what_they_see_with_torchs_own_attention(tiny_causal, heads):
    plain, grouped = tiny_causal(1, num_key_value_heads=heads), tiny_causal(1, num_key_value_heads=heads)
    group_queries(grouped)
    assert (plain.config._attn_implementation, grouped.config._attn_implementation) == ("sdpa", NAME)
    ids = torch.randint(3, 400, (3, 20), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[0, :7], mask[1, :1] = 0, 0
    for padding in (None, mask):
        with torch.inference_mode():
            written = [
                model.generate(
                    input_ids=ids, attention_mask=padding, max_new_tokens=12, min_new_tokens=12, do_sample=False,
                    output_logits=True, return_dict_in_generate=True,
                )
                for model in (plain, grouped)
            ]  # fmt: skip
        expected, found = (torch.stack(output.logits) for output in written)
        assert torch.equal(written[0].sequences, written[1].sequences)
        assert torch.allclose(expected, found, atol=1e-4)


def test_a_saved_config_does_not_name_it(tiny_causal, tmp_path):
    model = tiny_causal(1)
    group_queries(model)
    model.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text()
    assert type(model).from_pretrained(tmp_path).config._attn_implementation == "sdpa"


def test_a_model_with_another_attention_keeps_it(tiny_causal):
    model = tiny_causal(1)
    model.set_attn_implementation("eager")
    group_queries(model)
    assert model.config._attn_implementation == "eager"


def test_the_head_gets_the_last_tokens_of_a_batch_in_one_piece(tiny_causal):
    plain, model = tiny_causal(1), tiny_causal(1)
    keep_head_input_contiguous(model)
    seen = []
    model.lm_head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].is_contiguous()))
    ids = torch.randint(3, 400, (3, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, expected = (each(input_ids=ids, logits_to_keep=1).logits for each in (model, plain))
    assert seen == [True] and torch.allclose(found, expected, atol=1e-5)
