"""Training of both architectures: loss, batches, the end of a summary, tied output layers, every method, resuming."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dsum_demo.errors import InputError
from dsum_demo.generation.streaming import generate
from dsum_demo.models.architectures import ARCHITECTURES, DECODER_ONLY
from dsum_demo.models.loading import load_adapted, load_whole, merged
from dsum_demo.models.prompts import LABEL_PAD_ID
from dsum_demo.models.store import LoadedModel
from dsum_demo.training.batches import encode_pairs
from dsum_demo.training.config import TrainingConfig
from dsum_demo.training.events import Curve
from dsum_demo.training.forgetting import WINDOW, general_loss, general_text
from dsum_demo.training.loop import TrainingResult, train
from dsum_demo.training.methods import METHODS, linear_modules, target_choices
from dsum_demo.training.trainer import token_loss

PAIRS = [
    ("Maya: Can you lend me ten dollars?\nTom: Sure.", "Tom lends Maya money."),
    ("Tom: Are you free?\nMaya: No.", "Maya is not free."),
    ("Anna: The doctor tells me to rest.\nTom: Then rest, and drink water.\nAnna: I agree.", "Anna has to rest."),
]
SETTINGS: dict[str, Any] = {
    "max_steps": 2, "batch_size": 2, "evaluations": 1, "warmup_share": 0, "learning_rate": 1e-2, "precision": "fp32",
}  # fmt: skip
# Some defaults are too large for a model of width 32.
SMALL = {"oft": {"oft_block_size": 4}, "vera": {"r": 8}}


class Trio:
    """The base model of `any_store`'s family, with what is needed to train it."""

    def __init__(self, store: Any):
        self.store, self.family = store, store.registry.default_family
        self.base: LoadedModel = store.load(self.family.base)
        self.tokenizer, self.architecture = self.base.tokenizer, self.family.architecture
        self.decode = replace(self.family.decode, max_new_tokens=24)

    def model(self) -> Any:
        """Return a new copy of the base model, ready for training."""
        folder = self.store.registry.folder_of(self.family.base)
        return load_whole(folder, self.tokenizer, torch.float32, self.family.prompt).requires_grad_(True)

    def config(self, method: str = "lora", **changes: Any) -> TrainingConfig:
        options = SMALL.get(method, {})
        return TrainingConfig(method, options, task_type=self.architecture.task_type, **{**SETTINGS, **changes})

    def rows(self, pairs: Any = PAIRS) -> Any:
        return encode_pairs(pairs, self.tokenizer, self.config(), self.architecture, self.family.prompt)

    def train(self, folder: Path, config: TrainingConfig, model: Any = None, pairs: Any = PAIRS, **more: Any) -> Any:
        return train(
            model or self.model(), self.tokenizer, pairs, pairs[:2], config, folder,
            base_name=self.family.base.name, decode=self.decode, prompt=self.family.prompt, **more,
        )  # fmt: skip


@pytest.fixture(scope="module")
def trio(any_store) -> Trio:
    return Trio(any_store)


@pytest.fixture(scope="module")
def causal(causal_store) -> Trio:
    return Trio(causal_store)


def batch_of(trio: Trio, model: Any) -> dict[str, Any]:
    columns = ("input_ids", "labels")
    return trio.architecture.collator(trio.tokenizer, model)([{c: row[c] for c in columns} for row in trio.rows()])


def test_the_loss_equals_the_models_own(trio):
    batch = batch_of(trio, trio.base.model)
    fed = {name: value for name, value in batch.items() if name != "labels"}
    with torch.inference_mode():
        loss = token_loss(trio.architecture)(trio.base.model(**fed), batch["labels"])
        fed.pop("logits_to_keep", None)
        own = trio.base.model(**fed, labels=batch["labels"]).loss
    assert loss.item() == pytest.approx(own.item(), rel=1e-5)


