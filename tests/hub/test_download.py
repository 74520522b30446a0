"""Downloads from the loopback Hub: requests, ranges, and error messages.

Each case is a child process that only fetches; what follows in the models, on the command line and on the page is in
the files beside this one.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

NAME = "flan/base"
WEIGHTS = bytes(range(256)) * 4000  # about 1 MB
FILES = {
    "config.json": b"{}", "tokenizer.json": b"{}" * 30_000 + b"\n", "model.safetensors": WEIGHTS,
    # Files of other frameworks, which loading ignores.
    "pytorch_model.bin": b"x" * 100, "tf_model.h5": b"x" * 100, "README.md": b"# Model", "evil.py": b"1/0",
}  # fmt: skip
FETCH = """
import json, sys
from dsum_demo.hub import download
from dsum_demo.hub.source import Source, SourceKind
from dsum_demo.errors import DsumError

download.WAITS = (0.05, 0.1)
messages = []
try:
    source = Source(SourceKind.HUB, sys.argv[1], sys.argv[2] or None)
    def report(text, share):
        messages.append([text, share])
        print(text, file=sys.stderr, flush=True)
    folder = str(download.fetch(source, "the-model", adapter=False, on_progress=report))
except DsumError as error:
    folder = f"{type(error).__name__}: {error}"
