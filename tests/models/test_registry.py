"""The catalog, discovery, availability and the check of adapters, on real files and without loading a model."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import IA3Config, LoraConfig
from safetensors.torch import load_file, save_file

from dsum_demo.composition import make_registry
from dsum_demo.errors import (
    IncompatibleAdapterError,
    ModelUnavailableError,
    SettingsError,
    UnknownModelError,
    UnsafeWeightsError,
)
from dsum_demo.hub.client import HubProbe
from dsum_demo.hub.source import Source, SourceKind
from dsum_demo.models.adapters import check_adapter, names_base
from dsum_demo.models.architectures import DECODER_ONLY, ENCODER_DECODER
from dsum_demo.models.catalog import CATALOG_FILE, Kind, read_catalog
from dsum_demo.models.prompts import Prompt
from dsum_demo.models.registry import State
from dsum_demo.settings import PROJECT_ROOT
from dsum_demo.utils.checkpoint_files import find_weights, model_name, read_entries

LORA = {"task_type": "SEQ_2_SEQ_LM", "r": 4, "lora_alpha": 8, "target_modules": ["q", "v"]}


def edit(file: Path, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


# The catalog


def test_the_shipped_catalog_has_families_of_both_architectures():
    catalog = read_catalog(PROJECT_ROOT)
    assert [family.name for family in catalog.families] == [
        "smollm2-135m", "dsum-t5", "flan-t5-small", "flan-t5-base", "flan-t5-large", "smollm2-135m-instruct",
        "smollm2-360m-instruct", "smollm2-1.7b-instruct", "qwen3-0.6b", "gemma-3-270m-it",
    ]  # fmt: skip
    assert (catalog.default, catalog.training) == ("smollm2-135m", "dsum-t5")
    for family in catalog.families:
        base, full, adapter = family.default_trio()
        assert (base.kind, full.kind, adapter.kind) == (Kind.BASE, Kind.FULL, Kind.ADAPTER)
        assert base is family.base and full.base == adapter.base == base.name
        assert all(spec.source or spec.note for spec in family.variants)
        assert family.decode.max_new_tokens == 80 and family.decode.streams
        t5 = family.architecture is ENCODER_DECODER
        assert family.max_source_tokens == (512 if t5 else 2048) and family.prompt.chat != t5
        assert family.base.licence


def test_flan_t5_base_carries_what_was_published():
    family = next(f for f in read_catalog(PROJECT_ROOT).families if f.name == "flan-t5-base")
    assert family.parameters == 247_577_856
    assert family.published == {
        "base": (23.34, 7.60, 20.15),
        "full": (42.16, 18.04, 33.84),
        "adapter": (40.81, 16.33, 32.51),
    }
    assert "rouge_score" in family.published_source
    lora = next(spec for spec in family.variants if spec.kind is Kind.ADAPTER)
    assert lora.parameters - lora.trained_parameters == family.parameters


GOOD = """
default = "one"
[[family]]
name = "one"
title = "One"
max_source_tokens = 512
[[family.variant]]
name = "one-base"
title = "Original"
kind = "base"
embedded = "models/one"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('default = "one"', 'default = "two"', "default is 'two'"),
        ('default = "one"', "default = ", "cannot be read"),
        ("max_source_tokens = 512", "max_source_tokens = 8", "max_source_tokens is 8"),
        ("max_source_tokens = 512", 'max_source_tokens = "512"', "must be int"),
        ("max_source_tokens = 512", "", "max_source_tokens is missing"),
        ("max_source_tokens = 512", "max_source_tokens = 512\nsize = 3", "unknown entry 'size'"),
        ("max_source_tokens = 512", "max_source_tokens = 512\ndecode = {num_beams = 99}", "num_beams is 99"),
        ("max_source_tokens = 512", "max_source_tokens = 512\ndecode = {beams = 2}", "decode is invalid"),
        ("max_source_tokens = 512", "max_source_tokens = 512\npublished = {base = [1, 2]}", "give R1, R2 and RL"),
        ("max_source_tokens = 512", "max_source_tokens = 512\npublished = {lora = [1, 2, 3]}", "published lora"),
        (
            "max_source_tokens = 512",
            'max_source_tokens = 512\nprompt = {template = "Sum up."}',
            "contain {dialogue} once",
        ),
        ("max_source_tokens = 512", "max_source_tokens = 512\nprompt = {chat = 1}", "must be bool"),
        ("max_source_tokens = 512", 'max_source_tokens = 512\nmodel_type = "mamba"', "'mamba'; dsum loads"),
        ('kind = "base"', 'kind = "lora"', "choose one of: base, full, adapter"),
        ('kind = "base"', 'kind = "full"', "0 variants of kind base"),
        ('name = "one-base"', 'name = "../one"', "letters, digits"),
        ('embedded = "models/one"', 'embedded = "../models/one"', "inside the repository"),
        ('embedded = "models/one"', 'embedded = "/etc"', "inside the repository"),
        ('embedded = "models/one"', 'hub = "no-slash"', "give owner/name"),
        ('embedded = "models/one"', 'hub = "../../etc/passwd"', "give owner/name"),
        ('embedded = "models/one"', 'hub = "a/b"\nembedded = "models/one"', "keep one"),
        ('embedded = "models/one"', "", "explains how to make it"),
        ('embedded = "models/one"', 'embedded = "models/one"\nparameters = -1', "parameters is -1"),
    ],
)
def test_a_wrong_catalog_is_refused_with_the_entry(tmp_path, old, new, said):
    file = tmp_path / "catalog.toml"
    assert old in GOOD
    file.write_text(GOOD)
    assert read_catalog(tmp_path, file).default == "one"
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(SettingsError, match=said):
        read_catalog(tmp_path, file)