def test_the_loss_of_a_padded_batch_equals_that_of_its_single_rows(trio):
    collate = trio.architecture.collator(trio.tokenizer, trio.base.model)

    def total(rows: list[dict[str, Any]]) -> float:
        batch = dict(collate(rows))
        labels = batch.pop("labels")
        with torch.inference_mode():
            return token_loss(trio.architecture)(trio.base.model(**batch), labels, num_items_in_batch=1).item()

    rows = [{name: row[name] for name in ("input_ids", "labels")} for row in trio.rows()]
    assert total(rows) == pytest.approx(sum(total([row]) for row in rows), rel=1e-5)


def test_the_general_loss_is_the_models_own_over_all_windows(causal):
    ids = causal.tokenizer(general_text(), add_special_tokens=False)["input_ids"]
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(ids) - 1, WINDOW):
            window = torch.tensor([ids[start : start + WINDOW + 1]])
            total += causal.base.model(input_ids=window, labels=window).loss.item() * (window.shape[1] - 1)
    assert len(ids) > 2 * WINDOW
    loss = general_loss(causal.base.model, causal.tokenizer, DECODER_ONLY)
    assert loss == pytest.approx(total / (len(ids) - 1), rel=1e-5)


def test_labels_are_the_summary_and_one_end_token(trio):
    prompt = trio.family.prompt
    for row, (dialogue, summary) in zip(trio.rows(), PAIRS, strict=True):
        assert (
            row["prompt_ids"] == prompt.encode(trio.tokenizer, dialogue) == row["input_ids"][: len(row["prompt_ids"])]
        )
        learned = [label for label in row["labels"] if label != LABEL_PAD_ID]
        assert learned == prompt.encode_target(trio.tokenizer, summary, 100)
        assert learned.count(prompt.end_token_id(trio.tokenizer)) == 1


def test_decoder_only_rows_are_padded_left_and_logits_cover_only_the_summaries(causal):
    batch, rows = batch_of(causal, causal.base.model), causal.rows()
    assert batch["logits_to_keep"] == max(len(r["labels"]) - len(r["prompt_ids"]) for r in rows) + 1
    for number, row in enumerate(rows):
        length = len(row["input_ids"])
        assert batch["input_ids"][number, -length:].tolist() == row["input_ids"]
        assert batch["labels"][number, -length:].tolist() == row["labels"]
        assert batch["attention_mask"][number].sum() == length and batch["attention_mask"][number, -length:].all()
        assert batch["position_ids"][number, -length:].tolist() == list(range(length))
        assert (batch["labels"][number, :-length] == LABEL_PAD_ID).all()


def test_a_model_whose_pad_token_is_the_end_token_learns_to_end_summaries(causal, tmp_path):
    """Rows of a batch differ in length: masking labels by the pad token's id would also mask the end token."""
    assert causal.tokenizer.pad_token_id == causal.tokenizer.eos_token_id
    result = causal.train(tmp_path, causal.config("full", max_steps=60, batch_size=3))
    assert result.best["rouge1"] == 1.0
    written = generate(loaded(causal, tmp_path, "full"), causal.rows()[1]["prompt_ids"], causal.decode)
    assert written.text == PAIRS[1][1] and not written.hit_length_limit


def loaded(trio: Trio, folder: Path, method: str) -> LoadedModel:
    best = folder / "best"
    if METHODS[method].peft_type is None:
        return replace(trio.base, model=load_whole(best, trio.tokenizer, torch.float32, trio.family.prompt))
    return replace(trio.base, model=load_adapted(best, trio.base.model)[0])