print(json.dumps([folder, messages]))
"""


@pytest.fixture
def fetch(environment, hub):
    """fetch(repository, revision): its folder or error, and the progress messages."""
    hub.add(NAME, FILES)

    def run(repository: str = NAME, revision: str = "", **more: str) -> tuple[str, list[list]]:
        done = subprocess.run(
            [sys.executable, "-c", FETCH, repository, revision], capture_output=True, text=True, timeout=60,
            env={**environment, **more},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return tuple(json.loads(done.stdout))

    return run


def weights(hub, method: str = "GET"):
    return hub.requests(r"^/cdn/.*/model\.safetensors$", method)


def test_only_required_files_are_downloaded_and_the_size_is_reported_first(fetch, hub):
    folder, messages = fetch()
    assert {file.name for file in Path(folder).iterdir()} == {"config.json", "tokenizer.json", "model.safetensors"}
    assert (Path(folder) / "model.safetensors").read_bytes() == WEIGHTS
    assert messages[0] == ["Downloading the-model: 0 kB of 1.1 MB", 0.0]
    assert messages[-1] == ["Downloading the-model: 1.1 MB of 1.1 MB", 1.0]
    shares = [share for _, share in messages]
    assert shares == sorted(shares) and len(shares) > 5
    assert hub.bytes_sent() == len(WEIGHTS) + 60_003
    assert not hub.requests(r"h5|README|evil|\.bin")
    with hub.watched() as seen:
        assert fetch()[0] == folder
    assert seen == []


def test_a_killed_download_is_resumed(fetch, hub, environment):
    slow = hub.fault("slow", r"^/cdn/.*safetensors", rate=200_000)
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, NAME, ""], env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    for line in process.stderr:
        if re.search(r"3\d\d kB of", line):
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    slow.times = 0
    folder, messages = fetch()
    assert (Path(folder) / "model.safetensors").read_bytes() == WEIGHTS
    again = weights(hub)[-1]
    assert again.status == 206 and again.begin > 150_000 and again.sent == len(WEIGHTS) - again.begin
    assert messages[0][1] == pytest.approx((again.begin + 60_003) / (len(WEIGHTS) + 60_003))
    assert len(hub.requests("tokenizer.json", "GET")) == 1


def test_a_connection_that_breaks_is_taken_up_in_the_same_run(fetch, hub):
    hub.fault("cut", r"^/cdn/.*safetensors", after=300_000, times=2)
    folder, messages = fetch()
    assert (Path(folder) / "model.safetensors").read_bytes() == WEIGHTS
    assert [request.begin for request in weights(hub)] == [None, 300_000, 600_000]
    assert sum(request.sent for request in weights(hub)) == len(WEIGHTS)
    assert any("closed the connection" in text and "trying again" in text for text, _ in messages)


def test_a_connection_that_stalls_is_given_up_and_taken_up(fetch, hub):
    hub.fault("stall", r"^/cdn/.*safetensors", after=500_000, times=1)
    folder, messages = fetch()
    assert (Path(folder) / "model.safetensors").read_bytes() == WEIGHTS
    assert [request.begin for request in weights(hub)][-1] == 500_000
    assert any("the Hub stopped answering; trying again" in text for text, _ in messages)


def test_a_hub_without_ranges_is_asked_from_the_start(fetch, hub):
    hub.fault("cut", r"^/cdn/.*safetensors", after=300_000, times=1)
    hub.ranges = False
    folder, messages = fetch()
    assert (Path(folder) / "model.safetensors").read_bytes() == WEIGHTS
    assert [request.status for request in weights(hub)] == [200, 200]
    assert messages[-1][1] == 1.0


@pytest.mark.parametrize(("where", "kind"), [("^/api/", "status"), ("^/cdn/", "status")])
def test_what_fails_twice_is_tried_again(fetch, hub, where, kind):
    hub.fault(kind, where, times=2, status=503)
    folder, messages = fetch()
    assert (Path(folder) / "model.safetensors").read_bytes() == WEIGHTS
    assert sum("trying again" in text for text, _ in messages) == 2


@pytest.mark.parametrize(
    ("where", "kind", "said"),
    [
        ("^/api/", "status", "the Hub answered 500. Try again later"),
        ("^/cdn/", "status", "the Hub answered 500. Try again later"),
        ("^/cdn/", "hang", "the Hub stopped answering. Try again later"),
        ("^/cdn/", "cut", "the Hub closed the connection"),
    ],
)
def test_repeated_failures_raise_after_a_bounded_number_of_attempts(fetch, hub, where, kind, said):
    hub.fault(kind, where)
    answer, _ = fetch()
    assert answer.startswith("ModelUnavailableError: the-model could not be downloaded: ") and said in answer
    assert len(hub.requests(where)) == 3
    hub.heal()
    assert Path(fetch()[0]).is_dir()


@pytest.mark.parametrize("kind", ["flip", "short"])
def test_a_file_that_arrives_damaged_is_found_and_fetched_again(fetch, hub, kind):
    hub.fault(kind, r"^/cdn/.*safetensors", times=1)
    folder, _ = fetch()
    assert (Path(folder) / "model.safetensors").read_bytes() == WEIGHTS
    assert len(weights(hub)) == 2


def test_a_small_file_is_checked_too(fetch, hub):
    hub.fault("flip", r"resolve/.*/tokenizer\.json", times=1)
    assert (Path(fetch()[0]) / "tokenizer.json").read_bytes() == FILES["tokenizer.json"]


def test_a_file_that_stays_corrupt_raises_and_is_deleted(fetch, hub):
    hub.fault("flip", r"^/cdn/.*safetensors")
    answer, _ = fetch()
    assert "model.safetensors of the-model was corrupt after two downloads" in answer
    assert len(weights(hub)) == 2
    hub.heal()
    assert (Path(fetch()[0]) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_revision_is_pinned_by_commit_and_by_tag(fetch, hub):
    first = hub.add("flan/moving", FILES)
    hub.add("flan/moving", FILES, branch="v1")
    hub.add("flan/moving", {**FILES, "model.safetensors": WEIGHTS[::-1]})
    for revision, expected in ((first, WEIGHTS), ("v1", WEIGHTS), ("", WEIGHTS[::-1])):
        folder = fetch("flan/moving", revision)[0]
        assert (Path(folder) / "model.safetensors").read_bytes() == expected
    # The same content is kept and fetched once.
    assert len(hub.requests("^/cdn/.*/flan/moving/model")) == 2
    with hub.watched() as seen:
        assert Path(fetch("flan/moving", first)[0]).name == first
    assert seen == []
    assert fetch("flan/moving", "v9")[0] == "HubRefusal: The Hub's flan/moving has no revision 'v9' (404)."


def test_refusals_say_the_way_out_and_are_not_repeated(fetch, hub):
    assert fetch("flan/none")[0] == (
        "HubRefusal: The Hub has no public repository flan/none (401); if it is private, set HF_TOKEN."
    )
    assert len(hub.requests("flan/none")) == 1
    hub.fault("status", "resolve/.*", status=403, code="GatedRepo")
    assert fetch()[0] == (
        f"HubRefusal: the-model is gated (403): accept its terms at https://huggingface.co/{NAME} and set HF_TOKEN."
    )
    hub.add("flan/notes", {"README.md": b"# Notes", "config.json": b"{}"})
    assert fetch("flan/notes")[0].startswith("HubRefusal: The Hub's flan/notes holds no model that dsum can load")


def test_a_token_goes_to_the_hub_and_not_to_the_content_store(fetch, hub):
    fetch(HF_TOKEN="hf_secret")
    assert {request.token for request in hub.requests("^/api/|/resolve/")} == {"Bearer hf_secret"}
    assert {request.token for request in hub.requests("^/cdn/")} == {""}


def test_a_disk_that_is_too_small_is_known_before_a_byte_is_fetched(fetch, hub):
    hub.declare(NAME, "model.safetensors", 10**16)
    answer, messages = fetch()
    assert answer.startswith(
        "ModelUnavailableError: the-model takes 10,000,000.0 GB on the disk of the Hub cache, and "
    )
    assert "set HF_HOME" in answer and messages == [["Downloading the-model: 0 kB of 10,000,000.0 GB", 0.0]]
    assert hub.bytes_sent() == 0


def test_a_cache_that_cannot_be_written_raises(fetch, tmp_path):
    (tmp_path / "file").write_text("")
    answer, _ = fetch(HF_HUB_CACHE=str(tmp_path / "file" / "hub"))
    assert answer == "ModelUnavailableError: the-model could not be written to the Hub cache: Not a directory."


def test_two_processes_fetch_each_byte_once(fetch, hub, environment):
    hub.fault("slow", r"^/cdn/.*safetensors", rate=1_000_000)
    both = [
        subprocess.Popen([sys.executable, "-c", FETCH, NAME, ""], env=environment, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]  # fmt: skip
    folders = {json.loads(process.communicate(timeout=60)[0])[0] for process in both}
    assert len(folders) == 1 and (Path(folders.pop()) / "model.safetensors").read_bytes() == WEIGHTS
    assert sum(request.sent for request in weights(hub)) == len(WEIGHTS)


def test_a_stop_is_obeyed_while_the_hub_is_silent(hub, environment):
    hub.add(NAME, FILES)
    hub.fault("hang", "^/cdn/")
    code = FETCH.replace("on_progress=report)", "on_progress=report, should_stop=lambda: len(messages) > 2)")
    done = subprocess.run(
        [sys.executable, "-c", code, NAME, ""], capture_output=True, text=True, timeout=30,
        env={**environment, "HF_HUB_DOWNLOAD_TIMEOUT": "300"},
    )  # fmt: skip
    assert json.loads(done.stdout)[0].startswith(
        "Stopped: The download of the-model was stopped; the next one resumes it."
    )
