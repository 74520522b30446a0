"""dsum's ROUGE as a metric of the `evaluate` library: `evaluate.load("metrics/dsum_rouge")`, which asks no Hub.

evaluate imports a copy of this file from its cache, so nothing beside it can be found: all the work is in
dsum_demo.metrics, which must be importable.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

# Inside a block, because evaluate takes every import at a line's start for a package to be had from PyPI by that name.
try:
    from dsum_demo.metrics.rouge import ROUGE_TYPES
    from dsum_demo.metrics.scores import mean_scores, score_summary
except ModuleNotFoundError as error:
    raise ImportError(
        f"The metric dsum_rouge computes with the package dsum_demo, and {error.name} cannot be imported. "
        "Run `pip install -e .` in dsum's checkout, or put the checkout on PYTHONPATH."
    ) from error

_DESCRIPTION = """
ROUGE-1, -2, -L and -Lsum F1 by rouge_score with its stemmer: plain means over the rows, not the median of resamples.
Sentences for Lsum are split by dsum, without nltk data. Needs no network.
"""

_INPUTS = """
Args:
    predictions: summaries, a text each.
    references: for each prediction one reference, or a list of references.
    policy: with several references, "mean" over them (default), "best" of them, or the "first".
Returns:
    rouge1, rouge2, rougeL, rougeLsum: mean F1, each from 0 to 1.
"""

_CITATION = """
@inproceedings{lin-2004-rouge,
    title = "{ROUGE}: A Package for Automatic Evaluation of Summaries",
    author = "Lin, Chin-Yew",
    booktitle = "Text Summarization Branches Out",
    year = "2004",
    url = "https://aclanthology.org/W04-1013",
}
"""


class DsumRouge(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": text, "references": datasets.List(text)}),
        )

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Add one prediction with its reference or list of references."""
        self.add_batch(predictions=[prediction], references=[reference], **kwargs)

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Add predictions, each with its reference or list of references."""
        # evaluate checks the first row only, and would read a later single reference as a list of letters.
        predictions, references = (list(rows) if rows is not None else [] for rows in (predictions, references))
        listed = [[row] if isinstance(row, str) else row for row in references]
        for number, row in enumerate(listed, 1):
            if not isinstance(row, list | tuple) or not row or not all(isinstance(text, str) for text in row):
                raise ValueError(f"Reference {number} is {row!r}; give a text or a list of texts.")
        for number, text in enumerate(predictions, 1):
            if not isinstance(text, str):
                raise ValueError(f"Prediction {number} is {text!r}; give a text, an empty one at least.")
        super().add_batch(predictions=predictions, references=listed, **kwargs)

    def _compute(self, predictions: list[str], references: list[list[str]], policy: str = "mean") -> dict[str, float]:
        """NaN if no reference has a letter a-z or a digit. Raises InputError without rows or for an unknown policy."""
        rows = zip(predictions, references, strict=True)
        means = mean_scores([score_summary(text, listed, policy) for text, listed in rows])
        return {rouge: means[rouge].fmeasure if rouge in means else float("nan") for rouge in ROUGE_TYPES}