def test_a_family_has_the_prompt_that_the_catalog_gives_it(tmp_path):
    file = tmp_path / "catalog.toml"
    prompt = 'prompt = { template = "{dialogue}\\n\\nSummarize it.", chat = true }'
    file.write_text(GOOD.replace("max_source_tokens = 512", f"max_source_tokens = 512\n{prompt}"))
    assert read_catalog(tmp_path, file).families[0].prompt == Prompt("{dialogue}\n\nSummarize it.", chat=True)


def test_two_models_of_one_name_are_refused(tmp_path):
    file = tmp_path / "catalog.toml"
    file.write_text(GOOD + GOOD.split("\n", 2)[2].replace('name = "one"', 'name = "two"'))
    with pytest.raises(SettingsError, match="two entries with the variant name 'one-base'"):
        read_catalog(tmp_path, file)


# Models on the disk


def test_embedded_sizes_and_counts_are_read_from_the_files(settings):
    registry = make_registry(settings)
    base, full, lora = registry.default_family.default_trio()
    file = Path(base.source.location) / "model.safetensors"
    assert base.size_bytes == file.stat().st_size
    assert base.parameters == sum(tensor.numel() for tensor in load_file(file).values())
    assert base.trained_parameters == 0 and full.trained_parameters == full.parameters
    tensors = load_file(Path(lora.source.location) / "adapter_model.safetensors")
    assert lora.trained_parameters == sum(tensor.numel() for tensor in tensors.values())
    assert lora.parameters == base.parameters + lora.trained_parameters
    assert [registry.availability(spec).state for spec in (base, full, lora)] == [State.SHIPPED] * 3


def test_unknown_names_are_answered_with_those_there_are(settings):
    registry = make_registry(settings)
    with pytest.raises(UnknownModelError, match=r"'gpt'.*dsum-t5, flan-t5-small"):
        registry.family("gpt")
    with pytest.raises(UnknownModelError, match=r"'gpt'.*dsum-t5-base, dsum-t5-full"):
        registry.spec("gpt")


def test_what_is_not_there_stays_visible_with_the_reason(settings, root):
    shutil.rmtree(root / "models" / "dsum-t5-full")
    registry = make_registry(settings)
    answer = registry.availability(registry.spec("dsum-t5-full"))
    assert answer.state is State.MISSING and not answer.usable and "models/dsum-t5-full" in answer.reason
    assert registry.availability(registry.spec("dsum-t5-lora")).usable
    never_made = registry.availability(registry.spec("flan-t5-small-full"))
    assert never_made.state is State.MISSING and "Fine-tune one" in never_made.reason


def test_an_adapter_without_its_base_is_unavailable(settings, root):
    shutil.rmtree(root / "models" / "dsum-t5-base")
    registry = make_registry(settings)
    answer = registry.availability(registry.spec("dsum-t5-lora"))
    assert not answer.usable and "dsum-t5-base" in answer.reason


