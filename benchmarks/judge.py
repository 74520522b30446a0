"""Compares the judge with one text at a time: processor time per 100 summaries, and how far the values differ.

    python benchmarks/judge.py [--judge NAME] [--dialogues 12]

The dialogues are the shipped samples, each with its three references and the recorded summaries of three systems.
"""

from __future__ import annotations

import argparse
import math
import time

import torch

from dsum_demo.composition import load_settings, make_judges, saved_evaluations
from dsum_demo.evaluation.storage import read_evaluation
from dsum_demo.judge.likelihood_judge import LikelihoodJudge
from dsum_demo.models.prompts import Prompt


def log_probability(judge: LikelihoodJudge, prompt: Prompt, text: str, target: list[int]) -> float:
    ids = prompt.encode(judge.loaded.tokenizer, text)
    logits = judge.loaded.model(input_ids=torch.tensor([[*ids, *target]])).logits[0, len(ids) - 1 : -1].float()
    return float(logits.log_softmax(dim=-1).gather(1, torch.tensor(target)[:, None]).double().sum())


def one_at_a_time(judge: LikelihoodJudge, items: list[tuple[str, list[str]]]) -> list[float]:
    """Faithfulness in bits per token, with a forward pass for every text and condition."""
    values = []
    for dialogue, texts in items:
        for text in texts:
            target = judge.loaded.tokenizer(text.strip(), add_special_tokens=False)["input_ids"]
            given, alone = (log_probability(judge, judge.prompt, source, target) for source in (dialogue, ""))
            values.append((given - alone) / len(target) / math.log(2))
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--judge", default="")
    parser.add_argument("--dialogues", type=int, default=12)
    arguments = parser.parse_args()
    settings = load_settings()
    judges = make_judges(settings)
    judge = judges.load(judges.find(arguments.judge))
    shipped = next(saved for saved in saved_evaluations(settings).list() if saved.shipped and saved.data == "samples")
    examples = read_evaluation(shipped.folder).examples[: arguments.dialogues]
    items = [
        (
            example.dialogue or "",
            list(dict.fromkeys([*example.references, *(o.text for o in example.outputs.values())])),
        )
        for example in examples
    ]
    number = sum(len(texts) for _, texts in items)
    list(judge.judge(items[:1]))  # warm up
    with torch.inference_mode():
        started = time.process_time()
        plain = one_at_a_time(judge, items)
        one = time.process_time() - started
    seconds = {}
    for name, coverage in (("faithfulness", False), ("faithfulness and coverage", True)):
        started = time.process_time()
        found = dict(judge.judge(items, coverage=coverage))
        seconds[name] = time.process_time() - started
    shared = [j.faithfulness or 0.0 for place in range(len(items)) for j in found[place]]
    difference = max(abs(a - b) for a, b in zip(plain, shared, strict=True))
    print(f"{judge.name}, {judge.loaded.dtype}, {torch.get_num_threads()} threads, {number} summaries")
    print(f"one text at a time  {100 * one / number:6.1f} s of processor time per 100 summaries (faithfulness)")
    for name, taken in seconds.items():
        print(f"judge               {100 * taken / number:6.1f} s of processor time per 100 summaries ({name})")
    print(f"ratio {seconds['faithfulness'] / one:.2f}; largest difference {difference:.4f} bits per token")


if __name__ == "__main__":
    main()
