"""The Containerfile copies what the app reads, runs without root's rights, and its health check follows /healthz."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from dsum_demo.settings import PROJECT_ROOT

TEXT = re.sub(r"\\\n\s*", "", (PROJECT_ROOT / "Containerfile").read_text(encoding="utf-8"))
FINAL = TEXT.split("\nFROM ")[-1]


def test_the_image_has_every_folder_that_the_app_reads():
    copied = {
        source for line in re.findall(r"^COPY (?!--from)(.+)$", FINAL, re.MULTILINE) for source in line.split()[:-1]
    }
    assert all((PROJECT_ROOT / source).exists() for source in copied)
    kept = (PROJECT_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in kept if line.startswith("!")} == copied | {"requirements.txt"}
    used = {"app.py", "dsum_demo", "models", "adapters", "judges", "samples", "evaluations", "recordings", "studies"}
    assert used <= copied


def test_the_image_runs_without_roots_rights_and_writes_only_to_its_volume():
    assert FINAL.index("\nUSER 10001") < FINAL.index("\nCMD ")
    assert "DSUM_DATA_DIR=/data" in FINAL and "HF_HOME=/data/" in FINAL and "\nVOLUME /data\n" in FINAL


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_succeeds_if_the_app_is_healthy(status, healthy):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    command = json.loads(re.search(r"^HEALTHCHECK .* CMD (\[.+\])$", FINAL, re.MULTILINE)[1])
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.handle_request).start()
        command = [part.replace(":7860/", f":{server.server_port}/") for part in command]
        assert command[0] == "python"
        done = subprocess.run([sys.executable, *command[1:]], capture_output=True, timeout=30)
    assert (done.returncode == 0) == healthy
