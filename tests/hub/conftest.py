"""A Hub on loopback and dsum in a child process that has no other.

hub              an empty HubServer
flan_trio        folders of a FLAN-T5-shaped base, full fine-tune and LoRA, by repository name
flan_hub         a HubServer that has them
environment      for a child process: this Hub, an empty cache, a checkout with the tiny embedded family
child            child(code_or_arguments…): runs it to its end
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hub.checkpoints import PINNED, save_flan_trio
from tests.hub.server import HubServer

Child = Callable[..., "subprocess.CompletedProcess[str]"]
PROJECT = Path(__file__).resolve().parents[2]
DIALOGUE = "#Person1#: Are you free on Friday?\n#Person2#: Yes, after six.\n"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    server = HubServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def flan_trio(tmp_path_factory, tiny_tokenizer) -> dict[str, Path]:
    return save_flan_trio(tiny_tokenizer, tmp_path_factory.mktemp("flan"))


@pytest.fixture
def flan_hub(hub, flan_trio) -> HubServer:
    for repository, folder in flan_trio.items():
        hub.add(repository, folder, commit=PINNED[repository])
    return hub


@pytest.fixture
def environment(hub, tiny_root, tmp_path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "DSUM_", "HUGGING"))}
    return {
        **kept, **hub.environment(tmp_path / "hf"), "DSUM_ROOT": str(tiny_root), "DSUM_FAMILY": "dsum-t5",
        "DSUM_DATA_DIR": str(tmp_path / "data"),
        "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }  # fmt: skip


@pytest.fixture
def child(environment, tmp_path) -> Child:
    """child("code") runs Python, child("models", "--json") runs dsum; `more` are further variables."""

    def run(*arguments: str, stdin: str = DIALOGUE, **more: str) -> subprocess.CompletedProcess[str]:
        code = len(arguments) == 1 and "\n" in arguments[0]
        command = ["-c", *arguments] if code else ["-m", "dsum_demo", *arguments]
        return subprocess.run(
            [sys.executable, *command], input=stdin, capture_output=True, text=True, cwd=tmp_path, timeout=120,
            env={**environment, **more},
        )  # fmt: skip

    return run
