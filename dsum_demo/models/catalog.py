"""What a model is to dsum (`ModelSpec`, `Family`), and the shipped catalogue of them, read and checked.

Knows the catalogue's form; not what lies on the disk, on the Hub or in memory.
"""

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
    """One model that can stand in a column. Counts and sizes are None where they are known only once it is loaded.

    name: unique over all families. source: None where the model does not exist yet; then `note` says how to make it.
    base: the name of the spec that an adapter sits on or a full model was trained from; None for a base.
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
    """Models that differ only in how they were trained, and what holds for all of them.

    architecture: known before anything is downloaded. layers: how many its decoder has, None where not said.
    key_value_width: numbers that each layer caches per token for keys, and again for values; None where not said.
    published: per kind the ROUGE-1, -2 and -L F1 x 100 that others reported, from `published_source`.
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
        """Base, full and adapter to begin with: of each kind the first that exists, else the first that is named."""

        def first(kind: Kind) -> ModelSpec | None:
            variants = [spec for spec in self.variants if spec.kind is kind]
            return next((spec for spec in variants if spec.source), variants[0] if variants else None)

        return first(Kind.BASE), first(Kind.FULL), first(Kind.ADAPTER)


@dataclass(frozen=True)
class Catalog:
    """default: the family that every page and command begins with; training: the one that the Train tab begins with."""

    default: str
    families: tuple[Family, ...]
    training: str = ""


def read_catalog(root: Path, file: Path = CATALOG_FILE) -> Catalog:
    """The catalogue's families, embedded folders resolved against `root`. Raises SettingsError naming the entry."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The catalogue {file.name} cannot be read: {error}") from None
    _only(raw, {"default": str, "training": str, "family": list}, "the catalogue")
    families = tuple(_family(entry, root) for entry in raw.get("family", ()))
    _unique([family.name for family in families], "family")
    _unique([spec.name for family in families for spec in family.variants], "variant")
    default = raw.get("default", "")
    training = raw.get("training", default)
    for entry, name in (("default", default), ("training", training)):
        if name not in {family.name for family in families}:
            raise SettingsError(f"The catalogue's {entry} is {name!r}, which is none of its families.")
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
        raise SettingsError(f"Catalogue, {where}: max_source_tokens is {entry['max_source_tokens']}; give 32 or more.")
    try:
        decode = DecodingConfig(**entry.get("decode", {}))
    except (TypeError, InputError) as error:
        raise SettingsError(f"Catalogue, {where}: decode cannot be used: {error}") from None
    variants = [_variant(raw, name, root) for raw in entry["variant"]]
    bases = [spec.name for spec in variants if spec.kind is Kind.BASE]
    if len(bases) != 1:
        raise SettingsError(f"Catalogue, {where}: it has {len(bases)} variants of kind base; give it exactly one.")
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
        raise SettingsError(f"Catalogue, {where}: {error}") from None


def _prompt(raw: Mapping[str, Any], where: str) -> Prompt:
    _only(raw, {"template": str, "chat": bool}, f"{where}, prompt")
    prompt = Prompt(**raw)
    if prompt.template.count("{dialogue}") != 1 or prompt.template.replace("{dialogue}", "").count("{"):
        raise SettingsError(
            f"Catalogue, {where}: the prompt's template is {prompt.template!r}; it has to contain {{dialogue}} once "
            "and no other braces."
        )
    return prompt


def _variant(entry: Any, family: str, root: Path) -> ModelSpec:
    where = f"family {family!r}, variant {entry.get('name')!r}" if isinstance(entry, dict) else f"family {family!r}"
    _only(entry, _VARIANT_FIELDS, where, required=("name", "title", "kind"))
    if entry["kind"] not in set(Kind):
        raise SettingsError(f"Catalogue, {where}: kind is {entry['kind']!r}; choose one of: {', '.join(Kind)}.")
    kind = Kind(entry["kind"])
    source = _source(entry, where, root)
    if source is None and not entry.get("note"):
        raise SettingsError(
            f"Catalogue, {where}: it has neither embedded nor hub; give a note that says how to make it."
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
        raise SettingsError(f"Catalogue, {where}: it has both embedded and hub; keep one.")
    if "embedded" in entry:
        folder = PurePosixPath(entry["embedded"])
        if folder.is_absolute() or ".." in folder.parts or not folder.parts:
            raise SettingsError(
                f"Catalogue, {where}: embedded is {str(folder)!r}; give a folder inside the repository."
            )
        return Source(SourceKind.EMBEDDED, str(root / folder))
    if "hub" in entry:
        if not HUB_ID.fullmatch(entry["hub"]):
            raise SettingsError(f"Catalogue, {where}: hub is {entry['hub']!r}; give owner/name.")
        return Source(SourceKind.HUB, entry["hub"], entry.get("revision"))
    return None


def _published(raw: Mapping[str, Any], where: str) -> dict[str, tuple[float, float, float]]:
    for kind, scores in raw.items():
        numbers = isinstance(scores, list) and all(isinstance(s, int | float) and 0 <= s <= 100 for s in scores)
        if kind not in set(Kind) or not numbers or len(scores) != 3:
            raise SettingsError(
                f"Catalogue, {where}: published {kind} is {scores!r}; give R1, R2 and RL from 0 to 100."
            )
    return {kind: (scores[0], scores[1], scores[2]) for kind, scores in raw.items()}


def _only(entry: Any, fields: Mapping[str, type], where: str, required: tuple[str, ...] = ()) -> None:
    if not isinstance(entry, dict):
        raise SettingsError(f"Catalogue, {where}: {entry!r} is no table.")
    for name, value in entry.items():
        if name not in fields:
            raise SettingsError(f"Catalogue, {where}: unknown entry {name!r}; known are: {', '.join(fields)}.")
        if not isinstance(value, fields[name]) or (isinstance(value, bool) and fields[name] is not bool):
            raise SettingsError(f"Catalogue, {where}: {name} is {value!r}; its type has to be {fields[name].__name__}.")
        if isinstance(value, int) and value < 0:
            raise SettingsError(f"Catalogue, {where}: {name} is {value}; give a number from 0 on.")
    for name in required:
        if name not in entry:
            raise SettingsError(f"Catalogue, {where}: {name} is missing.")


def _plain(name: str, where: str) -> str:
    if not PLAIN_NAME.fullmatch(name):
        raise SettingsError(f"Catalogue, {where}: the name {name!r} may hold letters, digits, '.', '_' and '-' only.")
    return name


def _unique(names: list[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"The catalogue has two entries of the {what} name {twice[0]!r}; rename one.")
