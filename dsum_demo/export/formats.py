"""The export formats, and why a model cannot be exported in one of them."""

from __future__ import annotations

from dataclasses import dataclass

from dsum_demo.errors import InputError, ModelError
from dsum_demo.models.adapters import adapter_config, changes_inputs
from dsum_demo.models.architectures import DECODER_ONLY
from dsum_demo.models.catalog import Kind, ModelSpec
from dsum_demo.models.registry import Registry


@dataclass(frozen=True)
class ExportFormat:
    """title: what a person reads. quantization: a key of `gguf_writer.QUANTIZATIONS`, "" for other formats.
    bytes_per_weight: for an estimate; of "merged" those of float32. unavailable: why no model can be exported in it.
    """

    title: str
    bytes_per_weight: float
    quantization: str = ""
    unavailable: str = ""


FORMATS = {
    "merged": ExportFormat("safetensors, with the adapter merged into its base", 4),
    "gguf-f16": ExportFormat("GGUF, 16 bits per weight", 2, "f16"),
    "gguf-q8_0": ExportFormat("GGUF, 8 bits per weight", 34 / 32, "q8_0"),
    "gguf-q4_0": ExportFormat("GGUF, 4 bits per weight, 8 in the embedding", 34 / 32, "q4_0"),
    "onnx": ExportFormat(
        "ONNX",
        4,
        unavailable="ONNX needs optimum-onnx, whose newest version, 0.1.0, requires transformers<4.58; dsum uses "
        "transformers 5. Export with merged, and convert that folder in an environment of optimum's own.",
    ),
}
DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}


def find_format(name: str) -> ExportFormat:
    """Raises InputError with the known formats."""
    if name not in FORMATS:
        raise InputError(f"There is no export format {name!r}; choose one of: {', '.join(FORMATS)}.")
    return FORMATS[name]


def unavailable_because(registry: Registry, spec: ModelSpec, name: str) -> str:
    """Why `spec` cannot be exported in this format; empty if nothing speaks against it before it is loaded.

    Raises InputError for an unknown format.
    """
    chosen = find_format(name)
    if chosen.unavailable:
        return chosen.unavailable
    availability = registry.availability(spec)
    if not availability.usable:
        return f"{spec.name} is not available. {availability.reason}".strip()
    architecture = registry.family(spec.family).architecture
    if chosen.quantization and architecture is not DECODER_ONLY:
        return (
            f"{spec.name} is an {architecture.name} model, which Ollama does not run; GGUF files are written for "
            "decoder-only models. Choose merged."
        )
    folder = registry.folder_of(spec)
    if spec.kind is Kind.ADAPTER and folder is not None:
        try:
            config = adapter_config(folder)
        except ModelError as error:
            return str(error)
        if changes_inputs(config):
            return (
                f"{spec.name} is a {config['peft_type']} adapter: it adds vectors to the input instead of changing "
                f"weights, so PEFT cannot merge it. Load it with PEFT (dsum models --snippet {spec.name})."
            )
    return ""
