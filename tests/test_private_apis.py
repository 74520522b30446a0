"""Every private name of a library that the package uses, with the reason. An upgrade that removes one fails here."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
import torch
import transformers
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Stack

from dsum_demo.models import bfloat16, t5_fast_path

PACKAGE = Path(__file__).parents[1] / "dsum_demo"

# Attributes and imports: (module, name) and why.
USED = {
    ("models.bfloat16", "torch.ops.mkldnn"): "oneDNN's packed matrices; without them matrices are converted during use",
    ("models.decoder_only_fast_path", "_attn_implementation"): "the attention in use has no public getter",
    ("models.t5_fast_path", "_CAN_RECORD_REGISTRY"): "a replaced decoder class must be registered; else no fast path",
    ("models.t5_fast_path", "_can_record_outputs"): "what is registered there",
    ("training.loop", "_attn_implementation"): "the attention in use, to restore it after training",
    (
        "ui.events",
        "_data",
    ): "EventData's public attributes raise for a name that the browser did not send",
}
PUBLIC = {"_replace", "_asdict", "_fields", "_abc_impl"}  # of named tuples and abstract classes
OWN = ("self.", "cls.", "operators.", "torch.ops.mkldnn.")
LIBRARIES = {"gradio", "huggingface_hub", "peft", "torch", "transformers"}
# Overridden methods of transformers.Trainer; the reason is a comment above each.
TRAINER = {"_clip_grad_norm", "_get_train_sampler", "_load_from_checkpoint", "_run_epoch", "_save_checkpoint"}


def module_names() -> list[str]:
    return [".".join(file.relative_to(PACKAGE).with_suffix("").parts) for file in sorted(PACKAGE.rglob("*.py"))]


def private_names(module: str) -> Iterator[str]:
    """Names with one leading underscore that a module takes from elsewhere; `torch.ops.mkldnn` counts as one."""
    tree = ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    own |= {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.Attribute):
            path = ast.unparse(node)
            if path == "torch.ops.mkldnn":
                yield path
            elif is_private(node.attr) and node.attr not in own and not path.startswith(OWN):
                yield node.attr


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def test_every_private_name_is_listed_and_every_listed_one_is_used():
    assert {(module, name) for module in module_names() for name in private_names(module)} == set(USED)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (torch.ops.mkldnn, "_is_mkldnn_bf16_supported"),
        (torch.ops.mkldnn, "_reorder_linear_weight"),
        (torch.ops.mkldnn, "_linear_pointwise"),
        (importlib.import_module("transformers.utils.output_capturing"), "_CAN_RECORD_REGISTRY"),
        (T5Stack, "_can_record_outputs"),
        (T5Config(), "_attn_implementation"),
        (gr.EventData(None, {}), "_data"),
        *((transformers.Trainer, name) for name in sorted(TRAINER)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_installed_library_has_the_name(owner, name):
    assert hasattr(owner, name)


def test_only_listed_private_methods_of_libraries_are_overridden():
    found = set()
    for name in module_names():
        if name == "__main__":
            continue
        module = importlib.import_module(f"dsum_demo.{name}".removesuffix(".__init__"))
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                bases = [base for base in kind.__mro__[1:] if base.__module__.split(".")[0] in LIBRARIES]
                found |= {m for m in vars(kind) if is_private(m) and any(m in vars(base) for base in bases)}
    assert found == TRAINER


def test_without_torchs_operators_matrices_are_not_packed(monkeypatch):
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert not bfloat16.can_pack()


def test_without_transformers_registry_a_t5_keeps_its_decoder(monkeypatch, tiny_model):
    monkeypatch.setattr(t5_fast_path, "_CAN_RECORD_REGISTRY", None)
    model = tiny_model(0)
    t5_fast_path.step_by_step(model)
    assert type(model.get_decoder()) is T5Stack
