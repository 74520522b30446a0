"""Tiny real models for every test: a two-layer T5, its "full fine-tune" and a LoRA adapter, laid out like a checkout.

tiny_tokenizer     a Unigram tokenizer, trained here on a few lines
tiny_model         builds a tiny T5 from a seed
chat_tokenizer     a byte-level BPE tokenizer with a chat template, whose padding is its end token
tiny_causal        builds a tiny decoder-only model (Llama) from a seed
tiny_root          a folder with models/dsum-t5-base, models/dsum-t5-full, adapters/dsum-t5-lora and the samples
tiny_settings      Settings whose root is tiny_root, offline, with its own data_dir
tiny_store         a ModelStore over them (tiny_store.registry is its Registry); shared, so leave it as it was
causal_store       the same of a trio of tiny decoder-only models: GGUF files and a LoRA adapter
checkout           for both architectures a copy of their root that a test may change, its names and modules
any_store          tiny_store and causal_store: a test that uses it runs for both architectures
tiny_environment   os.environ for a child process that sees the same root
forked_python      a program that runs `dsum` in a child process without the time to import torch
root, settings     a copy of tiny_root that a test may change, and the Settings for it
save_gguf          saves a decoder-only model and its tokenizer as a GGUF file, quantized
save_adapter       saves a PEFT adapter for a model, trained or not
recorded_file      outputs of a made-up trio on the samples: human1 to human3, original, full, lora
recorded           the evaluation of it: real texts and scores, without a model

The weights are random but seeded: what the models write is nonsense, the same in every run, and differs between them.
"""

from __future__ import annotations

import csv
import gc
import json
import os
import shutil
import tempfile
from pathlib import Path

# Before anything imports huggingface_hub, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"
# Tiny models gain nothing from threads, and threads of tests that run side by side wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
# The tests' roots hold tiny models in place of this family; child processes see it too.
os.environ["DSUM_FAMILY"] = "dsum-t5"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# hypothesis writes files even if tests configure no database.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir(), "dsum-hypothesis")))

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, get_tensor_name_map, quantize
from peft import LoraConfig, PeftConfig, get_peft_model
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from dsum_demo.composition import make_registry, make_store
from dsum_demo.data.examples import read_samples
from dsum_demo.evaluation.recorded import evaluate_recorded
from dsum_demo.evaluation.records import Evaluation
from dsum_demo.hub.source import Source, SourceKind
from dsum_demo.models.architectures import DECODER_ONLY
from dsum_demo.models.catalog import Catalog, Family, Kind, ModelSpec
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import PROMPT_TEMPLATE, Prompt
from dsum_demo.models.store import ModelStore
from dsum_demo.settings import PROJECT_ROOT, Settings
from recipes.tokenizer import in_fixed_order
from tests.forked import forking

TEXTS = [
    PROMPT_TEMPLATE.format(dialogue="#Person1#: Hello, Tom!\n#Person2#: Hi, are you free on Friday after six?"),
    "Maya: Can you lend me ten dollars? Tom: Sure, pay me back next week. Maya asks Tom for money and he agrees.",
    "#Person1# orders a pizza with mushrooms and olives. The delivery takes half an hour and costs twelve dollars.",
    "The doctor tells Anna to rest, to drink water and to come back on Monday if the fever does not go down.",
    "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 .,:;!?'\"()#-",
]


# Folders and files whose tests mostly wait for other processes; CI runs them beside all others.
LANES = {
    "browser": ["e2e"],
    "processes": [
        "cli",
        "forked",
        "hub",
        "study",
        "runs/test_queue.py",
        "ui/test_zero_gpu.py",
        "training/test_processes.py",
        "test_readme.py",
    ],
}


