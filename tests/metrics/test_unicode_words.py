"""ROUGE over Unicode words: words of every script and a separate signature."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from dsum_demo.cli.main import main
from dsum_demo.metrics.scores import METRICS, UNICODE_ROUGE, score_summary, signature
from dsum_demo.metrics.unicode_words import unicode_words


@pytest.fixture
def metrics(monkeypatch):
    for metric in UNICODE_ROUGE:
        monkeypatch.setitem(METRICS, metric.name, metric)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Zoë naïvely can't pay 3.5 €!", ["zoë", "naïvely", "can't", "pay", "3.5"]),
        ("Зоя едет ДОМОЙ.", ["зоя", "едет", "домой"]), ("Η Ζωή φεύγει", ["η", "ζωή", "φεύγει"]),
        ("غدا نذهب؟", ["غدا", "نذهب"]), ("מחר, בבוקר", ["מחר", "בבוקר"]), ("明早8点", ["明", "早", "8", "点"]),
        ("ไปบ้าน", ["ไ", "ป", "บ้", "า", "น"]), ("ｗｉｄｅ", ["wide"]), ("e\u0301te\u0301", ["été"]), ("… !? 😀", []),
    ],
)  # fmt: skip
def test_words_of_every_script_are_found(text, words):
    assert unicode_words(text) == words


@pytest.mark.parametrize(
    ("summary", "reference", "f1"),
    [
        ("Зоя едет завтра", "Зоя едет домой завтра", 6 / 7), ("η ζωή φεύγει", "Η Ζωή μένει", 2 / 3),
        ("明早下雨", "明早有课", 1 / 2), ("ไปบ้าน", "ไปบ้าน", 1), ("cafe", "café", 0), ("غدا", "اليوم", 0),
        ("מחר בבוקר", "מחר בערב", 1 / 2),
    ],
)  # fmt: skip
def test_scores_count_shared_words_of_every_script(metrics, summary, reference, f1):
    assert score_summary(summary, [reference])["unicode_rouge1"].fmeasure == pytest.approx(f1)


def test_a_reference_without_words_has_no_score_and_the_signature_is_separate(metrics):
    assert "unicode_rouge1" not in score_summary("x", ["…"])
    text = signature(n=1, references=1).text
    assert text.startswith("rouge_score") and "ROUGE-1 (Unicode words): rouge_score" in text and "UAX #29" in text
    assert "rouge1" not in score_summary("早", ["早"]), "ROUGE itself reads as before"


@pytest.fixture
def metrics_afterwards() -> Iterator[None]:
    """A command changes the metrics of its process."""
    before = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(before)


def test_the_setting_adds_the_metric_to_reports(tmp_path, capsys, monkeypatch, metrics_afterwards):
    file = tmp_path / "rows.csv"
    file.write_text("ref,a\nЗоя едет,Зоя едет\n", encoding="utf-8")
    for setting, names in (("0", {}), ("1", {"unicode_rouge1": 1.0, "unicode_rouge2": 1.0})):
        monkeypatch.setenv("DSUM_UNICODE_ROUGE", setting)
        assert main(["score", str(file), "--references", "ref", "--systems", "a", "--json"]) == 0
        scores = json.loads(capsys.readouterr().out)["systems"]["a"]
        assert {name: value for name, value in scores.items() if value is not None} == names
