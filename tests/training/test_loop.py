"""The training loop on a tiny real T5: weights, batches, files, events, stopping, errors and memory."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from dsum_demo.errors import InputError, TrainingError
from dsum_demo.metrics.rouge import ROUGE_TYPES
from dsum_demo.metrics.scores import score_summary
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import DEFAULT_PROMPT
from dsum_demo.training.batches import encode_pairs
from dsum_demo.training.checkpoints import last_complete
from dsum_demo.training.config import TrainingConfig
from dsum_demo.training.loop import TrainingResult, train
from dsum_demo.training.trainer import Trainer

PAIRS = [
    ("Maya: Can you lend me ten dollars?\nTom: Sure.", "Tom lends Maya money."),
    ("#Person1#: Hello, Tom!\n#Person2#: Hi, are you free on Friday after six?", "They may meet on Friday."),
    ("Anna: The doctor tells me to rest.\nTom: Then rest, and drink water.\nAnna: I agree.", "Anna has to rest."),
    ("#Person1#: A pizza with olives.\n#Person2#: It takes half an hour.", "#Person1# has to wait half an hour."),
    ("Tom: Are you free?\nMaya: No.", "Maya is not free."),
    ("Tom: Hi.\nMaya: Hello, can you come back on Monday?\nTom: On Monday after six.", "Tom comes back on Monday."),
]  # fmt: skip
TRAIN, VALIDATION = PAIRS[:4], PAIRS[4:]
DECODE = DecodingConfig(max_new_tokens=8)
SETTINGS: dict[str, Any] = {"max_steps": 2, "batch_size": 2, "evaluations": 2, "warmup_share": 0, "learning_rate": 1e-2}
LORA = {"method": "lora", "options": {"r": 4, "target_modules": ["q", "wo"]}}


@dataclass
class Run:
    """A finished run: the model in memory, its initial weights, its batches and its events."""

    model: Any
    before: dict[str, torch.Tensor]
    result: TrainingResult
    events: list[dict[str, Any]]
    batches: list[dict[str, torch.Tensor]]
    folder: Path


@pytest.fixture(scope="module")
def run(tiny_model, tiny_tokenizer, tmp_path_factory) -> Callable[..., Run]:
    """run(method="full", …): trains tiny_model(1) on TRAIN; `changes` go to the TrainingConfig."""

    def start(
        model: Any = None,
        pairs=TRAIN,
        validation=VALIDATION,
        folder=None,
        should_stop=lambda: False,
        events=None,
        **changes: Any,
    ) -> Run:
        model = model or tiny_model(1)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        events = [] if events is None else events
        batches: list[dict[str, torch.Tensor]] = []

        def see(self: Trainer, module: Any, given: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
            batches.append({key: value.clone() for key, value in given.items()})
            return real(self, module, given, *args, **kwargs)

        real = Trainer.training_step
        folder = folder or tmp_path_factory.mktemp("run")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "training_step", see)
            result = train(
                model, tiny_tokenizer, pairs, validation, TrainingConfig(**{**SETTINGS, **changes}), folder,
                base_name="dsum-t5-base", decode=DECODE, on_event=events.append, should_stop=should_stop,
            )  # fmt: skip
        return Run(model, before, result, events, batches, folder)

    return start


# Evaluated once, at the end, so the model in memory is the best one.
@pytest.fixture(scope="module")
def full(run) -> Run:
    return run(method="full", evaluations=1)


@pytest.fixture(scope="module")
def lora(run) -> Run:
    return run(**LORA, evaluations=1)


@pytest.fixture(scope="module")
def tom(run, tiny_model) -> Callable[[], Any]:
    """tom(): a model without dropout that always generates "Tom"."""
    pairs = [(dialogue, "Tom") for dialogue, _ in TRAIN]
    model = tiny_model(1, dropout_rate=0.0, initializer_factor=1.0)
    learned = run(model, pairs=pairs, validation=[(VALIDATION[0][0], "Tom")], method="full", max_steps=40,
                  batch_size=4, evaluations=1)  # fmt: skip
    assert learned.result.best["rouge1"] == 1.0
    return lambda: copy.deepcopy(learned.model)


def test_each_summary_is_scored_with_the_reference_of_its_dialogue(run, tiny_tokenizer):
    """Validation rows are sorted by length, so their order differs from that of the pairs."""
    validation = sorted(PAIRS, key=lambda pair: len(pair[0]))
    done = run(method="full", max_steps=1, evaluations=1, validation=validation, precision="fp32")
    summaries = [write(done.model, tiny_tokenizer, dialogue) for dialogue, _ in validation]
    assert len(set(summaries)) > 1
    [event] = [event for event in done.events if event["event"] == "evaluation"]
    own = [
        score_summary(text, [reference])["rouge1"].fmeasure
        for text, (_, reference) in zip(summaries, validation, strict=True)
    ]
    assert event["rouge1"] == pytest.approx(sum(own) / len(own))
    watched = [row["number"] for row in event["summaries"]]
    assert len(watched) == 5 and watched == sorted(watched)
    for row in (*event["summaries"], *event["best_rows"], *event["worst_rows"]):
        place = row["number"] - 1
        assert (row["dialogue"], row["reference"], row["summary"]) == (*validation[place], summaries[place])
        assert row["rouge1"] == own[place]
    ranked = sorted(own)
    assert [row["rouge1"] for row in event["best_rows"]] == ranked[::-1][:3]
    assert [row["rouge1"] for row in event["worst_rows"]] == ranked[:3]


def write(model: Any, tokenizer: Any, dialogue: str) -> str:
    ids = torch.tensor([DEFAULT_PROMPT.encode(tokenizer, dialogue)])
    model.eval()
    with torch.no_grad():
        [text] = model.generate(input_ids=ids, max_length=DECODE.max_new_tokens + 1, do_sample=False, num_beams=1)
    return tokenizer.decode(text, skip_special_tokens=True).strip()


def adapter_weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if "lora_" in name}


def test_full_fine_tuning_changes_every_weight(full):
    after = full.model.state_dict()
    assert after.keys() == full.before.keys()
    assert not [name for name, tensor in after.items() if torch.equal(tensor, full.before[name])]
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    total = sum(parameter.numel() for parameter in full.model.parameters())
    assert (full.result.parameters, full.result.trained_parameters) == (total, total)


def test_lora_changes_its_adapter_but_not_the_base(lora):
    after = {name.replace(".base_layer", ""): tensor for name, tensor in lora.model.state_dict().items()}
    assert all(torch.equal(after[name], tensor) for name, tensor in lora.before.items())
    added = adapter_weights(lora.model)
    assert set(after) - set(lora.before) == set(added)
    # B is initialized to zero, so other values mean that it was trained.
    assert all(tensor.any() for tensor in added.values())
    assert {name.split(".lora_")[0].rsplit(".", 1)[1] for name in added} == {"q", "wo"}
    trained = sum(tensor.numel() for tensor in added.values())
    assert lora.result.trained_parameters == trained
    assert lora.result.parameters == trained + sum(tensor.numel() for tensor in tied_once(lora.before))


def tied_once(weights: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return [tensor for name, tensor in weights.items() if name not in
            ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")]  # fmt: skip


@pytest.mark.parametrize("how", [{"method": "full"}, LORA], ids=["full", "lora"])
def test_adafactor_with_label_smoothing_trains(run, how):
    # With label smoothing the loss is computed outside the model.
    trained = run(**how, optimizer="adafactor", label_smoothing=0.1, learning_rate=3e-3)
    after = {name.replace(".base_layer", ""): tensor for name, tensor in trained.model.state_dict().items()}
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, trained.before.get(name, tensor))}
    assert moved == (set(trained.before) if how["method"] == "full" else set())
    assert trained.result.steps == 2 and all("decoder_input_ids" in batch for batch in trained.batches)


def test_weights_depend_on_the_seed_only(run, lora, tiny_model):
    def run_from(state: int, **changes: Any) -> Run:
        model = tiny_model(1)  # which seeds torch
        torch.manual_seed(state)
        return run(model, **LORA, evaluations=1, **changes)

    again, other = run_from(98), run_from(99, seed=43)
    wanted = adapter_weights(lora.model)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in adapter_weights(again.model).items())
    assert not all(torch.equal(tensor, wanted[name]) for name, tensor in adapter_weights(other.model).items())
    assert again.result.best == lora.result.best


def test_the_number_of_evaluations_does_not_change_the_weights(run, full):
    often = run(method="full", evaluations=2).model.state_dict()
    assert all(torch.equal(tensor, often[name]) for name, tensor in full.model.state_dict().items())


def test_full_fine_tuning_with_dropout_is_reproducible(run, full):
    again = run(method="full", evaluations=1).model.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in full.model.state_dict().items())


@pytest.mark.parametrize("method", ["full", "lora"])
def test_batches_are_as_wide_as_their_longest_row_and_labels_are_padded_with_minus_100(
    method, full, lora, tiny_tokenizer
):
    fed, widths = [], set()
    for batch in {"full": full, "lora": lora}[method].batches:
        lengths = batch["attention_mask"].sum(1)
        assert batch["input_ids"].shape[1] == lengths.max()
        widths.add(batch["input_ids"].shape[1])
        kept = batch["labels"] != -100
        assert batch["labels"].shape[1] == kept.sum(1).max()
        assert not (batch["labels"] == tiny_tokenizer.pad_token_id).any()
        for ids, length, labels, real in zip(batch["input_ids"], lengths, batch["labels"], kept, strict=True):
            assert real[: real.sum()].all(), "padding is at the end"
            fed.append((ids[:length].tolist(), labels[real].tolist()))
    assert len(widths) == 2, "each batch has its own width"
    # Each pair once, tokenized as for inference.
    assert sorted(fed) == sorted(
        (DEFAULT_PROMPT.encode(tiny_tokenizer, dialogue), DEFAULT_PROMPT.encode_target(tiny_tokenizer, summary, 128))
        for dialogue, summary in TRAIN
    )


def test_long_pairs_are_truncated_and_keep_the_prompt_and_the_end_token(tiny_tokenizer):
    turn = "Maya: Can you lend me ten dollars?"
    config = TrainingConfig(max_source_tokens=120, max_target_tokens=6)
    rows = encode_pairs(
        [("\n".join([turn] * 40), "Tom lends Maya ten dollars."), ("Tom: Hi.", "No")], tiny_tokenizer, config
    )
    kept = max(n for n in range(40) if len(DEFAULT_PROMPT.encode(tiny_tokenizer, "\n".join([turn] * n))) <= 120)
    assert kept > 0 and rows[0]["input_ids"] == DEFAULT_PROMPT.encode(tiny_tokenizer, "\n".join([turn] * kept))
    whole = tiny_tokenizer("Tom lends Maya ten dollars.").input_ids
    assert len(whole) > 6 and rows[0]["labels"] == [*whole[:5], tiny_tokenizer.eos_token_id]
    # Short rows are not padded here.
    assert rows[1]["input_ids"] == DEFAULT_PROMPT.encode(tiny_tokenizer, "Tom: Hi.")
    assert rows[1]["labels"] == tiny_tokenizer("No").input_ids


def test_a_token_limit_shorter_than_the_prompt_raises(run):
    with pytest.raises(InputError, match="prompt alone fills 3 tokens"):
        run(method="full", max_source_tokens=3)


def test_best_of_full_loads_as_a_plain_model(full, tiny_model, tiny_tokenizer):
    folder = full.result.folder
    assert folder == full.folder / "best"
    loaded = AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert full.result.best_step == full.result.steps, "the comparison below needs the last step to be the best"
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, full.model.state_dict()[name]), name
    assert AutoTokenizer.from_pretrained(folder)(TRAIN[0][0]).input_ids == tiny_tokenizer(TRAIN[0][0]).input_ids
    # Generation settings are those of the base model, not those of the validation.
    assert loaded.generation_config.to_diff_dict() == tiny_model(1).generation_config.to_diff_dict()
    assert not (folder / "adapter_config.json").exists()


def test_best_of_lora_is_an_adapter_that_names_its_base(lora, tiny_model, tiny_tokenizer):
    folder = lora.result.folder
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "dsum-t5-base"
    assert (config["r"], set(config["target_modules"]), config["task_type"]) == (4, {"q", "wo"}, "SEQ_2_SEQ_LM")
    assert not (folder / "model.safetensors").exists()
    assert sum(tensor.numel() for tensor in load_file(folder / "adapter_model.safetensors").values()) == (
        lora.result.trained_parameters
    )
    base = tiny_model(1)
    ids = torch.tensor([tiny_tokenizer(TRAIN[0][0]).input_ids])
    with torch.inference_mode():
        plain = base(input_ids=ids, labels=ids).logits
        adapted = PeftModel.from_pretrained(base, folder).eval()(input_ids=ids, labels=ids).logits
        assert torch.equal(adapted, lora.model.eval()(input_ids=ids, labels=ids).logits)
    assert not torch.equal(adapted, plain)


def test_the_best_checkpoint_is_kept_not_the_last(run, tom):
    # The warm-up starts at a learning rate of zero, so step 1 does not change the weights; step 2 ruins them.
    ruined = run(tom(), validation=[(VALIDATION[1][0], "Tom")], method="full", learning_rate=1.0, warmup_share=0.5)
    first, last = scored(ruined)
    assert first["rouge1"] == 1.0 > last["rouge1"] and (first["best"], last["best"]) == (True, False)
    assert ruined.result.best["rouge1"] == 1.0 and ruined.result.best_step == 1
    kept = load_file(ruined.result.folder / "model.safetensors")
    assert all(torch.equal(tensor, ruined.before[name]) for name, tensor in kept.items())
    assert not torch.equal(ruined.model.state_dict()["shared.weight"], ruined.before["shared.weight"])


def test_the_best_weights_can_be_selected_by_validation_loss(run):
    trained = run(**LORA, best_by="loss", max_steps=4, evaluations=4)
    losses = [event["loss"] for event in scored(trained)]
    assert trained.result.best["loss"] == min(losses)
    assert [event["best"] for event in scored(trained)] == [
        loss == min(losses[: n + 1]) for n, loss in enumerate(losses)
    ]


def test_early_stopping_ends_a_run_without_improvement(run, tom):
    done = run(tom(), validation=[(VALIDATION[1][0], "Tom")], method="full", learning_rate=1e-9, max_steps=20,
               evaluations=20, patience=2)  # fmt: skip
    # Nothing is better than 1.0: the first evaluation is the best, and patience allows two more.
    assert done.result.early and not done.result.stopped
    assert (done.result.steps, done.result.best_step, len(scored(done))) == (3, 1, 3)


def scored(run: Run) -> list[dict[str, Any]]:
    return [event for event in run.events if event["event"] == "evaluation"]


def test_events_have_steps_losses_and_scores_and_are_json(full):
    kinds = [(event["event"], event["step"], event["steps"]) for event in full.events]
    assert kinds == [
        ("start", 0, 2), ("first_batch", 0, 2), ("step", 1, 2), ("step", 2, 2), ("evaluation", 2, 2),
        ("checkpoint", 2, 2),
    ]  # fmt: skip
    start, batch, *steps, evaluation, checkpoint = full.events
    assert batch["batch_size"] == 2 and batch["trained_tokens"] > 0
    assert (start["batch_size"], start["accumulation"], start["processes"], start["resumed"]) == (2, 1, 1, False)
    assert (start["train_dialogues"], start["validation_dialogues"]) == (len(TRAIN), len(VALIDATION))
    assert start["trained_parameters"] == start["parameters"] == full.result.parameters
    assert all(0 < step["loss"] < 100 and step["grad_norm"] > 0 for step in steps)
    assert [step["learning_rate"] for step in steps] == [1e-2, 5e-3], "linear to zero after the last step"
    assert all(0 < step["memory_bytes"] <= step["peak_memory_bytes"] for step in steps)
    assert all(step["samples_per_second"] > 0 for step in steps) and steps[0]["seconds_left"] > 0
    assert all(0 <= evaluation[name] <= 1 for name in ROUGE_TYPES) and evaluation["loss"] > 0
    assert checkpoint["bytes"] > full.result.checkpoint_bytes > 0
    assert json.loads(json.dumps(full.events)) == full.events
    assert full.result.best == {name: evaluation[name] for name in (*ROUGE_TYPES, "loss")}
    assert full.result.steps == 2 and full.result.seconds > 0 and not full.result.stopped


def test_nothing_is_printed_to_standard_output(run, capsys):
    run(**LORA, max_steps=1)
    assert capsys.readouterr().out.strip() == ""


@pytest.mark.parametrize(
    ("settings", "steps", "evaluated"),
    [
        ({"max_steps": 0, "epochs": 1.5, "batch_size": 2}, 3, [2, 3]),
        ({"max_steps": 0, "epochs": 1, "batch_size": 3, "evaluations": 1}, 2, [2]),
        ({"max_steps": 5, "epochs": 1, "evaluations": 2}, 5, [3, 5]),
    ],
)
def test_epochs_determine_the_steps_unless_max_steps_is_given(run, settings, steps, evaluated):
    trained = run(**LORA, **settings)
    assert trained.result.steps == steps
    assert [event["step"] for event in scored(trained)] == evaluated


def test_a_stop_ends_the_run_after_the_step_and_keeps_the_weights(run):
    asked = []
    stopped = run(**LORA, max_steps=50, evaluations=1, should_stop=lambda: asked.append(0) or len(asked) == 2)
    assert stopped.result.stopped and stopped.result.steps == 2 and len(stopped.batches) == 2
    kept = load_file(stopped.result.folder / "adapter_model.safetensors")
    assert len(kept) == len(adapter_weights(stopped.model))
    # It was stopped before the first evaluation.
    assert stopped.result.best == {}


def test_a_stop_during_an_evaluation_ends_it_before_the_summary_is_complete(run):
    """should_stop is called after the step and then after every token."""
    asked = []
    stopped = run(**LORA, max_steps=5, evaluations=5, should_stop=lambda: asked.append(0) or len(asked) == 4)
    assert len(asked) == 4 and stopped.result.stopped and stopped.result.steps == 1 and scored(stopped) == []


def test_a_stop_after_an_evaluation_keeps_its_scores(run):
    events = []
    stopped = run(**LORA, max_steps=10, evaluations=10, events=events,
                  should_stop=lambda: events[-1]["event"] == "step" and events[-1]["step"] == 2)  # fmt: skip
    assert stopped.result.stopped and stopped.result.steps == 2 and len(scored(stopped)) == 1
    assert set(stopped.result.best) == {*ROUGE_TYPES, "loss"}


def test_a_stop_between_accumulated_batches_discards_the_incomplete_step(run):
    asked = []
    stopped = run(**LORA, max_steps=5, accumulation=2, evaluations=1,
                  should_stop=lambda: asked.append(0) or len(asked) == 3)  # fmt: skip
    assert stopped.result.stopped and len(stopped.batches) == 3 and stopped.result.steps == 1


def test_an_immediate_stop_takes_one_step(run):
    assert run(method="full", max_steps=50, should_stop=lambda: True).result.steps == 1


@pytest.mark.parametrize(("pairs", "validation"), [([], VALIDATION), (TRAIN, []), ([], [])])
def test_training_without_pairs_raises(run, pairs, validation):
    with pytest.raises(InputError, match="at least one pair"):
        run(pairs=pairs, validation=validation)


@pytest.mark.parametrize("how", [{"method": "full"}, LORA], ids=["full", "lora"])
def test_a_nan_loss_raises_with_advice(run, tiny_model, tmp_path, how):
    model = tiny_model(1)
    with torch.no_grad():
        model.decoder.final_layer_norm.weight[0] = float("nan")
    with pytest.raises(TrainingError, match=r"loss became nan at step 1; lower the learning rate, .*never in fp16"):
        run(model, folder=tmp_path, **how)
    assert not (tmp_path / "best").exists(), "there is no result"


def test_a_loss_of_exactly_zero_raises(run, tom):
    # Logits a hundred times larger make the probability of the right token exactly 1 in float32.
    model = tom()
    with torch.no_grad():
        model.decoder.final_layer_norm.weight.mul_(100)
    with pytest.raises(TrainingError, match=r"loss became 0\.0 at step 1;"):
        run(model, pairs=[(dialogue, "Tom") for dialogue, _ in TRAIN], method="full")


def test_layernorm_tuning_of_t5_prints_no_warning(run, recwarn):
    run(method="ln_tuning", max_steps=1, evaluations=1)
    assert [str(each.message) for each in recwarn if "layer type" in str(each.message)] == []


def test_unknown_target_modules_raise(run):
    with pytest.raises(InputError, match="LoRA cannot start with these options: "):
        run(method="lora", options={"target_modules": ["nowhere"]})


def test_an_exploding_loss_raises_and_the_previous_best_weights_are_kept(run, tom, tmp_path):
    model, before = tom(), tom().state_dict()

    class Events(list):
        def append(self, event):
            super().append(event)
            if event["event"] == "checkpoint" and event["step"] == 1:
                with torch.no_grad():  # makes the right token the least likely
                    model.decoder.final_layer_norm.weight.mul_(-100)

    with pytest.raises(TrainingError, match=r"loss exploded to .* at step [23], from .*; lower the learning rate"):
        run(model, pairs=[(dialogue, "Tom") for dialogue, _ in TRAIN], validation=[(VALIDATION[1][0], "Tom")],
            folder=tmp_path, events=Events(), method="full", warmup_share=0.1, max_steps=10,
            evaluations=10)  # fmt: skip
    kept = load_file(tmp_path / "best" / "model.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in kept.items()), "step 1 had a learning rate of 0"
    assert last_complete(tmp_path / "checkpoints")


def test_accumulated_batches_give_the_loss_of_one_large_batch(run, tiny_model):
    """The dialogues differ in length, so a mean of batch means would weight them differently."""
    how = {"method": "full", "precision": "fp32", "max_steps": 2, "evaluations": 1}
    one = run(tiny_model(1, dropout_rate=0.0), **how, batch_size=4)
    four = run(tiny_model(1, dropout_rate=0.0), **how, batch_size=1, accumulation=4)
    assert (len(one.batches), len(four.batches)) == (2, 8)
    steps = [[event for event in done.events if event["event"] == "step"] for done in (one, four)]
    for first, second in zip(*steps, strict=True):
        assert second["loss"] == pytest.approx(first["loss"], rel=1e-4)


def test_out_of_memory_halves_the_batch_and_doubles_accumulation(run, tiny_model):
    """A hook raises torch.OutOfMemoryError in the forward pass of batches of more than two dialogues."""
    settings = {"method": "full", "precision": "fp32", "max_steps": 3, "evaluations": 1}
    wanted = run(tiny_model(1, dropout_rate=0.0), **settings, batch_size=2, accumulation=2)
    model = tiny_model(1, dropout_rate=0.0)
    hook = model.encoder.register_forward_pre_hook(refuse_more_than(2), with_kwargs=True)
    done = run(model, **settings, batch_size=4)
    hook.remove()
    [halved] = [event for event in done.events if event["event"] == "batch"]
    assert (halved["batch_size"], halved["accumulation"]) == (2, 2) and "out of memory" in halved["reason"]
    assert done.result.steps == 3
    assert all(torch.equal(tensor, done.model.state_dict()[name]) for name, tensor in wanted.model.state_dict().items())


def test_out_of_memory_in_a_later_step_loses_no_step(run, tiny_model):
    settings = {"method": "full", "precision": "fp32", "max_steps": 4, "evaluations": 1}
    wanted = run(tiny_model(1, dropout_rate=0.0), **settings, batch_size=4)
    model, events = tiny_model(1, dropout_rate=0.0), []
    refuse = refuse_more_than(2)
    hook = model.encoder.register_forward_pre_hook(
        lambda *given: refuse(*given) if any(e["event"] == "step" and e["step"] == 2 for e in events) else None,
        with_kwargs=True,
    )
    done = run(model, events=events, **settings, batch_size=4)
    hook.remove()
    starts = [(event["step"], event["batch_size"]) for event in events if event["event"] == "start"]
    assert starts == [(0, 4), (2, 2)]
    losses = {event["step"]: event["loss"] for event in events if event["event"] == "step"}
    for event in wanted.events:
        if event["event"] == "step":
            assert losses[event["step"]] == pytest.approx(event["loss"], rel=1e-4)
    assert done.result.steps == 4


def test_out_of_memory_with_one_dialogue_raises(run, tiny_model, tmp_path):
    model = tiny_model(1)
    model.encoder.register_forward_pre_hook(refuse_more_than(0), with_kwargs=True)
    with pytest.raises(TrainingError, match="Out of memory with batch size 1: CUDA out of memory"):
        run(model, method="full", folder=tmp_path)
    assert not (tmp_path / "best").exists()


def refuse_more_than(limit: int) -> Callable[..., None]:
    def refuse(module: Any, args: Any, given: dict[str, Any]) -> None:
        if module.training and given["input_ids"].shape[0] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    return refuse
