"""The child process of the check: runs summarize.py in the folder of an export. It does not import dsum.

Reads a JSON list of dialogues from standard input and prints one JSON text per summary.
"""

import contextlib
import io
import json
import runpy
import sys


def main() -> None:
    dialogues = json.load(sys.stdin)
    with contextlib.redirect_stdout(io.StringIO()):
        summarize = runpy.run_path("summarize.py")["summarize"]
    for dialogue in dialogues:
        print(json.dumps(summarize(dialogue)), flush=True)


if __name__ == "__main__":
    main()
