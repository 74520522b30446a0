"""From a folder to a module that can write: precision, whole models, and adapters over a base's own tensors.

Knows files, transformers and PEFT; nothing of registries, downloads or what stays in memory.
"""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase
from transformers.activations import ACT2FN, NewGELUActivation
from transformers.utils.logging import disable_progress_bar

from dsum_demo.errors import IncompatibleAdapterError, ModelUnavailableError, UnsafeWeightsError
from dsum_demo.models.adapters import adapter_config, base_shapes, check_adapter, check_tensors, reads_base
from dsum_demo.models.bfloat16 import computes_in_float32, leave_rows_in_a_file, suit_cpu, unpack
from dsum_demo.models.t5_fast_path import step_by_step
from dsum_demo.utils.checkpoint_files import (
    Shape,
    WeightFiles,
    count_parameters,
    find_weights,
    model_name,
    read_entries,
    shapes_of,
)
from dsum_demo.utils.formatting import first_line

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
    if weights.safetensors:
        return count_parameters(shapes_of(read_entries(weights)))
    return weights.size_bytes // 4


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Raises ModelUnavailableError where the folder has none that can be loaded."""
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise ModelUnavailableError(f"{model_name(folder)} holds no tokenizer that can be loaded: {error}") from error


def load_whole(folder: Path, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype | None = None) -> Any:
    """A complete model, ready to write; in `serving_dtype` unless a dtype is given.

    Raises ModelUnavailableError or UnsafeWeightsError naming the folder.
    """
    weights = find_weights(folder, adapter=False)
    if (folder / "adapter_config.json").exists():
        # transformers would follow it to another model without asking.
        raise ModelUnavailableError(f"{model_name(folder)} holds an adapter beside a whole model; keep one of them.")
    try:
        with _BUILDING:
            disable_progress_bar()  # progress is told by who loads, in sentences
            dtype = dtype or serving_dtype(expected_parameters(folder))
            if weights.safetensors and dtype is torch.bfloat16:
                model, report = _converted(folder, weights, dtype)
            else:
                model, report = AutoModelForSeq2SeqLM.from_pretrained(
                    folder,
                    dtype=dtype,
                    use_safetensors=weights.safetensors,
                    weights_only=True,
                    local_files_only=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                )
    except pickle.UnpicklingError as error:
        raise _runs_code(folder) from error
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
    model.generation_config = _only_token_ids(model, tokenizer)
    _fuse_gelu(model)
    step_by_step(model)
    model = model.to(device()).eval().requires_grad_(False)
    suit_cpu(model)
    leave_rows_in_a_file(model)
    return model


def _converted(folder: Path, weights: WeightFiles, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """The model in another precision than its file's, without ever having both in memory; and transformers' report."""
    from safetensors import safe_open

    entries = read_entries(weights)
    tensors = {}
    for name in sorted(entries, key=lambda name: entries[name].begin - entries[name].end):
        # Opened anew for each: what has been read of an open file stays in memory.
        with safe_open(entries[name].file, framework="pt") as opened:
            tensors[name] = opened.get_tensor(name).to(dtype, copy=True)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        architecture = type(AutoModelForSeq2SeqLM.from_config(config, trust_remote_code=False))
    return architecture.from_pretrained(None, config=config, state_dict=tensors, dtype=dtype, output_loading_info=True)


def load_adapted(folder: Path, base: Any) -> tuple[Any, int]:
    """The adapter in `folder` around a second module tree over the tensors of `base`, whose own modules stay untouched.

    Also how many parameters the adapter has, as saved (PEFT adds bookkeeping of its own to some). Raises
    IncompatibleAdapterError where it does not fit, UnsafeWeightsError or ModelUnavailableError.
    """
    from peft import PeftModel, get_peft_model_state_dict

    shapes: dict[str, Shape] = {name: tuple(tensor.shape) for name, tensor in base.state_dict().items()}
    check_adapter(folder, shapes)
    saved = _adapter_tensors(folder, shapes)
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
        check_tensors(model_name(folder), adapter_config(folder), sizes, zero, base_shapes(shapes))
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise IncompatibleAdapterError(
            f"{model_name(folder)} holds values that are no numbers (in {broken[0]}); train it again."
        )
    return tensors


def _only_token_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    # transformers fills what a call leaves open from here, and a checkpoint's own beams or penalties would make a
    # difference on the screen that is none between the models.
    start = getattr(model.generation_config, "decoder_start_token_id", None)
    if start is None:
        start = getattr(model.config, "decoder_start_token_id", None)
    return GenerationConfig(
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id if start is None else start,
    )


def _fuse_gelu(model: Any) -> None:
    """T5 v1.1's GELU in one step: transformers' `gelu_new` spells the same formula as eight, each with a tensor of the
    widest layer's size (benchmarks/README.md).
    """
    for module in model.modules():
        if isinstance(getattr(module, "act", None), NewGELUActivation):
            module.act = ACT2FN["gelu_pytorch_tanh"]


def _runs_code(folder: Path) -> UnsafeWeightsError:
    return UnsafeWeightsError(
        f"The weights in {model_name(folder)} are a pickle that holds more than tensors and could run code; it was "
        "not run. Save them as safetensors."
    )