def pytest_collection_finish() -> None:
    """Leave the libraries' objects out of garbage collections: accelerate forces one at the end of each training."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).resolve().parent
    for item in items:
        for mark, places in LANES.items():
            if any(item.path.is_relative_to(here / place) for place in places):
                item.add_marker(mark)


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """About 300 pieces, T5's special tokens; it keeps newlines and #Person1#, and appends </s>."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Metaspace(prepend_scheme="never"),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    tokenizer.decoder = MetaspaceDecoder(prepend_scheme="never")
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>", "#Person1#", "#Person2#"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    # Ids decide what the tiny models write.
    tokenizer.model = models.Unigram(in_fixed_order(tokenizer, specials=5), unk_id=2)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


@pytest.fixture(scope="session")
def tiny_model(tiny_tokenizer) -> Callable[..., T5ForConditionalGeneration]:
    """tiny_model(seed, **changes): a T5 of width 32, weights drawn from `seed`; `changes` go to its config."""

    def build(seed: int, **changes: Any) -> T5ForConditionalGeneration:
        torch.manual_seed(seed)
        config = T5Config(
            **{
                "vocab_size": len(tiny_tokenizer), "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2,
                "num_decoder_layers": 2, "num_heads": 4, "feed_forward_proj": "gated-gelu", "dropout_rate": 0.1,
                "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "initializer_factor": 3.0,
                **changes,
            }
        )  # fmt: skip
        return T5ForConditionalGeneration(config).eval()

    return build


CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def chat_tokenizer() -> PreTrainedTokenizerFast:
    """About 400 pieces; the end of a turn is the end token and the padding, as in SmolLM2-Instruct."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


@pytest.fixture(scope="session")
def tiny_causal(chat_tokenizer) -> Callable[..., LlamaForCausalLM]:
    """tiny_causal(seed, **changes): a Llama of width 32 with a tied head and seeded weights; `changes` go to its
    config.
    """

    def build(seed: int, **changes: Any) -> LlamaForCausalLM:
        torch.manual_seed(seed)
        config = LlamaConfig(
            **{
                "vocab_size": len(chat_tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
                "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
                "initializer_range": 0.3, **changes,
            }
        )  # fmt: skip
        return LlamaForCausalLM(config).eval()

    return build


@pytest.fixture(scope="session")
def save_gguf() -> Callable[..., Path]:
    """save_gguf(model, tokenizer, file, type="Q4_1"): matrices of that type and llama.cpp's layout."""

    def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, file: Path, type: str = "Q4_1") -> Path:
        config, kind = model.config, GGMLQuantizationType[type]
        architecture = {"llama": MODEL_ARCH.LLAMA, "qwen2": MODEL_ARCH.QWEN2}[config.model_type]
        names = get_tensor_name_map(architecture, config.num_hidden_layers)
        file.parent.mkdir(parents=True, exist_ok=True)
        writer = GGUFWriter(file, config.model_type)
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(10_000.0)
        writer.add_vocab_size(config.vocab_size)
        vocabulary = json.loads(tokenizer.backend_tokenizer.to_str())
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
        writer.add_token_types([3 if i in tokenizer.all_special_ids else 1 for i in range(len(tokenizer))])
        writer.add_token_merges([" ".join(pair) for pair in vocabulary["model"]["merges"]])
        writer.add_bos_token_id(tokenizer.bos_token_id)
        writer.add_eos_token_id(tokenizer.eos_token_id)
        writer.add_unk_token_id(tokenizer.unk_token_id)
        writer.add_pad_token_id(tokenizer.pad_token_id)
        writer.add_chat_template(tokenizer.chat_template)
        for name, tensor in model.state_dict().items():
            if name == "lm_head.weight" and config.tie_word_embeddings:
                continue
            module, part = name.rsplit(".", 1)
            values = tensor.float().numpy()
            heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(module[-6:])
            if heads and config.model_type == "llama":  # llama.cpp's own order of the rows of a head
                values = values.reshape(heads, 2, -1, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)
            stored = kind if values.ndim == 2 else GGMLQuantizationType.F32
            writer.add_tensor(f"{names.get_name(module)}.{part}", quantize(values, stored), raw_dtype=stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return file

    return save


@pytest.fixture(scope="session")
def save_adapter() -> Callable[..., Path]:
    """save_adapter(model, config, folder, base_name=…, train=True): `train` replaces zeros by seeded random values."""

    def save(
        model: PreTrainedModel,
        config: PeftConfig,
        folder: Path,
        base_name: str = "dsum-t5-base",
        train: bool = True,
    ) -> Path:
        torch.manual_seed(11)
        model.name_or_path = base_name
        adapted = get_peft_model(model, config)
        if train:
            with torch.no_grad():
                for parameter in adapted.parameters():
                    if parameter.requires_grad:
                        parameter.add_(torch.randn_like(parameter) * 0.3)
        adapted.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory, tiny_model, tiny_tokenizer, save_adapter) -> Path:
    root = tmp_path_factory.mktemp("root")
    for name, seed in (("dsum-t5-base", 1), ("dsum-t5-full", 2)):
        tiny_model(seed).save_pretrained(root / "models" / name)
        tiny_tokenizer.save_pretrained(root / "models" / name)
    lora = LoraConfig(task_type="SEQ_2_SEQ_LM", r=4, lora_alpha=8, target_modules=["q", "v"], lora_dropout=0.05)
    save_adapter(tiny_model(1), lora, root / "adapters" / "dsum-t5-lora")
    shutil.copytree(PROJECT_ROOT / "samples", root / "samples")
    return root


