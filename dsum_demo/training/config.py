"""The configuration of a training run: base model, data and hyperparameters, as saved in a run's config.json.

Values are validated on construction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dsum_demo.data.columns import USUAL_COLUMNS
from dsum_demo.errors import InputError
from dsum_demo.models.architectures import ENCODER_DECODER
from dsum_demo.training.methods import method
from dsum_demo.utils.fields import Field

# The training form shows them in this order.
TRAINING_FIELDS: tuple[Field, ...] = (
    Field("learning_rate", "number", None, "The peak learning rate; the default depends on the method.",
          0.0, 1.0, above_low=True),
    Field("optimizer", "choice", None, "adafactor scales updates by each tensor's RMS, as in T5's pretraining; adamw "
          "does not.", choices=("adamw", "adafactor")),
    Field("weight_decay", "number", 0.01, "How strongly weights shrink toward zero at each step.", 0.0, 1.0),
    Field("label_smoothing", "number", 0.0, "Probability mass spread over the other tokens.",
          0.0, 0.9),
    Field("warmup_share", "number", 0.05, "The share of steps in which the learning rate rises linearly from 0.",
          0.0, 1.0),
    Field("epochs", "number", 1.0, "Passes over the training data.", 0.0, 1000.0, above_low=True),
    Field("max_steps", "whole", 0, "Total optimizer steps; 0 uses epochs instead.", 0, 1_000_000),
    Field("batch_size", "whole", 16, "Dialogues per forward pass.", 1, 1024),
    Field("accumulation", "whole", 1, "Batches accumulated per optimizer step; saves memory, costs time.", 1, 1024),
    Field("evaluations", "whole", 4, "How many times the run is evaluated on the validation sample.",
          1, 1000),
    Field("validation_sample", "whole", 128, "Validation dialogues per evaluation.", 1, 100_000),
    Field("best_by", "choice", "rouge1", "The metric that selects the best weights.", choices=("rouge1", "rouge2",
          "rougeL", "loss")),
    Field("patience", "whole", 0, "Early stopping after this many evaluations without improvement; 0 turns it off.",
          0, 1000),
    Field("max_source_tokens", "whole", 512, "Longer dialogues are truncated: their last turns are left out.", 1, 8192),
    Field("max_target_tokens", "whole", 128, "Longer summaries are truncated.", 2, 8192),
    Field("precision", "choice", "auto", "auto uses bf16 if the hardware supports it natively.",
          choices=("auto", "bf16", "fp32")),
    Field("seed", "whole", 42, "Seeds the order of the data, dropout and the initialization of the adapter.",
          0, 2**32 - 1),
    Field("compile", "flag", False, "Use torch.compile: faster steps after minutes of compilation; needs a C++ "
          "compiler."),
)  # fmt: skip


@dataclass(frozen=True)
class TrainingConfig:
    """The hyperparameters of a run. Raises InputError if a value is out of bounds.

    method: a name in `methods.METHODS`; `options` go to its PEFT config. learning_rate and optimizer: None uses the
    method's default. The learning rate rises for `warmup_share` of the steps and then falls linearly to 0. task_type:
    PEFT's task type of the base model, which selects the method's defaults. TRAINING_FIELDS describes the other fields.
    """

    method: str = "lora"
    options: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float | None = None
    optimizer: str | None = None
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    warmup_share: float = 0.05
    epochs: float = 1.0
    max_steps: int = 0
    batch_size: int = 16
    accumulation: int = 1
    evaluations: int = 4
    validation_sample: int = 128
    best_by: str = "rouge1"
    patience: int = 0
    max_source_tokens: int = 512
    max_target_tokens: int = 128
    precision: str = "auto"
    seed: int = 42
    compile: bool = False
    task_type: str = ENCODER_DECODER.task_type

    def __post_init__(self) -> None:
        chosen = method(self.method, self.task_type)
        object.__setattr__(self, "options", chosen.options(self.options))
        for name in ("learning_rate", "optimizer"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(chosen, name))
        for each in TRAINING_FIELDS:
            object.__setattr__(self, each.name, each.check(getattr(self, each.name)))

    @property
    def peak_learning_rate(self) -> float:
        assert self.learning_rate is not None
        return self.learning_rate

    def as_record(self) -> dict[str, Any]:
        """Return JSON-compatible values; TrainingConfig(**record) restores the config."""
        options = {name: list(v) if isinstance(v, tuple) else v for name, v in self.options.items()}
        fields = {f.name: getattr(self, f.name) for f in TRAINING_FIELDS}
        return {"method": self.method, "options": options, **fields, "task_type": self.task_type}


@dataclass(frozen=True)
class DataConfig:
    """The training and validation data. Raises InputError if a value is out of bounds.

    source: "samples", a file, a folder, or another source of `sources.read_source`. validation_source: as `source`, for
    validation; "" splits off `validation_share` of the source with `split_seed`. columns: {"dialogue": …, "summary": …,
    "id": …} for a file with other column names; detected if empty. limit: maximum number of training dialogues, 0 for
    all.
    """

    source: str = "samples"
    validation_source: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    validation_share: float = 0.1
    split_seed: int = 0
    limit: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.source, str) or not self.source.strip():
            raise InputError("data is empty; give samples, a file or a folder.")
        for each in DATA_FIELDS:
            object.__setattr__(self, each.name, each.check(getattr(self, each.name)))
        if wrong := sorted(set(self.columns) - set(USUAL_COLUMNS)):
            raise InputError(f"columns has the unknown key {wrong[0]!r}; use one of: {', '.join(USUAL_COLUMNS)}.")
        object.__setattr__(self, "columns", dict(self.columns))

    def as_record(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "validation_source": self.validation_source,
            "columns": dict(self.columns),
            **{each.name: getattr(self, each.name) for each in DATA_FIELDS},
        }


DATA_FIELDS: tuple[Field, ...] = (
    Field("validation_share", "number", 0.1, "The share split off for validation if the data has no validation part.",
          0.0, 0.9, above_low=True),
    Field("split_seed", "whole", 0, "Seeds the validation split and the limit's sample.", 0, 2**32 - 1),
    Field("limit", "whole", 0, "Maximum number of training dialogues; 0 uses all.", 0, 10_000_000),
)  # fmt: skip


# Preference training has other defaults. The learning rate is a tenth of LoRA's usual one or less: DPO starts from a
# model that summarizes already. A batch is one pair, two texts that the model and its reference read, and a stop is
# obeyed after each batch.
PREFERENCE_DEFAULTS: Mapping[str, Any] = {"learning_rate": 5e-5, "batch_size": 1, "accumulation": 4}


@dataclass(frozen=True)
class RunConfig:
    """The contents of a run's config.json. `base` is a base model that `dsum models` lists.

    preset: the name of the preset that it is based on, for display only; "" for none. sweep: the learning rates of a
    learning-rate sweep, each for `training.max_steps` steps; empty for a run that trains a model. start_from: the model
    that preference training starts from, on the pairs in `data.source`; empty for another run.
    """

    base: str
    training: TrainingConfig = field(default_factory=TrainingConfig)
    data: DataConfig = field(default_factory=DataConfig)
    preset: str = ""
    sweep: tuple[float, ...] = ()
    start_from: str = ""

    def as_record(self) -> dict[str, Any]:
        record: dict[str, Any] = {
            "base": self.base,
            "preset": self.preset,
            "data": self.data.as_record(),
            "training": self.training.as_record(),
        }
        if self.sweep:
            record["sweep"] = list(self.sweep)
        return {**record, "start_from": self.start_from} if self.start_from else record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RunConfig:
        """Raises InputError if the record is not a config or a value is out of bounds."""
        try:
            return cls(
                base=str(record["base"]),
                training=TrainingConfig(**record["training"]),
                data=DataConfig(**record["data"]),
                preset=str(record.get("preset", "")),
                sweep=tuple(map(float, record.get("sweep", ()))),
                start_from=str(record.get("start_from", "")),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"This is not the config of a training run: {error}.") from None

    def command(self, name: str = "") -> list[str]:
        """Return the `dsum` arguments that start the same run; settings with default values are omitted."""
        training = self.training
        defaults = PREFERENCE_DEFAULTS if self.start_from else {}
        plain = TrainingConfig(method=training.method, **defaults, task_type=training.task_type)
        words = ["train", "--base", self.base, "--method", training.method]
        words += ["--from", self.start_from, "--preferences"] if self.start_from else ["--data"]
        words.append(self.data.source)
        if self.data.validation_source:
            words += ["--validation", self.data.validation_source]
        for role, column in self.data.columns.items():
            words += ["--column", f"{role}={column}"]
        settings = {f.name: (getattr(training, f.name), getattr(plain, f.name)) for f in TRAINING_FIELDS}
        settings |= {key: (value, plain.options[key]) for key, value in training.options.items()}
        settings |= {f.name: (getattr(self.data, f.name), f.default) for f in DATA_FIELDS}
        for key, (value, default) in settings.items():
            if value != default:
                words += ["--set", f"{key}={','.join(value) if isinstance(value, tuple) else value}"]
        words += ["--sweep", str(training.max_steps)] if self.sweep else []
        return [*words, *(["--name", name] if name else [])]


def apply_settings(config: RunConfig, settings: Sequence[str]) -> RunConfig:
    """Return `config` with "field=value" overrides of training fields, data fields and method options.

    Raises InputError for a text without "=", an unknown field, or a value out of bounds.
    """
    chosen = method(config.training.method, config.training.task_type)
    options = {each.name: each for each in chosen.fields if not each.fixed}
    training = {each.name: each for each in TRAINING_FIELDS}
    data = {each.name: each for each in DATA_FIELDS}
    changed: dict[str, dict[str, Any]] = {"options": {}, "training": {}, "data": {}}
    for text in settings:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise InputError(f"--set {text!r} has no '='; write it as field=value, such as max_steps=100.")
        for where, table in (("options", options), ("training", training), ("data", data)):
            if name in table:
                changed[where][name] = table[name].parse(value)
                break
        else:
            known = ", ".join([*options, *training, *data])
            raise InputError(f"--set {text!r}: there is no field {name!r}; the fields are: {known}.")
    return replace(
        config,
        training=replace(
            config.training, options={**config.training.options, **changed["options"]}, **changed["training"]
        ),
        data=replace(config.data, **changed["data"]),
    )


def with_method(config: TrainingConfig, name: str) -> TrainingConfig:
    """Return `config` with another method and that method's default options, learning rate and optimizer."""
    if name == config.method:
        return config
    return replace(config, method=name, options={}, learning_rate=None, optimizer=None)
