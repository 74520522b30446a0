"""A Hub on loopback and dsum in a child process that has no other.

hub              an empty HubServer, at the same address for all tests
flan_trio        folders of a FLAN-T5-shaped base, full fine-tune and LoRA, by repository name
flan_hub         a HubServer that has them
environment      for a child process: this Hub, an empty cache, a checkout with the tiny embedded family
child            child(code_or_arguments…): runs it to its end
hub_python       a program that runs `dsum` in a child process with this Hub without the time to import torch
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.forked import forking
from tests.hub.checkpoints import PINNED, save_flan_trio
from tests.hub.server import HubServer

Child = Callable[..., "subprocess.CompletedProcess[str]"]
PROJECT = Path(__file__).resolve().parents[2]
DIALOGUE = "#Person1#: Are you free on Friday?\n#Person2#: Yes, after six.\n"


@pytest.fixture(scope="session")
def hub_server() -> Iterator[HubServer]:
    server = HubServer()
    yield server
    server.close()


def _own(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(("HF_", "DSUM_", "HUGGING"))}


@pytest.fixture(scope="session")
def hub_environment(hub_server, tmp_path_factory) -> dict[str, str]:
    """What clients of the Hub read when they are imported: the same for all tests."""
    return {**hub_server.environment(tmp_path_factory.mktemp("hf")), "NO_PROXY": "127.0.0.1,localhost"}


@pytest.fixture(scope="session")
def hub_python(hub_environment, tmp_path_factory) -> Iterator[str]:
    with forking(tmp_path_factory.mktemp("forked"), {**_own(os.environ), **hub_environment}) as program:
        yield program


@pytest.fixture
def hub(hub_server) -> HubServer:
    hub_server.reset()
    return hub_server


@pytest.fixture(scope="session")
def flan_trio(tmp_path_factory, tiny_tokenizer) -> dict[str, Path]:
    return save_flan_trio(tiny_tokenizer, tmp_path_factory.mktemp("flan"))


@pytest.fixture
def flan_hub(hub, flan_trio) -> HubServer:
    for repository, folder in flan_trio.items():
        hub.add(repository, folder, commit=PINNED[repository])
    return hub


@pytest.fixture
def environment(hub, hub_environment, tiny_root, tmp_path) -> dict[str, str]:
    shutil.rmtree(hub_environment["HF_HOME"], ignore_errors=True)
    return {
        **_own(os.environ), **hub_environment, "DSUM_ROOT": str(tiny_root), "DSUM_FAMILY": "dsum-t5",
        "DSUM_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


@pytest.fixture
def child(environment, hub_python, tmp_path) -> Child:
    """child("code") runs Python, child("models", "--json") runs dsum; `more` are further variables."""

    def run(*arguments: str, stdin: str = DIALOGUE, **more: str) -> subprocess.CompletedProcess[str]:
        code = len(arguments) == 1 and "\n" in arguments[0]
        command = ["-c", *arguments] if code else ["-m", "dsum_demo", *arguments]
        cold = code or any(name.startswith("HF_") for name in more)
        return subprocess.run(
            [sys.executable if cold else hub_python, *command], input=stdin, capture_output=True, text=True,
            cwd=tmp_path, timeout=120, env={**environment, **more},
        )  # fmt: skip

    return run
