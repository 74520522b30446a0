"""The judges: trained adapters in judges/, and of decoder-only families the bases and the embedded full fine-tunes.

judges/tests.json has the shipped results of each judge's own test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from dsum_demo.data.dialogues import speakers
from dsum_demo.errors import DataError, InputError
from dsum_demo.hub.source import SourceKind
from dsum_demo.judge.likelihood_judge import METHOD, LikelihoodJudge
from dsum_demo.judge.own_test import VALUES, JudgeTest
from dsum_demo.models.adapters import adapter_config
from dsum_demo.models.architectures import DECODER_ONLY
from dsum_demo.models.catalog import Kind, ModelSpec
from dsum_demo.models.loading import load_adapted, merged
from dsum_demo.models.registry import Registry
from dsum_demo.models.store import ModelStore
from dsum_demo.utils.files import child_folders

DEFAULT_JUDGE = "smollm2-135m"
TESTS_FILE = "tests.json"
DO_NOT_RANK = "Do not rank by this judge: it is not shown to find wrong speakers."
COVERAGE_UNTESTED = (
    "Judge: coverage is not tested: the judge's own test has summaries with errors, not with omissions, so it is "
    "unknown how well coverage finds what is missing."
)
UNTESTED = "has not been tested: the Models tab or “dsum judge test” shows how far to trust it"


@dataclass(frozen=True)
class JudgeSpec:
    """One judge. adapter: the folder of a trained judge, whose weights are added to `model`; else None."""

    name: str
    model: ModelSpec
    adapter: Path | None = None


@dataclass(frozen=True)
class Judges:
    """All judges. folder: judges/."""

    store: ModelStore
    folder: Path

    @property
    def registry(self) -> Registry:
        return self.store.registry

    def specs(self) -> list[JudgeSpec]:
        """Trained judges first."""
        trained = [
            JudgeSpec(folder.name, self.registry.spec(adapter_config(folder)["base_model_name_or_path"]), folder)
            for folder in child_folders(self.folder)
            if (folder / "adapter_config.json").is_file()
        ]
        families = (family for family in self.registry.families() if family.architecture is DECODER_ONLY)
        models = (spec for family in families for spec in family.variants if _may_judge(spec))
        return [*trained, *(JudgeSpec(spec.name, spec) for spec in models)]

    def find(self, name: str = "") -> JudgeSpec:
        """The judge with this name, by default DEFAULT_JUDGE. Raises InputError for an unknown name."""
        known = {spec.name: spec for spec in self.specs()}
        wanted = name or DEFAULT_JUDGE
        if wanted not in known:
            raise InputError(f"There is no judge {wanted!r}; choose one of: {', '.join(known)}.")
        return known[wanted]

    def load(self, spec: JudgeSpec, should_stop: Callable[[], bool] = lambda: False) -> LikelihoodJudge:
        """Load a judge; its model is shared with the store. Raises what `ModelStore.load` raises."""
        loaded = self.store.load(spec.model, should_stop=should_stop)
        if spec.adapter is not None:
            model, _ = load_adapted(spec.adapter, loaded.model)
            loaded = replace(loaded, model=merged(model))
        family = self.registry.family(spec.model.family)
        return LikelihoodJudge(spec.name, loaded, family.prompt, family.max_source_tokens)

    def tests(self, name: str) -> list[JudgeTest]:
        """The shipped results of a judge's own test. Raises DataError for an invalid file."""
        file = self.folder / TESTS_FILE
        if not file.is_file():
            return []
        try:
            stat = file.stat()
            found = _read_tests(file, stat.st_mtime_ns, stat.st_size)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file} is not a list of judge tests ({error!r}); restore the shipped file.") from error
        return [test for test in found if test.judge == name]

    def test_like(self, name: str, dialogue: str) -> JudgeTest | None:
        """The shipped test of a judge whose speakers are labelled or named as in this dialogue, else its first one."""
        named = not any(speaker.startswith("#Person") for speaker in speakers(dialogue))
        return next(iter(sorted(self.tests(name), key=lambda test: test.names is not named)), None)

    def trust(self, name: str) -> tuple[str, ...]:
        """How far to trust a judge, one sentence per tested data and value, or that it is not tested."""
        found = [sentence for test in self.tests(name) for sentence in describe_trust(test)]
        return tuple(with_coverage(found)) if found else (f"The judge {name} {UNTESTED}.",)

    def describe(self, name: str) -> dict[str, Any]:
        """A judge for records: its name, its method, the sentences of `trust`, and whether it may rank."""
        return {"name": name, "method": METHOD, "trust": list(self.trust(name)), "can_rank": self.can_rank(name)}

    def chooser(self, name: str = "") -> JudgeSpec:
        """The judge that may choose the best of several summaries: the named one, by default DEFAULT_JUDGE, or the one
        that finds most wrong speakers if that may not. A model that judges its own candidates prefers the greedy one.

        Raises InputError if it is not shown to find wrong speakers.
        """
        if name:
            spec = self.find(name)
            if not self.can_rank(name):
                raise InputError(
                    f"The judge {name} is not shown to find wrong speakers, so it cannot choose a summary."
                )
            return spec
        able = [spec for spec in self.specs() if self.can_rank(spec.name)]
        if not able:
            raise InputError("No judge is shown to find wrong speakers, so none can choose a summary.")
        return max(able, key=lambda spec: (spec.name == DEFAULT_JUDGE, self._least_found(spec.name)))

    def _least_found(self, name: str) -> float:
        return min(share.share for test in self.tests(name) if (share := test.choice_of_speakers))

    def can_rank(self, name: str) -> bool:
        """Whether summaries may be ranked by a judge: its shipped tests find wrong speakers better than chance."""
        tests = self.tests(name)
        return bool(tests) and all(test.can_rank for test in tests)


