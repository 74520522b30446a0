"""Model specifications (`ModelSpec`, `Family`) and the parser of the shipped catalog."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from dsum_demo.errors import InputError, ModelUnavailableError, SettingsError
from dsum_demo.hub.source import Source, SourceKind
from dsum_demo.models.architectures import ENCODER_DECODER, Architecture, architecture_of
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import DEFAULT_PROMPT, Prompt

CATALOG_FILE = Path(__file__).with_name("catalog.toml")
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


class Kind(StrEnum):
    BASE = "base"
    FULL = "full"
    ADAPTER = "adapter"


@dataclass(frozen=True)
class ModelSpec:
    """One model that can be selected for comparison. Counts and sizes are None if they are unknown before loading.

    name: unique over all families. source: None if the model does not exist yet; then `note` explains how to make it.
    base: the name of the base model of an adapter or a fully fine-tuned model; None for a base.
    """

    name: str
    title: str
    family: str
    kind: Kind
    source: Source | None
    base: str | None
    licence: str = ""
    size_bytes: int | None = None
    parameters: int | None = None
    trained_parameters: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Family:
    """Models that differ only in how they were trained, with their common settings.

    architecture: known before the download. layers: number of decoder layers, None if not given. key_value_width:
    numbers that each layer caches per token for keys, and again for values; None if not given. published: per kind the
    published ROUGE-1, -2 and -L F1 x 100, from `published_source`.
    """

    name: str
    title: str
    note: str
    max_source_tokens: int
    decode: DecodingConfig
    variants: tuple[ModelSpec, ...]
    parameters: int | None = None
    layers: int | None = None
    key_value_width: int | None = None
    published: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    published_source: str = ""
    prompt: Prompt = DEFAULT_PROMPT
    architecture: Architecture = ENCODER_DECODER

    @property
    def base(self) -> ModelSpec:
        return next(spec for spec in self.variants if spec.kind is Kind.BASE)

    def default_trio(self) -> tuple[ModelSpec | None, ModelSpec | None, ModelSpec | None]:
        """Base, full and adapter selected by default: the first of each kind that exists, else the first listed."""

        def first(kind: Kind) -> ModelSpec | None:
            variants = [spec for spec in self.variants if spec.kind is kind]
            return next((spec for spec in variants if spec.source), variants[0] if variants else None)

        return first(Kind.BASE), first(Kind.FULL), first(Kind.ADAPTER)


@dataclass(frozen=True)
class Catalog:
    """default: the default family of every page and command; training: the default family of the Train tab."""

    default: str
    families: tuple[Family, ...]
    training: str = ""


def read_catalog(root: Path, file: Path = CATALOG_FILE) -> Catalog:
    """The catalog's families, with embedded folders resolved against `root`. Raises SettingsError naming the entry."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The catalog {file.name} cannot be read: {error}") from None
    _only(raw, {"default": str, "training": str, "family": list}, "the catalog")
    families = tuple(_family(entry, root) for entry in raw.get("family", ()))
    _unique([family.name for family in families], "family")
    _unique([spec.name for family in families for spec in family.variants], "variant")
    default = raw.get("default", "")
    training = raw.get("training", default)
    for entry, name in (("default", default), ("training", training)):
        if name not in {family.name for family in families}:
            raise SettingsError(f"The catalog's {entry} is {name!r}, which is not one of its families.")
    return Catalog(default, families, training)


_FAMILY_FIELDS: dict[str, type] = {
    "name": str, "title": str, "note": str, "model_type": str, "max_source_tokens": int, "decode": dict,
    "parameters": int, "layers": int, "key_value_width": int, "prompt": dict, "published": dict,
    "published_source": str, "variant": list,
}  # fmt: skip
_VARIANT_FIELDS: dict[str, type] = {
    "name": str, "title": str, "kind": str, "embedded": str, "hub": str, "revision": str, "licence": str,
    "parameters": int, "trained_parameters": int, "size_bytes": int, "note": str,
}  # fmt: skip


def _family(entry: Any, root: Path) -> Family:
    where = f"family {entry.get('name')!r}" if isinstance(entry, dict) else "a family"
    _only(entry, _FAMILY_FIELDS, where, required=("name", "title", "max_source_tokens", "variant"))
    name = _plain(entry["name"], where)
    if entry["max_source_tokens"] < 32:
        raise SettingsError(f"Catalog, {where}: max_source_tokens is {entry['max_source_tokens']}; give 32 or more.")
    try:
        decode = DecodingConfig(**entry.get("decode", {}))
    except (TypeError, InputError) as error:
        raise SettingsError(f"Catalog, {where}: decode is invalid: {error}") from None
    variants = [_variant(raw, name, root) for raw in entry["variant"]]
    bases = [spec.name for spec in variants if spec.kind is Kind.BASE]
    if len(bases) != 1:
        raise SettingsError(f"Catalog, {where}: it has {len(bases)} variants of kind base; give it exactly one.")
    return Family(
        name=name,
        title=entry["title"],
        note=entry.get("note", ""),
        max_source_tokens=entry["max_source_tokens"],
        decode=decode,
        variants=tuple(v if v.kind is Kind.BASE else replace(v, base=bases[0]) for v in variants),
        parameters=entry.get("parameters"),
        layers=entry.get("layers"),
        key_value_width=entry.get("key_value_width"),
        published=_published(entry.get("published", {}), where),
        published_source=entry.get("published_source", ""),
        prompt=_prompt(entry.get("prompt", {}), where),
        architecture=_architecture(entry.get("model_type", "t5"), where),
    )


