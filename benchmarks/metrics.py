"""Times the metrics and checks per 100 summaries, as a ratio to ROUGE, and prints every metric of shipped evaluations.

    python benchmarks/metrics.py

The summaries are the recorded ones: for the times those of the samples, with one reference each, for the values those
of DialogSum's validation. For the judge's time see judge.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dsum_demo.composition import load_settings, saved_evaluations
from dsum_demo.evaluation.export import checked
from dsum_demo.evaluation.records import Evaluation
from dsum_demo.evaluation.report import build_report
from dsum_demo.evaluation.storage import read_evaluation
from dsum_demo.metrics import checks, fragments, grounding, overlap
from dsum_demo.metrics.checks import CHECKS
from dsum_demo.metrics.rouge import rouge_scores
from dsum_demo.metrics.scores import METRICS

EVALUATIONS = ("smollm2-135m-validation", "smollm2-135m-validation-named")
# From a summary, its dialogue and its references.
TIMED: dict[str, Callable[[str, str, tuple[str, ...]], Any]] = {
    "ROUGE-1, -2, -L and -Lsum": lambda s, d, r: [rouge_scores(s, text) for text in r],
    "chrF": lambda s, d, r: checks.chrf(s, r),
    "Extractive coverage": lambda s, d, r: fragments.coverage(s, d),
    "Extractive density": lambda s, d, r: fragments.density(s, d),
    "Compression": lambda s, d, r: fragments.compression(s, d),
    "Names and numbers of the reference found": lambda s, d, r: grounding.recalled(s, r),
    "Names and numbers not in the dialogue": lambda s, d, r: grounding.ungrounded(s, d),
    "Share copied": lambda s, d, r: overlap.copied_from_dialogue(s, d),
    "Novel bigrams": lambda s, d, r: checks.novel_bigrams(s, d),
    "Repetition": lambda s, d, r: checks.repetition(s),
    "Speakers covered": lambda s, d, r: checks.speakers_covered(s, d),
    "Speakers probably swapped": lambda s, d, r: checks.swapped(s, r),
    "All checks": checks.check_summary,
}


def main() -> None:
    saved = {saved.folder.name: saved.folder for saved in saved_evaluations(load_settings()).list() if saved.shipped}
    texts = [
        (output.text, example.dialogue or "", example.references[:1])
        for example in read_evaluation(saved["smollm2-135m-samples"]).examples
        for output in example.outputs.values()
    ]
    print(f"{len(texts)} summaries of the samples; processor time per 100 summaries")
    seconds: dict[str, float] = {}
    for name, compute in TIMED.items():
        compute(*texts[0])  # imports and word lists
        started = time.process_time()
        for text in texts:
            compute(*text)
        seconds[name] = time.process_time() - started
    rouge = next(iter(seconds.values()))
    for name, taken in seconds.items():
        print(f"{name:<42}{1000 * 100 * taken / len(texts):>9.0f} ms{taken / rouge:>8.2f} x ROUGE")
    for name in EVALUATIONS:
        print_values(name, read_evaluation(saved[name]))


def print_values(name: str, evaluation: Evaluation) -> None:
    """The mean of every metric and check by system."""
    report = build_report(evaluation)
    print(f"\n{name}: {len(evaluation.examples)} dialogues, 95 % intervals")
    print(f"{'':<42}" + "".join(f"{system.name:>36}" for system in report.systems))
    for name, metric in METRICS.items():
        print(f"{metric.title:<42}" + "".join(f"{system.f1[name].text():>36}" for system in report.systems))
    for check in CHECKS:
        if check.needs != "judge" or evaluation.judge:
            cells = (checked(check, system.checks[check.name]) for system in report.systems)
            print(f"{check.title:<42}" + "".join(f"{cell:>36}" for cell in cells))


if __name__ == "__main__":
    main()
