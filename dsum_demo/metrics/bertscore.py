"""BERTScore, an optional metric: it needs the package bert-score and the weights of an encoder."""

from __future__ import annotations

import threading
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dsum_demo.errors import InputError, SettingsError
from dsum_demo.metrics.scores import METRICS, Metric, Score
from dsum_demo.utils.formatting import first_line

_LOADING = threading.Lock()


def add_bertscore(model: str) -> None:
    """Add BERTScore (Zhang et al. 2020, arXiv 1904.09675) with an encoder of the Hub or of a folder to METRICS, for the
    whole process. The weights are loaded when the first summary is scored. Raises SettingsError without bert-score.
    """
    try:
        package = version("bert-score")
    except PackageNotFoundError:
        raise SettingsError(
            f"DSUM_BERTSCORE is {model!r}, and the package bert-score is not installed: pip install bert-score==0.3.13"
        ) from None

    def score(summary: str, reference: str) -> Score:
        if not summary.strip():
            return Score.of(0.0)
        with _LOADING:
            scorer = _scorer(model)
        precision, recall, f1 = (float(part) for part in scorer.score([summary], [reference]))
        return Score(precision, recall, f1)

    METRICS["bertscore"] = Metric(
        "bertscore", "BERTScore", "BERT", "F1", True, f"bert-score {package}, {model}, no idf, no rescaling", score,
        reads=lambda reference: bool(reference.strip()),
    )  # fmt: skip


@cache
def _scorer(model: str) -> Any:
    """The scorer with the layer that bert-score's table has for the model, or with the last layer."""
    from bert_score import BERTScorer
    from bert_score.utils import model2layers
    from transformers import AutoConfig, AutoTokenizer, GPT2Tokenizer, RobertaTokenizer

    try:
        layers = model2layers.get(model) or AutoConfig.from_pretrained(model).num_hidden_layers
        scorer = BERTScorer(model_type=model, num_layers=layers)
        # bert-score asks for a space before the first word in a way that transformers 5 ignores.
        if isinstance(scorer._tokenizer, GPT2Tokenizer | RobertaTokenizer):
            scorer._tokenizer = AutoTokenizer.from_pretrained(model, add_prefix_space=True)
    except (OSError, ValueError) as error:
        raise InputError(f"DSUM_BERTSCORE is {model!r}, which cannot be loaded: {first_line(error)}") from error
    return scorer
