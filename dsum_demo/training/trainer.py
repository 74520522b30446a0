"""The trainer of fine-tuning, with length-grouped batches, and the summaries that every trainer's evaluation writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers.trainer_utils import EvalLoopOutput

from dsum_demo.errors import GenerationError
from dsum_demo.generation.batch import generate_many
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.metrics.scores import Score, mean_scores, score_summary
from dsum_demo.models.architectures import Architecture
from dsum_demo.models.catalog import Kind, ModelSpec
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import LABEL_PAD_ID
from dsum_demo.models.store import LoadedModel
from dsum_demo.training.adalora import orthogonality, rank_allocator
from dsum_demo.training.batches import LengthGroupedOrder
from dsum_demo.training.resumable import ResumableTrainer


class SummarizingTrainer(ResumableTrainer):
    """An evaluation also writes summaries; `should_stop` is called after every generated token of them.

    Set before `train`: decode, prompts (token ids of the dialogues to summarize), references, rows_at_once (dialogues
    in a batch). texts, text_scores: the summaries of the last evaluation and the scores of each, in the same order.
    """

    decode: DecodingConfig
    prompts: Sequence[Sequence[int]]
    references: Sequence[str]
    rows_at_once: int
    texts: Sequence[str] = ()
    text_scores: Sequence[dict[str, Score]] = ()

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        output = super().evaluation_loop(*args, **kwargs)  # the loss only
        self.texts = self._generate_all()
        self.text_scores = [score_summary(text, [one]) for text, one in zip(self.texts, self.references, strict=True)]
        return output

    def _generate_all(self) -> list[str]:
        """Return a summary per dialogue; each process generates its share and receives all of them."""
        rank, processes = self.args.process_index, self.args.world_size
        places = range(rank, len(self.references), processes)
        sources = [self.prompts[place] for place in places]
        written: list[tuple[int, str]] = []
        try:
            with self.accelerator.autocast():
                for part in generate_many(
                    self._loaded(),
                    sources,
                    self.decode,
                    # All ranks must leave an evaluation together, so they stop only after a step.
                    self.should_stop if processes == 1 else lambda: False,
                    batch_rows=self.rows_at_once,
                ):
                    written += [(places[row], generation.text) for row, generation in part.items()]
        except GenerationError as error:
            if isinstance(error.__cause__, torch.OutOfMemoryError):
                raise error.__cause__ from None  # the loop retries with a smaller batch
            raise
        return [text for _, text in sorted(gather_object(written))]

    def _loaded(self) -> LoadedModel:
        """Return the model in training in the form that `generation` expects."""
        adapter = getattr(self.model, "active_peft_config", None)
        one_at_a_time = adapter is not None and adapter.is_prompt_learning
        name = "The model in training"
        return LoadedModel(
            spec=ModelSpec(name, name, family="", kind=Kind.FULL, source=None, base=None),
            model=self.model,
            tokenizer=self.tokenizer,
            total_parameters=0,
            trained_parameters=0,
            dtype=str(self.model.dtype),
            turn=threading.Lock() if one_at_a_time else None,
        )


class Trainer(SummarizingTrainer):
    """Summarizes the whole validation part. Set before `train`: architecture, compiled."""

    architecture: Architecture
    compiled: Any = None

    # Private: the public `get_train_dataloader` would repeat the Trainer's preparation for several processes.
    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedOrder:
        rows: Any = train_dataset if train_dataset is not None else self.train_dataset
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LengthGroupedOrder([len(ids) for ids in rows["input_ids"]], batch, self.args.seed)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if not model.training:
            # Label smoothing applies to training only.
            outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
            loss: Any = token_loss(self.architecture)(outputs, inputs["labels"])
            return (loss, outputs) if return_outputs else loss
        # Only the training step: the Trainer's own option would also compile validation, which takes minutes each time.
        chosen = self.compiled if self.compiled is not None else model
        loss = super().compute_loss(chosen, inputs, return_outputs, num_items_in_batch)
        if rank_allocator(self.model) is not None:
            # PEFT adds it only to a loss computed by the model; here the Trainer computes the loss.
            loss = loss + orthogonality(self.model) / self.current_gradient_accumulation_steps
        return loss

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        output = super().evaluation_loop(*args, **kwargs)
        means = mean_scores(self.text_scores)
        rouge = {f"eval_{name}": means[name].fmeasure if name in means else 0.0 for name in ROUGE_TYPES}
        metrics = {**(output.metrics or {}), **rouge}
        return output._replace(metrics=metrics)


def token_loss(architecture: Architecture, smoothing: float = 0.0) -> Callable[..., torch.Tensor]:
    """Return a `compute_loss_func` for the Trainer: mean cross entropy over all label tokens of one optimizer step.

    The gradient then does not depend on how a step is split into batches and processes. T5's own loss is the mean over
    one batch and ignores `num_items_in_batch`.
    """

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        logits, labels = architecture.aligned(outputs["logits"], labels)
        total = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=LABEL_PAD_ID, label_smoothing=smoothing,
            reduction="sum",
        )  # fmt: skip
        return total / (num_items_in_batch if num_items_in_batch is not None else (labels != LABEL_PAD_ID).sum())

    return loss
