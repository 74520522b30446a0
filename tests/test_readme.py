"""The README's Python code runs unchanged, on tiny models, and its commands exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dsum_demo.cli.main import build_parser
from dsum_demo.cli.train import config_of
from dsum_demo.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(heading: str) -> str:
    """The first Python block under a heading."""
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.search(r"```python\n(.+?)```", section, re.DOTALL)[1]


@pytest.fixture
def run(tiny_root, tiny_environment, tmp_path):
    for name in ("models", "adapters", "samples"):
        shutil.copytree(tiny_root / name, tmp_path / name)
    environment = {**tiny_environment, "DSUM_ROOT": str(tmp_path), "DSUM_DATA_DIR": str(tmp_path / "dsum-data")}

    def python(*arguments: str) -> str:
        result = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return python


def test_the_library_example_runs(run):
    run("-c", block("Library").replace("Maya: …", "Maya: Hello").replace("smollm2-135m", "dsum-t5-base"))


def test_a_model_fine_tuned_as_shown_is_in_the_registry(run):
    run("-m", "dsum_demo", "train", "--preset", "smoke", "--set", "max_steps=2", "--name", "mine")
    (line,) = [line for line in run("-m", "dsum_demo", "models").splitlines() if line.startswith("mine")]
    assert " adapter " in line and " local " in line


COMMANDS = re.findall(r"^dsum (.+?)(?:\s+# .*)?$", README, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_line_is_one_that_dsum_takes(command):
    options = build_parser().parse_args(shlex.split(command))
    if command.startswith("train") and not options.resume:
        config_of(options, Settings(offline=True))


def test_commands_name_files_that_exist():
    for name in re.findall(r"pip install -r (\S+)|python (\S+\.py)", README):
        assert (ROOT / (name[0] or name[1])).is_file()


def test_local_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
