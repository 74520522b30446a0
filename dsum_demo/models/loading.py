"""Loads models from folders: precision, full models, and adapters that share their base's tensors."""

from __future__ import annotations

import codecs
import copy
import json
import pickle
import re
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from dsum_demo.errors import DsumError, IncompatibleAdapterError, ModelUnavailableError
from dsum_demo.models.adapter_weights import read_bin, runs_code
from dsum_demo.models.adapters import adapter_config, check_adapter, reads_base
from dsum_demo.models.architectures import Architecture, architecture_of
from dsum_demo.models.bfloat16 import computes_in_float32, offload_embedding, optimize_for_cpu, unpack
from dsum_demo.models.prompts import DEFAULT_PROMPT, Prompt
from dsum_demo.utils.checkpoint_files import (
    ADAPTER_FILES,
    Shape,
    TensorEntry,
    WeightFiles,
    count_parameters,
    find_weights,
    model_name,
    read_entries,
    shapes_of,
)
from dsum_demo.utils.formatting import first_line
from dsum_demo.utils.gguf_header import read_gguf_header

HALF_PRECISION_FROM_BYTES = 500_000_000
# In names that `state_dict()` gives; save_pretrained leaves the adapter's name out.
_ADAPTER_NAME = re.compile(r"(\.(?:lora_\w+|ia3_l))\.default(?=\.|$)")

# PEFT reads a deprecated attribute of transformers once per adapter.
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)

# transformers sets the process's default dtype while it builds a model: one at a time.
_BUILDING = threading.Lock()


def native_bf16() -> bool:
    """Whether the device that models run on multiplies bfloat16 in hardware."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"))


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def serving_dtype(parameters: int) -> torch.dtype:
    """The dtype of a model's weights at inference: bfloat16 for a large model, which halves its memory, also on a CPU
    without bfloat16 arithmetic (`bfloat16`); float32 for a small one, as in training and evaluation. Never float16, in
    which T5 overflows to NaN.
    """
    large = parameters * 4 >= HALF_PRECISION_FROM_BYTES
    return torch.bfloat16 if large and (native_bf16() or device().type == "cpu") else torch.float32


def expected_parameters(folder: Path) -> int:
    """The number of parameters in `folder`, read from its files."""
    weights = find_weights(folder, adapter=False)
    if weights.lists_tensors:
        return count_parameters(shapes_of(read_entries(weights)))
    return weights.size_bytes // 4


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Raises ModelUnavailableError if the folder has no tokenizer that can be loaded."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **_in_gguf(folder, "tokenizer.json")
        )
    except Exception as error:
        raise ModelUnavailableError(f"{model_name(folder)} has no tokenizer that can be loaded: {error}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # many decoder-only models define no padding token
    return tokenizer


def load_config(folder: Path) -> Any:
    """The model's config, from config.json or its GGUF file. Raises what transformers raises."""
    return AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, **_in_gguf(folder, "config.json")
    )


def _in_gguf(folder: Path, name: str) -> dict[str, str]:
    """The argument that makes transformers read the content of `name` from the folder's GGUF file; none if `name`
    exists, because reading it is seconds faster.
    """
    quantized = next(folder.glob("*.gguf"), None)
    return {} if quantized is None or (folder / name).is_file() else {"gguf_file": quantized.name}


def load_whole(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    dtype: torch.dtype | None = None,
    prompt: Prompt = DEFAULT_PROMPT,
) -> Any:
    """A complete model, ready to generate; in `serving_dtype` unless a dtype is given. prompt: the model's prompt; its
    end token ends a summary.

    Raises ModelUnavailableError or UnsafeWeightsError naming the folder.
    """
    model = load_plain(folder, tokenizer, dtype, prompt)
    architecture_of(model.config.model_type).optimize(model)
    model = model.to(device()).eval().requires_grad_(False)
    optimize_for_cpu(model)
    offload_embedding(model)
    return model


