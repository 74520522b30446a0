"""Exports a model to a folder: merge or convert, write, load again and compare."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from dsum_demo.data.examples import Example
from dsum_demo.errors import DsumError, ExportError, InputError, Stopped
from dsum_demo.export.check import ExportCheck, SummaryPair, app_summaries, export_summaries
from dsum_demo.export.formats import DTYPES, find_format, unavailable_because
from dsum_demo.export.modelfile import modelfile
from dsum_demo.models.architectures import ENCODER_DECODER
from dsum_demo.models.catalog import Family, Kind, ModelSpec
from dsum_demo.models.gguf_writer import QUANTIZATIONS, check_config, write_gguf
from dsum_demo.models.loading import load_adapted, load_plain
from dsum_demo.models.snippet import Checkpoint, snippet
from dsum_demo.models.store import LoadedModel, ModelStore
from dsum_demo.utils.formatting import first_line, markdown_cell, markdown_table, size
from dsum_demo.utils.hardware import free_memory_bytes

CHECKED = 20  # dialogues
_SPARE_BYTES = 20_000_000  # of the tokenizer and the rest


@dataclass(frozen=True)
class ExportReport:
    """A finished export. files: (name, bytes), the largest first."""

    model: str
    format: str
    dtype: str
    folder: Path
    files: tuple[tuple[str, int], ...]
    check: ExportCheck

    def as_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "format": self.format,
            "dtype": self.dtype,
            "files": dict(self.files),
            "check": self.check.as_dict(),
        }


@dataclass(frozen=True)
class ExportProgress:
    """share: the part that is done, 0 to 1, None if unknown. report: set at the end."""

    text: str
    share: float | None = None
    report: ExportReport | None = None


def export(
    store: ModelStore,
    spec: ModelSpec,
    form: str,
    out: Path,
    examples: Sequence[Example],
    *,
    dtype: str = "float32",
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[ExportProgress]:
    """Export `spec` to the folder `out`; the last progress has the report. examples: for the check, CHECKED at most.

    form: one of FORMATS. dtype: of the weights in "merged". Until the check is done, the files are in a hidden folder
    next to `out`, which is deleted if the export fails or is stopped. Raises InputError for a folder that cannot be
    used, ExportError for a model that cannot be exported, Stopped, and what loading the model raises.
    """
    chosen = find_format(form)
    if dtype not in DTYPES:
        raise InputError(f"dtype is {dtype!r}; choose one of: {', '.join(DTYPES)}.")
    if reason := unavailable_because(store.registry, spec, form):
        raise ExportError(reason)
    out = out.expanduser().absolute()
    _check_folder(out)
    yield ExportProgress(f"Loading {spec.name}")
    loaded = store.load(spec, should_stop=should_stop)
    per_weight = chosen.bytes_per_weight if chosen.quantization else DTYPES[dtype]
    needed = int(loaded.total_parameters * per_weight) + _SPARE_BYTES
    _check_room(spec, out, needed, loaded.total_parameters * 4)
    part = _hidden_folder(out)
    try:
        family = store.registry.family(spec.family)
        model = _plain_model(store, loaded, family)
        if chosen.quantization:
            check_config(spec.name, model.config)
        unrounded: list[str] = []
        if loaded.dtype != "float32":
            for _, text in app_summaries(replace(loaded, model=model), family, examples[:CHECKED], should_stop):
                unrounded.append(text)
                yield ExportProgress(f"Summaries in float32: {len(unrounded)} of {len(examples[:CHECKED])}")
        yield ExportProgress(f"Merging {spec.name}" if spec.kind is Kind.ADAPTER else f"Converting {spec.name}")
        model = _merged(spec, model)
        _stop_if(should_stop)
        if chosen.quantization:
            yield from _write_gguf(model, loaded, family, form, part, should_stop)
        else:
            yield ExportProgress("Writing the weights")
            _write_merged(model.to(getattr(torch, dtype)), loaded, family, part)
        del model
        gguf = next((file.name for file in part.glob("*.gguf")), "")
        code = snippet(family, Checkpoint(".", gguf=gguf))
        (part / "summarize.py").write_text(code, encoding="utf-8")
        check = yield from _check(loaded, family, examples[:CHECKED], unrounded, part, should_stop)
        stored = form if chosen.quantization else dtype
        (part / "README.md").write_text(_card(spec, family, form, stored, code, check), encoding="utf-8")
        report = ExportReport(spec.name, form, stored, out, (), check)
        (part / "check.json").write_text(json.dumps(report.as_dict(), ensure_ascii=False, indent=2) + "\n", "utf-8")
        report = replace(report, files=_files(part))
        if out.exists():
            out.rmdir()
        part.chmod(0o755)
        for file in part.iterdir():  # safetensors and temporary folders are for their owner only
            file.chmod(0o644)
        part.rename(out)
    except DsumError:
        raise
    except Exception as error:  # errors of the disk, of safetensors and of PEFT
        disk = isinstance(error, OSError | SafetensorError)
        hint = f" Check that the disk has room for {size(needed)}." if disk else ""
        said = first_line(error).rstrip(".")
        raise ExportError(
            f"{spec.name} cannot be exported to {out}: {said}. The files written so far were removed.{hint}"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    yield ExportProgress(check.text, 1.0, report)


def _stop_if(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise Stopped("The export was stopped.")


def _check_folder(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"The folder {out} is not empty; give a new one.")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give a folder.")


def _check_room(spec: ModelSpec, out: Path, needed: int, memory: int) -> None:
    parent = next(folder for folder in out.parents if folder.is_dir())
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise InputError(f"The export takes {size(needed)} and {size(free)} are free in {parent}; choose another disk.")
    if memory > (left := free_memory_bytes()) and not torch.cuda.is_available():
        raise ExportError(f"Exporting {spec.name} takes {size(memory)} of memory and {size(left)} are free.")


def _hidden_folder(out: Path) -> Path:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{out.name}.part-", dir=out.parent))
    except OSError as error:
        raise InputError(f"The folder {out} cannot be created: {error.strerror}; give another one.") from None


def _plain_model(store: ModelStore, loaded: LoadedModel, family: Family) -> Any:
    """The model as plain transformers has it, in float32, an adapter unmerged."""
    spec, registry = loaded.spec, store.registry
    folder = registry.folder_of(family.base if spec.kind is Kind.ADAPTER else spec)
    assert folder is not None, "the store has loaded it"
    model = load_plain(folder, loaded.tokenizer, torch.float32, family.prompt)
    if spec.kind is not Kind.ADAPTER:
        return model
    adapter = registry.folder_of(spec)
    assert adapter is not None, "the store has loaded it"
    return load_adapted(adapter, model)[0]


def _merged(spec: ModelSpec, model: Any) -> Any:
    """The model with its adapter merged; any other model as it is."""
    if spec.kind is not Kind.ADAPTER:
        return model
    from peft.tuners.tuners_utils import BaseTunerLayer

    # An adapted embedding or head is a wrapper, whose weight is that of the layer in it.
    embedding, head = model.get_input_embeddings().weight, getattr(model.get_output_embeddings(), "weight", None)
    tied = bool(model.config.tie_word_embeddings)
    layers = [module.get_base_layer() for module in model.modules() if isinstance(module, BaseTunerLayer)]
    if tied and any(getattr(layer, "weight", None) is embedding for layer in layers):
        raise ExportError(
            f"{spec.name} adapts the embedding or the head, which are one matrix in its base: merged, it would change "
            "both. Load it with PEFT instead."
        )
    if tied and head is not embedding:
        raise ExportError(
            f"{spec.name} replaces the head, which its base shares with the embedding; load it with PEFT."
        )
    if not hasattr(model, "merge_and_unload"):
        raise ExportError(f"{spec.name} is of a PEFT type that PEFT cannot merge. Load it with PEFT instead.")
    settings = model.generation_config
    merged = model.to("cpu").merge_and_unload(safe_merge=True)
    merged.generation_config = settings
    return merged


def _write_merged(model: Any, loaded: LoadedModel, family: Family, folder: Path) -> None:
    settings = model.generation_config
    settings.max_new_tokens, settings.do_sample = family.decode.max_new_tokens, False
    if family.architecture is ENCODER_DECODER and family.decode.no_repeat_ngram_size:
        # In a decoder-only model transformers would ban the n-grams of the prompt too.
        settings.no_repeat_ngram_size = family.decode.no_repeat_ngram_size
    model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)


def _write_gguf(
    model: Any, loaded: LoadedModel, family: Family, form: str, folder: Path, should_stop: Callable[[], bool]
) -> Iterator[ExportProgress]:
    quantization = find_format(form).quantization
    file = folder / f"{loaded.spec.name}.{quantization.upper()}.gguf"
    for share in write_gguf(
        file, model, loaded.tokenizer, title=loaded.spec.name, end=family.prompt.end_token_id(loaded.tokenizer),
        chat=family.prompt.chat, quantization=QUANTIZATIONS[quantization],
    ):  # fmt: skip
        _stop_if(should_stop)
        yield ExportProgress(f"Writing {file.name}", share)
    # transformers reads these instead of converting the file's own copies, which takes seconds.
    loaded.tokenizer.save_pretrained(folder)
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    text = modelfile(loaded.spec.name, file.name, family, loaded.tokenizer, loaded.end_token_ids)
    (folder / "Modelfile").write_text(text, encoding="utf-8")


def _check(
    loaded: LoadedModel,
    family: Family,
    examples: Sequence[Example],
    unrounded: Sequence[str],
    folder: Path,
    should_stop: Callable[[], bool],
) -> Generator[ExportProgress, None, ExportCheck]:
    """Yield the progress and return the check; without examples nothing is loaded."""
    if not examples:
        return ExportCheck(())
    texts, total = [], len(examples)
    for number, text in enumerate(app_summaries(loaded, family, examples, should_stop), 1):
        texts.append(text)
        yield ExportProgress(f"The app’s summaries: {number} of {total}", number / total / 2)
    pairs: list[SummaryPair] = []
    yield ExportProgress("Loading the export in a process without dsum", 0.5)
    summaries = export_summaries(folder, [dialogue for dialogue, _ in texts], should_stop)
    exact: Sequence[str | None] = unrounded or [None] * total
    for example, (_, app), before, summary in zip(examples, texts, exact, summaries, strict=True):
        pairs.append(SummaryPair(example.id, app, summary, before))
        yield ExportProgress(f"The export’s summaries: {len(pairs)} of {total}", 0.5 + len(pairs) / total / 2)
    return ExportCheck(tuple(pairs), loaded.dtype)


def _files(folder: Path) -> tuple[tuple[str, int], ...]:
    sizes = [(file.name, file.stat().st_size) for file in folder.iterdir()]
    return tuple(sorted(sizes, key=lambda item: (-item[1], item[0])))


_ABOUT = {
    "float32": "The weights are in float32: the sum of a matrix and its adapter needs more digits than 16 bits have.",
    "bfloat16": "The weights are in bfloat16, rounded after merging: half of float32's size, and three digits.",
    "float16": "The weights are in float16, rounded after merging: half of float32's size. T5 overflows in it.",
}


def _card(spec: ModelSpec, family: Family, form: str, stored: str, code: str, check: ExportCheck) -> str:
    licences = dict.fromkeys(name for name in (spec.licence, family.base.licence) if name)
    lines = [
        "---",
        "language: en",
        "library_name: transformers",
        f"base_model: {family.base.name}",
        f"tags: [dialogue-summarization, dsum{', gguf' if find_format(form).quantization else ''}]",
        "---",
        "",
        f"# {spec.name}",
        "",
        f"{spec.title} of the family {family.title}, exported by dsum as {form}. {spec.note} Licenses of the model and "
        f"its base: {', '.join(licences) or 'unknown'}.",
        "",
        _ABOUT.get(stored, "`Modelfile` gives Ollama dsum's prompt: `ollama create NAME -f Modelfile`."),
        "",
        "In this folder, `python summarize.py` runs:",
        "",
        "```python",
        code.rstrip(),
        "```",
        "",
        "## Check",
        "",
        f"The folder was loaded again and this code run without dsum, on {len(check.pairs)} dialogues. {check.text}",
    ]
    if check.different:
        rows = ((each.id, markdown_cell(each.app), markdown_cell(each.export)) for each in check.different)
        lines += ["", *markdown_table(("dialogue", "the app", "this export"), rows)]
    return "\n".join(lines) + "\n"
