"""The README's first block, which configures a Hugging Face Space, and what a Space downloads while it is built."""

from __future__ import annotations

import json
import re

import gradio
import pytest
from huggingface_hub import metadata_load

from dsum_demo.hub.client import ADAPTER_PARTS, MODEL_PARTS
from dsum_demo.models.catalog import read_catalog
from dsum_demo.settings import PROJECT_ROOT
from dsum_demo.utils.checkpoint_files import ADAPTER_FILES, MODEL_FILES
from tests.hub.checkpoints import BASE, PINNED

# https://huggingface.co/docs/hub/spaces-config-reference
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
TYPES = {
    "title": str, "emoji": str, "colorFrom": str, "colorTo": str, "sdk": str, "sdk_version": str, "python_version": str,
    "app_file": str, "pinned": bool, "license": str, "suggested_hardware": str, "startup_duration_timeout": str,
    "short_description": str, "models": list, "datasets": list, "tags": list, "preload_from_hub": list,
}  # fmt: skip
# Downloads as the build of a Space does, then looks with the app's own code.
BUILD_AND_LOOK = """
import json, sys
from huggingface_hub import snapshot_download
for name, files, commit in json.load(sys.stdin):
    snapshot_download(name, revision=commit, allow_patterns=files)
from dsum_demo.composition import make_registry
from dsum_demo.settings import Settings
# Nothing but what the Hub sets in a duplicated Space, and no network.
registry = make_registry(Settings.from_environment({"SPACE_ID": "someone/copy", "HF_HUB_OFFLINE": "1"}))
for spec in (*registry.default_family.default_trio(), *registry.family("flan-t5-base").default_trio()):
    print(spec.name, registry.availability(spec).state, registry.folder_of(spec).name)
"""


@pytest.fixture(scope="module")
def block() -> dict:
    return metadata_load(PROJECT_ROOT / "README.md")


def preloaded(block) -> list[tuple[str, list[str] | None, str | None]]:
    """(repository, its files or None for all, commit or None for the newest) per entry."""
    entries = [[*entry.split(), None, None][:3] for entry in block["preload_from_hub"]]
    return [(name, files.split(",") if files else None, commit) for name, files, commit in entries]


def test_the_block_has_what_a_space_takes(block):
    assert {name: type(value) for name, value in block.items()} == TYPES
    assert {block["colorFrom"], block["colorTo"]} <= COLORS
    assert block["sdk"] == "gradio" and block["sdk_version"] == gradio.__version__
    assert (PROJECT_ROOT / block["app_file"]).is_file()
    assert len(block["short_description"]) <= 60 and re.fullmatch(r"\d+[mh]", block["startup_duration_timeout"])
    known = {s.source.location for f in read_catalog(PROJECT_ROOT).families for s in f.variants if s.source}
    assert set(block["models"]) <= known


def test_a_space_downloads_the_catalogs_flan_t5_at_the_catalogs_commits(block):
    assert {name: commit for name, _, commit in preloaded(block)} == PINNED
    assert {name for name, _, _ in preloaded(block)} <= set(block["models"])
    for _, files, commit in preloaded(block):
        assert commit is None or re.fullmatch("[0-9a-f]{40}", commit)
        assert set(files or ()) <= {*MODEL_PARTS, *MODEL_FILES, *ADAPTER_PARTS, *ADAPTER_FILES}, "dsum reads no others"


def test_a_duplicated_space_has_its_models_without_a_secret(block, flan_hub, child):
    done = child(BUILD_AND_LOOK, stdin=json.dumps(preloaded(block)))
    assert done.returncode == 0, done.stderr
    found = [line.split() for line in done.stdout.splitlines()]
    assert [state for _, state, _ in found] == ["shipped"] * 3 + ["cached"] * 3
    assert found[3][0] == "flan-t5-base" and found[3][2] == PINNED[BASE]