def test_dropped_adapters_and_finished_runs_appear_and_vanish(settings, root):
    registry = make_registry(settings)
    shutil.copytree(root / "adapters" / "dsum-t5-lora", root / "adapters" / "mine")
    run = settings.runs_dir / "friday"
    shutil.copytree(root / "models" / "dsum-t5-full", run / "best")
    (run / "result.json").write_text(json.dumps({"family": "dsum-t5", "method": "full", "base": "dsum-t5-base"}))
    shutil.copytree(root / "adapters" / "dsum-t5-lora", settings.runs_dir / "unfinished" / "best")
    with pytest.raises(UnknownModelError):
        registry.spec("mine")
    registry.refresh()
    mine, friday = registry.spec("mine"), registry.spec("friday")
    assert (mine.kind, mine.family, mine.base) == (Kind.ADAPTER, "dsum-t5", "dsum-t5-base")
    assert (friday.kind, friday.trained_parameters) == (Kind.FULL, friday.parameters)
    assert registry.availability(mine).state is registry.availability(friday).state is State.LOCAL
    assert "unfinished" not in [spec.name for spec in registry.default_family.variants]
    assert registry.default_family.default_trio()[2].name == "dsum-t5-lora"
    shutil.rmtree(root / "adapters" / "mine")
    registry.refresh()
    with pytest.raises(UnknownModelError):
        registry.spec("mine")


def test_a_run_named_like_a_model_gets_another_name(settings, root):
    run = settings.runs_dir / "dsum-t5-full"
    shutil.copytree(root / "models" / "dsum-t5-full", run / "best")
    (run / "result.json").write_text(json.dumps({"family": "dsum-t5", "method": "full"}))
    registry = make_registry(settings)
    assert registry.spec("dsum-t5-full-2").source.location == str(run / "best")
    assert registry.spec("dsum-t5-full").source.kind is SourceKind.EMBEDDED


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("other-base", {"base_model_name_or_path": "someone/flan-t5-base"}, "someone/flan-t5-base"),
        ("bad name", {}, "letters, digits"),
        ("no-base", {"base_model_name_or_path": None}, "names no base model; write it there, such as"),
        (
            "kaggle",
            {"base_model_name_or_path": "/kaggle/input/my-t5/pytorch/base/1"},
            '"base_model_name_or_path": "smollm2-135m"',
        ),
    ],
)
def test_what_belongs_nowhere_is_listed_as_a_misfit(settings, root, name, config, said):
    folder = Path(shutil.copytree(root / "adapters" / "dsum-t5-lora", root / "adapters" / name))
    edit(folder / "adapter_config.json", **config)
    registry = make_registry(settings)
    assert [misfit.name for misfit in registry.misfits] == [name]
    assert said in registry.misfits[0].reason


@pytest.mark.parametrize(
    "declared",
    [
        "/kaggle/input/dsum-t5/pytorch/base/3", "C:\\work\\dsum-t5-base", "/content/drive/MyDrive/dsum-t5-base/",
        "./models/dsum-t5-base",
    ],
)  # fmt: skip
def test_a_base_path_of_another_machine_is_matched_by_its_name_in_the_list_and_when_checked(settings, root, declared):
    folder = Path(shutil.copytree(root / "adapters" / "dsum-t5-lora", root / "adapters" / "mine"))
    edit(folder / "adapter_config.json", base_model_name_or_path=declared)
    registry = make_registry(settings)
    assert registry.availability(registry.spec("mine")).state is State.LOCAL


def test_a_hub_snapshot_path_names_its_repository():
    assert names_base("/home/x/.cache/hub/models--google--flan-t5-base/snapshots/7bcac5", {"google/flan-t5-base"})
    assert not names_base("/home/x/.cache/hub/models--someone--flan-t5-base/snapshots/7b", {"google/flan-t5-base"})
    assert not names_base("/home/x/flan-t5-base/checkpoint-500", {"flan-t5-base"}), "may be a fine-tuned model"


def test_checkpoints_inside_a_folder_are_found_and_an_unusable_one_is_named_when_asked_for(settings, root):
    for step in (100, 200):
        shutil.copytree(root / "adapters" / "dsum-t5-lora", root / "adapters" / "run" / f"checkpoint-{step}")
    edit(root / "adapters" / "run" / "checkpoint-200" / "adapter_config.json", base_model_name_or_path="")
    registry = make_registry(settings)
    assert registry.availability(registry.spec("run-checkpoint-100")).state is State.LOCAL
    with pytest.raises(UnknownModelError, match=r"run-checkpoint-200 cannot be used: .* names no base model"):
        registry.spec("run-checkpoint-200")


