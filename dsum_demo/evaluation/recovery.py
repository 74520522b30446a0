"""The headline: which share of the full fine-tune's gain over the original LoRA recovers, or why that cannot be told.

Knows resampled means; nothing of texts, models or pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from dsum_demo.metrics.bootstrap import MIN_EXAMPLES, Bootstrap, Interval

# Beyond this width of its interval, in shares of the full fine-tune's gain, the headline would say nothing.
WIDEST = 1.0
RULE = (
    f"Too few to tell: fewer than {MIN_EXAMPLES} dialogues, a gain of the full fine-tune whose 95 % interval holds "
    f"zero, or an interval of the share that is wider than {100 * WIDEST:.0f} points."
)


@dataclass(frozen=True)
class Recovery:
    """share: LoRA's gain over the full fine-tune's (1 is 100 %), None where `sentence` says why not. gain: the full
    fine-tune's over the original.
    """

    sentence: str
    rouge: str
    share: Interval | None
    gain: Interval


def recovery(resampled: Bootstrap, original: int, full: int, lora: int) -> Recovery:
    """The headline from the columns that hold the three systems' ROUGE-1 F1. Where RULE holds, it cannot be told."""
    gain = resampled.difference(full, original)
    share = resampled.ratio_of_gains(lora, full, original)
    n = f"{gain.n} dialogue{'' if gain.n == 1 else 's'}"
    told = f"{100 * gain.mean:+.1f}"
    if gain.low is not None and gain.high is not None:
        told += f" [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    told += f" points of ROUGE-1 on {n}"
    if gain.high is not None and gain.high < 0:
        return Recovery(f"The full fine-tune has no gain to recover: {told}.", "rouge1", None, gain)
    low, high = share.low, share.high
    if not gain.excludes_zero or low is None or high is None or high - low > WIDEST:
        sentence = f"Too few dialogues to tell how much of the full fine-tune's gain LoRA recovers: the gain is {told}."
        return Recovery(sentence, "rouge1", None, gain)
    return Recovery(
        f"LoRA recovers {100 * share.mean:.0f} % [{100 * low:.0f}, {100 * high:.0f}] of the full fine-tune's gain over "
        f"the original in ROUGE-1 ({n}).",
        "rouge1",
        share,
        gain,
    )
