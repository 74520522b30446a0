"""Copies of the reviews in a dataset repository of the app's owner, for a Space that loses its disk on a restart.

huggingface_hub takes the token from HF_TOKEN or `hf auth login`; this module never reads, stores or logs it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

from dsum_demo.errors import InputError
from dsum_demo.review.export import review_jsonl
from dsum_demo.review.storage import ReviewStore
from dsum_demo.utils.formatting import duration, first_line
from dsum_demo.utils.threads import run_stoppable

log = logging.getLogger(__name__)

LATEST_SECONDS = 300.0  # verdicts that are fewer than `every` are uploaded after this time
UPLOAD_SECONDS = 300.0  # a longer upload counts as failed
LONGEST_WAIT_SECONDS = 900.0


class ReviewBackup:
    """Uploads every review with new verdicts as `reviews/ID.jsonl`, which `dsum review import` reads.

    A verdict never waits for an upload: `note` only counts, and a thread uploads after `every` verdicts. A failed
    upload is logged and retried, each time after twice as long, from `retry_seconds`. repository: owner/name; it is
    created as a private one if it does not exist. problem: why the last upload failed, "" if it did not.
    """

    def __init__(self, store: ReviewStore, repository: str, every: int = 10, retry_seconds: float = 30.0):
        self.repository, self.every, self.problem = repository, every, ""
        self._store, self._retry_seconds = store, retry_seconds
        self._changed = threading.Condition()
        self._waiting: Counter[str] = Counter()  # verdicts that are not uploaded, by review
        threading.Thread(target=self._work, name="review backup", daemon=True).start()

    def note(self, review_id: str) -> None:
        """A verdict of this review is on disk."""
        with self._changed:
            self._waiting[review_id] += 1
            self._changed.notify()

    def _work(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                self._changed.wait_for(lambda: self._waiting.total() >= self.every, LATEST_SECONDS)
                taken, self._waiting = self._waiting, Counter()
            try:
                self._upload_in_time(taken)
                failures, self.problem = 0, ""
            except Exception as error:  # errors of the Hub, of the HTTP library and of the store
                wait = min(self._retry_seconds * 2**failures, LONGEST_WAIT_SECONDS)
                failures, self.problem = failures + 1, first_line(error)
                log.warning(
                    "the reviews could not be uploaded to %s: %s; the next attempt is in %s",
                    self.repository, self.problem, duration(wait),
                )  # fmt: skip
                with self._changed:
                    self._waiting += taken
                time.sleep(wait)

    def _upload_in_time(self, taken: Counter[str]) -> None:
        run_stoppable(lambda stop: self._upload(taken), name="The upload", timeout=UPLOAD_SECONDS)

    def _upload(self, taken: Counter[str]) -> None:
        from huggingface_hub import CommitOperationAdd, HfApi

        files = []
        for review_id in taken:
            try:
                review, items = self._store.get(review_id), self._store.items(review_id)
                lines = review_jsonl(review, items, self._store.verdicts(review_id, history=True))
            except InputError:
                continue  # deleted; the repository keeps its last copy
            content = "".join(lines).encode("utf-8", "replace")
            files.append(CommitOperationAdd(f"reviews/{review_id}.jsonl", content))
        if files:
            api = HfApi()
            api.create_repo(self.repository, repo_type="dataset", private=True, exist_ok=True)
            api.create_commit(
                self.repository, files, repo_type="dataset", commit_message=f"{taken.total()} new verdicts"
            )
