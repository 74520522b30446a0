"""The headline: a share with its interval, or the reason why none is reported."""

from __future__ import annotations

import numpy as np
import pytest

from dsum_demo.evaluation.recovery import RULE, recovery
from dsum_demo.metrics.bootstrap import MIN_EXAMPLES, Bootstrap


def headline(n: int, full: float, lora: float, noise: float, seed: int = 0):
    """The headline of systems that gain `full` and `lora` over an original around 0.25, plus independent noise."""
    rng = np.random.default_rng(seed)
    base = rng.beta(2, 6, n)
    columns = [base, base + full + rng.normal(0, noise, n), base + lora + rng.normal(0, noise, n)]
    return recovery(Bootstrap(np.stack(columns, axis=1)), 0, 1, 2)


def test_a_clear_gain_has_a_share_with_its_interval():
    found = headline(400, 0.12, 0.10, 0.05)
    assert found.share.mean == pytest.approx(10 / 12, abs=0.05) and found.share.low < 10 / 12 < found.share.high
    percent = f"{100 * found.share.mean:.0f} % [{100 * found.share.low:.0f}, {100 * found.share.high:.0f}]"
    assert found.sentence == (
        f"LoRA recovers {percent} of the full fine-tune's gain over the original in ROUGE-1 (400 dialogues)."
    )


def test_the_share_can_exceed_100_percent():
    assert headline(400, 0.10, 0.12, 0.05).share.mean > 1


@pytest.mark.parametrize(("n", "full", "noise"), [(MIN_EXAMPLES - 1, 0.12, 0.01), (40, 0.01, 0.10), (15, 0.10, 0.12)])
def test_no_share_is_reported_for_too_few_dialogues(n, full, noise):
    found = headline(n, full, full, noise)
    assert found.share is None and found.sentence.startswith("Too few dialogues to estimate")
    assert f"on {n} dialogues." in found.sentence and f"{100 * found.gain.mean:+.1f}" in found.sentence


def test_no_share_is_reported_without_a_gain():
    found = headline(200, -0.10, 0.05, 0.05)
    assert found.share is None and found.sentence.startswith("The full fine-tune has no gain to recover: -")


def test_the_rule_names_its_limits():
    assert str(MIN_EXAMPLES) in RULE and "100 points" in RULE and RULE.endswith(".")
