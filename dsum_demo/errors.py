"""Every error that dsum raises on purpose, one tree. Knows nothing of the rest of the package.

DsumError
├── InputError              what a person gave: a dialogue, a reference, a decode setting
│   └── DataError           a file of rows; carries the row numbers
├── SettingsError           an environment variable or a catalogue entry
├── ModelError              a model, by name
│   ├── UnknownModelError       no such name in the registry
│   ├── ModelUnavailableError   known, but its weights cannot be had now
│   ├── IncompatibleAdapterError the adapter does not fit its base
│   └── UnsafeWeightsError      only weights that would execute code were found
├── GenerationError         a model failed while it wrote
├── TrainingError           a run could not start or had to stop
└── Stopped                 somebody asked for a stop; not a failure

A message says what was wrong, with which input, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class DsumError(Exception):
    """Base of all errors that dsum raises on purpose."""


class InputError(DsumError):
    """What a person gave cannot be used."""


class DataError(InputError):
    """A file of rows cannot be used. `rows` are the offending row numbers, counted from 1."""

    def __init__(self, message: str, rows: Sequence[int] = ()):
        super().__init__(message)
        self.rows = tuple(rows)


class SettingsError(DsumError):
    """An environment variable or the catalogue is wrong."""


class ModelError(DsumError):
    """Something about one model."""


class UnknownModelError(ModelError):
    """The registry has no model or family of that name."""


class ModelUnavailableError(ModelError):
    """The model is known, its weights cannot be had now."""


class IncompatibleAdapterError(ModelError):
    """The adapter does not fit its base."""


class UnsafeWeightsError(ModelError):
    """Only weights in a format that can execute code were found."""


class GenerationError(DsumError):
    """A model failed while it wrote."""


class TrainingError(DsumError):
    """A training run could not start, or had to stop."""


class Stopped(DsumError):
    """Somebody asked for a stop."""