@pytest.mark.parametrize("result", ["no json", "[]", "{}", '{"family": "gpt"}'])
def test_a_broken_result_is_a_misfit(settings, result):
    run = settings.runs_dir / "broken"
    run.mkdir(parents=True)
    (run / "result.json").write_text(result)
    assert [misfit.name for misfit in make_registry(settings).misfits] == ["broken"]


def test_a_link_that_leads_out_of_adapters_is_not_followed(settings, root, tmp_path):
    outside = shutil.copytree(root / "adapters" / "dsum-t5-lora", tmp_path / "outside")
    (root / "adapters" / "link").symlink_to(outside)
    registry = make_registry(settings)
    assert [spec.name for spec in registry.default_family.variants][3:] == [] and not registry.misfits


def test_an_adapter_may_name_a_hub_family_by_its_repository(settings, root):
    folder = Path(shutil.copytree(root / "adapters" / "dsum-t5-lora", root / "adapters" / "for-flan"))
    edit(folder / "adapter_config.json", base_model_name_or_path="google/flan-t5-base")
    registry = make_registry(settings)
    assert registry.spec("for-flan").family == "flan-t5-base"
    answer = registry.availability(registry.spec("for-flan"))
    assert answer.state is State.UNREACHABLE and "flan-t5-base" in answer.reason


@pytest.mark.parametrize(
    ("declared", "same"),
    [
        ("dsum-t5-base", True),
        ("google/flan-t5-base", True),
        ("models/dsum-t5-base", True),
        ("/home/me/dsum/models/dsum-t5-base", True),
        ("./flan-t5-base/", True),
        ("C:\\models\\flan-t5-base", True),
        ("someone/flan-t5-base", False),
        ("t5-base", False),
        ("/models/flan-t5-base-v2", False),
        ("", False),
        (None, False),
        (3, False),
    ],
)
def test_names_that_mean_the_base(declared, same):
    known = {"dsum-t5-base", "models/dsum-t5-base", "google/flan-t5-base", "flan-t5-base"}
    assert names_base(declared, known) is same


# The Hub


def test_offline_hub_models_are_unreachable_at_once(settings):
    registry = make_registry(settings)
    answer = registry.availability(registry.spec("flan-t5-base"))
    assert answer.state is State.UNREACHABLE and "HF_HUB_OFFLINE" in answer.reason


def test_the_hub_is_asked_once_by_all_threads_together(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)
    asked = []

    def ask(endpoint: str, timeout: float) -> str:
        asked.append(endpoint)
        time.sleep(0.05)
        return "The Hub cannot be reached (test)."

    monkeypatch.setattr("dsum_demo.hub.client._ask_hub", ask)
    probe = HubProbe(offline=False, timeout=1.5)
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(probe.unreachable_because())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1 and set(answers) == {"The Hub cannot be reached (test)."}


def test_a_hub_that_does_not_answer_is_given_up(monkeypatch):
    # A socket that accepts and stays silent.
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert HubProbe(offline=False, timeout=0.2).unreachable_because() == "The Hub did not answer within 0.2 s."


def test_a_refused_connection_is_a_reason_and_is_forgotten_when_asked_again(monkeypatch, settings):
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
    registry = make_registry(replace(settings, offline=False))
    spec = registry.spec("flan-t5-base")
    answer = registry.availability(spec)
    assert answer.state is State.UNREACHABLE and answer.reason
    monkeypatch.setattr("dsum_demo.hub.client._ask_hub", lambda endpoint, timeout: "")
    assert registry.availability(spec) == answer
    registry.ask_hub_again()
    assert registry.availability(spec).state is State.DOWNLOADABLE


def test_a_disk_without_room_is_known_before_a_download(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "not" / "yet" / "made"))
    monkeypatch.setattr("dsum_demo.hub.client._ask_hub", lambda endpoint, timeout: "")
    catalog = read_catalog(PROJECT_ROOT)
    huge = [
        replace(family, variants=tuple(replace(spec, size_bytes=10**16) for spec in family.variants))
        for family in catalog.families
    ]
    registry = make_registry(replace(settings, offline=False), replace(catalog, families=tuple(huge)))
    answer = registry.availability(registry.spec("flan-t5-base"))
    assert answer.state is State.NO_ROOM and not answer.usable
    assert "takes 10,000,000.0 GB" in answer.reason and "set HF_HOME" in answer.reason


