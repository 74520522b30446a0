"""Every private name of a library that the package uses, with the reason. An upgrade that removes one fails here."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
import torch
import transformers
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Stack

from dsum_demo.data import sources
from dsum_demo.generation import batch_state
from dsum_demo.generation.batch import generate_many
from dsum_demo.generation.batch_state import ROOM
from dsum_demo.models import bfloat16, decoder_only_fast_path, t5_fast_path
from dsum_demo.models.decoding import DecodingConfig

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
# Undocumented names without an underscore: (module, name) and why.
UNDOCUMENTED = {
    ("data.sources", "datasets.packaged_modules.cache.cache.Cache"): "load_dataset asks the Hub before its cache",
    (
        "generation.batch_state",
        "transformers.cache_utils.DynamicLayer.lazy_initialization",
    ): "a cache layer with room",
    ("generation.batch_state", "transformers.cache_utils.DynamicLayer.is_initialized"): "as above",
    ("hub.download", "huggingface_hub.file_download.repo_folder_name"): "the cache's folder of a repository, to resume",
    ("hub.download", "huggingface_hub.utils.WeakFileLock"): "the cache's lock, which other processes use too",
    ("models.decoder_only_fast_path", "transformers.integrations.sdpa_attention.sdpa_attention_forward"): "for the "
    "calls that the fast path does not take",
    ("models.decoder_only_fast_path", "transformers.masking_utils.sdpa_mask"): "the masks of that attention",
}
PUBLIC = {"_replace", "_asdict", "_fields", "_abc_impl", "_exit"}  # of named tuples, abstract classes and os
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
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            name = ast.literal_eval(node.args[1]) if isinstance(node.args[1], ast.Constant) else ""
            if is_private(name):
                yield name
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


@pytest.mark.parametrize(("module", "name"), UNDOCUMENTED)
def test_the_installed_library_has_the_undocumented_name_and_the_module_uses_it(module, name):
    assert name.rsplit(".", 1)[-1] in (PACKAGE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    owner, rest = name.split("."), []
    while owner:
        try:
            found = importlib.import_module(".".join(owner))
        except ModuleNotFoundError:
            rest.insert(0, owner.pop())
            continue
        for part in rest[:-1]:
            found = getattr(found, part)
        # An attribute of instances is set in the source of the class.
        assert hasattr(found, rest[-1]) or rest[-1] in inspect.getsource(found)
        return
    raise AssertionError(f"there is no package {name.split('.')[0]}")


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


# Without a private name the plain path is taken.


def test_without_torchs_operators_matrices_are_not_packed(monkeypatch):
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert not bfloat16.can_pack()


@pytest.mark.parametrize("missing", ["_CAN_RECORD_REGISTRY", "_can_record_outputs"])
def test_without_transformers_registry_a_t5_keeps_its_decoder(monkeypatch, tiny_model, missing):
    model = tiny_model(0)
    if missing == "_can_record_outputs":
        for kind in (kind for kind in T5Stack.__mro__ if missing in vars(kind)):
            monkeypatch.delattr(kind, missing)
    else:
        monkeypatch.setattr(t5_fast_path, missing, None)
    t5_fast_path.step_by_step(model)
    assert type(model.get_decoder()) is T5Stack


@pytest.mark.parametrize("missing", ["sdpa_attention_forward", "_attn_implementation"])
def test_without_transformers_attention_a_decoder_only_model_keeps_its_own(monkeypatch, tiny_causal, missing):
    model = tiny_causal(0)
    before = model.config._attn_implementation
    with monkeypatch.context() as patch:
        if missing == "_attn_implementation":
            for kind in (kind for kind in type(model.config).__mro__ if missing in vars(kind)):
                patch.delattr(kind, missing)
        else:
            patch.setattr(decoder_only_fast_path, missing, None)
        decoder_only_fast_path.group_queries(model)
    assert before == "sdpa" == model.config._attn_implementation
    decoder_only_fast_path.group_queries(model)
    assert model.config._attn_implementation == decoder_only_fast_path.NAME, "with the name the fast path is taken"


def test_without_the_cache_layers_internals_a_batch_has_the_same_texts(monkeypatch, tiny_store):
    loaded = tiny_store.load(tiny_store.registry.default_family.base)
    prompts = [[5, 6, 7, 1], [9, 4, 1], [8, 8, 3, 2, 1]]

    def texts() -> list[str]:
        decode = DecodingConfig(max_new_tokens=ROOM + 4)
        made = {number: text for done in generate_many(loaded, prompts, decode) for number, text in done.items()}
        return [made[number].text for number in range(len(prompts))]

    expected = texts()
    monkeypatch.setattr(batch_state, "DynamicLayer", object)
    assert texts() == expected


def test_without_the_cache_class_of_datasets_a_split_counts_as_not_cached(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets.packaged_modules.cache.cache", None)
    assert sources._cached("test") is None