@lru_cache(maxsize=2)
def _read_tests(file: Path, mtime_ns: int, size: int) -> tuple[JudgeTest, ...]:
    return tuple(JudgeTest.from_dict(raw) for raw in json.loads(file.read_text(encoding="utf-8")))


def _may_judge(spec: ModelSpec) -> bool:
    embedded = spec.source is not None and spec.source.kind is SourceKind.EMBEDDED
    return spec.kind is Kind.BASE or (spec.kind is Kind.FULL and embedded)


def describe_trust(test: JudgeTest) -> list[str]:
    """ "faithfulness catches 71 % [66, 76] of swapped speakers, …", one sentence per value, then what was tested."""
    named = " with names instead of labels" if test.names else ""
    where = f"{test.dialogues:,} dialogues of {test.data}{named}, 95 % intervals"
    found = [f"{title} {test.sentence(name)} ({where})." for name, (title, _) in VALUES.items() if name in test.shares]
    return found or [f"The test over {where} has no values of a judge."]


def with_coverage(trust: Sequence[str]) -> list[str]:
    """The sentences on a judge's tests and COVERAGE_UNTESTED, which records of older versions do not contain."""
    known = any(sentence == COVERAGE_UNTESTED or UNTESTED in sentence for sentence in trust)
    return [*trust] if known else [*trust, COVERAGE_UNTESTED]


def is_tested(judge: Mapping[str, Any], title: str) -> bool:
    """Whether the judge of an evaluation was tested in the value with this title."""
    return any(sentence.startswith(title) and sentence != COVERAGE_UNTESTED for sentence in judge["trust"])


def judge_lines(judge: Mapping[str, Any]) -> list[str]:
    """How far to trust the judge of an evaluation, what it computes, and what it cost; one line each."""
    cost = f" {judge['seconds_per_100']:.0f} seconds per 100 summaries." if "seconds_per_100" in judge else ""
    ranking = [] if judge["can_rank"] else [DO_NOT_RANK]
    return [
        *with_coverage(judge["trust"]),
        *ranking,
        f"Judge: {judge['name']}; {judge['method']}, bits per token.{cost}",
    ]
