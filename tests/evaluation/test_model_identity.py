"""Model identity: weights, tokenizer, base, precision, and fingerprints of the training data."""

from __future__ import annotations

import json

import pytest

from dsum_demo.composition import make_registry
from dsum_demo.data.examples import TRAINING_FINGERPRINTS
from dsum_demo.errors import ModelError
from dsum_demo.evaluation.output_cache import OutputCache, identify, training_fingerprints


def weights(settings, name: str) -> str:
    registry = make_registry(settings)
    return identify(registry.spec(name), registry, OutputCache()).weights


def test_identities_of_three_models_differ_and_are_stable(tiny_settings):
    registry = make_registry(tiny_settings)
    found = [identify(spec, registry, OutputCache()) for spec in registry.default_family.default_trio()]
    assert len({identity.weights for identity in found}) == 3
    assert found == [identify(spec, registry, OutputCache()) for spec in registry.default_family.default_trio()]
    assert {identity.dtype for identity in found} == {"float32"} and found[0].trained_on == frozenset()


def test_changed_base_weights_change_the_identity_of_its_adapters_only(root, settings):
    names = ("dsum-t5-base", "dsum-t5-full", "dsum-t5-lora")
    before = [weights(settings, name) for name in names]
    file = root / "models" / "dsum-t5-base" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    after = [weights(settings, name) for name in names]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, False]


def test_a_changed_adapter_config_changes_the_identity(root, settings):
    before = weights(settings, "dsum-t5-lora")
    file = root / "adapters" / "dsum-t5-lora" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "lora_alpha": 99}))
    assert weights(settings, "dsum-t5-lora") != before


@pytest.mark.parametrize(
    ("name", "content"),
    [("chat_template.jinja", "{{ messages }}"), ("generation_config.json", '{"eos_token_id": [1, 7]}')],
)
def test_a_changed_chat_template_or_list_of_end_tokens_changes_the_identity(root, settings, name, content):
    before = weights(settings, "dsum-t5-base")
    (root / "models" / "dsum-t5-base" / name).write_text(content)
    assert weights(settings, "dsum-t5-base") != before


def test_a_changed_gguf_file_changes_the_identity(root, settings, tiny_causal, chat_tokenizer, save_gguf):
    folder = root / "models" / "dsum-t5-base"
    (folder / "model.safetensors").unlink()
    file = save_gguf(tiny_causal(1), chat_tokenizer, folder / "model.gguf")
    before = weights(settings, "dsum-t5-base")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    assert weights(settings, "dsum-t5-base") != before


def test_a_model_that_is_not_on_this_machine_has_no_identity(tiny_settings):
    registry = make_registry(tiny_settings)
    assert identify(registry.spec("flan-t5-base"), registry, OutputCache()) is None


def test_a_folder_without_weights_raises(root, settings):
    (root / "models" / "dsum-t5-full" / "model.safetensors").unlink()
    with pytest.raises(ModelError):
        weights(settings, "dsum-t5-full")


def test_training_fingerprints_of_a_model_and_of_a_run(tmp_path):
    model, best = tmp_path / "model", tmp_path / "run" / "best"
    model.mkdir()
    best.mkdir(parents=True)
    assert training_fingerprints(model) == frozenset()
    (model / TRAINING_FINGERPRINTS).write_text("0123456789abcdef\n\nfedcba9876543210\n")
    (best.parent / TRAINING_FINGERPRINTS).write_text("0011223344556677")
    assert training_fingerprints(model) == {"0123456789abcdef", "fedcba9876543210"}
    assert training_fingerprints(best) == {"0011223344556677"}
    # Only the best/ folder of a run uses the fingerprints in its parent folder.
    assert training_fingerprints(best.parent / "other") == frozenset()