def _architecture(model_type: str, where: str) -> Architecture:
    try:
        return architecture_of(model_type)
    except ModelUnavailableError as error:
        raise SettingsError(f"Catalog, {where}: {error}") from None


def _prompt(raw: Mapping[str, Any], where: str) -> Prompt:
    _only(raw, {"template": str, "chat": bool}, f"{where}, prompt")
    prompt = Prompt(**raw)
    if prompt.template.count("{dialogue}") != 1 or prompt.template.replace("{dialogue}", "").count("{"):
        raise SettingsError(
            f"Catalog, {where}: the prompt's template is {prompt.template!r}; it must contain {{dialogue}} once "
            "and no other braces."
        )
    return prompt


def _variant(entry: Any, family: str, root: Path) -> ModelSpec:
    where = f"family {family!r}, variant {entry.get('name')!r}" if isinstance(entry, dict) else f"family {family!r}"
    _only(entry, _VARIANT_FIELDS, where, required=("name", "title", "kind"))
    if entry["kind"] not in set(Kind):
        raise SettingsError(f"Catalog, {where}: kind is {entry['kind']!r}; choose one of: {', '.join(Kind)}.")
    kind = Kind(entry["kind"])
    source = _source(entry, where, root)
    if source is None and not entry.get("note"):
        raise SettingsError(
            f"Catalog, {where}: it has neither embedded nor hub; give a note that explains how to make it."
        )
    return ModelSpec(
        name=_plain(entry["name"], where),
        title=entry["title"],
        family=family,
        kind=kind,
        source=source,
        base=None,
        licence=entry.get("licence", ""),
        size_bytes=entry.get("size_bytes"),
        parameters=entry.get("parameters"),
        trained_parameters=0 if kind is Kind.BASE else entry.get("trained_parameters"),
        note=entry.get("note", ""),
    )


def _source(entry: Mapping[str, Any], where: str, root: Path) -> Source | None:
    if "embedded" in entry and "hub" in entry:
        raise SettingsError(f"Catalog, {where}: it has both embedded and hub; keep one.")
    if "embedded" in entry:
        folder = PurePosixPath(entry["embedded"])
        if folder.is_absolute() or ".." in folder.parts or not folder.parts:
            raise SettingsError(f"Catalog, {where}: embedded is {str(folder)!r}; give a folder inside the repository.")
        return Source(SourceKind.EMBEDDED, str(root / folder))
    if "hub" in entry:
        if not HUB_ID.fullmatch(entry["hub"]):
            raise SettingsError(f"Catalog, {where}: hub is {entry['hub']!r}; give owner/name.")
        return Source(SourceKind.HUB, entry["hub"], entry.get("revision"))
    return None


def _published(raw: Mapping[str, Any], where: str) -> dict[str, tuple[float, float, float]]:
    for kind, scores in raw.items():
        numbers = isinstance(scores, list) and all(isinstance(s, int | float) and 0 <= s <= 100 for s in scores)
        if kind not in set(Kind) or not numbers or len(scores) != 3:
            raise SettingsError(f"Catalog, {where}: published {kind} is {scores!r}; give R1, R2 and RL from 0 to 100.")
    return {kind: (scores[0], scores[1], scores[2]) for kind, scores in raw.items()}


def _only(entry: Any, fields: Mapping[str, type], where: str, required: tuple[str, ...] = ()) -> None:
    if not isinstance(entry, dict):
        raise SettingsError(f"Catalog, {where}: {entry!r} is not a table.")
    for name, value in entry.items():
        if name not in fields:
            raise SettingsError(f"Catalog, {where}: unknown entry {name!r}; known are: {', '.join(fields)}.")
        if not isinstance(value, fields[name]) or (isinstance(value, bool) and fields[name] is not bool):
            raise SettingsError(f"Catalog, {where}: {name} is {value!r}; its type must be {fields[name].__name__}.")
        if isinstance(value, int) and value < 0:
            raise SettingsError(f"Catalog, {where}: {name} is {value}; give a number of at least 0.")
    for name in required:
        if name not in entry:
            raise SettingsError(f"Catalog, {where}: {name} is missing.")


def _plain(name: str, where: str) -> str:
    if not PLAIN_NAME.fullmatch(name):
        raise SettingsError(f"Catalog, {where}: the name {name!r} may hold letters, digits, '.', '_' and '-' only.")
    return name


def _unique(names: list[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"The catalog has two entries with the {what} name {twice[0]!r}; rename one.")
