"""Training configs: bounds, defaults per method, records, --set overrides, presets and the limits of a public Space."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dsum_demo.errors import InputError
from dsum_demo.runs.limits import PUBLIC, check_allowed
from dsum_demo.training.config import (
    TRAINING_FIELDS,
    DataConfig,
    RunConfig,
    TrainingConfig,
    apply_settings,
    with_method,
)
from dsum_demo.training.methods import METHODS, method
from dsum_demo.training.presets import preset, presets


@pytest.mark.parametrize("name", METHODS)
def test_learning_rate_and_optimizer_default_to_those_of_the_method(name):
    config = TrainingConfig(name)
    assert (config.learning_rate, config.optimizer) == (METHODS[name].learning_rate, METHODS[name].optimizer)
    assert dict(config.options) == METHODS[name].options()
    assert TrainingConfig(name, learning_rate=1e-4).learning_rate == 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_decoder_only_configs_have_their_own_defaults(name):
    config, row = TrainingConfig(name, task_type="CAUSAL_LM"), method(name, "CAUSAL_LM")
    assert config.learning_rate == row.learning_rate < METHODS[name].learning_rate
    assert config.options.get("task_type", "CAUSAL_LM") == "CAUSAL_LM"
    assert with_method(TrainingConfig("vera", task_type="CAUSAL_LM"), name) == config


def test_decoder_only_lora_has_ten_times_the_learning_rate_of_full_fine_tuning():
    full, lora = (TrainingConfig(name, task_type="CAUSAL_LM") for name in ("full", "lora"))
    assert lora.learning_rate == pytest.approx(10 * full.learning_rate)
    assert (full.optimizer, lora.options["target_modules"]) == ("adamw", ("all-linear",))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("task_type", ["SEQ_2_SEQ_LM", "CAUSAL_LM"])
def test_a_config_is_restored_from_its_record(name, task_type):
    training = TrainingConfig(name, max_steps=3, task_type=task_type)
    config = RunConfig("dsum-t5-base", training, DataConfig("samples", limit=5), "smoke")
    assert RunConfig.from_record(json.loads(json.dumps(config.as_record()))) == config


def test_a_record_without_task_type_is_read_as_encoder_decoder():
    record = RunConfig("dsum-t5-base").as_record()
    del record["training"]["task_type"]
    assert RunConfig.from_record(record) == RunConfig("dsum-t5-base")


def test_every_field_is_an_attribute_with_the_same_default():
    config = TrainingConfig()
    for field in TRAINING_FIELDS:
        assert field.default is None or getattr(config, field.name) == field.default
        assert field.explanation.endswith(".") and hasattr(config, field.name)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"method": "qlora"}, "choose one of: full, lora"),
        ({"task_type": "SEQ_CLS"}, "task_type is 'SEQ_CLS'; give one of: SEQ_2_SEQ_LM, CAUSAL_LM"),
        ({"options": {"rank": 4}}, "LoRA has no option 'rank'"),
        ({"options": {"r": 0}}, "r is 0"),
        ({"options": {"task_type": "CAUSAL_LM"}}, "task_type is 'SEQ_2_SEQ_LM' here and cannot be changed"),
        ({"method": "full", "options": {"r": 4}}, "no option 'r'; its options are: none."),
        ({"learning_rate": 0}, "learning_rate is 0; give a number above 0 and at most 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; give one of: adamw, adafactor"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": float("inf")}, "epochs is inf"),
        ({"max_steps": -1}, "max_steps is -1; give a whole number from 0 to 1000000"),
        ({"batch_size": 2.5}, "batch_size is 2.5; give a whole number"),
        ({"accumulation": 0}, "accumulation is 0"),
        ({"evaluations": 0}, "evaluations is 0"),
        ({"validation_sample": 0}, "validation_sample is 0"),
        ({"best_by": "bleu"}, "best_by is 'bleu'"),
        ({"patience": -1}, "patience is -1"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1; give a number from 0 to 1"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"warmup_share": float("nan")}, "warmup_share is nan"),
        ({"max_source_tokens": 0}, "max_source_tokens is 0"),
        ({"max_target_tokens": 1}, "max_target_tokens is 1"),
        ({"precision": "fp16"}, "precision is 'fp16'; give one of: auto, bf16, fp32"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"compile": "yes"}, "compile is 'yes'; give true or false"),
    ],
)
def test_training_settings_out_of_bounds_raise(settings, sentence):
    with pytest.raises(InputError) as refused:
        TrainingConfig(**settings)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"source": " "}, "data is empty"),
        ({"validation_share": 0}, "validation_share is 0"),
        ({"limit": -1}, "limit is -1"),
        ({"columns": {"text": "x"}}, "columns has the unknown key 'text'"),
    ],
)
def test_data_settings_out_of_bounds_raise(settings, sentence):
    with pytest.raises(InputError) as refused:
        DataConfig(**settings)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("record", [{}, {"base": "x"}, {"base": "x", "training": {"speed": 1}, "data": {}}])
def test_an_invalid_record_raises(record):
    with pytest.raises(InputError, match="This is not the config of a training run"):
        RunConfig.from_record(record)


def test_apply_settings_changes_options_training_and_data():
    config = apply_settings(
        RunConfig("dsum-t5-base"), ["r=8", "target_modules=q,v", "max_steps=7", "limit=9", "precision=fp32"]
    )
    assert (config.training.options["r"], config.training.options["target_modules"]) == (8, ("q", "v"))
    assert (config.training.max_steps, config.data.limit, config.training.precision) == (7, 9, "fp32")
    assert config.training.options["lora_alpha"] == 32, "other options keep their values"


def test_with_method_resets_options_learning_rate_and_optimizer():
    config = TrainingConfig("lora", {"r": 4}, learning_rate=0.1, batch_size=2)
    assert with_method(config, "lora") is config
    other = with_method(config, "prompt")
    assert (other.learning_rate, other.optimizer, other.batch_size) == (0.3, "adafactor", 2)
    assert "r" not in other.options


@pytest.mark.parametrize(("task_type", "targets"), [("SEQ_2_SEQ_LM", ("q", "v")), ("CAUSAL_LM", ("q_proj", "v_proj"))])
def test_presets_match_the_notebook_and_the_recipes(task_type, targets):
    assert list(presets()) == ["good-lora", "good-full", "notebook-lora", "notebook-full", "smoke"]
    full, lora = preset("notebook-full").training[task_type], preset("notebook-lora").training[task_type]
    assert (full.method, full.learning_rate, full.weight_decay, full.optimizer) == ("full", 1e-5, 0.01, "adamw")
    assert (lora.method, lora.learning_rate) == ("lora", 1e-3)
    assert (lora.options["r"], lora.options["lora_alpha"], lora.options["target_modules"]) == (32, 32, targets)
    assert preset("smoke").data.source == "samples" and preset("smoke").training[task_type].max_steps <= 20
    assert all(each.title and each.notes[task_type].endswith(".") for each in presets().values())
    assert {each.training[task_type].task_type for each in presets().values()} == {task_type}


def test_an_unknown_preset_raises():
    with pytest.raises(InputError, match="There is no preset 'x'; choose one of: good-lora"):
        preset("x")


def test_a_preset_is_converted_to_a_run_config():
    config = preset("smoke").run_config("dsum-t5-base", "SEQ_2_SEQ_LM")
    assert (config.base, config.preset, config.data.source) == ("dsum-t5-base", "smoke", "samples")


def test_the_smoke_preset_is_allowed_on_a_public_space(tmp_path):
    check_allowed(preset("smoke").run_config("dsum-t5-base", "SEQ_2_SEQ_LM"), tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"max_steps": 0}, "Set max_steps to at most 200"),
        ({"max_steps": 201}, "max_steps is 201; this Space allows at most 200"),
        ({"batch_size": 17}, "batch_size is 17"),
        ({"accumulation": 5}, "accumulation is 5"),
        ({"validation_sample": 129}, "validation_sample is 129"),
        ({"max_source_tokens": 513}, "max_source_tokens is 513"),
        ({"compile": True}, "does not compile"),
    ],
)
def test_a_run_over_the_limits_of_a_public_space_raises(tmp_path, changes, sentence):
    smoke = preset("smoke").run_config("dsum-t5-base", "SEQ_2_SEQ_LM")
    with pytest.raises(InputError, match=sentence):
        check_allowed(replace(smoke, training=replace(smoke.training, **changes)), tmp_path)


def test_another_base_raises_on_a_public_space(tmp_path):
    with pytest.raises(InputError, match="This Space trains dsum-t5-base only"):
        check_allowed(preset("smoke").run_config("flan-t5-base", "SEQ_2_SEQ_LM"), tmp_path)


def test_a_public_space_accepts_uploads_but_no_other_path(tmp_path):
    smoke = preset("smoke").run_config("dsum-t5-base", "SEQ_2_SEQ_LM")
    folder = tmp_path / "data" / "uploads"
    folder.mkdir(parents=True)
    (folder / "rows.csv").write_text("x")
    (tmp_path / "secret.csv").write_text("x")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    check_allowed(replace(smoke, data=DataConfig(str(folder / "rows.csv"))), folder)
    for source in (str(tmp_path / "secret.csv"), str(folder / "link.csv"), str(folder / ".." / ".." / "secret.csv"),
                   str(folder), "dialogsum", "someone/repository"):  # fmt: skip
        for data in (DataConfig(source), DataConfig("samples", validation_source=source)):
            with pytest.raises(InputError, match="on the samples or an uploaded file only"):
                check_allowed(replace(smoke, data=data), folder)
    assert PUBLIC["uploaded_rows"] > 0 and PUBLIC["waiting_runs"] > 0
