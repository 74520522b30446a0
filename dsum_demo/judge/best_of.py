"""Best of n: the candidate summary that a judge prefers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dsum_demo.generation.candidates import write_candidates
from dsum_demo.generation.streaming import Generation
from dsum_demo.judge.likelihood_judge import Judgement, LikelihoodJudge
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import FittedDialogue
from dsum_demo.models.store import LoadedModel


@dataclass(frozen=True)
class BestOf:
    """The candidates, the greedy one first, with their judgements, and the index of the chosen one.

    judge: its name. writing_seconds, judging_seconds: for all candidates together.
    """

    judge: str
    candidates: tuple[Generation, ...]
    judgements: tuple[Judgement, ...]
    chosen: int
    writing_seconds: float
    judging_seconds: float

    @property
    def best(self) -> Generation:
        return self.candidates[self.chosen]

    def as_dict(self) -> dict[str, Any]:
        """An object for JSON."""
        return {
            "judge": self.judge,
            "chosen": self.chosen,
            "candidates": [
                {"summary": candidate.text, "faithfulness": judgement.faithfulness, "choice": judgement.choice}
                for candidate, judgement in zip(self.candidates, self.judgements, strict=True)
            ],
            "writing_seconds": self.writing_seconds,
            "judging_seconds": self.judging_seconds,
        }

    @property
    def sentence(self) -> str:
        """What was chosen, and what it cost."""
        number = len(self.candidates)
        of = "the only candidate" if number == 1 else f"candidate {self.chosen + 1} of {number}"
        greedy = " (the greedy one)" if self.chosen == 0 else ""
        return (
            f"Judge {self.judge} chose {of}{greedy}: {self.writing_seconds:.1f} s to generate all, "
            f"{self.judging_seconds:.1f} s to judge."
        )


def best_of(
    judge: LikelihoodJudge,
    loaded: LoadedModel,
    prompt: FittedDialogue,
    decode: DecodingConfig,
    number: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> BestOf:
    """Generate `number` candidates and choose the one with the highest `Judgement.choice`, the earlier one of equals.

    Raises what `write_candidates` and `LikelihoodJudge.judge` raise.
    """
    candidates = write_candidates(loaded, prompt, decode, number, should_stop)
    items = [(prompt.text, [candidate.text for candidate in candidates])]
    ((_, judgements),) = judge.judge(items, coverage=False, should_stop=should_stop)
    writing = number * candidates[0].seconds
    judging = sum(judgement.seconds for judgement in judgements)
    return BestOf(judge.name, tuple(candidates), tuple(judgements), _highest(judgements), writing, judging)


def _highest(judgements: Sequence[Judgement]) -> int:
    values = [float("-inf") if (value := judgement.choice) is None else value for judgement in judgements]
    return values.index(max(values))
