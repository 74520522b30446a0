"""Compares dsum with the notebook's code for the three-way comparison: FLAN-T5-base's shape, or the embedded trio.

    python benchmarks/three_way.py            # two cores, about five minutes, 2 GB of disk in a temporary folder
    python benchmarks/three_way.py --embedded # the embedded SmolLM2 trio, a sample of 10 turns

Notebook: original, fully fine-tuned and a third model with PEFT, each loaded separately in fp32, kept in memory, and
run one after the other. dsum: `ModelStore` and `compare`. The sides alternate for several rounds, each in its own
process; the script prints medians and the median of the rounds' ratios. Weights are random and seeded, because time and
memory do not depend on the text. On a shared machine, `--cores 1` and CPU seconds are more stable, because waiting
threads count as busy. Results are in README.md in this folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

NEW_TOKENS = 48
SOURCE_TOKENS = 230
REPEATS = 4  # timed comparisons per process, after a warm-up
NAMES = ("dsum-t5-base", "dsum-t5-full", "dsum-t5-lora")
EMBEDDED = ("smollm2-135m", "smollm2-135m-dialogsum", "smollm2-135m-dialogsum-lora")


def make_family(folder: Path) -> None:
    """Three models laid out like a checkout: 247,577,856 parameters, a sibling, and LoRA of rank 32 on q and v."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=32128, d_model=768, d_kv=64, d_ff=2048, num_layers=12, num_decoder_layers=12, num_heads=12,
        feed_forward_proj="gated-gelu", decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
        tie_word_embeddings=False,
    )  # fmt: skip
    for seed, name in enumerate(NAMES):
        torch.manual_seed(seed)
        model = T5ForConditionalGeneration(config)
        with torch.no_grad():
            # A separate head that never selects padding or the end token, so every text reaches the maximum length.
            model.lm_head.weight = torch.nn.Parameter(torch.randn(32128, 768) * 0.05)
            model.lm_head.weight[:2] = 0
        if name != "dsum-t5-lora":
            model.save_pretrained(folder / "models" / name)
            _copy_tokenizer(folder / "models" / name)
            continue
        model.name_or_path = NAMES[0]
        lora = LoraConfig(task_type="SEQ_2_SEQ_LM", r=32, lora_alpha=32, target_modules=["q", "v"])
        adapted = get_peft_model(model, lora)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.02)
        adapted.save_pretrained(folder / "adapters" / name)
    (folder / "dialogue.txt").write_text(dialogue(AutoTokenizer.from_pretrained(folder / "models" / NAMES[0])))


def _copy_tokenizer(folder: Path) -> None:
    for file in (ROOT / "models" / NAMES[0]).glob("tokenizer*.json"):
        shutil.copy(file, folder)


def dialogue(tokenizer: Any) -> str:
    """The samples' turns until the prompt has about SOURCE_TOKENS tokens."""
    from dsum_demo.data.examples import read_samples
    from dsum_demo.models.prompts import DEFAULT_PROMPT

    turns = [
        turn for sample in read_samples(ROOT / "samples" / "dialogues.jsonl") for turn in sample.dialogue.split("\n")
    ]
    kept = 1
    while len(DEFAULT_PROMPT.encode(tokenizer, "\n".join(turns[: kept + 1]))) <= SOURCE_TOKENS:
        kept += 1
    return "\n".join(turns[:kept])


def run_notebook(folder: Path) -> dict[str, Any]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

    from dsum_demo.models.prompts import PROMPT_TEMPLATE

    started = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(folder / "models" / NAMES[0])
    original, full, third = (
        AutoModelForSeq2SeqLM.from_pretrained(folder / "models" / name, dtype=torch.float32)
        for name in (NAMES[0], NAMES[1], NAMES[0])
    )
    adapted = PeftModel.from_pretrained(third, folder / "adapters" / NAMES[2], is_trainable=False)
    prompt = PROMPT_TEMPLATE.format(dialogue=(folder / "dialogue.txt").read_text())

    def write() -> list[int]:
        lengths = []
        for model in (original, full, adapted):
            inputs = tokenizer(prompt, return_tensors="pt")
            output = model.generate(
                input_ids=inputs["input_ids"],
                generation_config=GenerationConfig(
                    max_new_tokens=NEW_TOKENS, num_beams=1, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1
                ),
            )
            tokenizer.decode(output[0], skip_special_tokens=True)
            lengths.append(output.shape[1] - 1)
        return lengths

    return measured(started, write)


def run_dsum(folder: Path) -> dict[str, Any]:
    from dsum_demo.comparison import compare
    from dsum_demo.composition import make_store
    from dsum_demo.models.decoding import DecodingConfig
    from dsum_demo.settings import Settings

    started = time.perf_counter()
    settings = Settings(root=folder, data_dir=folder / "data", offline=True, family="dsum-t5")
    store = make_store(settings)
    family = store.registry.default_family
    specs = [spec for spec in family.default_trio() if spec]
    text = (folder / "dialogue.txt").read_text()

    def write() -> list[int]:
        comparison = compare(store, family, specs, text, decode=DecodingConfig(max_new_tokens=NEW_TOKENS))
        return [system.generation.new_tokens if system.generation else 0 for system in comparison.systems]

    return measured(started, write)


