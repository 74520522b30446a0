"""The table of fine-tuning methods: options with defaults, a one-sentence explanation and the paper of each.

A new method is a new row. peft is imported only when a PEFT config is created.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsum_demo.errors import InputError
from dsum_demo.models.architectures import ARCHITECTURES, ENCODER_DECODER
from dsum_demo.models.peft_types import PEFT_TYPES
from dsum_demo.utils.checkpoint_files import Shape, find_weights, read_entries, shapes_of
from dsum_demo.utils.fields import Field, check_all

if TYPE_CHECKING:
    from peft import PeftConfig

ALL_LINEAR = "all-linear"
# In feed-forward layers IA3 scales the inputs of these modules, not their outputs.
FEED_FORWARD = ("wo", "wi", "wi_0", "wi_1", "gate_proj", "up_proj", "down_proj", "fc1", "fc2")
_IN_A_BLOCK = re.compile(r"(^|\.)(block|layers)\.\d+\.")


@dataclass(frozen=True)
class Method:
    """A fine-tuning method. `peft_type` is a key of PEFT_TYPES; None trains all weights.

    learning_rate, optimizer and field defaults: suited to T5. The learning rate is the best of the shipped study, which
    trained for few steps, or about a third of it if that was high. decoder_only: other defaults for decoder-only
    models, by attribute or field name; not chosen by a study. constants: fixed PEFT arguments that define the method.
    finish: converts checked options and the number of steps to PEFT arguments, for methods whose fields differ.
    """

    name: str
    title: str
    explanation: str
    paper: str
    learning_rate: float
    peft_type: str | None = None
    fields: tuple[Field, ...] = ()
    optimizer: str = "adamw"
    decoder_only: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    finish: Callable[[dict[str, Any], int], dict[str, Any]] | None = None

    @property
    def adds_to_base(self) -> bool:
        """Whether the update is added to the base model's output and can be scaled down to zero."""
        return self.peft_type is not None and PEFT_TYPES[self.peft_type].adds_to_base

    def options(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return all options, with `given` overriding the defaults.

        Raises InputError for an unknown option or an invalid value.
        """
        return check_all(self.fields, given or {}, self.title)

    def field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)

    def config(
        self, options: Mapping[str, Any] | None = None, steps: int = 1000, modules: tuple[str, ...] = ()
    ) -> PeftConfig | None:
        """Return the PEFT config with `options` overriding the defaults, or None for full fine-tuning.

        steps: total optimizer steps, for methods with a schedule. modules: the modules that "all-linear" expands to
        (`linear_modules`); PEFT detects them if empty. Raises InputError as `options` does.
        """
        values = self.options(options)
        if self.peft_type is None:
            return None
        import peft

        if "target_modules" in values:
            chosen = values["target_modules"]
            if ALL_LINEAR in chosen:
                values["target_modules"] = list(modules) or ALL_LINEAR
            else:
                values["target_modules"] = list(chosen)
        if self.finish:
            values = self.finish(values, steps)
        return getattr(peft, PEFT_TYPES[self.peft_type].config_class)(**{**values, **self.constants})


def linear_modules(shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """Return the sorted names of the linear layers in a model's blocks, the valid values of `target_modules`.

    shapes: tensor shapes by name. Embeddings, position bias and output layer are excluded, because an adapter on them
    would contain a matrix as large as the vocabulary.
    """
    matrices = {name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) == 2}
    return tuple(sorted({_leaf(name) for name in matrices if _IN_A_BLOCK.search(name)} - {"relative_attention_bias"}))


def norm_modules(shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """Return the sorted names of a model's layer norms."""
    vectors = {name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) == 1}
    return tuple(sorted({_leaf(name) for name in vectors if "norm" in _leaf(name)}))


def target_choices(method_name: str, base: Path) -> tuple[str, ...]:
    """Return the valid `target_modules` of a method for the base model in this folder, read from its weight headers.

    "all-linear" comes first if the method supports it. Empty for methods without that field. Raises InputError for an
    unknown method and ModelUnavailableError if the folder has no weights.
    """
    chosen = method(method_name).field("target_modules")
    if chosen is None:
        return ()
    weights = find_weights(base, adapter=False)
    shapes = shapes_of(read_entries(weights)) if weights.lists_tensors else {}
    if method_name == "ln_tuning":
        return norm_modules(shapes)
    return (ALL_LINEAR, *linear_modules(shapes))


@cache
def method(name: str, task_type: str = ENCODER_DECODER.task_type) -> Method:
    """Return the method with the defaults for an architecture, given as PEFT's task type.

    Raises InputError with the known values for an unknown name or task type.
    """
    if name not in METHODS:
        raise InputError(f"There is no fine-tuning method {name!r}; choose one of: {', '.join(METHODS)}.")
    if task_type not in ARCHITECTURES:
        raise InputError(f"task_type is {task_type!r}; give one of: {', '.join(ARCHITECTURES)}.")
    row = METHODS[name]
    if task_type == ENCODER_DECODER.task_type:
        return row
    other = {**row.decoder_only, "task_type": task_type}
    fields = tuple(replace(each, default=other.pop(each.name, each.default)) for each in row.fields)
    return replace(row, fields=fields, **{key: value for key, value in other.items() if key != "task_type"})


