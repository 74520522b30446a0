"""Repositories for the loopback Hub, shaped like the real ones: a FLAN-T5 trio, a Qwen and DialogSum.

The models are T5 v1.1 in small: gated GELU, an untied head (`tie_word_embeddings` false in config.json, `lm_head`
in the weights), more rows than the tokenizer has pieces. Sharded or whole, safetensors or .bin, as people uploaded
them.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from dsum_demo.models.catalog import read_catalog
from dsum_demo.settings import PROJECT_ROOT

BASE = "google/flan-t5-base"
FULL = "truocpham/flan-dialogue-summary-checkpoint"
LORA = "intotheverse/peft-dialogue-summary-checkpoint"
SMALL = "google/flan-t5-small"
PINNED = {  # the catalog's commits of FLAN-T5 base and its fine-tunes; None: not pinned
    spec.source.location: spec.source.revision
    for family in read_catalog(PROJECT_ROOT).families
    if family.name == "flan-t5-base"
    for spec in family.variants
    if spec.source
}
QWEN = "Qwen/Qwen3-0.6B"
QWEN_ENDS = [2, 0]
DIALOGSUM = "knkarthick/dialogsum"
SPARE_ROWS = 28  # FLAN-T5 has 32,128 rows for 32,100 pieces
TOPICS = ("lunch", "travel", "work", "health")


def flan_model(tokenizer: PreTrainedTokenizerBase, seed: int, **changes: int) -> T5ForConditionalGeneration:
    """A small T5 v1.1 with random weights and an untied head; `changes` go to its config.

    With any tokenizer, its texts have full length and are visible: no logit but 0 has an id that ends or shows
    nothing, and of some hundred random ones the largest is above it.
    """
    torch.manual_seed(seed)
    config = T5Config(
        **{
            "vocab_size": len(tokenizer) + SPARE_ROWS, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2,
            "num_decoder_layers": 2, "num_heads": 4, "feed_forward_proj": "gated-gelu", "dropout_rate": 0.1,
            "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "initializer_factor": 3.0,
            "dense_act_fn": "gelu_new", "is_gated_act": True, **changes,
        }
    )  # fmt: skip
    model = T5ForConditionalGeneration(config).eval()
    head = torch.randn(model.lm_head.weight.shape, generator=torch.Generator().manual_seed(seed + 100))
    for piece in range(len(head)):
        if not tokenizer.decode([piece], skip_special_tokens=True).strip():
            head[piece] = 0
    model.lm_head.weight = torch.nn.Parameter(head)
    return model


def save_flan(
    model: T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    safetensors: bool = True,
    sharded: bool = False,
) -> Path:
    """The model as a Hub repository holds it, in one of four layouts."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder, max_shard_size="40KB" if sharded else "5GB")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}, indent=2))
    if not safetensors:
        _as_bin(folder)
    return folder


def _as_bin(folder: Path) -> None:
    """The same weights as torch saves them, under the names that transformers gave them before safetensors."""
    from safetensors.torch import load_file

    for file in sorted(folder.glob("*.safetensors")):
        name = file.name.replace("model", "pytorch_model", 1).replace(".safetensors", ".bin")
        torch.save(load_file(file), folder / name)
        file.unlink()
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        table = json.loads(index.read_text())
        parts = {k: v.replace("model", "pytorch_model", 1).replace(".safetensors", ".bin")
                 for k, v in table["weight_map"].items()}  # fmt: skip
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({**table, "weight_map": parts}))
        index.unlink()


def save_flan_lora(model: T5ForConditionalGeneration, folder: Path, base: str = BASE) -> Path:
    """A trained LoRA of rank 4 on q and v, as PEFT saves it; `base` is the name in its config. Changes `model`."""
    model.name_or_path = base
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", r=4, lora_alpha=8, target_modules=["q", "v"], lora_dropout=0.05)
    torch.manual_seed(11)
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    adapted.save_pretrained(folder)
    return folder


