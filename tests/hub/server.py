"""A small Hugging Face Hub on loopback, for the real clients: models and data sets as git repositories have them.

It speaks what huggingface_hub, transformers, peft and datasets ask of the Hub: repository information, file trees,
`resolve` with HEAD and GET, ETags, redirects to a content store, byte ranges, and the data set viewer's `/info`. It
takes new repositories and commits of small files from clients with a token. Large
files (LFS_FROM bytes and more, and every weight file) go through the content store, as on the Hub.

The clients read HF_ENDPOINT and its like when they are imported: give them to a child process (`environment`). Faults
are switched on for paths, and every request is kept in `log`.

Sources: https://huggingface.co/docs/hub/api, huggingface_hub's own requests, and git's blob format.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS_FROM = 100_000
WEIGHTS = (".safetensors", ".bin", ".model")
CHUNK = 16_384
_API = r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/(.+))?"


@dataclass(frozen=True)
class File:
    """One file of a commit. `etag` is what the Hub gives as ETag: sha256 in the content store, else git's blob id."""

    content: bytes
    stored: bool
    declared: int | None = None

    @property
    def size(self) -> int:
        """The size that the Hub declares."""
        return len(self.content) if self.declared is None else self.declared

    @property
    def blob_id(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.stored else self.blob_id


@dataclass
class Repository:
    """Commits by their id, and what branches and tags point at."""

    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit_of(self, revision: str) -> str | None:
        revision = self.refs.get(revision, revision)
        return revision if revision in self.commits else None


@dataclass
class Request:
    """One request and its answer, in the log before the client can read the answer.

    begin: the first byte that was asked for; sent: bytes of the body so far; token: what it was authorized with.
    """

    method: str
    path: str
    status: int
    begin: int | None
    sent: int = 0
    token: str = ""


@dataclass
class Fault:
    """What goes wrong on the paths that `pattern` finds, the first `times` times (None: always).

    kind: "status" (answer `status` with `code` as the Hub's error code), "hang" (never answer), "stall" (send nothing
    after `after` bytes of the body), "cut" (drop the connection after `after` bytes), "short" (a complete answer
    without the last byte), "flip" (one bit is another), "slow" (`rate` bytes a second).
    """

    kind: str
    pattern: re.Pattern[str]
    times: int | None = None
    status: int = 500
    code: str = ""
    after: int = 0
    rate: int = 0


class HubServer:
    """Serves until `close`. Safe to change from the test's thread while it serves.

    viewer: the dataset viewer's responses by dataset name. ranges: whether byte ranges are answered.
    """

    def __init__(self) -> None:
        self.log: list[Request] = []
        self.viewer: dict[str, dict[str, object]] = {}
        self.ranges = True
        self._repositories: dict[tuple[str, str], Repository] = {}
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def store_url(self) -> str:
        """The content store is another host than the Hub, and the clients tell the two apart by name."""
        return f"http://localhost:{self._server.server_port}"

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Variables for a child process whose Hub this is; `home` becomes its cache. Timeouts are 1 s."""
        return {
            "HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"),
            "HF_DATASETS_CACHE": str(home / "datasets"), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_TOKEN": "", **more,
        }  # fmt: skip

    def add(
        self,
        repository: str,
        files: Path | dict[str, bytes],
        kind: str = "models",
        branch: str = "main",
        commit: str | None = None,
    ) -> str:
        """A new commit with the folder's files (or those given) on a branch. Returns its id, made up if not given."""
        if isinstance(files, Path):
            files = {f.relative_to(files).as_posix(): f.read_bytes() for f in files.rglob("*") if f.is_file()}
        kept = {
            name: File(content, name.endswith(WEIGHTS) or len(content) >= LFS_FROM) for name, content in files.items()
        }
        said = "".join(f"{name} {file.etag}\n" for name, file in sorted(kept.items()))
        with self._lock:
            home = self._repositories.setdefault((kind, repository), Repository())
            commit = commit or hashlib.sha1(f"{len(home.commits)}\n{said}".encode()).hexdigest()
            home.commits[commit] = kept
            home.refs[branch] = commit
        return commit

    def remove(self, repository: str, kind: str = "models") -> None:
        with self._lock:
            del self._repositories[kind, repository]

    def declare(self, repository: str, name: str, size: int) -> None:
        """Let the Hub say of a file that it has another size."""
        with self._lock:
            home = self._repositories["models", repository]
            files = home.commits[home.refs["main"]]
            files[name] = replace(files[name], declared=size)

    def fault(self, kind: str, pattern: str, **options: int | str | None) -> Fault:
        """Switch a fault on for the paths in which the regular expression is found."""
        fault = Fault(kind, re.compile(pattern), **options)  # type: ignore[arg-type]
        with self._lock:
            self._faults.insert(0, fault)
        return fault

    def heal(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._faults.clear()

    def requests(self, pattern: str = "", method: str = "") -> list[Request]:
        """The logged requests whose path the regular expression is found in."""
        with self._lock:
            return [r for r in self.log if re.search(pattern, r.path) and method in ("", r.method)]

    def bytes_sent(self, pattern: str = "") -> int:
        """Bytes of file contents that went out."""
        return sum(request.sent for request in self.requests(pattern) if re.search("/resolve/|/cdn/", request.path))

    @contextmanager
    def watched(self) -> Iterator[list[Request]]:
        """The requests that came while the block ran, complete when it is over."""
        seen: list[Request] = []
        before = len(self.log)
        yield seen
        with self._lock:
            seen.extend(self.log[before:])

    def reset(self) -> None:
        """As when it was new; requests that hang are dropped."""
        self.closing.set()
        with self._lock:
            self.log, self.viewer, self.ranges, self.closing = [], {}, True, threading.Event()
            self._repositories.clear()
            self._faults.clear()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    # For the handler

    def repository(self, kind: str, name: str) -> Repository | None:
        with self._lock:
            return self._repositories.get((kind, name))

    def stored(self, sha256: str) -> File | None:
        with self._lock:
            files = [f for r in self._repositories.values() for commit in r.commits.values() for f in commit.values()]
        return next((file for file in files if file.stored and file.sha256 == sha256), None)

    def fault_on(self, path: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.pattern.search(path) and fault.times != 0:
                    if fault.times:
                        fault.times -= 1
                    return fault
        return None

    def note(self, request: Request) -> None:
        with self._lock:
            self.log.append(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, format: str, *args: object) -> None:
        """The hub keeps its own log."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        # With a proxy setting this is the full URL: that is how requests to other host names reach this server.
        address = urlsplit(self.path)
        self.where, self.query = unquote(address.path) or "/", parse_qs(address.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.fault = self.hub.fault_on(self.where)
        if self.fault and self.fault.kind == "hang":
            self.hub.note(Request(self.command, self.where, 0, None, token=self._token()))
            self.hub.closing.wait(60)
            self.close_connection = True
        elif self.fault and self.fault.kind == "status":
            self._refuse(self.fault.status, self.fault.code)
        elif self.where == "/":
            self._send(b"hub")
        elif (address.hostname or self.headers.get("Host", "")).startswith("datasets-server."):
            self._viewer()
        elif found := re.fullmatch(
            r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/(.+))?", self.where
        ):
            self._api(*found.groups())
        elif self.where == "/api/whoami-v2" and self._token():
            self._json({"type": "user", "name": "maya", "fullname": "Maya Novak", "avatarUrl": f"{self.hub.url}/maya"})
        elif self.command == "POST" and self.where == "/api/repos/create":
            self._create(json.loads(self.body))
        elif found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/(preupload|commit)/main", self.where):
            self._write(*found.groups())
        elif found := re.fullmatch(r"/cdn/([0-9a-f]{64})/.*", self.where):
            file = self.hub.stored(found[1])
            self._content(file, {}) if file else self._refuse(404)
        elif found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+|refs/[^/]+/[^/]+)/(.+)", self.where):
            self._resolve("datasets" if found[1] else "models", found[2], found[3], found[4])
        else:
            self._refuse(404)

    def _api(self, kind: str, name: str, what: str | None, rest: str | None) -> None:
        repository = self.hub.repository(kind, name)
        if repository is None:
            # The Hub does not tell strangers what is private from what does not exist.
            return self._refuse(401, "RepoNotFound")
        revision, _, folder = (rest or "main").partition("/") if what == "tree" else (rest or "main", "", "")
        commit = repository.commit_of(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        files = repository.commits[commit]
        if what == "tree":
            inside = f"{folder}/" if folder else ""
            return self._json([_entry(n, f) for n, f in files.items() if n.startswith(inside)])
        if what == "paths-info":
            asked = (
                json.loads(self.body).get("paths", [])
                if self.body[:1] == b"{"
                else parse_qs(self.body.decode())["paths"]
            )
            return self._json([_entry(n, files[n]) for n in asked if n in files])
        blobs = "blobs" in self.query
        siblings = [{"rfilename": name, **(_blob(file) if blobs else {})} for name, file in files.items()]
        return self._json({"id": name, "_id": "0", "sha": commit, "private": False, "gated": False, "disabled": False,
                           "tags": [], "downloads": 0, "likes": 0, "siblings": siblings})  # fmt: skip

    def _create(self, asked: dict[str, Any]) -> None:
        kind, name = f"{asked.get('type') or 'model'}s", f"{asked['organization']}/{asked['name']}"
        if not self._token():
            return self._refuse(401)
        known = self.hub.repository(kind, name)
        if not known:
            self.hub.add(name, {}, kind)
        return self._json({"url": f"{self.hub.url}/{kind}/{name}"}, 409 if known else 200)

    def _write(self, kind: str, name: str, what: str) -> None:
        """A commit is a line with its message and a line for each file."""
        repository = self.hub.repository(kind, name)
        if repository is None or not self._token():
            return self._refuse(401, "RepoNotFound")
        if what == "preupload":
            paths = [file["path"] for file in json.loads(self.body)["files"]]
            return self._json({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})
        files = {n: file.content for n, file in repository.commits[repository.refs["main"]].items()}
        for line in map(json.loads, self.body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        commit = self.hub.add(name, files, kind)
        return self._json({"commitUrl": f"{self.hub.url}/{kind}/{name}/commit/{commit}", "commitOid": commit})

    def _resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        repository = self.hub.repository(kind, name)
        if repository is None:
            return self._refuse(401, "RepoNotFound")
        commit = repository.commit_of(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        headers = {"X-Repo-Commit": commit}
        file = repository.commits[commit].get(path)
        if file is None:
            return self._refuse(404, "EntryNotFound", headers)
        if not file.stored:
            return self._content(file, {**headers, "ETag": f'"{file.etag}"'})
        headers |= {"X-Linked-ETag": f'"{file.etag}"', "X-Linked-Size": str(len(file.content)),
                    "Location": f"{self.hub.store_url}/cdn/{file.sha256}/{name}/{path}"}  # fmt: skip
        return self._send(b"", 302, headers)

    def _viewer(self) -> None:
        name = self.query.get("dataset", [""])[0]
        repository, information = self.hub.repository("datasets", name), self.hub.viewer.get(name)
        commit = repository.commit_of("main") if repository else None
        if self.where != "/info" or commit is None or information is None:
            return self._refuse(404)
        said = {"dataset_info": information, "pending": [], "failed": [], "partial": False}
        return self._send(json.dumps(said).encode(), headers={"X-Revision": commit, "Content-Type": "application/json"})

    def _json(self, value: object, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str = "", headers: dict[str, str] | None = None) -> None:
        self._send(b"", status, {**(headers or {}), **({"X-Error-Code": code} if code else {})})

    def _content(self, file: File, headers: dict[str, str]) -> None:
        content, size = file.content, len(file.content)
        if self.fault and self.fault.kind == "flip":
            content = content[: size // 2] + bytes([content[size // 2] ^ 4]) + content[size // 2 + 1 :]
        headers = {"Accept-Ranges": "bytes", **headers}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "") if self.hub.ranges else "")
        if asked and int(asked[1]) >= size:
            return self._send(b"", 416, {**headers, "Content-Range": f"bytes */{size}"})
        if asked:
            begin = int(asked[1])
            return self._send(content[begin:], 206, {**headers, "Content-Range": f"bytes {begin}-{size - 1}/{size}"})
        return self._send(content[:-1] if self.fault and self.fault.kind == "short" else content, 200, headers)

    def _send(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        request = Request(self.command, self.where, status, int(asked[1]) if asked else None, token=self._token())
        self.hub.note(request)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._stream(content, request)

    def _token(self) -> str:
        return self.headers.get("Authorization", "")

    def _stream(self, content: bytes, request: Request) -> None:
        """Write the body as the fault allows."""
        fault = self.fault
        limit = fault.after if fault and fault.kind in ("cut", "stall") else len(content)
        rate = fault.rate if fault and fault.kind == "slow" else 0
        step = max(1, min(CHUNK, rate // 20)) if rate else CHUNK
        try:
            for start in range(0, min(limit, len(content)), step):
                piece = content[start : min(start + step, limit)]
                request.sent += len(piece)
                self.wfile.write(piece)
                if rate:
                    time.sleep(len(piece) / rate)
        except OSError:  # the client has gone
            self.close_connection = True
            return
        if limit < len(content):
            if fault and fault.kind == "stall":
                self._wait_for_client_to_leave()
            self.close_connection = True

    def _wait_for_client_to_leave(self) -> None:
        closing = self.hub.closing
        while not closing.wait(0.02):
            readable, _, _ = select.select([self.connection], [], [], 0)
            try:
                if readable and not self.connection.recv(1, socket.MSG_PEEK):
                    return
            except OSError:
                return


def _blob(file: File) -> dict[str, object]:
    stored = {"lfs": {"sha256": file.sha256, "size": file.size, "pointerSize": 134}} if file.stored else {}
    return {"size": file.size, "blobId": file.blob_id, **stored}


def _entry(name: str, file: File) -> dict[str, object]:
    stored = {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134}} if file.stored else {}
    return {"type": "file", "path": name, "oid": file.blob_id, "size": file.size, **stored}
