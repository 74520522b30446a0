"""Imports only point down, and the front door is light. Read from the sources, and seen in child processes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dsum_demo"
# From the bottom up: an import may only point to an earlier entry, or into its own package.
ORDER = [
    "errors", "settings", "utils", "hub", "data", "metrics", "models", "generation", "judge", "comparison",
    "export", "evaluation", "review", "training", "runs", "composition", "study", "ui", "cli",
]  # fmt: skip
ENTRY_POINTS = {"__init__", "__main__"}
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
            if node.module and node.module.split(".")[0] == "dsum_demo":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("name", "path"), [pytest.param(n, p, id=str(p.relative_to(ROOT))) for n, p in modules()])
def test_imports_only_point_down(name, path):
    if name in ENTRY_POINTS:
        return
    for imported in imports(path):
        top, _, rest = imported.partition(".")
        assert top not in {"app", "recipes", "tests", "benchmarks"}, f"{path.name} imports {imported}"
        package = rest.split(".")[0]
        if top == "dsum_demo" and package and not package.startswith("_"):
            assert ORDER.index(package) <= ORDER.index(name), f"{path.name} imports {imported}, which is above {name}"


def test_every_package_is_listed_and_every_listed_package_exists():
    assert {name for name, _ in modules()} - ENTRY_POINTS == set(ORDER)


def test_contributing_lists_the_packages_in_this_order():
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == ORDER


def public_modules(package: str) -> list[str]:
    """The modules in a package's `__all__`, which other packages may import."""
    tree = ast.parse((PACKAGE / package / "__init__.py").read_text(encoding="utf-8"))
    assert len(re.findall(r"[.!?](?:\s|$)", ast.get_docstring(tree) or "")) >= 2, f"{package}: two sentences or more"
    return next(ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))


@pytest.mark.parametrize("package", sorted(name for name in ORDER if (PACKAGE / name).is_dir()))
def test_other_packages_import_exactly_the_public_modules_of_a_package(package):
    """A package's docstring explains it, and `__all__` lists the modules that are for others."""
    taken = set()
    for name, path in modules():
        if name != package:
            found = [module.split(".")[2] for module in imports(path) if module.startswith(f"dsum_demo.{package}.")]
            taken |= {module for module in found if (PACKAGE / package / module).is_dir() or is_module(package, module)}
    assert public_modules(package) == sorted(taken)


def is_module(package: str, name: str) -> bool:
    return (PACKAGE / package / f"{name}.py").is_file()


def test_no_two_classes_share_a_name():
    classes = [
        node.name
        for _, path in modules()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    assert sorted({name for name in classes if classes.count(name) > 1}) == []


@pytest.mark.parametrize(("name", "path"), [pytest.param(n, p, id=str(p.relative_to(ROOT))) for n, p in modules()])
def test_only_the_ui_imports_gradio(name, path):
    if name != "ui":
        assert not [module for module in imports(path) if module.split(".")[0] == "gradio"]


@pytest.mark.parametrize("module", ["errors", "settings"])
def test_the_lowest_layer_is_standard_library_only(module):
    for imported in imports(PACKAGE / f"{module}.py"):
        top = imported.split(".")[0]
        assert top == "dsum_demo" or top in sys.stdlib_module_names


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize("module", ["dsum_demo", "dsum_demo.cli.main", "dsum_demo.models.registry"])
def test_importing_loads_nothing_heavy(module):
    assert loaded_by(f"import {module}").isdisjoint(HEAVY)


def test_wrong_arguments_are_rejected_before_anything_heavy_is_imported(tmp_path):
    wrong = [
        "compare missing.txt", "compare README.md --family gpt", "compare README.md --beams 99",
        "score missing.csv --references a --systems b", "push nowhere me/mine",
        f"export dsum-t5-lora --format onnx --out {tmp_path}",
        "evaluate --data missing.csv", "evaluate --data samples --systems gpt", "evaluate --data samples --beams 99",
        "train --set r=0", "train --preset best", "train --base gpt", "train --resume nowhere",
        f"study --out {tmp_path} --seeds a", f"study --out {tmp_path} --methods qlora",
    ]  # fmt: skip
    call = f"from dsum_demo.cli.main import main; assert {{main(each.split()) for each in {wrong}}} == {{2}}"
    assert loaded_by(call).isdisjoint(HEAVY)


def test_starting_the_app_loads_nothing_that_only_training_needs():
    assert loaded_by("import dsum_demo.ui.app").isdisjoint({"datasets", "trl"})


def test_loading_and_generating_need_no_gradio():
    loaded = loaded_by("import dsum_demo.generation.streaming")
    assert "torch" in loaded and "gradio" not in loaded
