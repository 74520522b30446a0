"""From a folder to a module that can write: precision, whole models, and adapters over a base's own tensors.

Knows files, transformers and PEFT; nothing of registries, downloads or what stays in memory.
"""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from dsum_demo.errors import DsumError, IncompatibleAdapterError, ModelUnavailableError, UnsafeWeightsError
from dsum_demo.models.adapters import adapter_config, base_shapes, check_adapter, check_tensors, reads_base
from dsum_demo.models.architectures import Architecture, architecture_of
from dsum_demo.models.bfloat16 import computes_in_float32, leave_rows_in_a_file, suit_cpu, unpack
from dsum_demo.models.prompts import DEFAULT_PROMPT, Prompt
from dsum_demo.utils.checkpoint_files import (
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

# PEFT reads an attribute that transformers deprecates, once per adapter.
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
    """What a model's weights are kept in: bfloat16 for a large one, which takes half the memory so, on a CPU without
    bfloat16 too (`bfloat16_layers`); float32 for a small one, which stays in what it was trained and scored in. Never
    float16, in which T5 overflows to NaN.
    """
    large = parameters * 4 >= HALF_PRECISION_FROM_BYTES
    return torch.bfloat16 if large and (native_bf16() or device().type == "cpu") else torch.float32


def expected_parameters(folder: Path) -> int:
    """How many parameters loading `folder` will bring, told from its files."""
    weights = find_weights(folder, adapter=False)
    if weights.lists_tensors:
        return count_parameters(shapes_of(read_entries(weights)))
    return weights.size_bytes // 4


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Raises ModelUnavailableError where the folder has none that can be loaded."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **_in_gguf(folder, "tokenizer.json")
        )
    except Exception as error:
        raise ModelUnavailableError(f"{model_name(folder)} holds no tokenizer that can be loaded: {error}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # what many decoder-only models pad with
    return tokenizer


def load_config(folder: Path) -> Any:
    """The model's config, from config.json or its GGUF file. Raises what transformers raises."""
    return AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, **_in_gguf(folder, "config.json")
    )


def _in_gguf(folder: Path, name: str) -> dict[str, str]:
    """The argument with which transformers reads what `name` would hold from the folder's GGUF file; none if there is
    such a file, because that takes seconds less.
    """
    quantized = next(folder.glob("*.gguf"), None)
    return {} if quantized is None or (folder / name).is_file() else {"gguf_file": quantized.name}


def load_whole(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    dtype: torch.dtype | None = None,
    prompt: Prompt = DEFAULT_PROMPT,
) -> Any:
    """A complete model, ready to write; in `serving_dtype` unless a dtype is given. prompt: what it will be given; its
    end token ends a summary.

    Raises ModelUnavailableError or UnsafeWeightsError naming the folder.
    """
    weights = find_weights(folder, adapter=False)
    if (folder / "adapter_config.json").exists():
        # transformers would follow it to another model without asking.
        raise ModelUnavailableError(f"{model_name(folder)} holds an adapter beside a whole model; keep one of them.")
    try:
        with _BUILDING:
            disable_progress_bar()  # progress is told by who loads, in sentences
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
        raise _runs_code(folder) from error
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
            f"{model_name(folder)} knows {rows} tokens, its family's tokenizer has {len(tokenizer)}."
        )
    # transformers reads unset arguments from here; a checkpoint's own beams or penalties would make the models differ.
    model.generation_config = GenerationConfig(**architecture.token_ids(model, tokenizer, prompt))
    architecture.optimize(model)
    model = model.to(device()).eval().requires_grad_(False)
    suit_cpu(model)
    leave_rows_in_a_file(model)
    return model


def _converted(
    config: Any, architecture: Architecture, weights: WeightFiles, dtype: torch.dtype
) -> tuple[Any, dict[str, Any]]:
    """The model in another precision than its file's, without ever having both in memory; and transformers' report."""
    entries = read_entries(weights)
    read = _read_gguf(config, weights.files[0]) if weights.gguf else _read_safetensors
    largest_first = sorted(entries, key=lambda name: entries[name].begin - entries[name].end)
    tensors = {name: read(name, entries[name], dtype) for name in largest_first}
    with torch.device("meta"):
        model_class = type(architecture.auto_class.from_config(config, trust_remote_code=False))
    return model_class.from_pretrained(None, config=config, state_dict=tensors, dtype=dtype, output_loading_info=True)


