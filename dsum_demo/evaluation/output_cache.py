"""Cache of generated and judged summaries in SQLite, and the identity of the weights that its keys contain."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from dsum_demo.data.examples import read_fingerprints
from dsum_demo.judge.likelihood_judge import Judgement
from dsum_demo.models.catalog import Kind, ModelSpec
from dsum_demo.models.loading import expected_parameters, serving_dtype
from dsum_demo.models.registry import Registry
from dsum_demo.utils.checkpoint_files import find_weights, read_json

BUSY_SECONDS = 30.0


AT_ONCE = 500  # keys per query; some builds of SQLite allow fewer than 1,000 parameters


_TABLES = """
CREATE TABLE IF NOT EXISTS outputs (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, tokens INTEGER NOT NULL, seconds REAL NOT NULL,
    hit_length_limit INTEGER NOT NULL, turns_left_out INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS judged (
    key TEXT PRIMARY KEY, faithfulness REAL, speakers REAL, coverage REAL, likelihood REAL, seconds REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, digest TEXT NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class CachedOutput:
    """A generated summary. Scores are not cached: they depend on the references and are fast to compute."""

    text: str
    tokens: int
    seconds: float
    hit_length_limit: bool
    turns_left_out: int


def output_key(
    weights: str, prompt: str, max_source_tokens: int, decode: Mapping[str, Any], dtype: str, text: str
) -> str:
    """A hash of everything that determines a summary: weights, prompt and its limit, decoding, precision, dialogue."""
    parts = [weights, prompt, max_source_tokens, sorted(decode.items()), dtype, text]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class OutputCache:
    """Generated summaries by `output_key`; thread-safe. Without a file nothing is cached.

    problem: an error message if the file cannot be used, else "".
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
        """The cached outputs of these keys."""
        columns = "text, tokens, seconds, hit_length_limit, turns_left_out"
        return {
            key: CachedOutput(text, tokens, seconds, bool(limit), left)
            for key, text, tokens, seconds, limit, left in self._rows("outputs", columns, keys)
        }

    def get_judgements(self, keys: Sequence[str]) -> dict[str, Judgement]:
        """The cached judgements of these keys."""
        rows = self._rows("judged", "faithfulness, speakers, coverage, likelihood, seconds", keys)
        return {key: Judgement(*values) for key, *values in rows}

    def put_judgements(self, judgements: Mapping[str, Judgement]) -> None:
        """Write judgements to disk immediately."""
        self._write(
            "INSERT OR REPLACE INTO judged VALUES (?, ?, ?, ?, ?, ?)",
            [(key, *astuple(judgement)) for key, judgement in judgements.items()],
        )

    def put(self, outputs: Mapping[str, CachedOutput]) -> None:
        """Write outputs to disk immediately, so they survive if the process is killed."""
        self._write(
            "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?, ?)",
            [(key, o.text, o.tokens, o.seconds, o.hit_length_limit, o.turns_left_out) for key, o in outputs.items()],
        )

    def fingerprint(self, files: Iterable[Path]) -> str:
        """16 hex digits of SHA-256 over the files' names and contents. A file is read again only if its size or
        modification time has changed.
        """
        whole = hashlib.sha256()
        for file in sorted(files):
            whole.update(f"{file.name}\0{self._digest(file)}\0".encode())
        return whole.hexdigest()[:16]

    def _rows(self, table: str, columns: str, keys: Sequence[str]) -> Iterator[Any]:
        for start in range(0, len(keys), AT_ONCE):
            part = keys[start : start + AT_ONCE]
            marks = ", ".join("?" * len(part))
            yield from self._read(f"SELECT key, {columns} FROM {table} WHERE key IN ({marks})", part)

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

    def _read(self, query: str, values: Sequence[Any]) -> list[Any]:
        if self.problem or self.file is None:
            return []
        try:
            with self._lock, closing(self._connect()) as database:
                return database.execute(query, values).fetchall()
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
        self.problem = f"{self.file} cannot be used ({error}); results will not be cached."


READ_WITH_WEIGHTS = (
    "config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    "spiece.model", "vocab.json", "merges.txt",
)  # fmt: skip


@dataclass(frozen=True)
class ModelIdentity:
    """What identifies a model in the cache.

    weights: fingerprint of the model's files, for an adapter including its base. dtype: of the loaded model.
    trained_on: fingerprints of the training dialogues; empty if unknown.
    """

    weights: str
    dtype: str
    trained_on: frozenset[str]


def identify(spec: ModelSpec, registry: Registry, cache: OutputCache) -> ModelIdentity | None:
    """The model's identity, or None if its files or its base's are not on this machine. Raises ModelError if the files
    are invalid.
    """
    base = registry.spec(spec.base) if spec.kind is Kind.ADAPTER and spec.base else spec
    folder, base_folder = registry.folder_of(spec), registry.folder_of(base)
    if folder is None or base_folder is None:
        return None
    files = [
        *_files(folder, adapter=spec.kind is Kind.ADAPTER),
        *(_files(base_folder, adapter=False) if base != spec else ()),
    ]
    dtype = str(serving_dtype(expected_parameters(base_folder))).removeprefix("torch.")
    return ModelIdentity(cache.fingerprint(files), dtype, training_fingerprints(folder))


def training_fingerprints(folder: Path) -> frozenset[str]:
    """The fingerprints of training dialogues in a model's folder, or in the run's folder if the model is its best/."""
    found = read_fingerprints(folder)
    return found if found or folder.name != "best" else read_fingerprints(folder.parent)


def _files(folder: Path, *, adapter: bool) -> Iterator[Path]:
    yield from find_weights(folder, adapter=adapter).files
    yield from (folder / name for name in READ_WITH_WEIGHTS if (folder / name).is_file())
    # Loading reads only a list of end tokens from it; a single end token comes from the tokenizer.
    generation = folder / "generation_config.json"
    if generation.is_file() and isinstance(read_json(generation).get("eos_token_id"), list):
        yield generation
