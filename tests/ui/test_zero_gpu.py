"""ZeroGPU with a stand-in for the package `spaces`, in a child process because the package is imported at the start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STAND_IN = Path(__file__).parents[1] / "fixtures" / "zero_gpu"
USE_THE_APP = """
import json, time
import torch

torch.events, asked = [], torch.cuda.is_available
torch.cuda.is_available = lambda: torch.events.append("asked for CUDA") or asked()

from dsum_demo.composition import load_settings
from dsum_demo.errors import InputError
from dsum_demo.evaluation.background import Wanted
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.ui import api
from dsum_demo.ui.app import build_demo, load_all
from dsum_demo.ui.services import Services
import spaces

services = Services.start(load_settings())
load_all(services)
loaded = sorted(services.store.loaded())
build_demo(services)
dialogue = "Ann: Are you free on Friday?\\nBob: Yes, after six."

def forbidden(*arguments, **named):
    raise AssertionError("a model was used outside of the GPU's process")

import os, torch.nn
before, parent = torch.nn.Module.__call__, os.getpid()
torch.nn.Module.__call__ = lambda *a, **k: forbidden() if os.getpid() == parent else before(*a, **k)

one = api.summarize_dialogue(services, dialogue, max_new_tokens=6, strength=0.5, model="dsum-t5-lora")
three = api.compare_dialogue(services, dialogue)
try:
    api.summarize_dialogue(services, " ")
except InputError as error:
    refused = str(error)
*_, evaluated = api.evaluate_models(services, limit=2)
run = services.evaluations.start(Wanted("samples", ("dsum-t5-base", "dsum-t5-full"), limit=3))
while not run.over:
    time.sleep(0.01)
family, began = services.registry.default_family, []
decode = DecodingConfig(max_new_tokens=200)
*_, stopped = services.compare(
    family, list(family.default_trio()), dialogue, (), decode, should_stop=lambda: began.append(1) or len(began) > 3
)
print(json.dumps({
    "main": spaces.imported_in_main_thread, "before": spaces.imported_before_cuda, "loaded": loaded,
    "calls": spaces.calls, "one": one["summary"], "three": [each["phase"] for each in three["systems"]],
    "refused": refused, "api": len(evaluated["examples"]), "error": run.error,
    "page": len(services.evaluations.get(run.key).evaluation.examples),
    "stopped": [each.phase for each in stopped.systems],
}))
"""
IDENTITY = "from dsum_demo.ui.zero_gpu import ON_ZERO_GPU, on_gpu; print(ON_ZERO_GPU, on_gpu(print, len) is print)"


def python(code: str, environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture
def environment(tiny_environment, tmp_path) -> dict[str, str]:
    folders = f"{STAND_IN}{os.pathsep}{tiny_environment['PYTHONPATH']}"
    more = {"SPACES_ZERO_GPU": "true", "SPACE_ID": "someone/dsum", "PYTHONPATH": folders, "OMP_NUM_THREADS": "1"}
    return {**tiny_environment, **more, "DSUM_FAMILY": "dsum-t5", "DSUM_DATA_DIR": str(tmp_path)}


def test_on_zero_gpu_models_are_loaded_at_the_start_and_used_in_the_process_with_the_gpu(environment):
    found = json.loads(python(USE_THE_APP, environment))
    assert found["main"] and found["before"]
    assert found["loaded"] == ["dsum-t5-base", "dsum-t5-full", "dsum-t5-lora"]
    assert found["one"] and found["three"] == ["done"] * 3 and (found["api"], found["page"]) == (2, 3)
    assert "dialogue" in found["refused"], "the message of an error, not its type alone"
    assert found["error"] == "" and "stopped" in found["stopped"] and "writing" not in found["stopped"]
    # one summary of 6 tokens, three of 80, a refused one, 3 x 2 and 2 x 3 dialogues, three of 200 tokens
    assert [seconds for _, seconds in found["calls"]] == [10, 22, 14, 11, 11, 40]


@pytest.mark.parametrize("without", ["SPACES_ZERO_GPU", "PYTHONPATH"])
def test_on_other_hardware_and_without_the_package_functions_are_unchanged(environment, tiny_environment, without):
    environment[without] = tiny_environment.get(without, "")
    assert python(IDENTITY, environment) == "False True"
