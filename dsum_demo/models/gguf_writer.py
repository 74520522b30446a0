"""Writes decoder-only models as GGUF files for llama.cpp: settings, vocabulary and quantized tensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsum_demo.errors import ExportError

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter

# By `model_type` in config.json; the names in GGUF are the same.
MODEL_TYPES = ("llama", "qwen2", "qwen3")
_BLOCK = 32  # weights that share a scale
_CONTROL, _NORMAL, _USER_DEFINED, _UNUSED = 3, 1, 4, 5
_GPT2_SPLIT: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_AFTER_SPLIT = {**_GPT2_SPLIT, "use_regex": False}
_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# How the tokenizer splits a text before its merges, and llama.cpp's name of that (`tokenizer.ggml.pre`).
_PRE_TOKENIZERS: Mapping[str, list[dict[str, Any]]] = {
    "gpt-2": [_GPT2_SPLIT],
    "smollm": [{"type": "Digits", "individual_digits": True}, _GPT2_SPLIT],
    "qwen2": [{"type": "Split", "pattern": {"Regex": rf"{_LETTERS}\p{{N}}{_REST}"}}, _AFTER_SPLIT],
    "llama-bpe": [{"type": "Split", "pattern": {"Regex": rf"{_LETTERS}\p{{N}}{{1,3}}{_REST}"}}, _AFTER_SPLIT],
}


@dataclass(frozen=True)
class Quantization:
    """layers, embedding: ggml's type of the matrices in the layers, and of the embedding and the head, which decide the
    next token and are a fifth of a small model. file_type: llama.cpp's name.
    """

    layers: str
    embedding: str
    file_type: str


QUANTIZATIONS = {
    "f16": Quantization("F16", "F16", "MOSTLY_F16"),
    "q8_0": Quantization("Q8_0", "Q8_0", "MOSTLY_Q8_0"),
    "q4_0": Quantization("Q4_0", "Q8_0", "MOSTLY_Q4_0"),
}


def check_config(name: str, config: Any) -> None:
    """Raise ExportError if the model has a setting that this module does not write."""
    if config.model_type not in MODEL_TYPES:
        raise ExportError(
            f"{name} is of the model_type {config.model_type!r}; GGUF files are written for {', '.join(MODEL_TYPES)}."
        )
    rope = dict(getattr(config, "rope_parameters", None) or {})
    if rope.get("rope_type", "default") != "default":
        raise ExportError(f"{name} scales its positions ({rope['rope_type']}), which is not written to GGUF files.")


def write_gguf(
    file: Path, model: Any, tokenizer: Any, *, title: str, end: int, chat: bool, quantization: Quantization
) -> Iterator[float]:
    """Write the model; yields the share that is prepared after each tensor.

    title: `general.name`. end: the token that ends a summary. chat: whether prompts are written in the chat template,
    which contains its start token. Raises ExportError for a vocabulary or setting that GGUF files of this module lack.
    """
    import gguf

    check_config(title, model.config)
    writer = gguf.GGUFWriter(file, model.config.model_type)
    try:
        writer.add_type("model")
        writer.add_name(title)
        writer.add_file_type(gguf.LlamaFileType[quantization.file_type])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        _add_settings(writer, model.config)
        _add_vocabulary(writer, title, model, tokenizer, end, chat)

        def kind(name: str) -> GGMLQuantizationType:
            embedding = any(part in name for part in ("embed_tokens", "lm_head"))
            return gguf.GGMLQuantizationType[quantization.embedding if embedding else quantization.layers]

        yield from add_tensors(writer, model, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def add_tensors(writer: GGUFWriter, model: Any, kind: Callable[[str], GGMLQuantizationType]) -> Iterator[float]:
    """Add every tensor, a tied one once; yields the share that is done. kind: the type of a matrix, by its name in
    transformers; vectors, and matrices whose rows are no whole blocks, keep more bits.
    """
    import gguf

    config = model.config
    architecture = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[config.model_type]
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    parameters = dict(model.named_parameters())
    done, total = 0, sum(parameter.numel() for parameter in parameters.values())
    for name, parameter in parameters.items():
        values = parameter.detach().float().cpu().numpy()
        module = name.split(".")[-2]
        if config.model_type == "llama" and module in heads:
            values = _interleave(values, heads[module])
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise ExportError(f"The tensor {name} has no name in GGUF files.")
        stored = kind(name) if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        if values.shape[-1] % _BLOCK and stored.name != "F32":
            stored = gguf.GGMLQuantizationType.F16
        writer.add_tensor(target, gguf.quants.quantize(values, stored), raw_dtype=stored)
        done += parameter.numel()
        yield done / total


def _interleave(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys in llama.cpp's order: its rotary embedding turns neighbors, transformers' the halves."""
    rows = values.shape[0]
    return values.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(values.shape)


def _add_settings(writer: GGUFWriter, config: Any) -> None:
    rope = dict(getattr(config, "rope_parameters", None) or {})
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or 10_000.0))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _add_vocabulary(writer: GGUFWriter, title: str, model: Any, tokenizer: Any, end: int, chat: bool) -> None:
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    rows = model.get_input_embeddings().weight.shape[0]
    added = tokenizer.added_tokens_decoder
    tokens = [token or f"[PAD{i}]" for i, token in enumerate(tokenizer.convert_ids_to_tokens(range(rows)))]
    kinds = [
        (_CONTROL if added[i].special else _USER_DEFINED) if i in added else _NORMAL if i < len(tokenizer) else _UNUSED
        for i in range(rows)
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(title, state))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    merges = state["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_add_space_prefix(False)
    writer.add_add_bos_token(not chat and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id)
    writer.add_eos_token_id(end)
    for number, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.unk_token_id, writer.add_unk_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if number is not None:
            add(number)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _pre_tokenizer(title: str, state: Mapping[str, Any]) -> str:
    """llama.cpp's name of how the tokenizer splits a text. Raises ExportError for another vocabulary."""
    kind, own = state["model"]["type"], state.get("pre_tokenizer") or {}
    steps = own.get("pretokenizers", [own])
    for name, expected in _PRE_TOKENIZERS.items():
        if kind == "BPE" and len(steps) == len(expected) and all(map(_matches, steps, expected)):
            return name
    raise ExportError(
        f"{title} has a {kind} tokenizer that splits texts in a way that is unknown here; GGUF files are written for "
        f"the byte-level tokenizers of {', '.join(_PRE_TOKENIZERS)}."
    )


def _matches(step: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return all(step.get(key) == value for key, value in expected.items())