@pytest.mark.parametrize("method", METHODS)
def test_each_method_can_be_trained_saved_and_loaded_and_changes_the_output(trio, tmp_path, method):
    events: list[dict[str, Any]] = []
    result = trio.train(tmp_path, trio.config(method), on_event=events.append)
    losses = Curve().add(events).forgetting
    if trio.architecture is DECODER_ONLY:
        before, after = losses
        assert before == pytest.approx(general_loss(trio.base.model, trio.tokenizer, DECODER_ONLY), rel=1e-4)
        assert 0 < after != before
    else:
        assert losses is None, "an encoder-decoder model has no loss of a text alone"
    found = loaded(trio, tmp_path, method)
    names = set(load_file(next((tmp_path / "best").glob("*.safetensors"))))
    if method != "full":
        vocabulary = ("embed_tokens", "lm_head", "shared")
        assert not [name for name in names if any(part in name for part in vocabulary)]
        saved = json.loads((tmp_path / "best" / "adapter_config.json").read_text())
        assert saved["task_type"] == trio.architecture.task_type
        assert 0 < result.trained_parameters < result.parameters
    ids = torch.tensor([trio.rows()[0]["prompt_ids"]])
    decoder = {"decoder_input_ids": torch.tensor([[0, 5, 6]])} if trio.base.model.config.is_encoder_decoder else {}
    with torch.inference_mode():
        ours, plain = (m(input_ids=ids, **decoder).logits[:, -3:] for m in (found.model, trio.base.model))
    assert torch.isfinite(ours).all() and not torch.equal(ours, plain)


def test_a_tied_output_layer_stays_tied_after_training_loading_and_merging(causal, tmp_path):
    def tied(model: Any) -> bool:
        return model.get_input_embeddings().weight is model.get_output_embeddings().weight

    model = causal.model()
    causal.train(tmp_path / "full", causal.config("full"), model)
    assert tied(model) and not torch.equal(model.lm_head.weight, causal.base.model.lm_head.weight)
    assert "lm_head.weight" not in load_file(tmp_path / "full" / "best" / "model.safetensors")
    assert tied(loaded(causal, tmp_path / "full", "full").model)
    causal.train(tmp_path / "lora", causal.config())
    whole = merged(loaded(causal, tmp_path / "lora", "lora").model)
    assert tied(whole) and torch.equal(whole.lm_head.weight, causal.base.model.lm_head.weight)


@pytest.mark.parametrize("method", ["full", "lora", "adalora", "prompt"])
def test_a_resumed_run_has_the_weights_of_an_uninterrupted_one(trio, tmp_path, method):
    config = trio.config(method, max_steps=4)
    events: list[Any] = []
    trio.train(tmp_path / "whole", config)
    stopped: TrainingResult = trio.train(
        tmp_path / "parts", config, on_event=events.append,
        should_stop=lambda: any(event["event"] == "step" for event in events),
    )  # fmt: skip
    assert stopped.stopped and stopped.steps < 4
    assert trio.train(tmp_path / "parts", config, resume=True).steps == 4
    whole, parts = (load_file(next((tmp_path / n / "best").glob("*.safetensors"))) for n in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_linear_modules_are_those_inside_the_blocks(trio):
    shapes = {name: tuple(tensor.shape) for name, tensor in trio.base.model.state_dict().items()}
    found = linear_modules(shapes)
    assert set(found) <= set(trio.architecture.linear_layers) and len(found) == 7
    folder = trio.store.registry.folder_of(trio.family.base)
    assert target_choices("lora", folder) == ("all-linear", *found)
    assert all("norm" in name for name in target_choices("ln_tuning", folder))


@pytest.mark.parametrize("name", ["lm_head", "embed_tokens"])
def test_an_adapter_of_the_embedding_or_output_layer_raises(causal, tmp_path, name):
    config = replace(causal.config(), options={"target_modules": ("q_proj", name)})
    with pytest.raises(InputError, match="includes the embedding or output layer"):
        causal.train(tmp_path, config)


def test_a_config_for_the_other_architecture_raises(trio, tmp_path):
    [other] = ARCHITECTURES.keys() - {trio.architecture.task_type}
    with pytest.raises(InputError, match=f"task_type is {other}; {trio.family.base.name} is {trio.architecture.name}"):
        trio.train(tmp_path, TrainingConfig(task_type=other, **SETTINGS))


def test_a_prompt_limit_that_leaves_no_room_for_a_summary_raises(causal, tmp_path):
    with pytest.raises(
        InputError, match="max_source_tokens is 2000; with summaries of up to 128 tokens causal-base reads"
    ):
        causal.train(tmp_path, causal.config(max_source_tokens=2000))
