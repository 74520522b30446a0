from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
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


def test_a_command_that_ended_before_its_priority_is_set_gives_its_exit_code(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(timeout=60)
    command = Path(__file__).with_name("command.py")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        process = subprocess.Popen([sys.executable, "-I", "-S", command, tmp_path / "socket", "-m", "dsum_demo"])
        connection, _ = listening.accept()
        with connection:
            head, streams, *_ = socket.recv_fds(connection, 8, 3)
            for stream in streams:
                os.close(stream)
            connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
            connection.sendall(ended.pid.to_bytes(8, "big") + (7).to_bytes(8, "big"))
            assert process.wait(timeout=60) == 7
