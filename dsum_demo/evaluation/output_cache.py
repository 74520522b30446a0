"""Cache of generated summaries in SQLite, and the identity of the weights that its keys contain."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsum_demo.data.examples import read_fingerprints
from dsum_demo.models.catalog import Kind, ModelSpec
from dsum_demo.models.loading import expected_parameters, serving_dtype
from dsum_demo.models.registry import Registry
from dsum_demo.utils.checkpoint_files import find_weights, read_json

BUSY_SECONDS = 30.0


AT_ONCE = 500  # keys in one question; SQLite allows more, but not everywhere


_TABLES = """
CREATE TABLE IF NOT EXISTS outputs (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, tokens INTEGER NOT NULL, seconds REAL NOT NULL,
    hit_length_limit INTEGER NOT NULL, turns_left_out INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, digest TEXT NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class CachedOutput:
    """What a model wrote, without scores: those depend on references and are quickly made again."""

    text: str
    tokens: int
    seconds: float
    hit_length_limit: bool
    turns_left_out: int


def output_key(
    weights: str, prompt: str, max_source_tokens: int, decode: Mapping[str, Any], dtype: str, text: str
) -> str:
    """What has to be equal for a text to be written again: weights, prompt and its limit, decode config, precision and
    dialogue.
    """
    parts = [weights, prompt, max_source_tokens, sorted(decode.items()), dtype, text]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class OutputCache:
    """`problem` says in a sentence why the file cannot be used, empty where it can. Without a file nothing is
    remembered. Safe to use from several threads.
    """

    def __init__(self, file: Path | None = None):
        self.file = file
        self.problem = ""
        self._lock = threading.Lock()
        if file is None:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as database:
                database.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def get(self, keys: Sequence[str]) -> dict[str, CachedOutput]:
        """What is known of these keys."""
        found: dict[str, CachedOutput] = {}
        columns = "key, text, tokens, seconds, hit_length_limit, turns_left_out"
        for start in range(0, len(keys), AT_ONCE):
            part = keys[start : start + AT_ONCE]
            marks = ", ".join("?" * len(part))
            for key, text, tokens, seconds, limit, left in self._read(
                f"SELECT {columns} FROM outputs WHERE key IN ({marks})", part
            ):
                found[key] = CachedOutput(text, tokens, seconds, bool(limit), left)
        return found

    def put(self, outputs: Mapping[str, CachedOutput]) -> None:
        """Remember them at once: a process that is killed afterwards has lost nothing."""
        self._write(
            "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?, ?)",
            [(key, o.text, o.tokens, o.seconds, o.hit_length_limit, o.turns_left_out) for key, o in outputs.items()],
        )

    def fingerprint(self, files: Iterable[Path]) -> str:
        """16 hex digits of SHA-256 over the files' names and bytes. A file is read again only when its size or its time
        of change is another.
        """
        whole = hashlib.sha256()
        for file in sorted(files):
            whole.update(f"{file.name}\0{self._digest(file)}\0".encode())
        return whole.hexdigest()[:16]

    def clear(self) -> None:
        """Forget every output."""
        self._write("DELETE FROM outputs", [()])

    def _digest(self, file: Path) -> str:
        about = file.stat()
        path = str(file.resolve())
        for size, modified, digest in self._read("SELECT size, modified, digest FROM files WHERE path = ?", (path,)):
            if (size, modified) == (about.st_size, about.st_mtime_ns):
                return str(digest)
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        self._write(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", [(path, about.st_size, about.st_mtime_ns, digest)]
        )
        return digest

    def _connect(self) -> sqlite3.Connection:
        assert self.file is not None
        database = sqlite3.connect(self.file, timeout=BUSY_SECONDS)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        return database

    def _read(self, question: str, values: Sequence[Any]) -> list[Any]:
        if self.problem or self.file is None:
            return []
        try:
            with self._lock, closing(self._connect()) as database:
                return database.execute(question, values).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return []

    def _write(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        if self.problem or self.file is None or not rows:
            return
        try:
            with self._lock, closing(self._connect()) as database, database:
                database.executemany(statement, rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.problem = f"{self.file} cannot be used ({error}); what is written now is not remembered."


READ_WITH_WEIGHTS = (
    "config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    "spiece.model", "vocab.json", "merges.txt",
)  # fmt: skip


@dataclass(frozen=True)
class ModelIdentity:
    """weights: fingerprint of the model's files, for an adapter its base's too. dtype: what it will be served in.
    trained_on: fingerprints of the dialogues that it was trained on; empty where its folder does not say.
    """

    weights: str
    dtype: str
    trained_on: frozenset[str]


def identify(spec: ModelSpec, registry: Registry, cache: OutputCache) -> ModelIdentity | None:
    """None where its files, or its base's, are not on this machine yet. Raises ModelError for files that no model is
    made of.
    """
    base = registry.spec(spec.base) if spec.kind is Kind.ADAPTER and spec.base else spec
    folder, whole = registry.folder_of(spec), registry.folder_of(base)
    if folder is None or whole is None:
        return None
    files = [
        *_files(folder, adapter=spec.kind is Kind.ADAPTER),
        *(_files(whole, adapter=False) if base != spec else ()),
    ]
    dtype = str(serving_dtype(expected_parameters(whole))).removeprefix("torch.")
    return ModelIdentity(cache.fingerprint(files), dtype, training_fingerprints(folder))


def training_fingerprints(folder: Path) -> frozenset[str]:
    """What a model's folder says of its training data (`data.fingerprint`, one a line). A run keeps its weights in a
    folder best/ below its own.
    """
    here = read_fingerprints(folder)
    return here if here or folder.name != "best" else read_fingerprints(folder.parent)


def _files(folder: Path, *, adapter: bool) -> Iterator[Path]:
    yield from find_weights(folder, adapter=adapter).files
    yield from (folder / name for name in READ_WITH_WEIGHTS if (folder / name).is_file())
    # Loading reads nothing but the end tokens from it, and a single one is the tokenizer's.
    generation = folder / "generation_config.json"
    if generation.is_file() and isinstance(read_json(generation).get("eos_token_id"), list):
        yield generation
