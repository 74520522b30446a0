"""Copies of reviews in a dataset repository, uploaded by the real client to the loopback Hub."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dsum_demo.review.export import import_review
from dsum_demo.review.storage import ReviewStore
from tests.hub.server import HubServer

REPOSITORY = "owner/reviews"
# Saves 12 verdicts, then five of each reviewer whose name it reads, and prints the numbers.
CHILD = """
import logging, os, sys
from pathlib import Path
from dsum_demo.review.backup import ReviewBackup
from dsum_demo.review.storage import ReviewStore
from tests.review.conftest import answer, make_draft
logging.basicConfig(format="%(message)s")
file = Path(os.environ["DSUM_DATA_DIR"], "reviews.sqlite")
backup = ReviewBackup(ReviewStore(file), "owner/reviews", every=5, retry_seconds=0.05)
store = ReviewStore(file, backup.note)
review = store.create(make_draft(12, verdicts_per_item=9))
print(answer(store, review, "Ana", 12), flush=True)
for line in sys.stdin:
    print(answer(store, review, line.strip(), 5), flush=True)
"""


@pytest.fixture
def voting(environment, tmp_path):
    """A child process that votes; `voting(reviewer)` lets another reviewer give five verdicts."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD], env={**environment, "HF_TOKEN": "hf_secret"}, cwd=tmp_path, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(tmp_path / "log").open("w"),
    )  # fmt: skip
    assert process.stdout.readline() == "12\n", (tmp_path / "log").read_text()

    def vote(reviewer: str) -> None:
        process.stdin.write(f"{reviewer}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "5\n"

    yield vote
    process.stdin.close()
    assert process.wait(60) == 0


def stored(environment) -> ReviewStore:
    return ReviewStore(Path(environment["DSUM_DATA_DIR"], "reviews.sqlite"))


def copied(hub: HubServer) -> dict[str, bytes]:
    repository = hub.repository("datasets", REPOSITORY)
    files = repository.commits[repository.refs["main"]] if repository else {}
    return {name: file.content for name, file in files.items()}


def wait_for_verdicts(hub: HubServer, number: int) -> bytes:
    """The copy, as soon as it has so many verdicts. Up to four of those given may wait for the next upload."""
    for _ in range(600):
        for content in copied(hub).values():
            if sum(json.loads(line)["type"] == "verdict" for line in content.splitlines()) >= number:
                return content
        time.sleep(0.1)
    raise AssertionError(f"there are no {number} verdicts in {list(copied(hub))}; requests: {hub.log}")


def test_copy_contains_every_verdict_and_can_be_imported(hub, voting, environment, tmp_path):
    wait_for_verdicts(hub, 8)
    voting("Ben")
    content = wait_for_verdicts(hub, 13)
    (review,) = stored(environment).list()
    assert list(copied(hub)) == [f"reviews/{review.id}.jsonl"]
    assert review.token.encode() not in content and b"hf_secret" not in content
    (tmp_path / "copy.jsonl").write_bytes(content)
    found = import_review(ReviewStore(tmp_path / "restored.sqlite"), tmp_path / "copy.jsonl")
    assert found.created and found.new >= 13 and found.review.items == 12
    assert {request.token for request in hub.requests("commit", "POST")} == {"Bearer hf_secret"}


@pytest.mark.parametrize("path", ["/api/repos/create", "/preupload/", "/commit/"])
def test_failed_upload_loses_no_verdict_and_is_retried(hub, environment, tmp_path, request, path):
    hub.fault("status", path, times=2, status=500)
    request.getfixturevalue("voting")
    wait_for_verdicts(hub, 8)
    assert len(stored(environment).verdicts(stored(environment).list()[0].id)) == 12
    if path != "/preupload/":  # which the client itself retries
        assert "could not be uploaded to owner/reviews" in (tmp_path / "log").read_text()
    assert "hf_secret" not in (tmp_path / "log").read_text()


def test_verdicts_do_not_wait_for_a_hub_that_never_answers(hub, environment, request):
    hub.fault("hang", "/api/")
    vote = request.getfixturevalue("voting")
    vote("Ben")
    (review,) = stored(environment).list()
    assert len(stored(environment).verdicts(review.id)) == 17 and copied(hub) == {}


def test_without_a_token_the_reason_is_logged(hub, child):
    result = child(CHILD.replace("for line in sys.stdin:", "while not backup.problem: pass\nfor line in ():"))
    assert result.stdout == "12\n" and result.returncode == 0
    assert "could not be uploaded to owner/reviews" in result.stderr and copied(hub) == {}