def test_settings_choose_the_family_that_pages_begin_with(settings):
    registry = make_registry(replace(settings, family="flan-t5-base"))
    assert registry.default_family.name == registry.training_family.name == "flan-t5-base"
    catalog = replace(read_catalog(PROJECT_ROOT), default="flan-t5-small", training="dsum-t5")
    registry = make_registry(replace(settings, family=""), catalog)
    assert (registry.default_family.name, registry.training_family.name) == ("flan-t5-small", "dsum-t5")
    with pytest.raises(SettingsError, match=r"DSUM_FAMILY is 'flan'; choose one of: .*flan-t5-base"):
        make_registry(replace(settings, family="flan"))


def test_a_family_that_needs_no_network_is_offered_where_it_is_here(settings, root):
    registry = make_registry(settings)
    assert registry.offline_offer() == "The family dsum-t5 needs no network."
    shutil.rmtree(root / "models" / "dsum-t5-base")
    registry.refresh()
    assert registry.offline_offer() == ""


def test_a_refusal_is_remembered_until_the_model_loads(settings):
    registry = make_registry(settings)
    spec = registry.spec("flan-t5-base-full")
    registry.mark_failed(spec, "The Hub has no public repository (404).")
    assert registry.availability(spec) == type(registry.availability(spec))(
        State.FAILED, "The Hub has no public repository (404)."
    )
    registry.mark_loaded(spec)
    assert registry.availability(spec).state is State.UNREACHABLE


def hub_cache(cache: Path, repository: str, files: Path) -> None:
    """A folder's files as huggingface_hub's cache keeps them."""
    commit = "a" * 40
    home = cache / f"models--{repository.replace('/', '--')}"
    shutil.copytree(files, home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)


def test_what_is_in_the_hub_cache_is_known_without_the_hub(settings, root, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    hub_cache(tmp_path / "cache", "google/flan-t5-small", root / "models" / "dsum-t5-base")
    registry = make_registry(settings)
    assert registry.availability(registry.spec("flan-t5-small")).state is State.CACHED
    assert registry.availability(registry.spec("flan-t5-base")).state is State.UNREACHABLE


def test_a_cache_without_weights_does_not_count(settings, root, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    (root / "models" / "dsum-t5-base" / "model.safetensors").unlink()
    hub_cache(tmp_path / "cache", "google/flan-t5-small", root / "models" / "dsum-t5-base")
    registry = make_registry(settings)
    assert registry.availability(registry.spec("flan-t5-small")).state is State.UNREACHABLE


# Adapters, checked from their files


@pytest.fixture
def adapter(root) -> Path:
    return root / "adapters" / "dsum-t5-lora"


def test_a_good_adapter_passes(adapter, root):
    check_adapter(adapter, ENCODER_DECODER, root / "models" / "dsum-t5-base", {"dsum-t5-base"})
    check_adapter(adapter, ENCODER_DECODER)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "MAGIC"}, "PEFT type 'MAGIC'"),
        ({"peft_type": None}, "PEFT type None"),
        ({"task_type": "CAUSAL_LM"}, "task 'CAUSAL_LM'"),
        (
            {"base_model_name_or_path": "google/mt5-small"},
            "names the base model 'google/mt5-small', which is not one of: dsum-t5-base",
        ),
        ({"init_lora_weights": "pissa"}, "'pissa', which rewrites"),
        ({"init_lora_weights": "olora"}, "'olora', which rewrites"),
        ({"init_lora_weights": "loftq"}, "'loftq', which rewrites"),
        ({"megatron_core": "os", "megatron_config": {"a": 1}}, "megatron_config"),
        ({"r": 8}, "has rank 8"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(adapter, root, changes, said):
    edit(adapter / "adapter_config.json", **changes)
    with pytest.raises(IncompatibleAdapterError, match=said):
        check_adapter(adapter, ENCODER_DECODER, root / "models" / "dsum-t5-base", {"dsum-t5-base"})


def rewrite(folder: Path, change) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({k: v.contiguous() for k, v in change(load_file(file)).items()}, file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {k: torch.zeros_like(v) if "lora_B" in k else v for k, v in t.items()}, "untrained: every lora_B"),
        (lambda t: {k: torch.zeros(v.shape[0] + 8, 4) if "lora_B" in k else v for k, v in t.items()}, "40 x 32"),
        (lambda t: {k: torch.ones(4, 48) if "lora_A" in k else v for k, v in t.items()}, "32 x 48, the base has 32"),
        (lambda t: {k: v for k, v in t.items() if "lora_A" in k}, "do not match"),
        (lambda t: {k.replace("block.1", "block.7"): v for k, v in t.items()}, r"no layer \S+block\.7"),
        (lambda t: {**t, "base_model.model.classifier.weight": torch.ones(2, 2)}, "the base has no classifier.weight"),
        (lambda t: {**t, "base_model.model.shared.weight": torch.ones(2, 2)}, "shared.weight is 2 x 2"),
        (lambda t: {"base_model.model.shared.weight": torch.ones(80, 32)}, "has no lora_A|shared.weight is"),
        (lambda t: {}, "contains no tensors"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_refused(adapter, root, change, said):
    rewrite(adapter, change)
    with pytest.raises(IncompatibleAdapterError, match=said):
        check_adapter(adapter, ENCODER_DECODER, root / "models" / "dsum-t5-base", {"dsum-t5-base"})


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (["q"], r"weights for \d+ of \d+ layers \(v\) that target_modules .* does not name"),
        (r".*decoder.*\.(q|v)", r"weights for \d+ of \d+ layers \(q, v\)"),
    ],
)
def test_layers_that_target_modules_does_not_cover_are_refused(adapter, root, targets, said):
    edit(adapter / "adapter_config.json", target_modules=targets)
    with pytest.raises(IncompatibleAdapterError, match=said):
        check_adapter(adapter, ENCODER_DECODER, root / "models" / "dsum-t5-base")


