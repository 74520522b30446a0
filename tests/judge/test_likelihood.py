"""Log-probabilities with shared prompts against one text at a time, and judgements of tiny real models."""

from __future__ import annotations

import math

import pytest
import torch

from dsum_demo.errors import GenerationError, InputError, Stopped
from dsum_demo.judge.likelihood import log_probabilities
from dsum_demo.judge.likelihood_judge import LikelihoodJudge
from dsum_demo.models.prompts import Prompt
from tests.conftest import CHAT_PROMPT

DIALOGUE = "Tom: Are you free on Friday?\nAnn: No, I am in Paris."
SUMMARIES = ["Ann is in Paris on Friday.", "Tom is in Paris.", "Ann"]


def one_at_a_time(model, prompt: list[int], target: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*prompt, *target]])).logits[0].float()
    rows = logits[len(prompt) - 1 : -1].log_softmax(dim=-1)
    return rows[torch.arange(len(target)), torch.tensor(target)]


@pytest.fixture(scope="module")
def loaded(causal_store):
    return causal_store.load(causal_store.registry.spec("causal-base"))


@pytest.fixture(scope="module")
def judge(loaded):
    return LikelihoodJudge("causal-base", loaded, CHAT_PROMPT, 1024)


def test_shared_prompts_of_different_lengths_give_the_values_of_one_text_at_a_time(loaded):
    prompts = [[5, 6, 7, 8, 9, 10], [11, 12], [13]]
    continuations = [[[20, 21, 22], [23]], [[24, 25, 26, 27, 28]], [[29, 30], [31], [32, 33, 34]]]
    with torch.inference_mode():
        found = log_probabilities(loaded.model, prompts, continuations)
    for prompt, own, rows in zip(prompts, continuations, found, strict=True):
        for target, row in zip(own, rows, strict=True):
            torch.testing.assert_close(row, one_at_a_time(loaded.model, prompt, target), atol=1e-4, rtol=1e-4)


def test_gradients_reach_the_weights_through_the_shared_prompt(tiny_causal):
    model = tiny_causal(1)
    (one, other), *_ = log_probabilities(model, [[5, 6, 7]], [[[8, 9], [8, 10]]])
    (one.sum() - other.sum()).backward()
    weight = model.get_input_embeddings().weight
    assert weight.grad is not None and weight.grad[5].abs().sum() > 0


def test_a_judgement_is_the_gain_in_bits_per_token(judge, loaded):
    ((place, found),) = judge.judge([(DIALOGUE, SUMMARIES)])
    tokenizer = loaded.tokenizer
    given, alone = CHAT_PROMPT.encode(tokenizer, DIALOGUE), CHAT_PROMPT.encode(tokenizer, "")
    assert place == 0 and len(found) == 3
    for text, judgement in zip(SUMMARIES, found, strict=True):
        target = tokenizer(text, add_special_tokens=False)["input_ids"]
        gain = sum(one_at_a_time(loaded.model, given, target)) - sum(one_at_a_time(loaded.model, alone, target))
        assert judgement.faithfulness == pytest.approx(float(gain) / len(target) / math.log(2), abs=1e-4)
        assert judgement.coverage is not None and judgement.seconds > 0


def test_speakers_is_the_loss_from_exchanging_the_speakers_of_the_dialogue(judge, loaded):
    texts = ["Ann is in Paris, Tom asks.", "They talk.", "Tom asks."]
    ((_, found),) = judge.judge([(DIALOGUE, texts)], coverage=False)
    exchanged = "Ann: Are you free on Friday?\nTom: No, I am in Paris."
    given, other = (CHAT_PROMPT.encode(loaded.tokenizer, text) for text in (DIALOGUE, exchanged))
    for text, judgement in ((texts[0], found[0]), (texts[2], found[2])):
        target = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        likelihood = sum(one_at_a_time(loaded.model, given, target)) / len(target) / math.log(2)
        gain = likelihood - sum(one_at_a_time(loaded.model, other, target)) / len(target) / math.log(2)
        assert judgement.likelihood == pytest.approx(float(likelihood), abs=1e-4)
        assert judgement.speakers == pytest.approx(float(gain), abs=1e-4)
        assert judgement.choice == judgement.likelihood + judgement.speakers
    assert found[1].speakers is None and found[1].choice == found[1].likelihood


