"""Checks from its files, before loading, whether a PEFT adapter fits its base.

Reads adapter_config.json and the adapter's weights, and the headers of the base's. PEFT itself loads many of the
adapters that are rejected here without an error and then generates the base's output, or worse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from dsum_demo.errors import IncompatibleAdapterError
from dsum_demo.models.adapter_weights import TensorSummary, summarize_tensors
from dsum_demo.models.architectures import Architecture
from dsum_demo.models.peft_types import PEFT_TYPES
from dsum_demo.utils.checkpoint_files import (
    Shape,
    WeightFiles,
    find_weights,
    model_name,
    read_entries,
    read_json,
    shapes_of,
)

# These initialisations rewrite the base's weights while the adapter loads, and the base's tensors are shared.
HARMLESS_INITIALISATIONS = (None, True, False, "gaussian", "orthogonal", "eva")
# These import a Python module or copy layers, which an untrusted adapter must not do.
FORBIDDEN_OPTIONS = ("megatron_config", "layer_replication")
# These replace tensors of the base.
_REPLACING_OPTIONS = ("modules_to_save", "trainable_token_indices")

# These restrict target_modules to some layers.
_SELECTING_OPTIONS = ("layers_to_transform", "exclude_modules", "target_parameters")

_LORA_TENSOR = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_E|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(?:\.default)?(?:\.weight)?"
)
# /kaggle/input/MODEL/FRAMEWORK/VARIATION/VERSION
_KAGGLE_MODEL = re.compile(r"/kaggle/input/(?P<model>[^/]+)/[^/]+/(?P<variation>[^/]+)/\d+")
_HUB_SNAPSHOT = re.compile(r".*/models--(?P<owner>[^/]+)--(?P<name>[^/]+)/snapshots/[^/]+")
_IA3_TENSOR = re.compile(r"(?P<module>.+)\.ia3_l(?:\.default)?(?:\.weight)?")


def adapter_config(folder: Path) -> dict[str, Any]:
    """The folder's adapter_config.json. Raises ModelUnavailableError if it cannot be read."""
    return read_json(folder / "adapter_config.json")


def has_strength(config: Mapping[str, Any]) -> bool:
    """Whether the adapter with this adapter_config.json only adds to its base's output, so that it can be scaled."""
    replaces = config.get("bias", "none") != "none" or any(config.get(option) for option in _REPLACING_OPTIONS)
    return _is(config, "adds_to_base") and not replaces


def changes_inputs(config: Mapping[str, Any]) -> bool:
    """Whether the adapter is one of PEFT's prompt methods, which generate one call at a time."""
    return _is(config, "changes_inputs")


def reads_base(config: Mapping[str, Any]) -> bool:
    """Whether the adapter reads or copies the base's weights instead of using only a layer's output."""
    return bool(config.get("use_dora") or config.get("modules_to_save") or _is(config, "reads_base"))


def _is(config: Mapping[str, Any], property: str) -> bool:
    row = PEFT_TYPES.get(str(config.get("peft_type")))
    return row is not None and bool(getattr(row, property))


def check_adapter(
    folder: Path,
    architecture: Architecture,
    base: Path | Mapping[str, Shape] | None = None,
    base_names: Collection[str] = (),
) -> None:
    """Raise IncompatibleAdapterError with the reason if the adapter in `folder` does not fit its base.

    architecture: the base's. base: its folder, or its tensors' shapes by name; None leaves shapes unchecked.
    base_names: the accepted names of the base; an empty set leaves the name unchecked. Raises UnsafeWeightsError or
    ModelUnavailableError if the adapter's own files cannot be used.
    """
    config = adapter_config(folder)
    weights = find_weights(folder, adapter=True)
    _check_config(model_name(folder), config, architecture, base_names)
    _check_tensors(model_name(folder), config, summarize_tensors(weights), base_shapes(base, architecture))


_LOW_RANK = ("LORA", "ADALORA")


def base_shapes(base: Path | Mapping[str, Shape] | None, architecture: Architecture) -> dict[str, Shape]:
    """Shapes by tensor name, including tied names; empty if they are unknown before loading."""
    if isinstance(base, Path):
        weights: WeightFiles = find_weights(base, adapter=False)
        shapes = shapes_of(read_entries(weights)) if weights.lists_tensors else {}
    else:
        shapes = dict(base or {})
    for saved, others in architecture.tied.items():
        for name in others if saved in shapes else ():
            shapes.setdefault(name, shapes[saved])
    return shapes


