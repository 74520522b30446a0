"""The judge's own test: shares and intervals, names for labels, trust, and unknown or broken judges."""

from __future__ import annotations

import json

import pytest

from dsum_demo.composition import make_judges
from dsum_demo.data.examples import Example, read_samples
from dsum_demo.errors import DataError, InputError, Stopped
from dsum_demo.judge.judges import COVERAGE_UNTESTED, Judges, describe_trust, judge_lines
from dsum_demo.judge.likelihood_judge import LikelihoodJudge
from dsum_demo.judge.own_test import BASELINES, VALUES, JudgeTest, Share, run_test, wilson, with_names
from dsum_demo.settings import Settings
from tests.conftest import CHAT_PROMPT


@pytest.fixture(scope="module")
def judges(causal_store) -> Judges:
    return Judges(causal_store, causal_store.registry.folder_of(causal_store.registry.spec("causal-lora")).parent)


@pytest.fixture(scope="module")
def samples() -> list[Example]:
    return read_samples(Settings().samples_file)[:6]


# The example of Wilson intervals in Newcombe (1998), Statistics in Medicine 17, table I.
@pytest.mark.parametrize(
    ("wins", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_the_published_ones(wins, n, low, high):
    found = wilson(wins, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_a_share_needs_pairs():
    with pytest.raises(InputError, match="at least one pair"):
        wilson(0, 0)


def test_every_kind_is_counted_for_the_judge_and_the_baselines(judges, samples):
    judge = judges.load(judges.find("causal-base"))
    *_, last = run_test(judge, samples, data="samples")
    assert last.dialogues == 6 and list(last.shares) == [*VALUES, *BASELINES]
    assert last.shares["choice"]["speakers"].n == last.shares["length"]["speakers"].n > 0
    # Swapped labels have the same length; a replaced name is not in the dialogue.
    assert last.shares["length"]["speakers"].share == 0.5
    assert last.shares["ungrounded"]["name"].share == 1.0
    assert JudgeTest.from_dict(json.loads(json.dumps(last.as_dict()))) == last
    assert [sentence.split()[1] for sentence in describe_trust(last)] == ["faithfulness", "speakers", "choice"]
    assert all("(6 dialogues of samples, 95 % intervals)." in sentence for sentence in describe_trust(last))


def test_without_a_judge_only_the_baselines_are_counted(samples):
    *_, only = run_test(None, samples, data="samples", seed=3)
    assert list(only.shares) == list(BASELINES) and not only.can_rank and "no values" in describe_trust(only)[0]


def test_labels_become_names_in_dialogue_and_references(samples):
    named = with_names(samples[0])
    assert "#Person" not in named.dialogue + "".join(named.references) and named == with_names(samples[0])
    assert len(named.dialogue.split("\n")) == len(samples[0].dialogue.split("\n"))
    already = Example("x", "Tom: Hi.\nAnn: Hi.", ("Tom greets Ann.",), ())
    assert with_names(already) == already


def test_texts_that_cannot_be_corrupted_are_refused(judges):
    judge = judges.load(judges.find("causal-base"))
    with pytest.raises(InputError, match="No reference can be corrupted"):
        list(run_test(judge, [Example("a", "no speakers", ("They talk.",), ())], data="x"))


def test_stopping_keeps_the_last_result(judges, samples):
    judge, seen = judges.load(judges.find("causal-base")), []
    with pytest.raises(Stopped):
        for result in run_test(judge, samples, data="samples", should_stop=lambda: bool(seen)):
            seen.append(result)
    assert seen[0].dialogues == 1


def test_the_judges_are_the_bases_of_decoder_only_families_and_trained_adapters(judges, causal_store):
    assert [spec.name for spec in judges.specs()] == ["causal-lora", "causal-base", "causal-full"]
    trained = judges.load(judges.find("causal-lora"))
    assert isinstance(trained, LikelihoodJudge) and trained.prompt == CHAT_PROMPT
    base = judges.load(judges.find("causal-base"))
    items = [("Tom: Hi.\nAnn: No.", ["Ann says no."])]
    (_, [one]), (_, [other]) = (next(judge.judge(items, coverage=False)) for judge in (trained, base))
    assert one.faithfulness != other.faithfulness
    with pytest.raises(
        InputError, match="There is no judge 'gpt'; choose one of: causal-lora, causal-base, causal-full"
    ):
        judges.find("gpt")


def shown(judge: str, *, speakers: Share) -> dict:
    return JudgeTest(judge, "d", 200, 0, False, {"choice": {"speakers": speakers, "number": wilson(95, 100)}}).as_dict()


def test_shipped_tests_decide_how_a_judge_is_described_and_whether_it_ranks(tmp_path, causal_store):
    judges = Judges(causal_store, tmp_path)
    assert not judges.can_rank("one") and "has not been tested" in judges.trust("one")[0]
    assert COVERAGE_UNTESTED not in judge_lines(judges.describe("one")), "no value of it is tested"
    tests = [shown("one", speakers=wilson(142, 200)), shown("two", speakers=wilson(104, 200))]
    (tmp_path / "tests.json").write_text(json.dumps(tests))
    assert judges.can_rank("one") and not judges.can_rank("two")
    sentence, coverage = judges.trust("one")
    assert coverage == COVERAGE_UNTESTED and COVERAGE_UNTESTED in judge_lines(judges.describe("one"))
    assert sentence.startswith("Judge: choice catches 71 % [64, 77] of swapped speakers, 95 % [89, 98] of changed")
    assert "does not beat chance with 52 % [45, 59] of swapped speakers" in judges.trust("two")[0]
    (tmp_path / "tests.json").write_text('[{"judge": "one"}]')
    with pytest.raises(DataError, match="is not a list of judge tests"):
        judges.trust("one")


def test_the_shipped_judges_have_tests():
    judges = make_judges(Settings(offline=True))
    for name in {spec.name for spec in judges.specs() if spec.adapter} | {"smollm2-135m"}:
        assert judges.tests(name) and all(test.dialogues >= 100 for test in judges.tests(name))