def test_three_speakers_are_exchanged_as_the_summary_mentions_them_and_one_cannot_be(judge):
    three = f"{DIALOGUE}\nBen: Me neither."
    ((_, [pair, alone]),) = judge.judge([(three, ["Ben and Ann are busy.", "Ann is busy."])], coverage=False)
    assert pair.speakers is not None and alone.speakers is not None
    ((_, [single]),) = judge.judge([("Tom: Hello?", ["Tom calls."])], coverage=False)
    assert single.speakers is None and single.faithfulness is not None


def test_coverage_is_the_gain_of_the_dialogue(judge, loaded):
    ((_, [judgement]),) = judge.judge([(DIALOGUE, SUMMARIES[:1])])
    reverse = Prompt("{dialogue}\n\nWrite the conversation that the text above summarizes.", chat=True)
    target = loaded.tokenizer(DIALOGUE, add_special_tokens=False)["input_ids"]
    given, alone = (reverse.encode(loaded.tokenizer, text) for text in (SUMMARIES[0], ""))
    gain = sum(one_at_a_time(loaded.model, given, target)) - sum(one_at_a_time(loaded.model, alone, target))
    assert judgement.coverage == pytest.approx(float(gain) / len(target) / math.log(2), abs=1e-4)


def test_texts_do_not_depend_on_their_company_and_short_dialogues_come_first(judge):
    items = [(DIALOGUE * 3, SUMMARIES), (DIALOGUE, SUMMARIES[:1]), (DIALOGUE, [])]
    found = dict(judge.judge(items, coverage=False))
    assert list(found) == [1, 2, 0] and found[2] == []
    ((_, [alone]),) = judge.judge([(DIALOGUE * 3, SUMMARIES[1:2])], coverage=False)
    assert found[0][1].faithfulness == pytest.approx(alone.faithfulness, abs=1e-4)
    assert found[0][1].coverage is None


def test_a_text_without_tokens_has_no_judgement(judge):
    ((_, [empty, one]),) = judge.judge([(DIALOGUE, ["  ", "Ann"])])
    assert empty.faithfulness is empty.coverage is empty.speakers is empty.choice is None
    assert one.faithfulness is not None


def test_many_summaries_are_computed_in_several_batches(judge, monkeypatch):
    ((_, together),) = judge.judge([(DIALOGUE, SUMMARIES)], coverage=False)
    monkeypatch.setattr("dsum_demo.judge.likelihood_judge.BATCH_TOKENS", 8)
    ((_, apart),) = judge.judge([(DIALOGUE, SUMMARIES)], coverage=False)
    assert [j.faithfulness for j in apart] == pytest.approx([j.faithfulness for j in together], abs=1e-4)


def test_a_long_dialogue_is_truncated_to_the_limit(loaded):
    short = LikelihoodJudge("causal-base", loaded, CHAT_PROMPT, 400)
    ((_, [judgement]),) = short.judge([(DIALOGUE * 60, SUMMARIES[:1])])
    assert judgement.faithfulness is not None and judgement.coverage is not None


def test_it_stops_between_dialogues(judge):
    seen = []
    with pytest.raises(Stopped):
        for place, _ in judge.judge([(DIALOGUE, SUMMARIES)] * 3, coverage=False, should_stop=lambda: bool(seen)):
            seen.append(place)
    assert seen == [0]


def test_encoder_decoders_are_refused_and_failures_name_the_judge(tiny_store, loaded):
    t5 = tiny_store.load(tiny_store.registry.default_family.base)
    with pytest.raises(InputError, match="is encoder-decoder; a judge must be decoder-only"):
        LikelihoodJudge("t5", t5, Prompt(), 512)
    broken = LikelihoodJudge("broken", loaded, CHAT_PROMPT, 10)
    with pytest.raises(GenerationError, match="The judge broken failed"):
        list(broken.judge([(DIALOGUE, SUMMARIES)]))
