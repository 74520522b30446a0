"""Best of n: the judge's choice among candidates, its cost, and judges that may not choose."""

from __future__ import annotations

import json

import pytest

from dsum_demo.comparison import Choice, compare
from dsum_demo.errors import InputError
from dsum_demo.judge.best_of import best_of
from dsum_demo.judge.judges import Judges
from dsum_demo.judge.own_test import JudgeTest, wilson
from dsum_demo.models.decoding import DecodingConfig

DIALOGUE = "Tom: Are you free on Friday?\nAnn: No, I am in Paris."
DECODE = DecodingConfig(max_new_tokens=8)


def a_test(name: str, wins: int) -> dict:
    return JudgeTest(name, "d", 200, 0, False, {"choice": {"speakers": wilson(wins, 200)}}).as_dict()


@pytest.fixture
def judges(tmp_path, causal_store) -> Judges:
    (tmp_path / "tests.json").write_text(json.dumps([a_test("causal-base", 150)]))
    return Judges(causal_store, tmp_path)


def test_the_candidate_with_the_highest_choice_is_chosen(judges, causal_store):
    loaded = causal_store.load(causal_store.registry.spec("causal-full"))
    prompt = loaded.fit(causal_store.registry.default_family.prompt, DIALOGUE, 512, 8)
    found = best_of(judges.load(judges.chooser()), loaded, prompt, DECODE, 4)
    values = [judgement.choice for judgement in found.judgements]
    assert values[found.chosen] == max(values) and len(values) == len(found.candidates) > 1
    assert found.best is found.candidates[found.chosen] and found.writing_seconds > 0 < found.judging_seconds
    assert f"chose candidate {found.chosen + 1} of {len(values)}" in found.sentence
    assert found.as_dict()["candidates"][0]["summary"] == found.candidates[0].text


def test_a_comparison_shows_the_chosen_summary_and_its_candidates(judges, causal_store):
    family = causal_store.registry.default_family
    choice = Choice(lambda: judges.load(judges.chooser()), 3)
    specs = [spec for spec in family.default_trio() if spec]
    result = compare(causal_store, family, specs, DIALOGUE, ["Ann is in Paris."], DECODE, choice=choice)
    for system, raw in zip(result.systems, result.as_dict()["systems"], strict=True):
        assert system.phase == "done" and system.best_of and system.summary == system.best_of.best.text
        assert raw["best_of"]["judge"] == "causal-base" and len(raw["best_of"]["candidates"]) <= 3
    stopped = compare(causal_store, family, specs, DIALOGUE, [], DECODE, choice=choice, should_stop=lambda: True)
    assert {system.phase for system in stopped.systems} == {"stopped"}


def test_a_judge_at_chance_or_without_a_test_may_not_choose(tmp_path, causal_store):
    judges = Judges(causal_store, tmp_path)
    with pytest.raises(InputError, match="No judge is shown to find wrong speakers"):
        judges.chooser()
    (tmp_path / "tests.json").write_text(json.dumps([a_test("causal-base", 104)]))
    with pytest.raises(InputError, match="The judge causal-base is not shown to find wrong speakers"):
        judges.chooser("causal-base")
    with pytest.raises(InputError, match="There is no judge 'gpt'"):
        judges.chooser("gpt")


def test_by_default_the_judge_that_finds_most_wrong_speakers_chooses(tmp_path, causal_store):
    judges = Judges(causal_store, tmp_path)
    tests = [a_test("causal-base", 130), a_test("causal-full", 180), a_test("causal-full", 150)]
    (tmp_path / "tests.json").write_text(json.dumps(tests))
    assert judges.chooser().name == "causal-full" and judges.chooser("causal-base").name == "causal-base"