def _check_config(
    name: str, config: Mapping[str, Any], architecture: Architecture, base_names: Collection[str]
) -> None:
    peft_type, task = config.get("peft_type"), config.get("task_type")
    if peft_type not in PEFT_TYPES:
        raise IncompatibleAdapterError(
            f"{name} is of the PEFT type {peft_type!r}; dsum loads {', '.join(sorted(PEFT_TYPES))}."
        )
    if task and task != architecture.task_type:
        raise IncompatibleAdapterError(
            f"{name} was trained for the task {task!r}; its base is {architecture.name}, whose adapters have the task "
            f"{architecture.task_type}."
        )
    initialisation = config.get("init_lora_weights")
    if initialisation not in HARMLESS_INITIALISATIONS:
        raise IncompatibleAdapterError(
            f"{name} starts with {initialisation!r}, which rewrites the base's weights; save it converted to "
            "plain LoRA (PEFT: save_pretrained(path_initial_model_for_weight_conversion=…))."
        )
    for option in FORBIDDEN_OPTIONS:
        if config.get(option):
            raise IncompatibleAdapterError(f"{name} sets {option} in adapter_config.json, which dsum does not load.")
    declared = config.get("base_model_name_or_path")
    if base_names and not names_base(declared, base_names):
        raise IncompatibleAdapterError(f"{name}: {wrong_base(declared, sorted(base_names)[:1])}")


def names_base(declared: Any, base_names: Collection[str]) -> bool:
    """Whether an adapter's base_model_name_or_path refers to a base with one of these names.

    A path from another machine counts if it ends in one of the names, or names the model in the way of Kaggle or of the
    Hub's cache; "someone/flan-t5-base" is another Hub repository and does not.
    """
    if not isinstance(declared, str) or not declared:
        return False
    path = PurePosixPath(declared.replace("\\", "/"))
    names = {declared, str(path)}
    if len(path.parts) > 2 or declared.startswith((".", "/", "~")) or re.match("[A-Za-z]:", declared):
        names.add(path.name)
    if kaggle := _KAGGLE_MODEL.fullmatch(str(path)):
        names |= {f"{kaggle['model']}-{kaggle['variation']}", kaggle["variation"]}
    if cached := _HUB_SNAPSHOT.fullmatch(str(path)):
        names.add(f"{cached['owner']}/{cached['name']}")
    return not names.isdisjoint(base_names)


def wrong_base(declared: Any, bases: Collection[str]) -> str:
    """An error message for a base_model_name_or_path that names none of `bases`, with the line to write instead."""
    known, line = ", ".join(bases), f'"base_model_name_or_path": "{next(iter(bases))}"'
    if not declared:
        return f"adapter_config.json names no base model; write it there, such as {line} (known: {known})."
    return (
        f"adapter_config.json names the base model {declared!r}, which is not one of: {known}. If it is the same model "
        f"as one of them, write its name, such as {line}."
    )


def _check_tensors(name: str, config: Mapping[str, Any], summary: TensorSummary, base: Mapping[str, Shape]) -> None:
    tensors, zero = summary.shapes, summary.zero
    if not tensors:
        raise IncompatibleAdapterError(f"{name} contains no tensors.")
    if summary.broken:
        raise IncompatibleAdapterError(
            f"{name} contains NaN or infinite values (in {summary.broken[0]}); train it again."
        )
    peft_type = config["peft_type"]
    if peft_type in _LOW_RANK:
        _check_low_rank(name, config, tensors, base)
        outputs = [tensor for tensor in tensors if re.search(r"\.lora_(embedding_)?B\b", tensor)]
        if outputs and all(tensor in zero for tensor in outputs):
            raise IncompatibleAdapterError(
                f"{name} is untrained: every lora_B is 0, so its output would equal the base's."
            )
    elif peft_type == "IA3":
        _check_ia3(name, config, tensors, base)
    elif changes_inputs(config) and "prompt_embeddings" not in tensors:
        raise IncompatibleAdapterError(f"{name} is a {peft_type} adapter without prompt_embeddings.")


def _check_low_rank(
    name: str, config: Mapping[str, Any], tensors: Mapping[str, Shape], base: Mapping[str, Shape]
) -> None:
    parts: dict[str, dict[str, Shape]] = {}
    for tensor, shape in tensors.items():
        match = _LORA_TENSOR.fullmatch(tensor)
        if match:
            parts.setdefault(_plain(match["module"]), {})[match["part"]] = shape
        else:
            _check_copy(name, config, tensor, shape, base)
    _check_covered(name, config, parts)
    if not parts:
        raise IncompatibleAdapterError(f"{name} is of type {config['peft_type']} but has no lora_A or lora_B.")
    for module, found in parts.items():
        embedding = "lora_embedding_A" in found
        down, up = (found.get(f"lora_{'embedding_' if embedding else ''}{side}") for side in "AB")
        if down is None or up is None or len(down) != 2 or len(up) != 2 or down[0] != up[1]:
            raise IncompatibleAdapterError(f"{name}: the shapes of lora_A and lora_B of {module} do not match.")
        rank = config.get("r")
        if config["peft_type"] == "LORA" and not config.get("rank_pattern") and down[0] != rank:
            raise IncompatibleAdapterError(
                f"{name}: adapter_config.json has rank {rank}, the weights of {module} have rank {down[0]}."
            )
        expected = _weight(name, module, base)
        outputs, inputs = (down[1], up[0]) if embedding else (up[0], down[1])
        if expected and (outputs, inputs) != expected:
            raise IncompatibleAdapterError(
                f"{name} does not fit its base: its update of {module} is {outputs} x {inputs}, "
                f"the base has {expected[0]} x {expected[1]}."
            )
    _check_complete(name, config, parts, base)


