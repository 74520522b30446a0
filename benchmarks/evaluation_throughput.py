"""Compares dialogues per second of an evaluation with three systems with a plain loop, both in the same run:

    python benchmarks/evaluation_throughput.py [--data dialogsum:validation] [--limit 200]

Plain loop: unmodified transformers and PEFT, one dialogue at a time, one model after the other, float32. Evaluation:
`dsum_demo.evaluation`, in float32 and, if the CPU supports it, in bfloat16. Models are loaded before; both include
scoring. The speed of a shared machine varies, so the sides alternate: a part of the dialogues with the plain loop, then
all of them with the evaluation, whose median is reported. Differing texts and tokens are counted. Models: the embedded
family.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

from dsum_demo.composition import load_settings, make_sources, make_store
from dsum_demo.data.dialogues import clean_dialogue
from dsum_demo.data.examples import Example, draw
from dsum_demo.data.sources import SAMPLES
from dsum_demo.errors import DataError
from dsum_demo.evaluation.runner import evaluate
from dsum_demo.evaluation.scoring import new_record, score_output
from dsum_demo.models.catalog import Kind, ModelSpec
from dsum_demo.models.loading import native_bf16
from dsum_demo.models.prompts import DEFAULT_PROMPT
from dsum_demo.models.store import ModelStore

Texts = Mapping[tuple[str, str], str]


def plain_models(store: ModelStore, specs: list[ModelSpec]) -> dict[str, Any]:
    models = {}
    for spec in specs:
        base = store.registry.spec(spec.base) if spec.kind is Kind.ADAPTER else spec
        model: Any = AutoModelForSeq2SeqLM.from_pretrained(store.registry.folder_of(base), dtype=torch.float32)
        models[spec.name] = model if base is spec else PeftModel.from_pretrained(model, store.registry.folder_of(spec))
    return models


def plain(store: ModelStore, models: Mapping[str, Any], examples: list[Example]) -> Texts:
    family = store.registry.default_family
    decode = family.decode
    tokenizer = AutoTokenizer.from_pretrained(store.registry.folder_of(family.base))
    config = GenerationConfig(
        max_new_tokens=decode.max_new_tokens, num_beams=decode.num_beams, do_sample=False,
        no_repeat_ngram_size=decode.no_repeat_ngram_size, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, decoder_start_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    records = [new_record(example, number) for number, example in enumerate(examples, 1)]
    texts = {}
    for name, model in models.items():
        for record, example in zip(records, examples, strict=True):
            fitted = DEFAULT_PROMPT.fit(tokenizer, clean_dialogue(example.dialogue), family.max_source_tokens)
            written = model.generate(input_ids=torch.tensor([fitted.source_ids]), generation_config=config)
            texts[example.id, name] = tokenizer.decode(written[0], skip_special_tokens=True).strip()
            score_output(record, texts[example.id, name])
    return texts


def batched(store: ModelStore, specs: list[ModelSpec], examples: list[Example], bf16: bool) -> Texts:
    *_, last = evaluate(store, specs, examples, bf16=bf16)
    return {(e.id, name): output.text for e in last.evaluation.examples for name, output in e.outputs.items()}


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """The result of `work`, run in a thread that ends: if more threads than cores have used OpenMP, all of them sleep
    between operations, which makes the second side a third slower.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work, *arguments).result()


def differences(store: ModelStore, one: Texts, other: Texts) -> str:
    """The number of differing texts, and of differing tokens by position."""
    tokenizer = store.load(store.registry.default_family.base).tokenizer
    texts = tokens = total = 0
    for key, text in one.items():
        left, right = (tokenizer(text)["input_ids"] for text in (text, other[key]))
        total += len(left)
        differ = sum(a != b for a, b in zip(left, right, strict=False)) + abs(len(left) - len(right))
        texts, tokens = texts + bool(differ), tokens + differ
    return f"{texts} of {len(one)} texts and {tokens} of {total:,} tokens differ from the plain loop's"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="dialogsum:validation", help="a data source, as for `dsum evaluate`")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    settings = replace(load_settings(), data_dir=Path(tempfile.gettempdir()))
    sources = make_sources(settings)
    try:
        examples = sources.read(options.data)
    except DataError as error:
        print(f"{error} The samples are used.", file=sys.stderr)
        examples = sources.read(SAMPLES)
    examples = draw(examples, options.limit, seed=0)
    store = make_store(settings)
    specs = [spec for spec in store.registry.default_family.default_trio() if spec]
    models = apart(plain_models, store, specs)
    apart(plain, store, models, examples[:2])
    print(
        f"{len(examples)} dialogues, {len(specs)} systems, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    sides = {"float32": False, **({"bfloat16": True} if native_bf16() else {})}
    for bf16 in sides.values():
        apart(batched, store, specs, examples[:2], bf16)
    slow, seconds, reference, texts = 0.0, {side: [] for side in sides}, {}, {}
    for number in range(options.rounds):
        started = time.perf_counter()
        reference |= apart(plain, store, models, examples[number :: options.rounds])
        slow += time.perf_counter() - started
        for side, bf16 in sides.items():
            started = time.perf_counter()
            texts[side] = apart(batched, store, specs, examples, bf16)
            seconds[side].append(time.perf_counter() - started)
    print(f"plain, float32:       {len(examples) / slow:6.2f} dialogues/s")
    for side in sides:
        quick = statistics.median(seconds[side])
        print(f"evaluation, {side + ':':<10}{len(examples) / quick:6.2f} dialogues/s, {slow / quick:.1f}x;", end=" ")
        print(differences(store, reference, texts[side]), flush=True)
    if "bfloat16" not in sides:
        print("bfloat16: not supported by this CPU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
