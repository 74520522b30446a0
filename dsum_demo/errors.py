"""All exceptions that dsum raises on purpose, in one tree.

DsumError
├── InputError              invalid input: a dialogue, a reference, a decoding setting
│   └── DataError           a file of rows; carries the row numbers
├── SettingsError           an environment variable or a catalog entry
├── ModelError              a model, by name
│   ├── UnknownModelError       no such name in the registry
│   ├── ModelUnavailableError   known, but its weights are not available
│   ├── IncompatibleAdapterError the adapter does not fit its base
│   └── UnsafeWeightsError      only weights that would execute code were found
├── GenerationError         a model failed during generation
├── ExportError             a model could not be exported
├── TrainingError           a run could not start or was aborted
├── StorageError            a database of dsum cannot be read or written
└── Stopped                 the caller requested a stop; not a failure

A message names the invalid value, the rule and the fix.
"""

from __future__ import annotations

from collections.abc import Sequence


class DsumError(Exception):
    """Base of all errors that dsum raises on purpose."""


class InputError(DsumError):
    """The input is invalid."""


class DataError(InputError):
    """A data file is invalid. `rows` are the numbers of the invalid rows, counted from 1."""

    def __init__(self, message: str, rows: Sequence[int] = ()):
        super().__init__(message)
        self.rows = tuple(rows)


class SettingsError(DsumError):
    """An environment variable or a catalog entry is invalid."""


class ModelError(DsumError):
    """A model cannot be used."""


class UnknownModelError(ModelError):
    """The registry has no model or family of that name."""


class ModelUnavailableError(ModelError):
    """The model is known, but its weights are not available."""


class IncompatibleAdapterError(ModelError):
    """The adapter does not fit its base."""


class UnsafeWeightsError(ModelError):
    """Only weights in a format that can execute code were found."""


class GenerationError(DsumError):
    """A model failed during generation."""


class TrainingError(DsumError):
    """A training run could not start, or was aborted."""


class ExportError(DsumError):
    """A model could not be exported."""


class StorageError(DsumError):
    """A database of dsum cannot be read or written."""


class Stopped(DsumError):
    """The caller requested a stop."""