def load_plain(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    dtype: torch.dtype | None = None,
    prompt: Prompt = DEFAULT_PROMPT,
) -> Any:
    """The model as transformers has it, on the CPU, without what `load_whole` replaces; arguments and errors are the
    same.
    """
    weights = find_weights(folder, adapter=False)
    if (folder / "adapter_config.json").exists():
        # transformers would load the adapter's base instead.
        raise ModelUnavailableError(
            f"{model_name(folder)} contains both an adapter and a full model; keep one of them."
        )
    try:
        with _BUILDING:
            disable_progress_bar()  # the caller reports progress
            config = load_config(folder)
            architecture = architecture_of(config.model_type)
            dtype = dtype or serving_dtype(expected_parameters(folder))
            if weights.gguf or (weights.safetensors and dtype is torch.bfloat16):
                model, report = _converted(config, architecture, weights, dtype)
            else:
                model, report = architecture.auto_class.from_pretrained(
                    folder,
                    config=config,
                    dtype=dtype,
                    use_safetensors=weights.safetensors,
                    weights_only=True,
                    local_files_only=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                )
    except pickle.UnpicklingError as error:
        raise runs_code(folder) from error
    except DsumError:
        raise
    except Exception as error:
        raise ModelUnavailableError(f"{model_name(folder)} cannot be loaded: {first_line(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelUnavailableError(
            f"{model_name(folder)} lacks {len(missing)} of its weights ({', '.join(missing[:3])}); "
            "fetch or save it again."
        )
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ModelUnavailableError(
            f"{model_name(folder)} has {rows} tokens, its family's tokenizer has {len(tokenizer)}."
        )
    # transformers uses these for unset arguments; a checkpoint's own beams or penalties would bias comparisons.
    model.generation_config = GenerationConfig(**architecture.token_ids(model, tokenizer, prompt))
    return model


def _converted(
    config: Any, architecture: Architecture, weights: WeightFiles, dtype: torch.dtype
) -> tuple[Any, dict[str, Any]]:
    """The model, converted without holding both precisions in memory, and transformers' loading report."""
    entries = read_entries(weights)
    read = _read_gguf(config, weights.files[0]) if weights.gguf else _read_safetensors
    largest_first = sorted(entries, key=lambda name: entries[name].begin - entries[name].end)
    tensors = {name: read(name, entries[name], dtype) for name in largest_first}
    with torch.device("meta"):
        model_class = type(architecture.auto_class.from_config(config, trust_remote_code=False))
    return model_class.from_pretrained(None, config=config, state_dict=tensors, dtype=dtype, output_loading_info=True)


def _read_safetensors(name: str, entry: TensorEntry, dtype: torch.dtype) -> torch.Tensor:
    from safetensors import safe_open

    # Reopened for each tensor: pages read from an open file stay in memory.
    with safe_open(entry.file, framework="pt") as opened:
        tensor: torch.Tensor = opened.get_tensor(name).to(dtype, copy=True)
    return tensor


