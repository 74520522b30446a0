"""What a test starts in place of Python: has the server run the command, and ends as the command does.

Arguments: the socket's path, then Python's: `-m dsum_demo` and the command's. It imports little, to start quickly.
"""

import contextlib
import json
import os
import signal
import socket
import sys


def main() -> None:
    path, *given = sys.argv[1:]
    assert given[:2] == ["-m", "dsum_demo"], f"{given}: only `-m dsum_demo` can be forked"
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    request = json.dumps({"arguments": given[2:], "environment": dict(os.environ), "folder": os.getcwd()}).encode()
    socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
    connection.sendall(request)
    pid = int.from_bytes(connection.recv(8, socket.MSG_WAITALL), "big")

    # The command may have ended already; its exit code is then about to arrive.
    def forward(number: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    niceness = None
    connection.settimeout(0.1)
    while True:
        # The starter may change this process's priority at any time.
        if niceness != (niceness := os.getpriority(os.PRIO_PROCESS, 0)):
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, pid, niceness)
        try:
            answer = connection.recv(8, socket.MSG_WAITALL)
            break
        except TimeoutError:
            continue
    code = int.from_bytes(answer, "big", signed=True)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
