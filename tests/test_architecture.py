"""Imports only point down, and the front door is light. Read from the sources, and seen in child processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dsum_demo"
LAYERS = [
    {"errors", "fields", "prompts", "settings"},
    {
        "adapter_check", "bootstrap", "catalog", "checks", "data", "discovery", "download", "evaluation_records",
        "evaluation_report", "evaluation_warnings", "evaluations", "example_scores", "exports", "folders",
        "highlighting", "hub", "hub_upload", "metrics", "output_cache", "peft_methods", "presets",
        "ready_lists", "recorded", "recovery",
        "registry", "run_events", "run_limits", "runs", "slices", "sources", "study_report", "training_config",
        "training_data", "votes", "weight_files",
    },
    {
        "assembly", "batch_generation", "batch_rows", "bfloat16_layers", "costs", "generation", "hardware", "loading",
        "model_identity", "strength", "t5_short_ways",
    },
    {
        "adalora", "comparison", "evaluation", "evaluation_run", "probe", "scoring", "trainer", "training",
        "training_batches", "training_card", "training_checkpoints", "training_progress", "training_run",
        "training_setup", "training_watch",
    },
    {"child_process", "jobs", "study"},
    {"cli", "commands", "ui"},
]  # fmt: skip
LAYER_OF = {module: number for number, modules in enumerate(LAYERS) for module in modules}
FRONT_DOORS = {"__init__", "__main__"}
HEAVY = {"gradio", "torch", "transformers", "peft", "datasets", "plotly"}


def modules() -> list[tuple[str, Path]]:
    """(name under dsum_demo, file), the parts of ui/ under the name ui."""
    return [(path.relative_to(PACKAGE).with_suffix("").parts[0], path) for path in sorted(PACKAGE.rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """Full names of everything that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import, which this test does not follow"
            yield node.module or ""
            if node.module == "dsum_demo":
                yield from (f"dsum_demo.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("name", "path"), [pytest.param(n, p, id=str(p.relative_to(ROOT))) for n, p in modules()])
def test_imports_only_point_down(name, path):
    if name in FRONT_DOORS:
        return
    assert name in LAYER_OF, f"{name} stands in no layer: add it to LAYERS, or rename it"
    for imported in imports(path):
        top, _, rest = imported.partition(".")
        assert top not in {"app", "recipes", "tests", "benchmarks"}, f"{path.name} imports {imported}"
        if top == "dsum_demo" and rest and not rest.startswith("_"):
            module = rest.split(".")[0]
            if module in LAYER_OF:
                assert LAYER_OF[module] <= LAYER_OF[name], f"{path.name} imports {imported}, which lies above it"


@pytest.mark.parametrize(("name", "path"), [pytest.param(n, p, id=str(p.relative_to(ROOT))) for n, p in modules()])
def test_only_the_ui_imports_gradio(name, path):
    if name != "ui":
        assert not [module for module in imports(path) if module.split(".")[0] == "gradio"]


@pytest.mark.parametrize("module", sorted(LAYERS[0]))
def test_the_lowest_layer_is_standard_library_only(module):
    for imported in imports(PACKAGE / f"{module}.py"):
        top = imported.split(".")[0]
        assert top == "dsum_demo" or top in sys.stdlib_module_names


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize("module", ["dsum_demo", "dsum_demo.cli", "dsum_demo.registry"])
def test_importing_loads_nothing_heavy(module):
    assert loaded_by(f"import {module}").isdisjoint(HEAVY)


def test_loading_and_generating_need_no_gradio():
    loaded = loaded_by("import dsum_demo.generation")
    assert "torch" in loaded and "gradio" not in loaded


def test_every_layer_names_modules_once():
    assert sum(len(layer) for layer in LAYERS) == len(LAYER_OF)
