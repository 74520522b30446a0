"""The headline: the share of the full fine-tune's gain over the original that LoRA recovers."""

from __future__ import annotations

from dataclasses import dataclass

from dsum_demo.metrics.bootstrap import MIN_EXAMPLES, Bootstrap, Interval

# The largest width of the share's interval for which it is reported.
WIDEST = 1.0
RULE = (
    f"The share is not reported with fewer than {MIN_EXAMPLES} dialogues, if the 95 % interval of the full fine-tune's "
    f"gain contains zero, or if the interval of the share is wider than {100 * WIDEST:.0f} points."
)


@dataclass(frozen=True)
class Recovery:
    """share: LoRA's gain divided by the full fine-tune's (1 is 100 %), None if not reported; `sentence` has the reason.
    gain: of the full fine-tune over the original.
    """

    sentence: str
    rouge: str
    share: Interval | None
    gain: Interval


def recovery(resampled: Bootstrap, original: int, full: int, lora: int) -> Recovery:
    """The headline from the columns of the three systems' ROUGE-1 F1; see RULE for when it has no share."""
    gain = resampled.difference(full, original)
    share = resampled.ratio_of_gains(lora, full, original)
    n = f"{gain.n} dialogue{'' if gain.n == 1 else 's'}"
    points = f"{gain.text(sign='+')} points of ROUGE-1 on {n}"
    if gain.high is not None and gain.high < 0:
        return Recovery(f"The full fine-tune has no gain to recover: {points}.", "rouge1", None, gain)
    low, high = share.low, share.high
    if not gain.excludes_zero or low is None or high is None or high - low > WIDEST:
        sentence = f"Too few dialogues to estimate the share of the full fine-tune's gain that LoRA recovers: {points}."
        return Recovery(sentence, "rouge1", None, gain)
    return Recovery(
        f"LoRA recovers {share.text(digits=0, unit=' %')} of the full fine-tune's gain over "
        f"the original in ROUGE-1 ({n}).",
        "rouge1",
        share,
        gain,
    )
