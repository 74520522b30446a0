from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("part", ["nothing", "length", "half of the request", "request"])
def test_a_command_that_is_killed_while_it_connects_leaves_the_server_running(forked_python, part):
    request = json.dumps({"arguments": ["--version"], "environment": dict(os.environ), "folder": os.getcwd()}).encode()
    sent = {"nothing": 0, "length": 0, "half of the request": len(request) // 2, "request": len(request)}[part]
    with socket.socket(socket.AF_UNIX) as connection, open(os.devnull, "r+b") as null:
        connection.connect(str(Path(forked_python).with_name("socket")))
        if part != "nothing":
            socket.send_fds(connection, [len(request).to_bytes(8, "big")], [null.fileno()] * 3)
        connection.sendall(request[:sent])
    after = subprocess.run([forked_python, "-m", "dsum_demo", "--version"], capture_output=True, text=True, timeout=60)
    assert after.returncode == 0 and after.stdout.startswith("dsum "), after.stderr
