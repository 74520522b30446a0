"""What decides a training run: the settings of the training itself, and the base and data that it is about.

Both are checked when they are made, so that a config that exists can be run, and both are plain values in a run's
config.json. Knows the table of methods and nothing of files, models or trainers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dsum_demo.errors import InputError
from dsum_demo.models.architectures import ENCODER_DECODER
from dsum_demo.training.methods import method
from dsum_demo.utils.fields import Field

# The order is the one that a form shows them in.
TRAINING_FIELDS: tuple[Field, ...] = (
    Field("learning_rate", "number", None, "The step size at its peak; each method has one that suits it.",
          0.0, 1.0, above_low=True),
    Field("optimizer", "choice", None, "adafactor scales its step by each tensor's size, as T5 was made for; adamw "
          "does not.", choices=("adamw", "adafactor")),
    Field("weight_decay", "number", 0.01, "How strongly weights are pulled to zero at each step.", 0.0, 1.0),
    Field("label_smoothing", "number", 0.0, "The share of certainty that the right word gives to all others.",
          0.0, 0.9),
    Field("warmup_share", "number", 0.05, "The share of steps in which the learning rate rises from 0 to its peak.",
          0.0, 1.0),
    Field("epochs", "number", 1.0, "How often every dialogue is seen.", 0.0, 1000.0, above_low=True),
    Field("max_steps", "whole", 0, "Optimizer steps in all; 0 lets the epochs decide.", 0, 1_000_000),
    Field("batch_size", "whole", 16, "Dialogues that go through the model at once.", 1, 1024),
    Field("accumulation", "whole", 1, "Batches that are added up for one optimizer step; saves memory, costs time.",
          1, 1024),
    Field("evaluations", "whole", 4, "How often within the run the validation sample is summarized and scored.",
          1, 1000),
    Field("validation_sample", "whole", 128, "Validation dialogues that are scored each time.", 1, 100_000),
    Field("best_by", "choice", "rouge1", "What decides which weights are the best.", choices=("rouge1", "rouge2",
          "rougeL", "loss")),
    Field("patience", "whole", 0, "Evaluations without a better score before the run ends by itself; 0 never does.",
          0, 1000),
    Field("max_source_tokens", "whole", 512, "Longer dialogues lose their last turns.", 1, 8192),
    Field("max_target_tokens", "whole", 128, "Longer summaries are cut.", 2, 8192),
    Field("precision", "choice", "auto", "bf16 is faster where the hardware has it, and auto uses it there.",
          choices=("auto", "bf16", "fp32")),
    Field("seed", "whole", 42, "Decides what is random: the order, what is dropped, and how an adapter begins.",
          0, 2**32 - 1),
    Field("compile", "flag", False, "Fuse operations with torch.compile: faster steps after minutes of preparation; "
          "needs a C++ compiler."),
)  # fmt: skip


@dataclass(frozen=True)
class TrainingConfig:
    """What decides a run's result, beside base and data. Raises InputError when out of bounds.

    method: a name in `peft_methods.METHODS`; `options` go to its PEFT config. learning_rate and optimizer: None takes
    the method's own. The learning rate's peak is reached after `warmup_share` of the steps and falls linearly to 0.
    task_type: that of the base's architecture, which decides the method's defaults. The other fields are explained in
    TRAINING_FIELDS.
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
        """Plain values, as they are written to a run's folder; TrainingConfig(**record) is the same config."""
        options = {name: list(v) if isinstance(v, tuple) else v for name, v in self.options.items()}
        fields = {f.name: getattr(self, f.name) for f in TRAINING_FIELDS}
        return {"method": self.method, "options": options, **fields, "task_type": self.task_type}


@dataclass(frozen=True)
class DataConfig:
    """Where the dialogues come from. Raises InputError when out of bounds.

    source: "samples", a file, a folder, or what else `sources.read_source` knows. validation_source: where the
    validation dialogues come from; "" splits `validation_share` off the source, decided by `split_seed`.
    columns: {"dialogue": …, "summary": …, "id": …} for a file whose columns are called otherwise; guessed where empty.
    limit: at most so many dialogues to learn from, 0 for all of them.
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
        wrong = sorted(set(self.columns) - {"dialogue", "summary", "id"})
        if wrong:
            raise InputError(f"columns names {wrong[0]!r}; give dialogue, summary and, if you like, id.")
        object.__setattr__(self, "columns", dict(self.columns))

    def as_record(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "validation_source": self.validation_source,
            "columns": dict(self.columns),
            **{each.name: getattr(self, each.name) for each in DATA_FIELDS},
        }


DATA_FIELDS: tuple[Field, ...] = (
    Field("validation_share", "number", 0.1, "The share of dialogues kept for validation where none are given.",
          0.0, 0.9, above_low=True),
    Field("split_seed", "whole", 0, "Decides which dialogues those are.", 0, 2**32 - 1),
    Field("limit", "whole", 0, "At most so many dialogues to learn from; 0 takes all.", 0, 10_000_000),
)  # fmt: skip


@dataclass(frozen=True)
class RunConfig:
    """A whole run: what a run's config.json holds. `base` is a model that `dsum models` lists as an original.

    preset: the name of the preset that it began from, for the reader; "" for none.
    """

    base: str
    training: TrainingConfig = field(default_factory=TrainingConfig)
    data: DataConfig = field(default_factory=DataConfig)
    preset: str = ""

    def as_record(self) -> dict[str, Any]:
        return {
            "base": self.base,
            "preset": self.preset,
            "data": self.data.as_record(),
            "training": self.training.as_record(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RunConfig:
        """Raises InputError where the record is no config or is out of bounds."""
        try:
            return cls(
                base=str(record["base"]),
                training=TrainingConfig(**record["training"]),
                data=DataConfig(**record["data"]),
                preset=str(record.get("preset", "")),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"This is not the config of a run: {error}.") from None

    def command(self, name: str = "") -> list[str]:
        """The arguments of `dsum` that start the same run, every setting spelled out where it is not a default."""
        training = self.training
        plain = TrainingConfig(method=training.method, task_type=training.task_type)
        words = ["train", "--base", self.base, "--method", training.method, "--data", self.data.source]
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
        return [*words, *(["--name", name] if name else [])]


def apply_settings(config: RunConfig, settings: Sequence[str]) -> RunConfig:
    """`config` with "field=value" texts on top: fields of the training, of the data, and options of the method.

    Raises InputError for what is no "field=value", a field that there is not, or a value out of bounds.
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
    """The same training by another method, with that method's own options, learning rate and optimizer."""
    if name == config.method:
        return config
    return replace(config, method=name, options={}, learning_rate=None, optimizer=None)
