"""The embedded SmolLM2 trio as it ships: files, cards, and what it writes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import pytest

from dsum_demo.comparison import compare
from dsum_demo.composition import make_store
from dsum_demo.models.store import ModelStore
from dsum_demo.settings import PROJECT_ROOT

FULL = PROJECT_ROOT / "models" / "smollm2-135m-dialogsum"
LORA = PROJECT_ROOT / "adapters" / "smollm2-135m-dialogsum-lora"
BASE = PROJECT_ROOT / "models" / "smollm2-135m"
FOLDERS = pytest.mark.parametrize("folder", [BASE, FULL, LORA], ids=lambda folder: folder.name)

DIALOGUE = """\
Thandiwe: The landlord wants to raise the rent by 120 dollars.
Rafael: Again? He did that last year.
Thandiwe: I will write to him tonight and offer 50.
Rafael: Good. If he refuses, let's look for another flat."""


def card(folder) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def store(tiny_settings) -> ModelStore:
    settings = replace(tiny_settings, root=PROJECT_ROOT, family="")
    return make_store(settings)


def test_the_base_file_is_the_published_one():
    digest = hashlib.sha256((BASE / "SmolLM2-135M-Instruct.Q4_1.gguf").read_bytes()).hexdigest()
    assert digest == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53" and digest in card(BASE)


def test_files_fit_into_a_git_host_and_are_at_most_210_megabytes():
    sizes = [file.stat().st_size for folder in (BASE, FULL, LORA) for file in folder.iterdir()]
    assert max(sizes) < 99_000_000 and sum(sizes) < 210_000_000


@FOLDERS
def test_the_card_names_the_licence_of_the_catalog(folder, store):
    licence = re.search(r"^license: (.+)$", card(folder), re.MULTILINE)[1]
    assert licence == store.registry.spec(folder.name).licence.lower().replace(" ", "-", 1).replace(" ", "-")


@pytest.mark.parametrize("folder", [FULL, LORA], ids=lambda folder: folder.name)
def test_the_code_on_the_card_writes_what_the_app_writes(folder, store, monkeypatch):
    # As the card's code, in float32: in bfloat16 a near tie may be decided differently.
    monkeypatch.setattr("dsum_demo.models.loading.HALF_PRECISION_FROM_BYTES", 10**10)
    # The adapter's card contains the lines of the base's card.
    monkeypatch.chdir(PROJECT_ROOT)
    names = {}
    exec(re.search(r"```python\n(.+?)\nprint\(", card(folder), re.DOTALL)[1], names)
    spec = store.registry.spec(folder.name)
    comparison = compare(store, store.registry.family(spec.family), [spec], DIALOGUE)
    summary = names["summarize"](DIALOGUE)
    assert comparison.systems[0].summary == summary
    assert any(name in summary for name in ("Thandiwe", "Rafael"))


def test_training_dialogues_are_listed_for_the_fine_tuned_models():
    lines = [len((folder / "train_fingerprints.txt").read_text().split()) for folder in (FULL, LORA)]
    assert lines[0] == lines[1] > 10_000
