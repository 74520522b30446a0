"""BERTScore by a tiny RoBERTa, compared with the paper's formula written out."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoModel, AutoTokenizer, RobertaConfig, RobertaModel, RobertaTokenizer

from dsum_demo.cli.main import main
from dsum_demo.errors import InputError, SettingsError
from dsum_demo.metrics.bertscore import add_bertscore
from dsum_demo.metrics.scores import METRICS, score_summary, signature

SUMMARY, REFERENCE = "the cat sat", "a cat sat on the mat"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("roberta"))
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special)
    tokenizer.train_from_iterator([SUMMARY, REFERENCE] * 9, trainer)
    vocabulary = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in vocabulary["merges"]]
    RobertaTokenizer(vocab=vocabulary["vocab"], merges=merges, model_max_length=100).save_pretrained(folder)
    torch.manual_seed(0)
    RobertaModel(
        RobertaConfig(
            vocab_size=400, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=110, pad_token_id=1, initializer_range=0.5,
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture(autouse=True)
def metrics_afterwards():
    """A setting changes the metrics of its process."""
    before = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(before)


def embedded(folder: str, text: str) -> torch.Tensor:
    """Unit vectors of the tokens, with a space before the first word as in RoBERTa's own pretraining."""
    tokenizer = AutoTokenizer.from_pretrained(folder, add_prefix_space=True)
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(folder)(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    return torch.nn.functional.normalize(hidden, dim=-1)


def test_scores_are_those_of_the_formula(encoder):
    add_bertscore(encoder)
    similarity = embedded(encoder, SUMMARY) @ embedded(encoder, REFERENCE).T
    # bert-score matches words with the special tokens too, and averages over words only.
    precision, recall = (similarity.max(axis).values[1:-1].mean().item() for axis in (1, 0))
    score = score_summary(SUMMARY, [REFERENCE])["bertscore"]
    assert (score.precision, score.recall) == pytest.approx((precision, recall), abs=1e-5)
    assert score.fmeasure == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-5)
    assert precision != pytest.approx(recall, abs=1e-3), "the two can be told apart"
    assert f"BERTScore: bert-score 0.3.13, {encoder}" in signature(1, 1).text


def test_an_empty_summary_scores_zero_and_an_empty_reference_nothing(encoder):
    add_bertscore(encoder)
    assert score_summary(" ", [REFERENCE])["bertscore"].fmeasure == 0
    assert "bertscore" not in score_summary(SUMMARY, [" "])


def test_the_setting_adds_a_column_to_reports(encoder, tmp_path, monkeypatch, capsys):
    file = tmp_path / "rows.csv"
    file.write_text(f"ref,a\n{REFERENCE},{SUMMARY}\n{REFERENCE},{REFERENCE}\n")
    monkeypatch.setenv("DSUM_BERTSCORE", encoder)
    assert main(["score", str(file), "--references", "ref", "--systems", "a", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["systems"]["a"]
    assert scores["rouge1"] < scores["bertscore"] < 1


def test_a_model_that_does_not_exist_is_named(tmp_path):
    add_bertscore(str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"DSUM_BERTSCORE is '.*none', which cannot be loaded"):
        score_summary(SUMMARY, [REFERENCE])


def test_without_the_package_the_message_has_the_command(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(SettingsError, match=r"pip install bert-score==0\.3\.13"):
        add_bertscore("roberta-large")
