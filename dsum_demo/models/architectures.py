"""Differences between encoder-decoder and decoder-only models: classes, token ids, training rows, layers and costs.

The architecture is chosen by `model_type` in the model's config. Methods import torch and transformers when called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from dsum_demo.errors import ModelUnavailableError
from dsum_demo.models.prompts import LABEL_PAD_ID, Prompt


class Architecture(ABC):
    """One of the two kinds of language models that summarize.

    name: the name in transformers' documentation. model_types: values of `model_type` in config.json. task_type: PEFT's
    name. padding_side: the side on which prompts are padded. tied: for a tensor that a checkpoint saves once, its other
    names in the model. read_share, prompt_share: the shares of all weights that a new token reads and that each prompt
    token is multiplied by; for estimates. linear_layers: the usual names of its matrices, for a model that is not
    downloaded yet. cpu_training_attention: the attention implementation that trains fastest on a CPU; None keeps the
    model's.
    """

    name: str
    model_types: tuple[str, ...]
    task_type: str
    padding_side: str
    tied: ClassVar[Mapping[str, tuple[str, ...]]]
    read_share: float
    prompt_share: float
    linear_layers: tuple[str, ...]
    cpu_training_attention: str | None = None

    @property
    @abstractmethod
    def auto_class(self) -> Any:
        """The class of transformers that loads a checkpoint."""

    @abstractmethod
    def optimize(self, model: Any) -> None:
        """Replace slow operations of an inference-only model in place, without changing its results."""

    @abstractmethod
    def row(self, source: Sequence[int], target: Sequence[int]) -> dict[str, list[int]]:
        """input_ids and labels of one training pair; `target` includes the end token."""

    @abstractmethod
    def collator(self, tokenizer: Any, model: Any) -> Callable[[list[Any]], dict[str, Any]]:
        """The data collator for `model`: it pads rows to the longest, labels with LABEL_PAD_ID."""

    @abstractmethod
    def aligned(self, logits: Any, labels: Any) -> tuple[Any, Any]:
        """(texts, tokens, vocabulary) and (texts, tokens): logits, and the labels aligned with them."""

    @abstractmethod
    def generated(self, output: Any, prompt_length: int) -> Any:
        """The new tokens in what `generate` returned: (texts, tokens)."""

    @abstractmethod
    def prompt_limit(self, config: Any, max_source_tokens: int, max_new_tokens: int) -> int:
        """The maximum prompt length in tokens that leaves room for a summary of `max_new_tokens`."""

    @abstractmethod
    def decoder_layers(self, config: Any) -> int:
        """The number of layers that compute a new token."""

    def layers(self, config: Any) -> int:
        """How many layers keep activations for a training step; one with cross-attention counts as two."""
        return self.decoder_layers(config)

    def width(self, config: Any) -> int:
        """Channels of a hidden state."""
        return int(config.hidden_size)

    def token_ids(self, model: Any, tokenizer: Any, prompt: Prompt) -> dict[str, Any]:
        """The arguments of GenerationConfig that name tokens: padding, and every token that ends a summary.

        A checkpoint may list several end tokens, and a chat prompt adds the one that closes a turn. Raises InputError
        for a tokenizer without an end token.
        """
        listed = model.generation_config.eos_token_id
        ends = [prompt.end_token_id(tokenizer), tokenizer.eos_token_id]
        ends += listed if isinstance(listed, list) else [listed]
        ends = list(dict.fromkeys(int(token) for token in ends if token is not None))
        pad = tokenizer.pad_token_id
        return {"pad_token_id": ends[0] if pad is None else pad, "eos_token_id": ends if len(ends) > 1 else ends[0]}


class _EncoderDecoder(Architecture):
    name = "encoder-decoder"
    model_types = ("t5", "mt5", "umt5", "bart", "mbart", "pegasus")
    task_type = "SEQ_2_SEQ_LM"
    padding_side = "right"
    tied: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "shared.weight": ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    }
    # T5 v1.1: a new token reads the decoder without cross-attention's keys and values, and the head; a token of the
    # prompt the encoder and those keys and values. Rounded over FLAN-T5 small to large.
    read_share = 0.5
    prompt_share = 0.4
    linear_layers = ("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo")
    # T5 adds a position bias to the scores, which slows down fused attention on CPUs.
    cpu_training_attention = "eager"

    @property
    def auto_class(self) -> Any:
        from transformers import AutoModelForSeq2SeqLM

        return AutoModelForSeq2SeqLM

    def optimize(self, model: Any) -> None:
        from dsum_demo.models.t5_fast_path import fuse_gelu, step_by_step

        fuse_gelu(model)
        step_by_step(model)

    def row(self, source: Sequence[int], target: Sequence[int]) -> dict[str, list[int]]:
        return {"input_ids": list(source), "labels": list(target)}

    def collator(self, tokenizer: Any, model: Any) -> Callable[[list[Any]], dict[str, Any]]:
        from transformers import DataCollatorForSeq2Seq

        return DataCollatorForSeq2Seq(tokenizer, model=model, label_pad_token_id=LABEL_PAD_ID)

    def aligned(self, logits: Any, labels: Any) -> tuple[Any, Any]:
        return logits[:, -labels.shape[1] :], labels  # prompt tuning prepends its learned vectors

    def generated(self, output: Any, prompt_length: int) -> Any:
        return output[:, 1:]  # without the decoder's start token

    def prompt_limit(self, config: Any, max_source_tokens: int, max_new_tokens: int) -> int:
        return max_source_tokens

    def decoder_layers(self, config: Any) -> int:
        return int(getattr(config, "num_decoder_layers", None) or config.decoder_layers)

    def layers(self, config: Any) -> int:
        return int(config.num_hidden_layers) + 2 * self.decoder_layers(config)

    def token_ids(self, model: Any, tokenizer: Any, prompt: Prompt) -> dict[str, Any]:
        ids = super().token_ids(model, tokenizer, prompt)
        start = getattr(model.generation_config, "decoder_start_token_id", None)
        if start is None:
            start = getattr(model.config, "decoder_start_token_id", None)
        return {**ids, "decoder_start_token_id": ids["pad_token_id"] if start is None else start}


class _DecoderOnly(Architecture):
    name = "decoder-only"
    model_types = (
        "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3", "phi3", "granite", "olmo2",
    )  # fmt: skip
    task_type = "CAUSAL_LM"
    padding_side = "left"
    tied: ClassVar[Mapping[str, tuple[str, ...]]] = {"model.embed_tokens.weight": ("lm_head.weight",)}
    # A new token reads every weight once (a tied embedding as the head); a prompt token only those of the layers.
    read_share = 1.0
    prompt_share = 0.8
    linear_layers = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

    @property
    def auto_class(self) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM

    def optimize(self, model: Any) -> None:
        from dsum_demo.models.decoder_only_fast_path import group_queries, keep_head_input_contiguous

        group_queries(model)
        keep_head_input_contiguous(model)

    def row(self, source: Sequence[int], target: Sequence[int]) -> dict[str, list[int]]:
        # Masked by length: if padding and end are the same token, a mask by id would hide the end from the model.
        return {"input_ids": [*source, *target], "labels": [LABEL_PAD_ID] * len(source) + list(target)}

    def collator(self, tokenizer: Any, model: Any) -> Callable[[list[Any]], dict[str, Any]]:
        adapter = getattr(model, "active_peft_config", None)
        # PEFT prepends a prompt method's vectors to the padded row, so that padding would separate them from the text.
        side = "right" if adapter is not None and adapter.is_prompt_learning else self.padding_side
        return partial(_decoder_only_batch, pad=tokenizer.pad_token_id or 0, side=side)

    def aligned(self, logits: Any, labels: Any) -> tuple[Any, Any]:
        # The last tokens: prompt tuning adds logits in front, `logits_to_keep` removes some.
        predicted = min(logits.shape[1], labels.shape[1]) - 1
        return logits[:, -predicted - 1 : -1], labels[:, -predicted:]

    def generated(self, output: Any, prompt_length: int) -> Any:
        return output[:, prompt_length:]

    def prompt_limit(self, config: Any, max_source_tokens: int, max_new_tokens: int) -> int:
        # Prompt and summary share the window that the model was trained with.
        return min(max_source_tokens, int(config.max_position_embeddings) - max_new_tokens)

    def decoder_layers(self, config: Any) -> int:
        return int(config.num_hidden_layers)


def _decoder_only_batch(rows: list[dict[str, Any]], pad: int, side: str) -> dict[str, Any]:
    """Padded rows with their mask and positions; `logits_to_keep` computes no logits for the prompts."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    def padded(sequences: Sequence[Any], value: int) -> torch.Tensor:
        tensors = [torch.as_tensor(sequence) for sequence in sequences]
        return pad_sequence(tensors, batch_first=True, padding_value=value, padding_side=side)

    labels = padded([row["labels"] for row in rows], LABEL_PAD_ID)
    mask = padded([[1] * len(row["input_ids"]) for row in rows], 0)
    begin = int((labels != LABEL_PAD_ID).any(dim=0).int().argmax())
    batch = {
        "input_ids": padded([row["input_ids"] for row in rows], pad),
        "attention_mask": mask,
        "labels": labels,
        "logits_to_keep": labels.shape[1] - begin + 1,  # each token is predicted at the previous position
    }
    return batch if side == "right" else {**batch, "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0)}


ENCODER_DECODER: Architecture = _EncoderDecoder()
DECODER_ONLY: Architecture = _DecoderOnly()
ARCHITECTURES = {found.task_type: found for found in (ENCODER_DECODER, DECODER_ONLY)}
_BY_MODEL_TYPE = {kind: found for found in ARCHITECTURES.values() for kind in found.model_types}


def architecture_of(model_type: str) -> Architecture:
    """Raises ModelUnavailableError for a type that dsum does not support."""
    if model_type not in _BY_MODEL_TYPE:
        raise ModelUnavailableError(
            f"The model_type is {model_type!r}; dsum loads {', '.join(sorted(_BY_MODEL_TYPE))}."
        )
    return _BY_MODEL_TYPE[model_type]
