"""Exports of tiny models, loaded again in child processes without dsum, and what stops an export."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import gguf
import pytest
import torch
from peft import IA3Config, LoraConfig, PromptTuningConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from dsum_demo.data.examples import read_samples
from dsum_demo.errors import ExportError, InputError, Stopped
from dsum_demo.export.check import ExportCheck, SummaryPair, export_summaries
from dsum_demo.export.formats import FORMATS, unavailable_because
from dsum_demo.export.modelfile import DIALOGUE
from dsum_demo.export.runner import export
from dsum_demo.models.gguf_writer import QUANTIZATIONS, check_config, write_gguf
from dsum_demo.models.loading import load_tokenizer
from dsum_demo.settings import PROJECT_ROOT


def run(store, name, form, out, number=0, **options):
    """The report of an export that is checked on `number` samples; without any, no child process starts."""
    examples = read_samples(
        store.registry.folder_of(store.registry.default_family.base).parents[1] / "samples" / "dialogues.jsonl"
    )
    *_, last = export(store, store.registry.spec(name), form, out, examples[:number], **options)
    return last.report


def leftovers(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def logits(model, ids):
    extra = {"decoder_input_ids": ids[:, :3]} if model.config.is_encoder_decoder else {}
    with torch.inference_mode():
        return model(input_ids=ids, **extra).logits


def test_a_merged_adapter_writes_what_the_app_writes_with_plain_transformers(tiny_store, tmp_path):
    report = run(tiny_store, "dsum-t5-lora", "merged", tmp_path / "out", number=3)
    assert report.check.identical == 3 and report.check.text == "3 of 3 summaries are identical to the app's."
    assert len({pair.app for pair in report.check.pairs}) > 1
    assert leftovers(tmp_path) == ["out"]
    assert dict(report.files) == {file.name: file.stat().st_size for file in (tmp_path / "out").iterdir()}
    saved = json.loads((tmp_path / "out" / "check.json").read_text())
    assert saved["check"]["identical"] == 3 and saved["dtype"] == "float32"
    card = (tmp_path / "out" / "README.md").read_text()
    assert report.check.text in card and (tmp_path / "out" / "summarize.py").read_text().rstrip() in card
    assert str(tmp_path) not in card + (tmp_path / "out" / "config.json").read_text()


def test_a_gguf_file_is_loaded_by_transformers_and_its_modelfile_sends_the_prompt_of_the_app(causal_store, tmp_path):
    report = run(causal_store, "causal-lora", "gguf-q4_0", tmp_path / "out", number=2)
    assert len(report.check.pairs) == 2 and all(pair.export for pair in report.check.pairs)
    assert [name for name, _ in report.files if name.endswith(".gguf")] == ["causal-lora.Q4_0.gguf"]
    text = (tmp_path / "out" / "Modelfile").read_text()
    template = text.partition('TEMPLATE """')[2].partition('"""')[0]
    family, loaded = causal_store.registry.default_family, causal_store.load(causal_store.registry.spec("causal-lora"))
    dialogue = "Maya: Hi.\nTom: Hello."
    assert template.replace(DIALOGUE, dialogue) == family.prompt.render(loaded.tokenizer, dialogue)
    assert "FROM ./causal-lora.Q4_0.gguf\n" in text and 'PARAMETER stop "<|im_end|>"\n' in text
    assert "PARAMETER num_predict 80\n" in text and "PARAMETER repeat_penalty 1.0\n" in text


@pytest.mark.parametrize("form", ["merged", "gguf-f16", "gguf-q8_0", "gguf-q4_0"])
def test_formats_keep_the_head_tied_and_lose_only_their_rounding(causal_store, tmp_path, form):
    report = run(causal_store, "causal-lora", form, tmp_path / "out")
    file = next((name for name, _ in report.files if name.endswith(".gguf")), None)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32, gguf_file=file)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    ids = torch.tensor([[5, 6, 7, 30, 40]])
    app = logits(causal_store.load(causal_store.registry.spec("causal-lora")).model, ids)
    worst = (logits(model, ids) - app).abs().max().item() / app.abs().max().item()
    assert worst < {"merged": 1e-5, "gguf-f16": 0.01, "gguf-q8_0": 0.05, "gguf-q4_0": 0.5}[form]
    assert form == "merged" or worst > 1e-6  # the values are rounded


def test_a_merged_t5_keeps_one_matrix_for_embedding_and_head(tiny_store, tmp_path):
    run(tiny_store, "dsum-t5-lora", "merged", tmp_path / "out", dtype="bfloat16")
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    assert model.lm_head.weight is model.shared.weight and model.dtype is torch.bfloat16
    assert model.generation_config.no_repeat_ngram_size == 3


def test_a_base_and_a_full_fine_tune_are_converted(causal_store, tmp_path):
    for name in ("causal-base", "causal-full"):
        run(causal_store, name, "merged", tmp_path / name)
        ids = torch.tensor([[5, 6, 7, 30]])
        expected = logits(causal_store.load(causal_store.registry.spec(name)).model, ids)
        assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / name), ids), expected)


def test_a_qwen3_keeps_the_norms_of_its_heads(tmp_path, chat_tokenizer):
    torch.manual_seed(3)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(chat_tokenizer) + 3, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=128, tie_word_embeddings=False,
            initializer_range=0.3,
        )
    ).eval()  # fmt: skip
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter, 1, 0.1)
    options = {"title": "q", "end": 2, "chat": True, "quantization": QUANTIZATIONS["f16"]}
    assert list(write_gguf(tmp_path / "q.gguf", model, chat_tokenizer, **options))[-1] == 1.0
    again = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="q.gguf", dtype=torch.float32)
    ids = torch.tensor([[5, 6, 7, 30]])
    assert torch.allclose(logits(again, ids), logits(model, ids), atol=0.02)


@pytest.mark.parametrize("changed", [{"model_type": "mistral"}, {"rope_parameters": {"rope_type": "yarn"}}])
def test_settings_that_gguf_files_do_not_get_are_an_error(tiny_causal, changed):
    config = tiny_causal(1).config
    check_config("tiny", config)
    for name, value in changed.items():
        setattr(config, name, value)
    with pytest.raises(ExportError, match=r"model_type 'mistral'|positions"):
        check_config("tiny", config)


def test_formats_that_a_model_cannot_have_are_refused_with_the_reason(tiny_store, tmp_path):
    registry = tiny_store.registry
    lora, missing = registry.spec("dsum-t5-lora"), registry.spec("flan-t5-base")
    assert "encoder-decoder" in unavailable_because(registry, lora, "gguf-q8_0")
    assert "requires transformers<4.58" in unavailable_because(registry, lora, "onnx")
    assert "flan-t5-base is not available" in unavailable_because(registry, missing, "merged")
    assert unavailable_because(registry, lora, "merged") == ""
    with pytest.raises(InputError, match=f"choose one of: {', '.join(FORMATS)}"):
        unavailable_because(registry, lora, "pickle")
    with pytest.raises(ExportError, match="encoder-decoder"):
        run(tiny_store, "dsum-t5-lora", "gguf-f16", tmp_path / "out")
    assert leftovers(tmp_path) == []


def test_adapters_that_cannot_be_merged_are_refused(checkout, save_adapter, tmp_path):
    prompt = PromptTuningConfig(**checkout.task, num_virtual_tokens=4)
    save_adapter(checkout.build(1), prompt, checkout.root / "adapters" / "prompted", checkout.base)
    scaled = IA3Config(**checkout.task, target_modules=checkout.attention, feedforward_modules=[])
    save_adapter(checkout.build(1), scaled, checkout.root / "adapters" / "scaled", checkout.base)
    embedding = LoraConfig(**checkout.task, r=2, target_modules=[checkout.embedding])
    save_adapter(checkout.build(1), embedding, checkout.root / "adapters" / "embedded", checkout.base)
    store = checkout.store()
    with pytest.raises(ExportError, match=r"PROMPT_TUNING adapter.*dsum models --snippet prompted"):
        run(store, "prompted", "merged", tmp_path / "out")
    # PEFT saves a copy of a Llama's embedding with the adapter, which dsum does not load at all.
    with pytest.raises(
        ExportError, match="one matrix in its base" if checkout.decoder else "embedded is not available"
    ):
        run(store, "embedded", "merged", tmp_path / "out")
    assert leftovers(tmp_path) == ["checkout"]
    run(store, "scaled", "merged", tmp_path / "out")
    ids = [5, 6, 7, 30]
    auto_class = AutoModelForSeq2SeqLM if checkout.decoder else AutoModelForCausalLM
    plain = auto_class.from_pretrained(tmp_path / "out")
    app = checkout.logits(store.load(store.registry.spec("scaled")).model, ids)
    assert torch.allclose(checkout.logits(plain, ids), app, atol=1e-4)


def test_folders_that_cannot_be_used_are_refused_before_the_model_is_loaded(tiny_store, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for out, message in (("full", "full is not empty; give a new one"), ("file", "is a file; give a folder")):
        with pytest.raises(InputError, match=message):
            run(tiny_store, "dsum-t5-lora", "merged", tmp_path / out)
    with pytest.raises(InputError, match=r"out cannot be created: .*; give another one"):
        run(tiny_store, "dsum-t5-lora", "merged", tmp_path / "file" / "out")
    with pytest.raises(InputError, match="dtype is 'int8'; choose one of: float32"):
        run(tiny_store, "dsum-t5-lora", "merged", tmp_path / "out", dtype="int8")
    assert leftovers(tmp_path) == ["file", "full"] and (tmp_path / "full" / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_used(tiny_store, tmp_path):
    (tmp_path / "out").mkdir()
    run(tiny_store, "dsum-t5-base", "merged", tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file() and leftovers(tmp_path) == ["out"]


@pytest.mark.parametrize("form", ["merged", "gguf-f16"])
def test_a_full_disk_leaves_nothing(causal_store, tmp_path, form):
    """RLIMIT_FSIZE limits files to 20 kB, which fails like a full disk."""
    causal_store.load(causal_store.registry.spec("causal-lora"))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(
            ExportError, match=r"causal-lora cannot be exported to .*were removed. Check that the disk has room"
        ):
            run(causal_store, "causal-lora", form, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert leftovers(tmp_path) == []


def test_a_stop_leaves_nothing(causal_store, tmp_path):
    seen = []
    spec = causal_store.registry.spec("causal-lora")
    steps = export(causal_store, spec, "gguf-f16", tmp_path / "out", (), should_stop=lambda: len(seen) > 3)
    with pytest.raises(Stopped):
        for progress in steps:
            seen.append(progress.text)
    assert seen[0] == "Loading causal-lora" and "Writing causal-lora.F16.gguf" in seen
    assert leftovers(tmp_path) == []


def test_an_abandoned_export_leaves_nothing(tiny_store, tmp_path):
    steps = export(tiny_store, tiny_store.registry.spec("dsum-t5-lora"), "merged", tmp_path / "out", ())
    for progress in steps:
        if progress.text == "Writing the weights":
            break
    assert leftovers(tmp_path) != []
    steps.close()
    assert leftovers(tmp_path) == []


def test_a_child_that_fails_or_is_stopped_is_reported(tmp_path):
    (tmp_path / "summarize.py").write_text("raise OSError('these weights are damaged')")
    with pytest.raises(ExportError, match=r"cannot be loaded again: .*these weights are damaged"):
        list(export_summaries(tmp_path, ["Maya: Hi."], lambda: False))
    (tmp_path / "summarize.py").write_text("import time\ntime.sleep(600)")
    with pytest.raises(Stopped):
        list(export_summaries(tmp_path, ["Maya: Hi."], lambda: True))


def test_differences_are_counted_and_scored():
    check = ExportCheck(
        (SummaryPair("a", "Tom pays.", "Tom pays."), SummaryPair("b", "Tom pays Maya.", "Maya pays Tom."))
    )
    same = "1 of 2 summaries are identical to the app's"
    assert check.text == f"{same}; ROUGE F1 of all against the app's: R1 100.0, R2 50.0, RL 66.7."
    rounded = ExportCheck(tuple(replace(pair, unrounded=pair.export) for pair in check.pairs), "bfloat16")
    assert rounded.text.startswith(
        f"{same}, which computes in bfloat16, and 2 to those of the model in float32 before the export; ROUGE"
    )
    assert rounded.as_dict()["identical_unrounded"] == 2 and check.as_dict()["identical_unrounded"] is None
    assert ExportCheck(()).text == "Not checked."


def test_the_vocabulary_is_the_one_of_the_published_file(tmp_path, tiny_causal):
    """A tiny model with SmolLM2's vocabulary; the published file was converted by llama.cpp."""
    folder = PROJECT_ROOT / "models" / "smollm2-135m"
    tokenizer = load_tokenizer(folder)
    model = tiny_causal(1, vocab_size=len(tokenizer))
    options = {"title": "tiny", "end": 2, "chat": True, "quantization": QUANTIZATIONS["q4_0"]}
    list(write_gguf(tmp_path / "tiny.gguf", model, tokenizer, **options))
    written, published = (
        file.read_bytes()[:3_000_000] for file in (tmp_path / "tiny.gguf", next(folder.glob("*.gguf")))
    )
    keys = [f"tokenizer.ggml.{name}".encode() for name in ("tokens", "token_type", "merges", "bos_token_id")]
    places = [published.index(key) for key in keys]
    for begin, end in pairwise(places):  # before a key are the 8 bytes of its length
        assert published[begin : end - 8] in written


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        ([pre_tokenizers.ByteLevel(add_prefix_space=False)], "gpt-2"),
        ([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)], "smollm"),
        ([pre_tokenizers.Whitespace()], None),
    ],
)
def test_the_splitting_of_a_text_has_llama_cpps_name_or_is_refused(tmp_path, tiny_causal, steps, name):
    backend = Tokenizer(models.BPE({"<s>": 0, "a": 1, "b": 2, "ab": 3}, [("a", "b")]))
    backend.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<s>")
    model = tiny_causal(1, vocab_size=5)
    steps = write_gguf(
        tmp_path / "m.gguf", model, tokenizer, title="m", end=0, chat=True, quantization=QUANTIZATIONS["f16"]
    )
    if name is None:
        with pytest.raises(ExportError, match="m has a BPE tokenizer that splits texts in a way that is unknown"):
            list(steps)
        return
    list(steps)
    fields = gguf.GGUFReader(tmp_path / "m.gguf").fields
    assert fields["tokenizer.ggml.pre"].contents() == name
    assert fields["tokenizer.ggml.tokens"].contents() == ["<s>", "a", "b", "ab", "[PAD4]"]
    assert fields["tokenizer.ggml.token_type"].contents() == [3, 1, 1, 1, 5]
