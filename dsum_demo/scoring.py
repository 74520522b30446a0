"""ROUGE of outputs that were recorded elsewhere: a file with columns of references and columns of system outputs.

Knows tables and metrics; loads no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsum_demo.data import name_rows, read_table
from dsum_demo.errors import DataError, InputError
from dsum_demo.metrics import ROUGE_TYPES, Score, Signature, mean_scores, score_summary, signature


@dataclass(frozen=True)
class ScoreReport:
    """Mean scores over the rows, for each system column."""

    signature: Signature
    systems: Mapping[str, Mapping[str, Score]]

    def as_dict(self) -> dict[str, Any]:
        """What `dsum score --json` prints: mean F1, each from 0 to 1."""
        return {
            "signature": self.signature.as_dict(),
            "systems": {
                name: {rouge: scores[rouge].fmeasure for rouge in ROUGE_TYPES} for name, scores in self.systems.items()
            },
        }


def score_file(file: Path, references: Sequence[str], systems: Sequence[str], policy: str = "mean") -> ScoreReport:
    """Score the columns `systems` of a file that `read_table` reads against the columns `references`.

    A row is compared with the references that are not empty in it; the signature counts those of the row that has most.
    An empty output scores 0. Raises InputError for column arguments or a policy that cannot be used, and DataError for
    a file or rows that cannot.
    """
    _check_columns(references, systems)
    rows = read_table(file)
    missing = [name for name in (*references, *systems) if name not in rows[0]]
    if missing:
        raise DataError(f"{file} has no column {', '.join(missing)}; its columns are: {', '.join(rows[0])}.")
    written = [[row[name] for name in references if row[name].strip()] for row in rows]
    without = [number for number, texts in enumerate(written, 1) if not texts]
    if without:
        raise DataError(f"{file} has no reference in {name_rows(without)}; fill one in, or leave the row out.", without)
    return ScoreReport(
        signature(n=len(rows), references=max(map(len, written)), policy=policy),
        {
            name: mean_scores([_score_row(file, n, row[name], written[n - 1], policy) for n, row in enumerate(rows, 1)])
            for name in systems
        },
    )


def _check_columns(references: Sequence[str], systems: Sequence[str]) -> None:
    if not references or not systems:
        raise InputError("Scoring needs at least one column of references and one of system outputs; name them.")
    twice = [name for name, times in Counter((*references, *systems)).items() if times > 1]
    if twice:
        raise InputError(
            f"The column {twice[0]!r} is named twice; a column is a reference or a system's output, and counts once."
        )


def _score_row(file: Path, number: int, output: str, references: Sequence[str], policy: str) -> dict[str, Score]:
    try:
        return score_summary(output, references, policy)
    except InputError as error:
        raise DataError(f"{file}, row {number}: {error}", [number]) from None
