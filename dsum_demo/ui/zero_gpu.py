"""ZeroGPU: hardware of Spaces that lends a GPU to a process for the seconds that it asks for.

There the package `spaces` replaces parts of torch in the thread that imports it: models that this thread loads move to
the GPU when a function decorated with `spaces.GPU` is called, which runs in a forked process. On other hardware the
package, if it is installed, is not imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import wraps
from importlib.util import find_spec
from typing import Any, TypeVar

from dsum_demo.errors import DsumError

ON_ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true") and find_spec("spaces") is not None
if ON_ZERO_GPU:
    import spaces  # type: ignore[import-not-found]  # before CUDA is initialized, and in the main thread

MOST_SECONDS = 120  # a visitor without an account has that many per day

State = TypeVar("State")


def on_gpu(function: Callable[..., Iterator[State]], seconds: Callable[..., float]) -> Callable[..., Iterator[State]]:
    """`function`, whose calls return iterators, run in a process with a GPU; off ZeroGPU `function` itself.

    seconds: the estimated time of a call, from the same positional arguments, which are pickled, as are the iterator's
    values. Keyword arguments stay in this process: of them only `should_stop` has an effect, which ends the iterator.
    """
    if not ON_ZERO_GPU:
        return function

    def duration(*arguments: Any) -> int:
        return round(min(MOST_SECONDS, seconds(*arguments)))

    @spaces.GPU(duration=duration)
    def task(*arguments: Any) -> Iterator[Any]:
        try:
            yield from function(*arguments)
        except DsumError as error:
            yield error  # of an exception, the decorator keeps only the type

    @wraps(function)
    def states(*arguments: Any, should_stop: Callable[[], bool] | None = None, **_: Any) -> Iterator[State]:
        with closing(task(*arguments)) as found:
            for state in found:
                if isinstance(state, DsumError):
                    raise state
                yield state
                if should_stop and should_stop():
                    return

    return states
