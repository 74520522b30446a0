"""Downloads a repository's files from the Hub: with size, progress, stop, resume and checksums.

Files are stored in huggingface_hub's cache, each under the hash of its content
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache). huggingface_hub itself discards partial files and
does not verify checksums, so this module does both. huggingface_hub is imported when it is needed.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import TypeVar

from dsum_demo.errors import ModelError, ModelUnavailableError, Stopped
from dsum_demo.hub.client import (
    ADAPTER_PARTS,
    MODEL_PARTS,
    HubRefusal,
    Progress,
    StopAsked,
    cache_room,
    cached_folder,
    explained,
    may_pass,
    no_room,
    what_happened,
)
from dsum_demo.hub.source import Source
from dsum_demo.utils.checkpoint_files import ADAPTER_FILES, MODEL_FILES
from dsum_demo.utils.formatting import size
from dsum_demo.utils.threads import run_stoppable

LISTING_SECONDS = 10
# Seconds to wait after each consecutive attempt that received no bytes; the attempt after the last wait is final.
WAITS = (0.5, 1.0, 2.0)

Result = TypeVar("Result")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a commit. `etag`: sha256 of the content, or git's blob id for small files; None if not given."""

    name: str
    size: int
    etag: str | None


def fetch(
    source: Source,
    title: str,
    *,
    adapter: bool,
    on_progress: Progress = lambda text, share: None,
    should_stop: StopAsked = lambda: False,
) -> Path:
    """The folder with this source's files; downloads missing ones and resumes interrupted downloads.

    on_progress gets a message, the first with the size, and the fraction of bytes that are cached (0 to 1, None if
    unknown). Raises Stopped if should_stop() is true, HubRefusal if the Hub refuses, ModelUnavailableError if the Hub
    is unreachable, the disk is too full, or a file is corrupt.
    """
    folder = cached_folder(source, adapter=adapter)
    if folder:
        return folder
    try:
        # In a thread, because a blocked connection does not notice a stop.
        return run_stoppable(
            lambda stop: _Download(source, title, adapter, on_progress, stop).run(),
            should_stop,
            name=f"download {source.location}",
            stopped=f"The download of {title} was stopped; the next one resumes it.",
        )
    except (ModelError, Stopped):
        raise
    except Exception as error:
        raise explained(error, source, title) from error


def discard_damaged(folder: Path) -> list[str]:
    """Delete corrupt files from a folder in the Hub cache and return their names.

    Reads every file, about one second per 2 GB. Files that are not named by their hash are not checked.
    """
    damaged = []
    for link in sorted(folder.rglob("*")):
        blob = link.parent / link.readlink() if link.is_symlink() else None
        if blob and blob.is_file() and not _is_whole(blob, blob.name):
            # The link first: without it the file counts as missing, even if the rest is interrupted.
            link.unlink()
            blob.unlink()
            damaged.append(link.name)
    return damaged


