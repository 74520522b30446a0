"""Forks one process per command. Arguments: the socket's path and the program that replaces `sys.executable`."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from typing import Any

import peft  # noqa: F401
import torch  # noqa: F401
import transformers  # noqa: F401

import dsum_demo.evaluation.runner
import dsum_demo.models.store
import dsum_demo.runs.runner  # noqa: F401
from dsum_demo.cli.main import main


def serve(path: str, program: str) -> None:
    """Accept commands until standard input is closed."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(32)
    print("ready", flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ, None)
    selector.register(0, selectors.EVENT_READ, None)
    while True:
        for key, _ in selector.select():
            if key.fileobj == 0:
                return
            if key.fileobj is listening:
                connection, _ = listening.accept()
                try:
                    pid = start(connection, program)
                except (EOFError, ConnectionError):
                    connection.close()
                    continue
                with contextlib.suppress(OSError):  # command.py was killed: its closed connection is read below
                    connection.sendall(pid.to_bytes(8, "big"))
                selector.register(connection, selectors.EVENT_READ, pid)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))
            elif key.fileobj in selector.get_map() and isinstance(key.data, int):  # command.py was killed
                selector.unregister(key.fileobj)
                os.kill(key.data, signal.SIGKILL)
            elif key.fileobj in selector.get_map():
                pid, connection = key.data
                selector.unregister(key.fileobj)
                os.close(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                if connection in selector.get_map():
                    selector.unregister(connection)
                    with contextlib.suppress(OSError):
                        connection.sendall(code.to_bytes(8, "big", signed=True))
                connection.close()


def start(connection: socket.socket, program: str) -> int:
    """Fork a process for the command that `connection` sends. Raises EOFError if it ends early."""
    head, streams, *_ = socket.recv_fds(connection, 8, 3)
    try:
        size = int.from_bytes(head, "big")
        request = connection.recv(size, socket.MSG_WAITALL)
        if not request or len(request) < size:
            raise EOFError
        pid = os.fork()
        if pid == 0:
            run(json.loads(request), streams, program)
    finally:
        for stream in streams:
            os.close(stream)
    return pid


def run(request: dict[str, Any], streams: list[int], program: str) -> None:
    """The command, in the forked process, which it ends."""
    code = 1
    try:
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, 1024)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.executable, sys.argv = program, ["dsum", *request["arguments"]]
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
        code = main(request["arguments"])
    except SystemExit as exit:  # argparse
        code = exit.code if isinstance(exit.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
    os._exit(0)  # without torch's teardown, which takes seconds