@pytest.mark.parametrize("targets", ["all-linear", r".*\.(q|v)", ["SelfAttention.q", "EncDecAttention.q", "v"]])
def test_target_modules_may_be_a_pattern_or_ends_of_names(adapter, root, targets):
    edit(adapter / "adapter_config.json", target_modules=targets)
    check_adapter(adapter, ENCODER_DECODER, root / "models" / "dsum-t5-base")


def test_a_saved_embedding_that_the_config_does_not_name_is_refused(adapter, root):
    embedding = load_file(root / "models" / "dsum-t5-base" / "model.safetensors")["shared.weight"]
    rewrite(adapter, lambda tensors: {**tensors, "base_model.model.shared.weight": embedding})
    with pytest.raises(IncompatibleAdapterError, match=r'contains shared\.weight.*"modules_to_save": \["shared"\]'):
        check_adapter(adapter, ENCODER_DECODER, root / "models" / "dsum-t5-base")
    edit(adapter / "adapter_config.json", modules_to_save=["shared"])
    check_adapter(adapter, ENCODER_DECODER, root / "models" / "dsum-t5-base")


def test_one_trained_layer_is_enough(adapter, root):
    names = []

    def only_one(tensors):
        names.extend(name for name in tensors if "lora_B" in name)
        return {k: torch.zeros_like(v) if k in names[1:] else v for k, v in tensors.items()}

    rewrite(adapter, only_one)
    assert len(names) > 1
    check_adapter(adapter, ENCODER_DECODER, root / "models" / "dsum-t5-base")


def test_an_adapter_for_a_wider_model_is_refused(root, tmp_path, tiny_model, save_adapter):
    wide = save_adapter(tiny_model(1, d_model=48), LoraConfig(**LORA), tmp_path / "wide")
    with pytest.raises(IncompatibleAdapterError, match=r"32 x 48, the base has 32 x 32"):
        check_adapter(wide, ENCODER_DECODER, root / "models" / "dsum-t5-base")
    factors = IA3Config(task_type="SEQ_2_SEQ_LM", target_modules=["k", "wo"], feedforward_modules=["wo"])
    ia3 = save_adapter(tiny_model(1, d_ff=96), factors, tmp_path / "ia3")
    with pytest.raises(IncompatibleAdapterError, match=r"are 1 x 96, the base's matrix is 32 x 64"):
        check_adapter(ia3, ENCODER_DECODER, root / "models" / "dsum-t5-base")


