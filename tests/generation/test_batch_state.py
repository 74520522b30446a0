"""Rows that leave and join: the logits that each text has alone, by transformers' way and by the short one."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers.models.t5.modeling_t5 import T5Stack

from dsum_demo.generation.batch_state import NOT_BEGUN, ROOM, BatchState
from dsum_demo.models.loading import twin
from dsum_demo.models.t5_fast_path import StepDecoder, step_by_step

TEXTS = {name: [*range(5 + name, 5 + name + length), 1] for name, length in {10: 9, 11: 6, 12: 4, 13: 7, 14: 3}.items()}


@pytest.fixture(params=["transformers", "short"])
def model(tiny_model, request):
    """Once with transformers' code, once with the fast path; in float64, so that nothing hides behind rounding."""
    made = twin(tiny_model(3).eval().double())
    if request.param == "short":
        step_by_step(made)
    assert type(made.get_decoder()) is (StepDecoder if request.param == "short" else T5Stack)
    return made


class Noted:
    """Chooses the likeliest, and keeps what every row had to choose from."""

    def __init__(self):
        self.logits: list[torch.Tensor] = []

    def __call__(self, tokens: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        self.logits.append(logits)
        return logits.argmax(dim=-1)


def begin(model, names: list[int], choose) -> BatchState:
    ids = pad_sequence([torch.tensor(TEXTS[name]) for name in names], batch_first=True)
    mask = (ids != 0).long()
    states = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    return BatchState.begin(model, names, states, mask, choose)


def alone(model, name: int, steps: int) -> tuple[list[int], list[torch.Tensor]]:
    choose = Noted()
    rows = begin(model, [name], choose)
    for _ in range(steps - 1):
        rows.step(model, choose)
    return rows.written(0), [logits[0] for logits in choose.logits]


@torch.inference_mode()
def test_leaving_and_joining_change_nothing_for_a_text(model):
    choose = Noted()
    wanted = {name: alone(model, name, 25) for name in TEXTS}
    first = torch.stack([logits[0] for _, logits in wanted.values()])
    assert torch.pdist(first, p=torch.inf).min() > 0.01, "texts cannot be mixed up"
    rows = begin(model, [10, 11, 12], choose)
    seen: dict[int, int] = dict.fromkeys(rows.names, 1)

    def steps(number: int) -> None:
        for _ in range(number):
            rows.step(model, choose)
            for row, name in enumerate(rows.names):
                torch.testing.assert_close(choose.logits[-1][row], wanted[name][1][seen[name]], rtol=1e-5, atol=1e-6)
                seen[name] += 1
                assert rows.written(row) == wanted[name][0][: seen[name]]

    def join(staying: list[int], names: list[int]) -> None:
        rows.change(staying, begin(model, names, choose))
        seen.update(dict.fromkeys(names, 1))

    steps(3)
    join([1, 2], [13])
    assert rows.names == [11, 12, 13] and rows.lengths().tolist() == [4, 4, 1]
    assert (rows.tokens[2] == NOT_BEGUN).sum() == 3
    steps(2)
    rows.change([1, 2])
    assert rows.names == [12, 13] and rows.tokens.shape == (2, 7)
    steps(2)
    join([1], [14])
    assert rows.tokens.shape == (2, 6) and rows.source_mask.shape == (2, 8)
    # Beyond what the cache had room for.
    steps(ROOM + 1)


@torch.inference_mode()
def test_a_longer_text_widens_and_the_last_of_the_long_ones_narrows(model):
    choose = Noted()
    rows = begin(model, [14], choose)
    rows.step(model, choose)
    rows.change([0], begin(model, [10], choose))
    assert rows.source_mask.sum(dim=1).tolist() == [4, 10]
    rows.step(model, choose)
    rows.change([0])
    assert rows.source_mask.tolist() == [[1, 1, 1, 1]]
    rows.step(model, choose)
    assert rows.written(0) == alone(model, 14, 4)[0]


@torch.inference_mode()
def test_time_is_shared_by_who_is_there(model):
    choose = Noted()
    rows = begin(model, [10, 11], choose)
    rows.spend(2.0)
    late = begin(model, [12], choose)
    late.spend(0.5)
    rows.change([1], late)
    rows.spend(1.0)
    assert rows.names == [11, 12] and rows.seconds == [1.5, 1.0]