def _read_gguf(config: Any, file: Path) -> Callable[[str, TensorEntry, torch.dtype], torch.Tensor]:
    """Return a function that reads and dequantizes a tensor. transformers' own loader gives the same values but takes
    three times as long, mostly for the vocabulary.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, dequantize

    # llama.cpp stores the rows of each query and key head of a Llama in pairs, transformers in halves.
    paired = read_gguf_header(file).architecture == "llama"
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads} if paired else {}

    def read(name: str, entry: TensorEntry, dtype: torch.dtype) -> torch.Tensor:
        data = np.fromfile(file, dtype=np.uint8, count=entry.end - entry.begin, offset=entry.begin)
        values = dequantize(data, GGMLQuantizationType[entry.dtype]).reshape(entry.shape)
        number = heads.get(name.split(".")[-2])
        if number:
            values = values.reshape(number, -1, 2, *entry.shape[1:]).swapaxes(1, 2).reshape(entry.shape)
        return torch.from_numpy(np.ascontiguousarray(values)).to(dtype)

    return read


def load_adapted(folder: Path, base: Any) -> tuple[Any, int]:
    """The adapter in `folder` on a second module tree that shares the tensors of `base` and leaves it unmodified.

    Also returns the number of saved adapter parameters (PEFT adds buffers to some). Raises IncompatibleAdapterError if
    it does not fit, UnsafeWeightsError or ModelUnavailableError.
    """
    from peft import PeftModel, get_peft_model_state_dict

    shapes: dict[str, Shape] = {name: tuple(tensor.shape) for name, tensor in base.state_dict().items()}
    architecture = architecture_of(base.config.model_type)
    check_adapter(folder, architecture, shapes)
    saved, renamed = _adapter_tensors(folder)
    try:
        second = twin(base)
        if reads_base(adapter_config(folder)):
            unpack(second)
        # The adapter computes in its base's precision, without casts to float32 and back in every layer. Its file is
        # read on the CPU: an app on ZeroGPU has no GPU when it loads models.
        with _as_peft_saves(folder, saved if renamed else {}, architecture.task_type) as source:
            model = PeftModel.from_pretrained(
                second, str(source), is_trainable=False, autocast_adapter_dtype=computes_in_float32(base),
                local_files_only=True, torch_device="cpu",
            )  # fmt: skip
    except Exception as error:
        raise IncompatibleAdapterError(f"{model_name(folder)} does not fit its base: {first_line(error)}") from error
    # Otherwise PEFT compares the vocabulary size with the Hub.
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    missing = sorted(set(wanted) - set(saved))
    if missing:
        raise IncompatibleAdapterError(
            f"{model_name(folder)} lacks {len(missing)} weights that its adapter_config.json requires ({missing[0]})."
        )
    return model.to(device()).eval(), sum(tensor.numel() for tensor in saved.values())


@contextmanager
def _as_peft_saves(folder: Path, renamed: Mapping[str, torch.Tensor], task_type: str) -> Iterator[Path]:
    """The folder, or a temporary copy that PEFT reads: with a task type, with `renamed` tensors if there are any, and
    without a byte order mark.
    """
    from safetensors.torch import save_file

    config, file = adapter_config(folder), folder / "adapter_config.json"
    if config.get("task_type") and not renamed and not file.read_bytes().startswith(codecs.BOM_UTF8):
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        copied = Path(name)
        (copied / file.name).write_text(json.dumps({**config, "task_type": config.get("task_type") or task_type}))
        if renamed:
            save_file(
                {name: tensor.clone().contiguous() for name, tensor in renamed.items()}, copied / ADAPTER_FILES[0]
            )
        else:
            for weights in find_weights(folder, adapter=True).files:
                shutil.copy(weights, copied)
        yield copied


def twin(model: Any) -> Any:
    """A second module tree over the same tensors; wrapping or hooking its modules does not affect the first."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, memo=shared)


def merged(model: Any) -> Any:
    """A copy of a PEFT model with LoRA merged into its own copies of the adapted matrices; other models are returned.

    All other tensors are shared, and the model is not modified. Results differ from the unmerged model's by rounding,
    about the last digit of a float32.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    configs = getattr(model, "peft_config", {}).values()
    if {config.peft_type for config in configs} != {"LORA"}:
        return model
    second = twin(model)
    for module in second.modules():
        if isinstance(module, BaseTunerLayer):
            layer: Any = module.get_base_layer()
            unpack(layer)  # PEFT cannot add to a packed matrix
            layer.weight = torch.nn.Parameter(layer.weight.clone(), requires_grad=False)
    return second.merge_and_unload()


def count(model: Any) -> int:
    """Parameters, tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _adapter_tensors(folder: Path) -> tuple[dict[str, torch.Tensor], bool]:
    """The tensors by the names that PEFT saves, and whether the file has others, with the adapter's name in them."""
    from safetensors.torch import load_file

    weights = find_weights(folder, adapter=True)
    file = weights.files[0]
    tensors = load_file(file) if weights.safetensors else read_bin(file)
    plain = {_ADAPTER_NAME.sub(r"\1", name): tensor for name, tensor in tensors.items()}
    return plain, plain.keys() != tensors.keys()
