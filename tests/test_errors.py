"""The error tree: one root, every class under it, all of them listed in its drawing."""

from __future__ import annotations

import inspect

import pytest

from dsum_demo import errors

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, BaseException)]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_a_dsum_error_and_in_the_docstring_tree(error):
    assert issubclass(error, errors.DsumError)
    assert error.__name__ in (errors.__doc__ or "")
    assert error.__doc__


def test_the_tree_is_as_drawn():
    assert len(CLASSES) == 14
    assert errors.DataError.__base__ is errors.InputError
    for leaf in ("UnknownModelError", "ModelUnavailableError", "IncompatibleAdapterError", "UnsafeWeightsError"):
        assert getattr(errors, leaf).__base__ is errors.ModelError


def test_a_data_error_carries_its_rows():
    error = errors.DataError("Rows 3 and 7 have no dialogue.", [3, 7])
    assert error.rows == (3, 7) and str(error) == "Rows 3 and 7 have no dialogue."
    assert errors.DataError("empty").rows == ()