def _check_ia3(name: str, config: Mapping[str, Any], tensors: Mapping[str, Shape], base: Mapping[str, Shape]) -> None:
    matches = [match for tensor in tensors if (match := _IA3_TENSOR.fullmatch(tensor))]
    modules = [_plain(match["module"]) for match in matches]
    _check_covered(name, config, modules)
    for tensor, shape in tensors.items():
        match = _IA3_TENSOR.fullmatch(tensor)
        if not match:
            _check_copy(name, config, tensor, shape, base)
            continue
        module = _plain(match["module"])
        expected = _weight(name, module, base)
        if expected and shape not in ((expected[0], 1), (1, expected[1])):
            raise IncompatibleAdapterError(
                f"{name} does not fit its base: its factors for {module} are {' x '.join(map(str, shape))}, "
                f"the base's matrix is {expected[0]} x {expected[1]}."
            )
    _check_complete(name, config, modules, base)


def _check_covered(name: str, config: Mapping[str, Any], modules: Collection[str]) -> None:
    """Check that PEFT would use every trained layer: without an error it ignores those not in target_modules."""
    targets = config.get("target_modules")
    if not targets or targets == "all-linear":
        return
    if ignored := [module for module in modules if not _is_target(module, targets)]:
        kinds = sorted({module.rpartition(".")[2] for module in ignored})
        ends = {module.rpartition(".")[2] for module in modules}
        names = sorted(ends if isinstance(targets, str) else {*targets, *kinds})
        raise IncompatibleAdapterError(
            f"{name} has weights for {len(ignored)} of {len(modules)} layers ({', '.join(kinds)}) that target_modules "
            f"in adapter_config.json does not name, so that PEFT would ignore them. Write "
            f'"target_modules": {json.dumps(names)}.'
        )


def _check_complete(name: str, config: Mapping[str, Any], modules: Collection[str], base: Mapping[str, Shape]) -> None:
    """Check that every layer of the base that target_modules names has weights; PEFT would add untrained ones."""
    targets = config.get("target_modules")
    if not targets or targets == "all-linear" or any(config.get(option) for option in _SELECTING_OPTIONS):
        return
    layers = (tensor.removesuffix(".weight") for tensor, shape in base.items() if len(shape) == 2)
    named = [layer for layer in layers if _is_target(layer, targets)]
    if missing := [layer for layer in named if layer not in modules]:
        raise IncompatibleAdapterError(
            f"{name} lacks the weights of {len(missing)} of {len(named)} layers that target_modules in "
            f"adapter_config.json names ({missing[0]}); save the adapter again."
        )


def _is_target(module: str, targets: str | Collection[str]) -> bool:
    """Whether PEFT adapts this layer: a text is a pattern for its whole name, a list contains ends of names."""
    if isinstance(targets, str):
        return re.fullmatch(targets, module) is not None
    return any(f".{module}".endswith(f".{target}") for target in targets)


def _check_copy(name: str, config: Mapping[str, Any], tensor: str, shape: Shape, base: Mapping[str, Shape]) -> None:
    """Check that a tensor that replaces one of the base's (modules_to_save, biases) is declared, and has its name and
    shape.
    """
    plain = _plain(tensor)
    expected = base.get(plain)
    if base and expected is None:
        raise IncompatibleAdapterError(f"{name} does not fit its base: the base has no {plain}.")
    if expected and shape != expected:
        raise IncompatibleAdapterError(
            f"{name} does not fit its base: {plain} is {' x '.join(map(str, shape))}, "
            f"the base's is {' x '.join(map(str, expected))}."
        )
    module, _, kind = plain.rpartition(".")
    saved = config.get("modules_to_save") or ()
    is_bias = kind == "bias" and config.get("bias", "none") != "none"
    if expected and not is_bias and not any(f".{each}." in f".{module}." for each in saved):
        raise IncompatibleAdapterError(
            f"{name} contains {plain}, which adapter_config.json does not name, so that PEFT would not apply it. Write "
            f'"modules_to_save": ["{module.rpartition(".")[2]}"], or save the adapter without it '
            "(save_embedding_layers=False)."
        )


def _weight(name: str, module: str, base: Mapping[str, Shape]) -> Shape | None:
    if not base:
        return None
    if f"{module}.weight" not in base:
        raise IncompatibleAdapterError(f"{name} does not fit its base: the base has no layer {module}.")
    return base[f"{module}.weight"]


def _plain(tensor: str) -> str:
    return tensor.removeprefix("base_model.model.").removeprefix("base_model.")
