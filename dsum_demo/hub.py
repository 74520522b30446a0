"""The Hugging Face Hub: whether it answers, what of a repository is wanted, what is here already, fetching the rest.

Knows sources and files; nothing of families or of models in memory. huggingface_hub is imported when it is needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsum_demo.catalog import Source
from dsum_demo.errors import ModelError, ModelUnavailableError, Stopped
from dsum_demo.weight_files import find_weights

PROBE_SECONDS = 1.5
POLL_SECONDS = 0.1

# Only what loading reads: repositories also hold other frameworks' copies of the same weights.
_TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "spiece.model"]
_MODEL = ["config.json", "generation_config.json", *_TOKENIZER]
_ADAPTER = ["adapter_config.json"]
_MODEL_WEIGHTS = (
    ["model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"],
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"],
)
_ADAPTER_WEIGHTS = (["adapter_model.safetensors"], ["adapter_model.bin"])

Progress = Callable[[str, float | None], None]
StopAsked = Callable[[], bool]


class HubRefusal(ModelUnavailableError):
    """The Hub answered, and its answer was no: asking again changes nothing."""


class HubProbe:
    """Asks once whether the Hub answers, and remembers. Safe to call from several threads."""

    def __init__(self, offline: bool):
        self._offline = offline
        self._lock = threading.Lock()
        self._reason: str | None = None

    def unreachable_because(self) -> str:
        """Why the Hub cannot be reached, in a sentence; empty where it answers. The first call takes up to 1.5 s."""
        with self._lock:
            if self._reason is None:
                self._reason = self._ask()
            return self._reason

    def _ask(self) -> str:
        from huggingface_hub import constants

        if self._offline or constants.is_offline_mode():
            return "Offline: HF_HUB_OFFLINE is set."
        answer: list[str] = []
        # Looking up a name has no timeout of its own and takes long where there is no network, hence the thread.
        worker = threading.Thread(target=lambda: answer.append(_ask_hub(constants.ENDPOINT)), daemon=True)
        worker.start()
        worker.join(PROBE_SECONDS)
        return answer[0] if answer else f"The Hub did not answer within {PROBE_SECONDS} s."


def _ask_hub(endpoint: str) -> str:
    from huggingface_hub import get_session

    try:
        status = get_session().head(endpoint, timeout=PROBE_SECONDS).status_code
    except Exception as error:
        return f"The Hub cannot be reached ({type(error).__name__})."
    # Any other answer comes from a Hub; these come from something in between, or from a Hub that is down.
    if status in (403, 407, 500, 502, 503, 504):
        return f"The Hub cannot be reached (it answered {status})."
    return ""


def cached_folder(source: Source, *, adapter: bool) -> Path | None:
    """The folder in the Hub cache that holds this source completely, else None. Never asks the network."""
    try:
        return _snapshot(source, adapter, local_files_only=True)
    except (OSError, ValueError, ModelError):
        return None


def cached_tokenizer(source: Source) -> Path | None:
    """The folder in the Hub cache that holds this source's tokenizer, else None. Never asks the network."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                source.location, revision=source.revision, allow_patterns=_TOKENIZER, local_files_only=True
            )
        )
    except (OSError, ValueError):
        return None
    return folder if (folder / "tokenizer.json").is_file() or (folder / "spiece.model").is_file() else None


def fetch(
    source: Source,
    title: str,
    *,
    adapter: bool,
    on_progress: Progress = lambda text, share: None,
    should_stop: StopAsked = lambda: False,
) -> Path:
    """The folder with this source's files, downloaded where the cache lacks them; a broken-off download goes on.

    on_progress gets a sentence and the share of the bytes that are here (0 to 1, None while unknown). Raises Stopped
    when asked to stop, HubRefusal where the Hub says no, ModelUnavailableError where it cannot be reached.
    """
    folder = cached_folder(source, adapter=adapter)
    if folder:
        return folder
    stop = threading.Event()
    outcome: list[Path | BaseException] = []

    def download() -> None:
        try:
            bars = _progress_bars(title, on_progress, stop)
            outcome.append(_snapshot(source, adapter, tqdm_class=bars))
        except BaseException as error:
            outcome.append(error)

    # A thread of its own, so that a stop is obeyed at once even while the network stands still.
    worker = threading.Thread(target=download, name=f"download {source.location}", daemon=True)
    worker.start()
    while worker.is_alive():
        worker.join(POLL_SECONDS)
        if should_stop():
            stop.set()
            raise Stopped(f"The download of {title} was stopped; it goes on from there next time.")
    result = outcome[0]
    if isinstance(result, BaseException):
        raise _explained(result, source, title) from result
    return result


def _snapshot(source: Source, adapter: bool, **options: Any) -> Path:
    from huggingface_hub import snapshot_download

    files, choices = (_ADAPTER, _ADAPTER_WEIGHTS) if adapter else (_MODEL, _MODEL_WEIGHTS)
    for weights in choices:
        folder = Path(
            snapshot_download(source.location, revision=source.revision, allow_patterns=files + weights, **options)
        )
        try:
            find_weights(folder, adapter=adapter)
        except ModelUnavailableError:
            continue
        if (folder / files[0]).is_file():
            return folder
    raise HubRefusal(
        f"The Hub's {source.location} holds no weights that dsum reads: {choices[0][0]} or {choices[1][0]}."
    )


def _progress_bars(title: str, on_progress: Progress, stop: threading.Event) -> type:
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    class ProgressBar(tqdm):
        """Draws nothing; passes byte counts on and breaks the download off once `stop` is set."""

        def __init__(self, *args: Any, **kwargs: Any):
            self._bytes = kwargs.get("unit") == "B"
            kwargs["disable"] = True
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs)
            self.n = kwargs.get("initial") or 0
            self.total = kwargs.get("total")

        def update(self, n: float | None = 1) -> None:
            if stop.is_set():
                raise Stopped(f"The download of {title} was stopped.")
            self.n += n or 0
            if self._bytes and self.total:
                share = min(1.0, self.n / self.total)
                on_progress(f"Downloading {title}: {self.n / 1e6:,.0f} of {self.total / 1e6:,.0f} MB", share)

    return ProgressBar


def _explained(error: BaseException, source: Source, title: str) -> BaseException:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    # The client wraps what it met on the way in "not in the cache".
    cause = error if getattr(error, "response", None) is not None else (error.__cause__ or error)
    status = getattr(getattr(cause, "response", None), "status_code", None)
    page = f"https://huggingface.co/{source.location}"
    if isinstance(error, Stopped | ModelUnavailableError):
        return error
    if isinstance(cause, GatedRepoError) or status == 403:
        return HubRefusal(f"{title} is gated ({status or 403}): accept its terms at {page} and set HF_TOKEN.")
    if isinstance(cause, RevisionNotFoundError):
        return HubRefusal(f"The Hub's {source.location} has no revision {source.revision!r} ({status or 404}).")
    if isinstance(cause, RepositoryNotFoundError) or status in (401, 404):
        return HubRefusal(
            f"The Hub has no public repository {source.location} ({status or 404}); if it is private, set HF_TOKEN."
        )
    said = f"it answered {status}" if status else type(cause).__name__
    return ModelUnavailableError(f"{title} could not be downloaded from the Hub ({said}). Try again later.")
