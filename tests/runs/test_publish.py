"""`dsum push` to a local Hub server with the real client: the uploaded files and the handling of the token."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dsum_demo.composition import hub_probe
from dsum_demo.errors import InputError, TrainingError
from dsum_demo.runs.publish import push
from dsum_demo.runs.store import Run, Runs, RunState

TOKEN = "hf_" + "x" * 34
CONFIG = {
    "base": "dsum-t5-base",
    "training": {"method": "lora", "options": {}},
    "data": {"source": "/home/me/rows.csv"},
}


class Hub(ThreadingHTTPServer):
    """Accepts commits, with large files in its content store. refuse: respond to everything with 403."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.created: list[dict] = []
        self.refuse = False
        self.tokens: set[str | None] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def answer(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.answer({"id": "me/mine", "sha": "0" * 40, "siblings": []})

    def do_POST(self) -> None:
        body = self.body()
        self.server.tokens.add(self.headers.get("Authorization"))
        if self.server.refuse:
            return self.answer({"error": "Forbidden"}, 403)
        if self.path == "/api/validate-yaml":  # the card's metadata
            return self.answer({"errors": [], "warnings": []})
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            return self.answer({"url": f"{self.server.address}/me/mine"})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [(f["path"], "lfs" if f["path"].endswith(".safetensors") else "regular") for f in files]
            return self.answer({"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes]})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            return self.answer({"transfer": "basic", "objects": [
                {**each, "actions": {"upload": {"href": f"{self.server.address}/store/{each['oid']}"}}}
                for each in objects]})  # fmt: skip
        assert "/commit/" in self.path, self.path
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.server.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.server.files[value["path"]] = self.server.stored[value["oid"]]
        url = f"{self.server.address}/me/mine/commit/1"
        self.answer({"success": True, "commitOid": "1" * 40, "commitUrl": url})

    def do_PUT(self) -> None:
        self.server.stored[self.path.split("/")[-1]] = self.body()
        self.answer({})

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(settings) -> Run:
    run = Runs(settings.runs_dir).create(CONFIG, "mine")
    run.best.mkdir()
    (run.best / "adapter_model.safetensors").write_bytes(b"weights" * 1000)
    (run.best / "adapter_config.json").write_text("{}")
    (run.best / "README.md").write_text("# mine\n")
    run.write_json("result.json", {"base": "dsum-t5-base", "config": run.config()})
    run.write_status(RunState.FINISHED)
    return run


def upload(run: Run, hub: Hub, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-m", "dsum_demo", "push", run.name, *words], capture_output=True, text=True, timeout=120,
        env={**known, "HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(run.folder.parent / "home"),
             "DSUM_DATA_DIR": str(run.folder.parent.parent), "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
             **environment},
    )  # fmt: skip


def test_push_uploads_weights_card_and_record_in_one_commit_without_storing_the_token(run, hub):
    done = upload(run, hub, "me/mine", "--private", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{hub.address}/me/mine\n"
    assert set(hub.files) == {"README.md", "adapter_config.json", "adapter_model.safetensors", "result.json"}
    assert hub.files["adapter_model.safetensors"] == b"weights" * 1000 and hub.files["README.md"] == b"# mine\n"
    assert hub.created[0].get("visibility") == "private" or hub.created[0].get("private") is True
    assert f"Bearer {TOKEN}" in hub.tokens
    record = json.loads(hub.files["result.json"])
    assert record["config"]["data"]["source"] == "rows.csv", "the local path is not uploaded"
    kept = [path.read_bytes() for path in run.folder.parent.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in content for content in kept) and TOKEN not in done.stdout + done.stderr


def test_a_refusal_of_the_hub_is_reported_without_the_token(run, hub):
    hub.refuse = True
    done = upload(run, hub, "me/mine", HF_TOKEN=TOKEN)
    assert done.returncode == 1 and "dsum: Uploading mine to the Hub failed: " in done.stderr and "403" in done.stderr
    assert "Traceback" not in done.stderr and TOKEN not in done.stderr


def test_push_without_a_token_explains_how_to_log_in(run, hub):
    hub.refuse = True
    done = upload(run, hub, "me/mine")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "HF_TOKEN" in done.stderr or "Uploading mine to the Hub failed" in done.stderr


def test_push_offline_raises(run, settings):
    with pytest.raises(TrainingError, match=r"mine cannot be uploaded. Offline: HF_HUB_OFFLINE is set"):
        push(run, "me/mine", hub_probe(settings))


@pytest.mark.parametrize("name", ["mine", "me/mine/x", "/mine", "me/", "", "https://x/y", "me/../you"])
def test_an_invalid_repository_name_raises(run, settings, name):
    with pytest.raises(InputError, match="is not a repository name; give owner/name"):
        push(run, name, hub_probe(settings))


def test_pushing_a_run_without_a_model_raises(settings):
    run = Runs(settings.runs_dir).create(CONFIG, "empty")
    with pytest.raises(InputError, match="empty is queued and has no model to upload"):
        push(run, "me/mine", hub_probe(settings))


PUSH_ON_THE_PAGE = """
import sys
from dsum_demo.composition import load_settings
from dsum_demo.ui.services import Services
from dsum_demo.ui.train.push import push_run
services = Services.start(load_settings())
print(*push_run(services, "mine", "", " me/mine ", "private"), sep="\\n")
print(*push_run(services, "mine", "", "mine", "public"), sep="\\n")
print(*push_run(services, "unknown", "", "me/mine", "public"), sep="\\n")
"""


def test_the_train_tab_pushes_a_run_and_links_to_it_or_shows_the_error(run, hub, settings):
    known = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", PUSH_ON_THE_PAGE], capture_output=True, text=True, timeout=120,
        env={**known, **settings.as_environment(), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.address,
             "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(run.folder.parent / "home"), "HF_TOKEN": TOKEN,
             "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Uploading mine to me/mine" in done.stdout
    assert f'<a href="{hub.address}/me/mine" target="_blank" rel="noopener">' in done.stdout
    assert "adapter_model.safetensors" in hub.files and hub.created[0].get("visibility", "private") == "private"
    assert "is not a repository name; give owner/name" in done.stdout and "unknown" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