def _leaf(name: str) -> str:
    return name.rsplit(".", 1)[-1]


TASK = Field(
    "task_type", "choice", ENCODER_DECODER.task_type,
    "PEFT's name of the base's architecture: SEQ_2_SEQ_LM has an encoder, CAUSAL_LM has none.",
    choices=tuple(ARCHITECTURES), fixed=True,
)  # fmt: skip
TARGETS = Field(
    "target_modules", "names", (ALL_LINEAR,),
    "The layers that get an adapter. Queries and values are the usual choice; all linear layers learn more.",
)  # fmt: skip
DROPOUT_SENTENCE = (
    "The share of the adapter's input that is set to zero at random during training, against overfitting."
)


def _rank(default: int, sentence: str = "") -> Field:
    sentence = sentence or "The rank of the two low-rank matrices: a higher rank can learn more and costs more."
    return Field("r", "whole", default, sentence, 1, 512)


def _dropout(name: str, default: float = 0.0) -> Field:
    return Field(name, "number", default, DROPOUT_SENTENCE, 0.0, 0.9)


VIRTUAL_TOKENS = Field(
    "num_virtual_tokens", "whole", 20, "The number of trained vectors that are put before the input.", 1, 512
)
LORA_FIELDS = (
    _rank(16),
    Field("lora_alpha", "whole", 32, "The adapter's output is multiplied by alpha / rank.",
          1, 1024),
    TARGETS,
    _dropout("lora_dropout", 0.05),
    Field(
        "bias", "choice", "none",
        "Whether bias vectors are trained too; T5 and Llama have none, so that only 'none' makes sense there.",
        choices=("none", "all", "lora_only"),
    ),
    TASK,
)  # fmt: skip


