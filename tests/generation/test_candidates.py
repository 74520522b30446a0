"""Candidates of one dialogue by tiny real models: the greedy one first, seeded samples, stops and invalid input."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dsum_demo.errors import GenerationError, InputError, Stopped
from dsum_demo.generation.candidates import write_candidates
from dsum_demo.generation.streaming import generate
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import FittedDialogue

DECODE = DecodingConfig(max_new_tokens=8, temperature=1.5, do_sample=True)
DIALOGUE = "#Person1#: Hello, Tom!\n#Person2#: Hi, are you free on Friday?"


@pytest.fixture(scope="module")
def loaded(any_store):
    return any_store.load(any_store.registry.default_family.base)


@pytest.fixture(scope="module")
def prompt(any_store, loaded) -> FittedDialogue:
    return loaded.fit(any_store.registry.default_family.prompt, DIALOGUE, 512, 8)


def test_the_first_is_the_greedy_one_and_the_others_are_samples(loaded, prompt):
    found = write_candidates(loaded, prompt, DECODE, 4)
    alone = generate(loaded, prompt.source_ids, replace(DECODE, do_sample=False))
    assert (found[0].text, found[0].new_tokens) == (alone.text, alone.new_tokens)
    assert 1 < len(found) <= 4 and len({each.text for each in found}) == len(found)
    assert all(each.finished and each.seconds > 0 and each.new_tokens <= 8 for each in found)


def test_samples_depend_on_the_seed_only(loaded, prompt):
    texts = [
        [each.text for each in write_candidates(loaded, prompt, replace(DECODE, seed=seed), 4)] for seed in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2] and texts[0][0] == texts[2][0]


def test_one_candidate_is_the_greedy_summary(loaded, prompt):
    (only,) = write_candidates(loaded, prompt, DECODE, 1)
    assert only.text == generate(loaded, prompt.source_ids, replace(DECODE, do_sample=False)).text


def test_it_stops_and_refuses_wrong_numbers_and_beams(loaded, prompt):
    with pytest.raises(Stopped):
        write_candidates(loaded, prompt, DECODE, 4, should_stop=lambda: True)
    for number in (0, 9):
        with pytest.raises(InputError, match=f"The number of candidates is {number}; give 1 to 8"):
            write_candidates(loaded, prompt, DECODE, number)
    with pytest.raises(InputError, match="instead of beam search"):
        write_candidates(loaded, prompt, DecodingConfig(num_beams=4), 4)


def test_a_failure_names_the_model(loaded, prompt):
    unknown = replace(prompt, source_ids=(10**6,))
    with pytest.raises(GenerationError, match=f"{loaded.spec.name} failed during generation"):
        write_candidates(loaded, unknown, DECODE, 2)
