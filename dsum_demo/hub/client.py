"""Hub client: whether the Hub is reachable, what its errors mean, and what the local cache holds.

huggingface_hub is imported when it is needed.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dsum_demo.errors import ModelError, ModelUnavailableError, Stopped
from dsum_demo.hub.source import Source
from dsum_demo.utils.checkpoint_files import find_weights
from dsum_demo.utils.formatting import size
from dsum_demo.utils.threads import ThreadTimeoutError, run_stoppable

# The files besides weights that loading reads: repositories also hold copies for other frameworks. The first one is
# required.
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "spiece.model", "vocab.json", "merges.txt",
)  # fmt: skip
MODEL_PARTS = ("config.json", "generation_config.json", *_TOKENIZER)
ADAPTER_PARTS = ("adapter_config.json",)

Progress = Callable[[str, float | None], None]
StopAsked = Callable[[], bool]


class HubRefusal(ModelUnavailableError):
    """The Hub refused the request; retrying does not help."""


class HubProbe:
    """Checks once whether the Hub is reachable and caches the result. Thread-safe."""

    def __init__(self, offline: bool, timeout: float):
        self._offline, self._timeout = offline, timeout
        self._lock = threading.Lock()
        self._reason: str | None = None

    def unreachable_because(self) -> str:
        """Why the Hub is not reachable, as a sentence; empty if it is. The first call takes up to `timeout` seconds."""
        with self._lock:
            if self._reason is None:
                self._reason = self._ask()
            return self._reason

    def forget(self) -> None:
        """Check again on the next call."""
        with self._lock:
            self._reason = None

    def _ask(self) -> str:
        from huggingface_hub import constants

        if self._offline or constants.is_offline_mode():
            return "Offline: HF_HUB_OFFLINE is set."
        # In a thread, because a DNS lookup has no timeout and takes long without a network.
        try:
            return run_stoppable(
                lambda stop: _ask_hub(constants.ENDPOINT, self._timeout), name="ask the Hub", timeout=self._timeout
            )
        except ThreadTimeoutError:
            return _no_answer(self._timeout)


def _ask_hub(endpoint: str, timeout: float) -> str:
    from huggingface_hub import get_session

    try:
        status = get_session().head(endpoint, timeout=timeout).status_code
    except Exception as error:
        return _no_answer(timeout) if _timed_out(error) else f"The Hub cannot be reached ({type(error).__name__})."
    # Any other answer comes from a Hub; these come from something in between, or from a Hub that is down.
    if status in (403, 407, 500, 502, 503, 504):
        return f"The Hub cannot be reached (it answered {status})."
    return ""


def _no_answer(timeout: float) -> str:
    return f"The Hub did not answer within {timeout:g} s."


def cached_folder(source: Source, *, adapter: bool) -> Path | None:
    """The folder in the Hub cache with all files of this source, or None. Does not use the network."""
    parts = ADAPTER_PARTS if adapter else MODEL_PARTS
    folder = _cached(source, parts)
    try:
        if folder is None or not (folder / parts[0]).is_file():
            return None
        find_weights(folder, adapter=adapter)
    except (OSError, ModelError):
        return None
    return folder


def cached_tokenizer(source: Source) -> Path | None:
    """The folder in the Hub cache with this source's tokenizer, or None. Does not use the network."""
    folder = _cached(source, _TOKENIZER)
    found = folder and any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model", "vocab.json"))
    return folder if found else None


def cache_room() -> int:
    """Free bytes on the disk of the Hub cache."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE).expanduser().absolute()
    return shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.is_dir())).free


def _cached(source: Source, files: Sequence[str]) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            source.location, revision=source.revision, allow_patterns=list(files), local_files_only=True
        )
    except (OSError, ValueError):
        return None
    return Path(found)


def no_room(title: str, needed: int, free: int) -> str:
    return (
        f"{title} takes {size(needed)} on the disk of the Hub cache, and {size(free)} are free there. "
        "Free some, or set HF_HOME to a folder on a larger disk."
    )


def may_pass(error: BaseException) -> bool:
    """Whether a retry may help: not if the Hub refused, a disk is full or the caller stopped it."""
    status = _status(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    return not isinstance(_cause(error), OSError | ModelError | Stopped)


def what_happened(error: BaseException) -> str:
    """The end of a sentence that begins with "the Hub"."""
    status, cause = _status(error), _cause(error)
    if status is not None:
        return f"answered {status}"
    return "stopped answering" if _timed_out(cause) else f"closed the connection ({type(cause).__name__})"


def explained(error: BaseException, source: Source, title: str) -> BaseException:
    """Convert an error of huggingface_hub to a dsum error that names the fix."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    cause: Any = _cause(error)
    status, page = _status(error), f"https://huggingface.co/{source.location}"
    if isinstance(cause, GatedRepoError) or status == 403:
        return HubRefusal(f"{title} is gated ({status or 403}): accept its terms at {page} and set HF_TOKEN.")
    if isinstance(cause, RevisionNotFoundError):
        return HubRefusal(f"The Hub's {source.location} has no revision {source.revision!r} ({status or 404}).")
    if isinstance(cause, RepositoryNotFoundError) or status in (401, 404):
        return HubRefusal(
            f"The Hub has no public repository {source.location} ({status or 404}); if it is private, set HF_TOKEN."
        )
    if status is None and isinstance(cause, OSError) and cause.strerror:
        return ModelUnavailableError(f"{title} could not be written to the Hub cache: {cause.strerror}.")
    return ModelUnavailableError(
        f"{title} could not be downloaded: the Hub {what_happened(error)}. Try again later; the download will resume."
    )


def _cause(error: BaseException) -> BaseException:
    # The client wraps network errors in "not in the cache".
    return error if getattr(error, "response", None) is not None else (error.__cause__ or error)


def _timed_out(error: BaseException) -> bool:
    return "Timeout" in type(error).__name__


def _status(error: BaseException) -> int | None:
    return getattr(getattr(_cause(error), "response", None), "status_code", None)