def _adalora(options: dict[str, Any], steps: int) -> dict[str, Any]:
    if steps < 2:
        raise InputError(
            f"AdaLoRA would train {steps} step and needs 2 to reduce the rank; set max_steps to 2 or more."
        )
    warmup, final = options.pop("warmup_share"), options.pop("final_share")
    # PEFT requires at least one step between tinit and tfinal.
    begin = min(int(warmup * steps), max(0, steps - 1))
    end = min(int(final * steps), max(0, steps - 1 - begin))
    return {**options, "total_step": steps, "tinit": begin, "tfinal": end, "deltaT": max(1, steps // 100)}


def _ia3(options: dict[str, Any], steps: int) -> dict[str, Any]:
    targets = options["target_modules"]
    # The paper scales keys, values and the input of the feed-forward layer's last matrix.
    return {**options, "feedforward_modules": [name for name in targets if name in FEED_FORWARD]}


METHODS = {
    row.name: row
    for row in (
        Method(
            name="full",
            title="Full fine-tuning",
            explanation="Every weight is trained; the result is a whole new model.",
            paper="Raffel et al. 2020, arXiv:1910.10683",
            learning_rate=4e-3,
            # T5's initialization expects updates scaled by each tensor's RMS.
            optimizer="adafactor",
            decoder_only={"learning_rate": 1e-4, "optimizer": "adamw"},
        ),
        Method(
            name="lora",
            title="LoRA",
            explanation="The weights are frozen; each target layer gets a trained product of two low-rank matrices.",
            paper="Hu et al. 2021, arXiv:2106.09685",
            learning_rate=3e-3,
            peft_type="LORA",
            fields=LORA_FIELDS,
            decoder_only={"learning_rate": 1e-3},
        ),
        Method(
            name="rslora",
            title="rsLoRA",
            explanation="LoRA scaled by alpha / sqrt(rank), so that high ranks learn as fast as low ones.",
            paper="Kalajdzievski 2023, arXiv:2312.03732",
            learning_rate=1e-3,
            peft_type="LORA",
            fields=LORA_FIELDS,
            constants={"use_rslora": True},
            decoder_only={"learning_rate": 3e-4},
        ),
        Method(
            name="dora",
            title="DoRA",
            explanation="LoRA changes the direction of each weight vector; its magnitude is trained separately.",
            paper="Liu et al. 2024, arXiv:2402.09353",
            learning_rate=3e-3,
            peft_type="LORA",
            fields=LORA_FIELDS,
            constants={"use_dora": True},
            decoder_only={"learning_rate": 1e-3},
        ),
        Method(
            name="adalora",
            title="AdaLoRA",
            explanation="LoRA that starts with a higher rank and removes rank from the layers that need it least.",
            paper="Zhang et al. 2023, arXiv:2303.10512",
            learning_rate=5e-3,
            peft_type="ADALORA",
            fields=(
                Field("init_r", "whole", 24, "The initial rank of every layer.", 1, 512),
                Field("target_r", "whole", 16, "The mean rank of the layers at the end.", 1, 512),
                *LORA_FIELDS[1:4],
                Field("warmup_share", "number", 0.1, "The share of steps before the rank is reduced.", 0.0, 0.9),
                Field("final_share", "number", 0.4, "The share of steps after the last rank reduction.", 0.0, 0.9),
                Field("orth_reg_weight", "number", 0.1, "The weight of the orthogonality term in the loss.",
                      0.0, 10.0, above_low=True),
                TASK,
            ),
            finish=_adalora,
            decoder_only={"learning_rate": 2e-3},
        ),
        Method(
            name="vera",
            title="VeRA",
            explanation="All layers share one pair of frozen random matrices; only two vectors per layer are trained.",
            paper="Kopiczko et al. 2023, arXiv:2310.11454",
            learning_rate=6e-2,
            peft_type="VERA",
            fields=(
                _rank(256, "The rank of the shared random matrices, which are not trained."),
                TARGETS,
                _dropout("vera_dropout"),
                Field("d_initial", "number", 0.1, "The initial value of the trained inner vector.", 0.0, 1.0,
                      above_low=True),
                TASK,
            ),
            decoder_only={"learning_rate": 2e-2},
        ),
        Method(
            name="lokr",
            title="LoKr",
            explanation="The weights are frozen; each target layer gets a Kronecker product of two trained matrices.",
            paper="Yeh et al. 2023, arXiv:2309.14859",
            learning_rate=3e-3,
            peft_type="LOKR",
            fields=(
                _rank(16),
                Field("alpha", "whole", 16, "The adapter's output is multiplied by alpha / rank.",
                      1, 1024),
                TARGETS,
                _dropout("rank_dropout"),
                TASK,
            ),
            decoder_only={"learning_rate": 1e-3},
        ),
        Method(
            name="oft",
            title="OFT",
            explanation="Weight matrices are multiplied by trained rotations, which keep the angles between neurons.",
            paper="Qiu et al. 2023, arXiv:2306.07280",
            learning_rate=3e-3,
            peft_type="OFT",
            fields=(
                Field("oft_block_size", "whole", 32,
                      "The size of a rotation block; it must divide the layers' widths.", 2, 1024),
                TARGETS,
                _dropout("module_dropout"),
                TASK,
            ),
            decoder_only={"learning_rate": 1e-3},
        ),
        Method(
            name="ia3",
            title="IA3",
            explanation="Keys, values and the feed-forward layer's hidden state are multiplied by trained vectors.",
            paper="Liu et al. 2022, arXiv:2205.05638",
            learning_rate=6e-2,
            peft_type="IA3",
            fields=(
                Field("target_modules", "names", ("k", "v", "wo"),
                      "Which layers are scaled: in the paper keys, values and the feed-forward layer's last matrix."),
                TASK,
            ),
            finish=_ia3,
            decoder_only={"learning_rate": 2e-2, "target_modules": ("k_proj", "v_proj", "down_proj")},
        ),
        Method(
            name="ln_tuning",
            title="LayerNorm tuning",
            explanation="Only the gains of the layer norms are trained, one number for each channel.",
            paper="Zhao et al. 2023, arXiv:2312.11420",
            learning_rate=3e-2,
            peft_type="LN_TUNING",
            fields=(
                Field("target_modules", "names", ("layer_norm", "final_layer_norm"),
                      "Which layer norms are trained: those inside the blocks, and the last of encoder and decoder."),
                TASK,
            ),
            decoder_only={
                "learning_rate": 1e-2,
                "target_modules": ("input_layernorm", "post_attention_layernorm", "norm"),
            },
        ),
        Method(
            name="prompt",
            title="Prompt tuning",
            explanation="Trained vectors are put before the embedded input; all weights are frozen.",
            paper="Lester et al. 2021, arXiv:2104.08691",
            learning_rate=0.3,
            optimizer="adafactor",
            peft_type="PROMPT_TUNING",
            fields=(VIRTUAL_TOKENS, TASK),
            constants={"prompt_tuning_init": "SAMPLE_VOCAB"},
            decoder_only={"learning_rate": 0.1},
        ),
        Method(
            name="prefix",
            title="Prefix tuning",
            explanation="Trained keys and values are put before those of the input in every attention layer.",
            paper="Li and Liang 2021, arXiv:2101.00190",
            learning_rate=0.3,
            peft_type="PREFIX_TUNING",
            fields=(VIRTUAL_TOKENS, TASK),
            decoder_only={"learning_rate": 3e-2},
        ),
    )
}  # fmt: skip