def test_a_causal_adapter_is_checked_against_the_tied_head_and_the_task_of_its_base(
    tmp_path, causal_root, tiny_causal, save_adapter
):
    base = causal_root / "models" / "causal-base"
    check_adapter(causal_root / "adapters" / "causal-lora", DECODER_ONLY, base, {"causal-base"})
    for folder, modules in (("head", ["lm_head"]), ("wide", ["up_proj"])):
        lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=modules)
        save_adapter(tiny_causal(1, **({"intermediate_size": 96} if folder == "wide" else {})), lora, tmp_path / folder)
    with pytest.raises(IncompatibleAdapterError, match=r"the base has no lm_head\.base_layer"):
        check_adapter(tmp_path / "head", DECODER_ONLY, base)  # PEFT adds a copy of the embedding
    rewrite(tmp_path / "head", lambda tensors: {k: v for k, v in tensors.items() if "base_layer" not in k})
    check_adapter(tmp_path / "head", DECODER_ONLY, base)
    with pytest.raises(IncompatibleAdapterError, match="96 x 32, the base has 64 x 32"):
        check_adapter(tmp_path / "wide", DECODER_ONLY, base)
    with pytest.raises(IncompatibleAdapterError, match="'CAUSAL_LM'; its base is encoder-decoder"):
        check_adapter(tmp_path / "head", ENCODER_DECODER)


def test_a_refused_adapter_shows_as_failed(settings, adapter):
    rewrite(adapter, lambda t: {k: torch.zeros_like(v) if "lora_B" in k else v for k, v in t.items()})
    registry = make_registry(settings)
    answer = registry.availability(registry.spec("dsum-t5-lora"))
    assert answer.state is State.FAILED and "untrained" in answer.reason


# Files


def test_only_pickles_are_refused_unopened(adapter, tmp_path):
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.pkl").write_bytes(b"cos\nsystem\n(S'touch /nowhere'\ntR.")
    with pytest.raises(UnsafeWeightsError, match=r"adapter_model\.pkl.*can run code"):
        check_adapter(adapter, ENCODER_DECODER)
    for name in ("weights.pt", "training_args.bin", "model.ckpt"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(UnsafeWeightsError):
            find_weights(tmp_path, adapter=False)
        (tmp_path / name).unlink()


def test_safetensors_come_first(adapter):
    (adapter / "adapter_model.bin").write_bytes(b"")
    assert find_weights(adapter, adapter=True).safetensors


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is truncated"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ((10**9).to_bytes(8, "little") + b"{}", "is truncated"),
        ((2).to_bytes(8, "little") + b"[]", "not a safetensors file"),
        ((4).to_bytes(8, "little") + b"oops", "not a safetensors file"),
        ((67).to_bytes(8, "little") + b'{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 99999999]}}', "not a"),
    ],
)  # fmt: skip
def test_a_broken_weight_file_is_a_sentence(adapter, content, said):
    (adapter / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(ModelUnavailableError, match=said):
        check_adapter(adapter, ENCODER_DECODER)


@pytest.mark.parametrize(
    ("shard", "error"), [("../outside.safetensors", UnsafeWeightsError), ("part-2.safetensors", ModelUnavailableError)]
)
def test_shards_are_plain_names_of_files_that_are_there(tmp_path, shard, error):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(error, match="part" if "part" in shard else "outside its folder"):
        find_weights(tmp_path, adapter=False)


def test_shards_count_together(tmp_path):
    save_file({"a": torch.ones(2, 3)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.ones(4)}, tmp_path / "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    entries = read_entries(find_weights(tmp_path, adapter=False))
    assert {name: entry.shape for name, entry in entries.items()} == {"a": (2, 3), "b": (4,)}


def test_models_are_called_by_names_that_people_know():
    assert model_name(Path("/a/models/dsum-t5-full")) == "dsum-t5-full"
    assert model_name(Path("/data/runs/friday/best")) == "friday"
    assert model_name(Path("/hub/models--google--flan-t5-base/snapshots/7bcac")) == "google/flan-t5-base"


def test_the_catalog_ships_with_the_package():
    assert CATALOG_FILE.parent == PROJECT_ROOT / "dsum_demo" / "models" and CATALOG_FILE.is_file()
    assert Source(SourceKind.HUB, "a/b").revision is None
