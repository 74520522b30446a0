"""Every fine-tuning method: two training steps, saving, registration, loading and generation; the base is unchanged."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from dsum_demo.composition import make_registry, make_sources, make_store
from dsum_demo.generation.streaming import generate
from dsum_demo.models.catalog import Kind
from dsum_demo.models.prompts import DEFAULT_PROMPT
from dsum_demo.models.registry import State
from dsum_demo.runs.runner import execute
from dsum_demo.runs.store import Runs, RunState
from dsum_demo.training.config import DataConfig, RunConfig, TrainingConfig
from dsum_demo.training.dataset import sample_csv
from dsum_demo.training.methods import METHODS, method

# Some defaults are too large for a model of width 32.
SMALL = {"oft": {"oft_block_size": 4}, "vera": {"r": 8}}
DIALOGUE = "Maya: Can you lend me ten dollars?\nTom: Sure, pay me back next week."


@pytest.mark.parametrize("name", METHODS)
def test_a_trained_model_is_registered_and_summarizes_and_the_base_is_unchanged(name, settings, tmp_path):
    (tmp_path / "rows.csv").write_text(sample_csv())
    training = TrainingConfig(name, SMALL.get(name, {}), max_steps=2, batch_size=1, evaluations=2, warmup_share=0,
                              max_source_tokens=64, max_target_tokens=16)  # fmt: skip
    config = RunConfig("dsum-t5-base", training, DataConfig(str(tmp_path / "rows.csv")))
    store = make_store(settings)
    original = store.load(store.registry.spec("dsum-t5-base"))
    before = {key: tensor.clone() for key, tensor in original.model.state_dict().items()}
    decode = replace(store.registry.default_family.decode, max_new_tokens=12)
    source = DEFAULT_PROMPT.encode(original.tokenizer, DIALOGUE)
    said = generate(original, source, decode).text
    file = (settings.root / "models" / "dsum-t5-base" / "model.safetensors").read_bytes()

    run = Runs(settings.runs_dir).create(config.as_record(), name)
    assert execute(run, make_registry(settings), make_sources(settings)).state is RunState.FINISHED
    record = json.loads((run.folder / "result.json").read_text())
    assert (record["method"], record["steps"], record["family"]) == (name, 2, "dsum-t5")

    store.registry.refresh()
    spec = store.registry.spec(name)
    assert spec.kind is (Kind.FULL if name == "full" else Kind.ADAPTER)
    assert store.registry.availability(spec).state is State.LOCAL, store.registry.availability(spec).reason
    loaded = store.load(spec)
    assert generate(loaded, source, decode).finished
    trained = torch.cat([tensor.flatten() for tensor in logits(loaded, source)])
    plain = torch.cat([tensor.flatten() for tensor in logits(original, source)])
    assert not torch.equal(trained, plain), "two steps changed the output"

    assert generate(original, source, decode).text == said
    assert all(torch.equal(tensor, original.model.state_dict()[key]) for key, tensor in before.items())
    assert (settings.root / "models" / "dsum-t5-base" / "model.safetensors").read_bytes() == file
    # Also shown in the model card and the run history.
    assert (
        record["trained_parameters"] == (record["parameters"] if name == "full" else record["trained_parameters"]) > 0
    )
    assert 0 < record["share"] <= 1 and record["checkpoint_bytes"] == spec.size_bytes
    assert method(name).title in (run.folder / "README.md").read_text()


def logits(loaded, source) -> list[torch.Tensor]:
    with torch.inference_mode():
        out = loaded.model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[0, 5, 6]]))
    return [out.logits[:, -3:].float()]