def _read_safetensors(name: str, entry: TensorEntry, dtype: torch.dtype) -> torch.Tensor:
    from safetensors import safe_open

    # Opened anew for each: what has been read of an open file stays in memory.
    with safe_open(entry.file, framework="pt") as opened:
        tensor: torch.Tensor = opened.get_tensor(name).to(dtype, copy=True)
    return tensor


def _read_gguf(config: Any, file: Path) -> Callable[[str, TensorEntry, torch.dtype], torch.Tensor]:
    """Return what reads a tensor and dequantizes it. transformers' own loader gives the same values in three times the
    time, most of which it spends on the vocabulary.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, dequantize

    # llama.cpp keeps the rows of each head of a Llama's queries and keys in pairs; transformers in halves.
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
    """The adapter in `folder` around a second module tree over the tensors of `base`, whose own modules stay untouched.

    Also how many parameters the adapter has, as saved (PEFT adds bookkeeping of its own to some). Raises
    IncompatibleAdapterError where it does not fit, UnsafeWeightsError or ModelUnavailableError.
    """
    from peft import PeftModel, get_peft_model_state_dict

    shapes: dict[str, Shape] = {name: tuple(tensor.shape) for name, tensor in base.state_dict().items()}
    architecture = architecture_of(base.config.model_type)
    check_adapter(folder, architecture, shapes)
    saved = _adapter_tensors(folder, base_shapes(shapes, architecture))
    try:
        second = twin(base)
        if reads_base(adapter_config(folder)):
            unpack(second)
        # The adapter computes in its base's precision: no casts to float32 and back inside every layer.
        model = PeftModel.from_pretrained(
            second, str(folder), is_trainable=False, autocast_adapter_dtype=computes_in_float32(base),
            local_files_only=True,
        )  # fmt: skip
    except Exception as error:
        raise IncompatibleAdapterError(f"{model_name(folder)} does not fit its base: {first_line(error)}") from error
    # Vocabulary rows are compared with the Hub otherwise.
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    missing = sorted(set(wanted) - set(saved))
    if missing:
        raise IncompatibleAdapterError(
            f"{model_name(folder)} lacks {len(missing)} weights that its adapter_config.json asks for ({missing[0]})."
        )
    return model.to(device()).eval(), sum(tensor.numel() for tensor in saved.values())


def twin(model: Any) -> Any:
    """A second tree of modules over the very same tensors: what is wrapped or hooked there changes nothing here."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, memo=shared)


def merged(model: Any) -> Any:
    """A PEFT model's LoRA added to matrices of its own, which then are all there is to multiply; any other as it is.

    The others' tensors are shared, and the model stays untouched. Sums are rounded otherwise than beside a matrix, by
    about a float32's last digit.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    configs = getattr(model, "peft_config", {}).values()
    if {config.peft_type for config in configs} != {"LORA"}:
        return model
    second = twin(model)
    for module in second.modules():
        if isinstance(module, BaseTunerLayer):
            layer: Any = module.get_base_layer()
            layer.weight = torch.nn.Parameter(layer.weight.clone(), requires_grad=False)
    return second.merge_and_unload()


def count(model: Any) -> int:
    """Parameters, tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _adapter_tensors(folder: Path, shapes: Mapping[str, Shape]) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    weights = find_weights(folder, adapter=True)
    file = weights.files[0]
    if weights.safetensors:
        tensors = load_file(file)
    else:
        try:
            tensors = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise _runs_code(folder) from error
        except Exception as error:
            raise ModelUnavailableError(
                f"{file.name} in {model_name(folder)} cannot be read: {first_line(error)}"
            ) from error
        zero = {name for name, tensor in tensors.items() if not tensor.any()}
        sizes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        check_tensors(model_name(folder), adapter_config(folder), sizes, zero, shapes)
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise IncompatibleAdapterError(
            f"{model_name(folder)} holds values that are no numbers (in {broken[0]}); train it again."
        )
    return tensors


def _runs_code(folder: Path) -> UnsafeWeightsError:
    return UnsafeWeightsError(
        f"The weights in {model_name(folder)} are a pickle that holds more than tensors and could run code; it was "
        "not run. Save them as safetensors."
    )