@pytest.fixture(scope="session")
def tiny_settings(tiny_root, tmp_path_factory) -> Settings:
    return Settings(root=tiny_root, data_dir=tmp_path_factory.mktemp("data"), offline=True, family="dsum-t5")


@pytest.fixture(scope="session")
def tiny_store(tiny_settings) -> ModelStore:
    return make_store(tiny_settings)


CHAT_PROMPT = Prompt("{dialogue}\n\nSummarize the conversation above in one or two sentences.", chat=True)


def causal_family(root: Path) -> Family:
    def variant(name: str, kind: Kind, folder: str) -> ModelSpec:
        source = Source(SourceKind.EMBEDDED, str(root / folder / name))
        base = None if kind is Kind.BASE else "causal-base"
        return ModelSpec(name, name, "causal", kind, source, base, trained_parameters=None if base else 0)

    variants = (
        variant("causal-base", Kind.BASE, "models"),
        variant("causal-full", Kind.FULL, "models"),
        variant("causal-lora", Kind.ADAPTER, "adapters"),
    )
    return Family(
        "causal", "Causal", "", 1024, DecodingConfig(max_new_tokens=80), variants,
        layers=2, prompt=CHAT_PROMPT, architecture=DECODER_ONLY,
    )  # fmt: skip


@pytest.fixture(scope="session")
def causal_root(tmp_path_factory, tiny_causal, chat_tokenizer, save_gguf, save_adapter) -> Path:
    root = tmp_path_factory.mktemp("causal")
    for name, seed, type in (("causal-base", 1, "Q4_1"), ("causal-full", 2, "Q5_0")):
        folder = root / "models" / name
        model = tiny_causal(seed)
        save_gguf(model, chat_tokenizer, folder / f"{name}.{type}.gguf", type)
        model.config.save_pretrained(folder)
        chat_tokenizer.save_pretrained(folder)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    save_adapter(tiny_causal(1), lora, root / "adapters" / "causal-lora", "causal-base")
    shutil.copytree(PROJECT_ROOT / "samples", root / "samples")
    return root


@pytest.fixture(scope="session")
def causal_settings(causal_root, tmp_path_factory) -> Settings:
    return Settings(root=causal_root, data_dir=tmp_path_factory.mktemp("causal-data"), offline=True)


@pytest.fixture(scope="session")
def causal_store(causal_settings) -> ModelStore:
    family = causal_family(causal_settings.root)
    return make_store(causal_settings, make_registry(causal_settings, Catalog("causal", (family,))))


@pytest.fixture(scope="session", params=["encoder-decoder", "decoder-only"])
def any_store(request) -> ModelStore:
    store: ModelStore = request.getfixturevalue("tiny_store" if request.param == "encoder-decoder" else "causal_store")
    return store


