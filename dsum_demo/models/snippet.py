"""About ten lines of Python that load a model with plain transformers and PEFT and write what the app writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from dsum_demo.errors import ModelUnavailableError
from dsum_demo.hub.source import SourceKind
from dsum_demo.models.architectures import ENCODER_DECODER
from dsum_demo.models.catalog import Family, Kind, ModelSpec
from dsum_demo.models.registry import Registry
from dsum_demo.utils.checkpoint_files import find_weights

EXAMPLE = "Ana: Is the meeting still at three?\nBen: No, at four, in room 12."
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "spiece.model")


@dataclass(frozen=True)
class Checkpoint:
    """What `from_pretrained` loads. location: a folder or a Hub id. gguf: the name of its GGUF file, if it has one."""

    location: str
    revision: str | None = None
    gguf: str = ""

    @property
    def revision_argument(self) -> str:
        return f", revision={json.dumps(self.revision)}" if self.revision else ""

    @property
    def arguments(self) -> str:
        """The arguments of a whole model. In float32, as the app computes on a CPU."""
        gguf = f", gguf_file={json.dumps(self.gguf)}" if self.gguf else ""
        return f'model_name{self.revision_argument}{gguf}, dtype="float32"'


def snippet_of(registry: Registry, spec: ModelSpec) -> str:
    """The lines for a model of the registry. Raises ModelUnavailableError if it does not exist yet.

    Folders below the repository are relative to it.
    """
    family = registry.family(spec.family)
    if spec.kind is Kind.ADAPTER:
        return snippet(family, _checkpoint(registry, family.base), adapter=_checkpoint(registry, spec))
    own = _checkpoint(registry, spec)
    folder = registry.folder_of(spec)
    has_tokenizer = folder is None or any((folder / name).is_file() for name in _TOKENIZER_FILES)
    return snippet(family, own, tokenizer=own if has_tokenizer else _checkpoint(registry, family.base))


def snippet(
    family: Family, model: Checkpoint, *, adapter: Checkpoint | None = None, tokenizer: Checkpoint | None = None
) -> str:
    """The lines for a base or a fully fine-tuned `model`, or for an `adapter` on it. tokenizer: if it is not the
    model's.
    """
    return "\n".join([*_loading(family, model, adapter, tokenizer or model), "", "", *_summarizing(family)]) + "\n"


def _checkpoint(registry: Registry, spec: ModelSpec) -> Checkpoint:
    if spec.source is None:
        raise ModelUnavailableError(f"{spec.name} does not exist yet. {spec.note}".strip())
    folder, gguf = registry.folder_of(spec), ""
    if folder is not None and spec.kind is not Kind.ADAPTER:
        weights = find_weights(folder, adapter=False)
        gguf = weights.files[0].name if weights.gguf else ""
    # A local source's revision is a time.
    revision = spec.source.revision if spec.source.kind is SourceKind.HUB else None
    return Checkpoint(registry.loadable(spec.source), revision, gguf)


def _loading(family: Family, model: Checkpoint, adapter: Checkpoint | None, tokenizer: Checkpoint) -> Iterator[str]:
    seq2seq = family.architecture is ENCODER_DECODER
    auto_class = "AutoModelForSeq2SeqLM" if seq2seq else "AutoModelForCausalLM"
    bans = bool(family.decode.no_repeat_ngram_size) and not seq2seq
    if adapter:
        yield "from peft import PeftModel"
    yield f"from transformers import {auto_class}, AutoTokenizer{', NoRepeatNGramLogitsProcessor' if bans else ''}"
    yield ""
    yield f"model_name = {json.dumps(model.location)}"
    same = tokenizer.location == model.location
    name = "model_name" if same else json.dumps(tokenizer.location)
    yield f"tokenizer = AutoTokenizer.from_pretrained({name}{tokenizer.revision_argument})"
    yield f"model = {auto_class}.from_pretrained({model.arguments})"
    if adapter:
        yield f"model = PeftModel.from_pretrained(model, {json.dumps(adapter.location)}{adapter.revision_argument})"
    if bans:
        yield f"no_repeats = NoRepeatNGramLogitsProcessor({family.decode.no_repeat_ngram_size})"


def _summarizing(family: Family) -> Iterator[str]:
    prompt, decode = family.prompt, family.decode
    yield "def summarize(dialogue):"
    yield f"    prompt = f{json.dumps(prompt.template, ensure_ascii=False)}"
    if prompt.chat:
        thinking = ", enable_thinking=False" if family.name.startswith("qwen3") else ""
        yield '    messages = [{"role": "user", "content": prompt}]'
        yield "    inputs = tokenizer.apply_chat_template("
        yield f'        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True{thinking}'
        yield "    )"
    else:
        yield '    inputs = tokenizer(prompt, return_tensors="pt")'
    settings = f"max_new_tokens={decode.max_new_tokens}, do_sample=False, num_beams={decode.num_beams}"
    if family.architecture is ENCODER_DECODER:
        if decode.no_repeat_ngram_size:
            settings += f", no_repeat_ngram_size={decode.no_repeat_ngram_size}"
        tokens = ""
    else:
        yield '    length = inputs["input_ids"].shape[1]'
        if decode.no_repeat_ngram_size:
            yield "    # Without the prompt, so that the summary can repeat names of the dialogue."
            yield "    processors = [lambda ids, scores: no_repeats(ids[:, length:], scores)]"
            settings += ", logits_processor=processors"
        tokens = ", length:"
    yield f"    output = model.generate(**inputs, {settings})"
    yield f"    return tokenizer.decode(output[0{tokens}], skip_special_tokens=True).strip()"
    yield ""
    yield ""
    yield f"print(summarize({json.dumps(EXAMPLE)}))"