def run_notebook_embedded(folder: Path) -> dict[str, Any]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    started = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models" / EMBEDDED[0])

    def load(name: str) -> Any:
        [file] = (ROOT / "models" / name).glob("*.gguf")
        return AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        )

    original, full, third = load(EMBEDDED[0]), load(EMBEDDED[1]), load(EMBEDDED[0])
    adapted = PeftModel.from_pretrained(third, ROOT / "adapters" / EMBEDDED[2], is_trainable=False)
    text = f"{_sample()}\n\nSummarize the conversation above in one or two sentences."
    turns = [{"role": "user", "content": text}]

    def write() -> list[int]:
        lengths = []
        for model in (original, full, adapted):
            inputs = tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            output = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
            new = output[0, inputs["input_ids"].shape[1] :]
            tokenizer.decode(new, skip_special_tokens=True)
            lengths.append(len(new))
        return lengths

    return measured(started, write, equal=False)


def run_dsum_embedded(folder: Path) -> dict[str, Any]:
    from dsum_demo.comparison import compare
    from dsum_demo.composition import make_store
    from dsum_demo.models.decoding import DecodingConfig
    from dsum_demo.settings import Settings

    started = time.perf_counter()
    store = make_store(Settings(data_dir=folder, offline=True, family=EMBEDDED[0]))
    family = store.registry.default_family
    specs = [store.registry.spec(name) for name in EMBEDDED]
    text = _sample()

    def write() -> list[int]:
        comparison = compare(store, family, specs, text, decode=DecodingConfig(max_new_tokens=NEW_TOKENS))
        return [system.generation.new_tokens if system.generation else 0 for system in comparison.systems]

    return measured(started, write, equal=False)


def _sample() -> str:
    from dsum_demo.data.examples import read_samples

    return read_samples(ROOT / "samples" / "dialogues.jsonl")[0].dialogue


def measured(started: float, write: Any, *, equal: bool = True) -> dict[str, Any]:
    """Seconds of the first comparison, with loading, and of later ones (median), and the process's peak bytes.

    equal: every text must have NEW_TOKENS tokens.
    """
    seconds, processor = [], []
    for _ in range(REPEATS + 1):
        worked = time.process_time()
        lengths = write()
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - worked)
        started = time.perf_counter()
        assert not equal or lengths == [NEW_TOKENS] * 3, f"Texts of unequal length cannot be compared: {lengths}"
    return {
        "first": seconds[0],
        "writing": statistics.median(seconds[1:]),
        "processor": statistics.median(processor[1:]),
        "peak": _peak_bytes(),
        "tokens": sum(lengths),
    }


def _peak_bytes() -> int:
    """Peak resident memory. Not ru_maxrss: a child starts with its parent's value."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM; this script runs on Linux.")


def in_a_process(task: str, folder: Path, cores: int) -> dict[str, Any]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(cores),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    arguments = ["--task", task, "--folder", str(folder), "--cores", str(cores)]
    result = subprocess.run(
        [sys.executable, __file__, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(result.stdout.splitlines()[-1])


def report(rounds: list[dict[str, dict[str, Any]]]) -> None:
    rows = [
        ("loading and the first three, s", "first", 1.0),
        ("three summaries, s", "writing", 1.0),
        ("three summaries, processor s", "processor", 1.0),
        ("tokens", "tokens", 1.0),
        ("peak memory, GB", "peak", 1e-9),
    ]
    print(f"{'median of ' + str(len(rounds)) + ' rounds':34}{'notebook':>10}{'dsum':>10}{'ratio':>8}")
    for title, key, scale in rows:
        values = [(each["notebook"][key] * scale, each["dsum"][key] * scale) for each in rounds]
        plain, own = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"{title:34}{plain:10.2f}{own:10.2f}{statistics.median(b / a for a, b in values):8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="folder in which the family is kept for reuse")
    parser.add_argument("--embedded", action="store_true", help="the embedded SmolLM2 trio")
    tasks = {
        "family": make_family,
        "notebook": run_notebook,
        "dsum": run_dsum,
        "notebook-embedded": run_notebook_embedded,
        "dsum-embedded": run_dsum_embedded,
    }
    parser.add_argument("--task", choices=list(tasks), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
        print(json.dumps(tasks[arguments.task](arguments.folder)))
        return
    with tempfile.TemporaryDirectory(prefix="dsum-benchmark-") as temporary:
        folder = arguments.folder or Path(temporary)
        suffix = "-embedded" if arguments.embedded else ""
        if not suffix and not (folder / "dialogue.txt").is_file():
            in_a_process("family", folder, arguments.cores)
        rounds = []
        for number in range(1, arguments.rounds + 1):
            rounds.append(
                {side: in_a_process(f"{side}{suffix}", folder, arguments.cores) for side in ("notebook", "dsum")}
            )
            print(f"round {number}: {json.dumps(rounds[-1])}", file=sys.stderr)
        report(rounds)


if __name__ == "__main__":
    main()