@dataclass(frozen=True)
class Checkout:
    """A trio of tiny models of one architecture. base, full, lora: their names. build: a model from a seed. attention,
    feed_forward, norms: names of its modules. decoder: what the model's forward needs beside input_ids.
    """

    settings: Settings
    catalog: Catalog | None
    build: Callable[..., PreTrainedModel]
    base: str
    full: str
    lora: str
    task: dict[str, str]
    attention: list[str]
    feed_forward: list[str]
    norms: list[str]
    embedding: str
    decoder: dict[str, torch.Tensor]

    @property
    def root(self) -> Path:
        return self.settings.root

    def store(self) -> ModelStore:
        return make_store(self.settings, make_registry(self.settings, self.catalog))

    def logits(self, model: Any, ids: list[int]) -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = model(input_ids=torch.tensor([ids]), **self.decoder).logits
        return logits


@pytest.fixture(params=["encoder-decoder", "decoder-only"])
def checkout(request, tmp_path, tiny_root, causal_root, tiny_model, tiny_causal) -> Checkout:
    seq2seq = request.param == "encoder-decoder"
    root = Path(shutil.copytree(tiny_root if seq2seq else causal_root, tmp_path / "checkout"))
    family = "dsum-t5" if seq2seq else ""
    settings = Settings(root=root, data_dir=tmp_path / "checkout-data", offline=True, family=family)
    if seq2seq:
        return Checkout(
            settings, None, tiny_model, "dsum-t5-base", "dsum-t5-full", "dsum-t5-lora",
            task={"task_type": "SEQ_2_SEQ_LM"}, attention=["q", "v"], feed_forward=["wo"], norms=["layer_norm"],
            embedding="shared", decoder={"decoder_input_ids": torch.tensor([[0, 5, 6]])},
        )  # fmt: skip
    return Checkout(
        settings, Catalog("causal", (causal_family(root),)), tiny_causal, "causal-base", "causal-full", "causal-lora",
        task={"task_type": "CAUSAL_LM"}, attention=["q_proj", "v_proj"], feed_forward=["down_proj"],
        norms=["input_layernorm"], embedding="embed_tokens", decoder={},
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_environment(tiny_settings) -> dict[str, str]:
    return {
        **os.environ,
        "DSUM_ROOT": str(tiny_settings.root),
        "DSUM_DATA_DIR": str(tiny_settings.data_dir),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
    }


@pytest.fixture
def root(tiny_root, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_root, tmp_path / "root"))


@pytest.fixture(scope="session")
def forked_python(tmp_path_factory) -> Iterator[str]:
    """A program that runs `-m dsum_demo` as `sys.executable` does, in a forked process."""
    with forking(tmp_path_factory.mktemp("forked")) as program:
        yield program


@pytest.fixture
def settings(root, tmp_path) -> Settings:
    return Settings(root=root, data_dir=tmp_path / "data", offline=True, family="dsum-t5")


@pytest.fixture(scope="session")
def recorded_file(tmp_path_factory) -> Path:
    """The original repeats the first turn, the full fine-tune is close to the human summary, LoRA a little less."""
    file = tmp_path_factory.mktemp("recorded") / "outputs.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow("id dialogue topic human1 human2 human3 original full lora".split())
        for number, sample in enumerate(read_samples(PROJECT_ROOT / "samples" / "dialogues.jsonl")):
            first, words = sample.dialogue.split("\n")[0], sample.references[number % 3].split()
            full = " ".join(word for place, word in enumerate(words) if (place + number) % 4)
            lora = " ".join(word for place, word in enumerate(words) if (place + number) % 3)
            writer.writerow([sample.id, sample.dialogue, sample.topics[0], *sample.references, first, full, lora])
    return file


@pytest.fixture(scope="session")
def recorded(recorded_file) -> Evaluation:
    columns = ["human1", "human2", "human3"]
    *_, last = evaluate_recorded(recorded_file, columns, ["original", "full", "lora"])
    return last.evaluation
