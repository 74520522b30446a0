"""Evaluate's agreement with people: of reviews whose results the visitor may see, also for a judge's values."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dsum_demo.evaluation.records import Evaluation
from dsum_demo.review.records import Review, ReviewSettings
from dsum_demo.review.sources import draft_from_evaluation
from dsum_demo.settings import Settings
from dsum_demo.ui.evaluate.people import agreement_with_people
from dsum_demo.ui.services import Services

OWNER = "a" * 32
PREFERRED = ("full", "lora", "original")
SETTINGS = ReviewSettings(verdicts_per_item=1, repeat_share=0, owner_reviews=False)


@pytest.fixture(scope="module")
def judged(recorded) -> Evaluation:
    """The recorded evaluation with values of a judge that agrees with the reviewers in two of three pairs."""
    bits = {"full": 1.0, "original": 0.5, "lora": 0.2}
    examples = tuple(
        replace(
            example,
            outputs={
                name: replace(output, checks={**output.checks, "judge_faithfulness": bits[name]})
                for name, output in example.outputs.items()
            },
        )
        for example in recorded.examples
    )
    return replace(recorded, examples=examples, judge={"name": "made up", "method": "", "trust": [], "can_rank": True})


@pytest.fixture
def services(tiny_root, tmp_path) -> Services:
    return Services.start(Settings(root=tiny_root, data_dir=tmp_path, offline=True, family="dsum-t5"))


@pytest.fixture
def key(services, judged) -> str:
    return services.evaluations.saved.save(judged).name


def reviewed(services: Services, evaluation: Evaluation, name: str, settings: ReviewSettings = SETTINGS) -> Review:
    """A review of five dialogues, in which a reviewer always has the same preference."""
    store = services.reviews
    review = store.create(draft_from_evaluation(evaluation, name, limit=5, settings=settings), OWNER)
    while task := store.next_task(review.id, "Ann"):
        ranks = [min(PREFERRED.index(system) for system in card.systems) + 1 for card in task.cards]
        store.save_verdict(review.id, "Ann", task.item.id, task.round, ranks=ranks, seconds=30)
    return review


def test_the_owner_of_a_review_sees_how_often_each_metric_and_the_judge_agree_with_it(services, judged, key):
    reviewed(services, judged, "Mine <b>")
    shown = agreement_with_people(services, key, OWNER)
    assert ">Mine &lt;b&gt;<" in shown and "ROUGE-1" in shown
    rows = dict(re.findall(r'<tr><th scope="row">([^<]+)</th><td>(\d+) %', shown))
    assert rows["Judge: faithfulness"] == "67"
    assert int(rows["ROUGE-1"]) > 50
    (pairs,) = set(re.findall(r"Judge: faithfulness</th><td>[^<]+</td><td>(\d+)<", shown))
    assert pairs == "15"


def test_a_review_is_not_shown_to_others_and_not_before_its_reviewer_has_finished(services, judged, key):
    reviewed(services, judged, "Mine")
    assert agreement_with_people(services, key, "b" * 32) == agreement_with_people(services, key, "") == ""
    services.reviews.delete(services.reviews.list(OWNER)[0].id)
    reviewed(services, judged, "Unfinished", replace(SETTINGS, owner_reviews=True))
    assert agreement_with_people(services, key, OWNER) == ""


def test_a_review_of_other_texts_is_not_shown(services, judged, key):
    others = replace(
        judged,
        examples=tuple(
            replace(one, outputs={n: replace(o, text=f"{o.text} Really.") for n, o in one.outputs.items()})
            for one in judged.examples
        ),
    )
    reviewed(services, others, "Others")
    assert agreement_with_people(services, key, OWNER) == ""
    assert agreement_with_people(services, "", OWNER) == ""
