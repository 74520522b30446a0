"""Writes what ships: fp16 safetensors that load as fp32, tokenizer, generation config and a model card each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from string import Template
from typing import Any

from safetensors.torch import load_file, save_file

from dsum_demo.data.examples import TRAINING_FINGERPRINTS

CARDS = Path(__file__).parent / "cards"
SYSTEMS = {"original": "models/dsum-t5-base", "full": "models/dsum-t5-full", "lora": "adapters/dsum-t5-lora"}
BASE_NAME = "dsum-t5-base"


def package(work: Path, out: Path) -> None:
    facts = card_facts(work)
    for system, place in SYSTEMS.items():
        source = work / "base" if system == "original" else work / system / "best"
        target = out / place
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        if system == "lora":
            package_adapter(source, target)
        else:
            package_model(source, target)
        if system != "original":
            # So that an evaluation can tell which dialogues a model was trained on.
            shutil.copy(source / TRAINING_FINGERPRINTS, target / TRAINING_FINGERPRINTS)
        card = Template((CARDS / f"{system}.md").read_text(encoding="utf-8"))
        (target / "README.md").write_text(card.substitute(facts), encoding="utf-8")
    (work / "packaged").write_text("models/ and adapters/ were written\n")


def package_model(source: Path, target: Path) -> None:
    halve(source / "model.safetensors", target / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    # The files are fp16 to be small; a plain load is to compute in fp32, since T5 overflows in fp16.
    config["dtype"] = "float32"
    config.pop("_name_or_path", None)
    write_json(target / "config.json", config)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(source / name, target / name)


def package_adapter(source: Path, target: Path) -> None:
    halve(source / "adapter_model.safetensors", target / "adapter_model.safetensors")
    config = json.loads((source / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = BASE_NAME
    config["inference_mode"] = True
    if isinstance(config.get("target_modules"), list):
        config["target_modules"] = sorted(config["target_modules"])
    write_json(target / "adapter_config.json", config)


def halve(source: Path, target: Path) -> None:
    save_file({name: tensor.half() for name, tensor in load_file(source).items()}, target, metadata={"format": "pt"})


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def card_facts(work: Path) -> dict[str, str]:
    """The figures that the cards' templates name, all of them read from what the stages measured."""
    report = json.loads((work / "report.json").read_text())
    pretraining = [json.loads(line) for line in (work / "pretraining" / "log.jsonl").read_text().splitlines()]
    facts = {
        "pretraining_steps": f"{pretraining[-1]['step']:,}",
        "pretraining_minutes": f"{pretraining[-1]['seconds'] / 60:.0f}",
        "pretraining_loss": f"{pretraining[-1]['loss']:.2f}",
        "signature": report["signature"]["text"],
    }
    for system in SYSTEMS:
        facts[f"{system}_table"] = score_table(report, system)
        facts[f"{system}_line"] = score_row(report, system, "validation", "shipped")
        if system != "original":
            result = json.loads((work / system / "result.json").read_text())
            config = result["config"]
            facts |= {
                f"{system}_minutes": f"{result['seconds'] / 60:.0f}",
                f"{system}_steps": f"{result['steps']:,}",
                f"{system}_config": ", ".join(f"{key} {value}" for key, value in config.items()),
                f"{system}_trained": f"{result['trained_parameters']:,}",
                f"{system}_parameters": f"{result['parameters']:,}",
                f"{system}_share": f"{100 * result['trained_parameters'] / result['parameters']:.1f}",
                "hardware": result["hardware"],
            }
    original, full, lora = (report[f"{s}/validation/shipped"]["rouge1"] for s in SYSTEMS)
    facts["lora_recovers"] = f"{100 * (lora - original) / (full - original):.0f}"
    return facts


def score_row(report: dict[str, Any], system: str, split: str, decode: str) -> str:
    row = report[f"{system}/{split}/{decode}"]
    cells = [f"{row[name]:.2f}" for name in ("rouge1", "rouge2", "rougeL", "rougeLsum")]
    grounded = "–" if row["grounded"] is None else f"{100 * row['grounded']:.1f} %"
    return " | ".join([*cells, f"{row['words']:.1f}", grounded])


def score_table(report: dict[str, Any], system: str) -> str:
    lines = [
        "| Data | Decoding | R1 | R2 | RL | RLsum | words | names and numbers found in the dialogue |",
        "|" + "---|" * 8,
    ]
    for split, decode in (("validation", "greedy"), ("validation", "shipped"), ("selection", "shipped")):
        lines.append(f"| {split} | {decode} | {score_row(report, system, split, decode)} |")
    return "\n".join(lines)