def save_flan_trio(
    tokenizer: PreTrainedTokenizerBase, root: Path, *, safetensors: bool = True, sharded: bool = False
) -> dict[str, Path]:
    """Folders of a base, a full fine-tune and a LoRA adapter of it, by the repository names of the catalog."""
    layout = {"safetensors": safetensors, "sharded": sharded}
    return {
        BASE: save_flan(flan_model(tokenizer, 1), tokenizer, root / "base", **layout),
        FULL: save_flan(flan_model(tokenizer, 2), tokenizer, root / "full", **layout),
        LORA: save_flan_lora(flan_model(tokenizer, 1), root / "lora"),
    }


def save_qwen(tokenizer: PreTrainedTokenizerBase, folder: Path, seed: int = 1) -> Path:
    """A small Qwen2 with random weights as a Hub repository holds it: biases in q, k and v, two end tokens, a chat
    template in a separate file.
    """
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer) + SPARE_ROWS, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, initializer_range=0.3,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    model.generation_config = GenerationConfig(
        eos_token_id=QWEN_ENDS, pad_token_id=2, do_sample=True, temperature=0.6, top_k=20
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_qwen_lora(base: Path, folder: Path) -> Path:
    """A trained LoRA of rank 4 on every linear layer, as PEFT saves it."""
    model = Qwen2ForCausalLM.from_pretrained(base)
    model.name_or_path = QWEN
    torch.manual_seed(11)
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear"))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return folder


def dialogsum_rows(split: str, dialogues: int) -> list[dict[str, str]]:
    """Rows as DialogSum has them: in its test split three a dialogue, whose ids differ in the last number only."""
    prefix = {"train": "train", "validation": "dev", "test": "test"}[split]
    rows = []
    for number in range(dialogues):
        topic = TOPICS[number % len(TOPICS)]
        dialogue = (
            f'#Person1#: Hello, have you got time for "{topic}" at {number} o\'clock?\n'
            f"#Person2#: Yes, I'd like that, room {number}.\n#Person1#: Good. Don't be late."
        )
        for person in (1, 2, 3) if split == "test" else (0,):
            summary = f"#Person1# and #Person2# agree on {topic}, version {person}."
            rows.append({"id": f"{prefix}_{number}" + (f"_{person}" if person else ""), "dialogue": dialogue,
                         "summary": summary, "topic": f"{topic} {person}".removesuffix(" 0")})  # fmt: skip
    return rows


def dialogsum_csv(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["id", "dialogue", "summary", "topic"], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def dialogsum_repository(train: int = 40, validation: int = 10, test: int = 500) -> dict[str, bytes]:
    """The files of the DialogSum repository: a card, and a CSV for each split (500 test dialogues are 1,500 rows)."""
    sizes = {"train": train, "validation": validation, "test": test}
    card = (
        "---\nlanguage:\n- en\nlicense: cc-by-nc-sa-4.0\ntask_categories:\n- summarization\n"
        "pretty_name: DIALOGSum Corpus\n---\n\n# DialogSum\n"
    )
    return {
        "README.md": card.encode(),
        **{f"{split}.csv": dialogsum_csv(dialogsum_rows(split, n)) for split, n in sizes.items()},
    }


def dialogsum_viewer() -> dict[str, object]:
    """The response of the Hub's dataset viewer, a separate server, for this repository."""
    texts = {"dtype": "string", "_type": "Value"}
    features = dict.fromkeys(("id", "dialogue", "summary", "topic"), texts)
    return {"default": {"config_name": "default", "builder_name": "csv", "dataset_name": "dialogsum",
                        "features": features}}  # fmt: skip


def write_dialogsum(folder: Path, **sizes: int) -> Path:
    """The splits as files in a folder, for DSUM_DIALOGSUM."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in dialogsum_repository(**sizes).items():
        (folder / name).write_bytes(content)
    return folder