class _Download:
    """The download of one repository. Runs in one thread; another sets `stop`."""

    def __init__(self, source: Source, title: str, adapter: bool, tell: Progress, stop: threading.Event):
        self.source, self.title, self.adapter, self.tell, self.stop = source, title, adapter, tell, stop
        self.here = self.total = 0

    def run(self) -> Path:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.file_download import repo_folder_name
        from huggingface_hub.utils import WeakFileLock

        commit, files = self._trying(self._list)
        home = repo_folder_name(repo_id=self.source.location, repo_type="model")
        blobs = Path(constants.HF_HUB_CACHE, home, "blobs")
        locks = Path(constants.HF_HUB_CACHE, ".locks", home)
        checked = [file for file in files if file.etag]
        self.total = sum(file.size for file in checked)
        self.here = sum(_size(blobs / str(f.etag)) or _size(_part(blobs, f)) for f in checked)
        self._say()
        missing, room = self.total - self.here, cache_room()
        if missing > room:
            raise ModelUnavailableError(no_room(self.title, missing, room))
        for folder in (blobs, locks):
            folder.mkdir(parents=True, exist_ok=True)
        for file in checked:
            # The client's own lock: another process, or a download that has not stopped yet, may use the file.
            with WeakFileLock(locks / f"{file.etag}.lock"):
                self._bring(commit, file, blobs)
        link = partial(hf_hub_download, self.source.location, revision=self.source.revision)
        linked = [Path(self._trying(partial(link, file.name))) for file in files]
        return linked[-1].parent

    def _list(self) -> tuple[str, list[RemoteFile]]:
        """The revision's current commit and its files that loading needs, weights last."""
        from huggingface_hub import HfApi

        found = HfApi().model_info(
            self.source.location, revision=self.source.revision, files_metadata=True, timeout=LISTING_SECONDS
        )
        files = {
            sibling.rfilename: RemoteFile(
                sibling.rfilename, sibling.size or 0, sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
            )
            for sibling in found.siblings or ()
        }
        known, choices = (ADAPTER_PARTS, ADAPTER_FILES) if self.adapter else (MODEL_PARTS, MODEL_FILES)
        parts, weights = [name for name in known if name in files], _weights(files, choices)
        if not weights or known[0] not in files:
            raise HubRefusal(
                f"The Hub's {self.source.location} holds no model that dsum can load: it needs {known[0]} and "
                f"weights in {' or '.join(name for name in choices if not name.endswith('.json'))}."
            )
        return str(found.sha), [files[name] for name in (*parts, *weights)]

    def _bring(self, commit: str, file: RemoteFile, blobs: Path) -> None:
        """Download the file to its hash, resuming an earlier download; download it again if it is corrupt."""
        blob, part = blobs / str(file.etag), _part(blobs, file)
        for _ in range(2):
            if blob.exists():
                return
            self._receive(commit, file, part)
            if _is_whole(part, str(file.etag)):
                part.replace(blob)
                return
            part.unlink()
            self.here -= file.size
        raise ModelUnavailableError(
            f"{file.name} of {self.title} was corrupt after two downloads. Try again later; if it happens again, "
            "contact the administrator of your network or proxy."
        )

    def _receive(self, commit: str, file: RemoteFile, part: Path) -> None:
        def go_on() -> None:
            while (before := _size(part)) < file.size:
                with self._streamed(commit, file.name, before) as (begin, pieces):
                    self.here -= before - begin
                    with part.open("ab" if begin else "wb") as out:
                        for piece in pieces:
                            if self.stop.is_set():
                                raise Stopped(f"The download of {self.title} was stopped.")
                            out.write(piece)
                            self.here += len(piece)
                            self._say()
                if _size(part) <= before:
                    raise EOFError("the answer was empty")

        self._trying(go_on, progress=lambda: _size(part))
        part.touch()  # an empty file needs no request

    @contextmanager
    def _streamed(self, commit: str, name: str, have: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The file's chunks and the offset of the first: the Hub may ignore the requested range."""
        from huggingface_hub import constants, get_session, hf_hub_url
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        url = hf_hub_url(self.source.location, name, revision=commit)
        with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
            if response.is_error:
                response.read()  # the body holds the error message
            hf_raise_for_status(response)
            yield (have if response.status_code == 206 else 0), response.iter_bytes()

    def _trying(self, work: Callable[[], Result], progress: Callable[[], int] = lambda: 0) -> Result:
        """The result of `work`, retried after temporary errors until too many attempts in a row made no progress."""
        failed, reached = 0, progress()
        while True:
            try:
                return work()
            except Exception as error:
                now = progress()
                failed, reached = (failed if now <= reached else 0), now
                if not may_pass(error) or failed == len(WAITS):
                    raise
                self.tell(f"{self.title}: the Hub {what_happened(error)}; trying again", None)
                if self.stop.wait(WAITS[failed]):
                    raise Stopped(f"The download of {self.title} was stopped.") from error
                failed += 1

    def _say(self) -> None:
        share = min(1.0, self.here / self.total) if self.total else None
        self.tell(f"Downloading {self.title}: {size(self.here)} of {size(self.total)}", share)


def _weights(files: Mapping[str, RemoteFile], choices: tuple[str, ...]) -> list[str]:
    """The name of the first of `choices` that exists, with its shards if it is an index."""
    for name in choices:
        if name in files:
            stem, ending = name.removesuffix(".index.json").rsplit(".", 1)
            parts = sorted(part for part in files if fnmatch(part, f"{stem}-*-of-*.{ending}"))
            return [*parts, name] if name.endswith(".json") else [name]
    return []


def _part(blobs: Path, file: RemoteFile) -> Path:
    return blobs / f"{file.etag}.incomplete"


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _is_whole(file: Path, etag: str) -> bool:
    """Whether the content has the hash that names it: sha256, or git's blob id. True for other names."""
    if len(etag) == 64:
        digest = hashlib.sha256()
    elif len(etag) == 40:
        digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    else:
        return True
    with file.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest() == etag
