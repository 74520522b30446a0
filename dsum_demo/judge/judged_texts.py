"""Summaries of one dialogue with a judge's values, and which of them the judge prefers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dsum_demo.judge.judges import Judges, JudgeSpec
from dsum_demo.judge.likelihood_judge import Judgement
from dsum_demo.judge.own_test import VALUES, JudgeTest
from dsum_demo.metrics.words import words

TITLES = {name: title for name, (title, _) in VALUES.items()} | {"coverage": "Judge: coverage"}


@dataclass(frozen=True)
class JudgedTexts:
    """about: `Judges.describe`. test: the shipped test of a dialogue like this one. judgements: by text."""

    about: Mapping[str, Any]
    test: JudgeTest | None
    dialogue: str
    judgements: Mapping[str, Judgement]

    @property
    def seconds(self) -> float:
        """For all texts, without loading the judge."""
        return sum(judgement.seconds for judgement in self.judgements.values())

    def values(self, text: str) -> dict[str, float | None]:
        """Bits per token by the names in TITLES; None for each if the text was not judged."""
        found = self.judgements.get(text)
        return {name: None if found is None else getattr(found, name) for name in TITLES}

    def preferred(self, texts: Sequence[str]) -> str | None:
        """The text with the highest choice; None if the judge may not rank or two texts share it."""
        known = {text: found.choice for text in texts if (found := self.judgements.get(text)) and found.choice}
        if not self.about["can_rank"] or len(known) < 2:
            return None
        first, second = sorted(known, key=lambda text: -known[text])[:2]
        return first if known[first] > known[second] else None


def judge_texts(
    judges: Judges,
    spec: JudgeSpec,
    dialogue: str,
    texts: Sequence[str],
    should_stop: Callable[[], bool] = lambda: False,
) -> JudgedTexts:
    """Judge the texts that have words. Raises Stopped and what `Judges.load` and `LikelihoodJudge.judge` raise."""
    kept = [text for text in dict.fromkeys(texts) if words(text)]
    judge = judges.load(spec, should_stop)
    ((_, judgements),) = judge.judge([(dialogue, kept)], should_stop=should_stop)
    about, test = judges.describe(spec.name), judges.test_like(spec.name, dialogue)
    return JudgedTexts(about, test, dialogue, dict(zip(kept, judgements, strict=True)))
