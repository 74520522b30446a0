"""Measures the app with 1, 5, 20 and 50 users who compare at the same time, in batches and one by one, in the same run:

    python benchmarks/load.py [--family dsum-t5] [--users 1 5 20 50] [--comparisons 2] [--memory 500]

Each side is the app in a child process, with `DSUM_BATCH_REQUESTS` at its default or 1, and with a data folder of its
own. A user sends a sample to the Compare tab's handler as the page does, reads the stream of answers to its end, thinks
for an exponentially distributed, seeded time, and repeats. The speed of a shared machine varies, so the sides
alternate: each number of users first in batches, then one by one. The summaries of both sides are compared. `--memory`
reports the growth of the app's resident memory from 50 comparisons to this number, in batches.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from dsum_demo.data.examples import Example, read_samples
from dsum_demo.settings import PROJECT_ROOT, Settings

FIRST_TOKEN = r"<span class=\"text\">"
POSITION = re.compile(r"position (\d+) in the queue")
DOWNLOAD = re.compile(r"data:application/json;charset=utf-8;base64,([\w+/=]+)")
START_SECONDS = 180


@dataclass
class Answer:
    """Seconds from sending to the first token and to the end, the highest position in the queue, and the summaries."""

    first: float
    end: float
    position: int
    summaries: dict[str, str]


@dataclass
class App:
    """A running app. begin, handler: of the button Compare; inputs: of the handler."""

    url: str
    begin: int = 0
    handler: int = 0
    inputs: list[Any] = field(default_factory=list)
    dialogue: int = 0

    def wait(self) -> None:
        """Until its models are loaded and it does nothing."""
        until, before = time.monotonic() + START_SECONDS, 0.0
        while time.monotonic() < until:
            time.sleep(1)
            try:
                loaded = httpx.get(f"{self.url}healthz").json()["models_loaded"] >= 3
                spent = self.metric("process_cpu_seconds_total")
            except httpx.TransportError:
                continue
            if loaded and spent - before < 0.3:
                break
            before = spent
        config = httpx.get(f"{self.url}config").json()
        components = {part["id"]: part["props"] for part in config["components"]}
        (handler,) = (one for one in config["dependencies"] if one["api_name"] == "run_comparison")
        self.handler, self.begin = handler["id"], handler["trigger_after"]
        self.inputs = [components[number].get("value") for number in handler["inputs"]]
        names = [components[number].get("elem_id") for number in handler["inputs"]]
        self.dialogue = names.index("dialogue")

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.url}metrics").text
        return float(re.findall(rf"^{name} (\S+)", text, re.MULTILINE)[0])


@contextmanager
def running_app(family: str, **environment: str) -> Iterator[App]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        changes = {"DSUM_FAMILY": family, "DSUM_DATA_DIR": folder, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive"}
        child = subprocess.Popen(
            [sys.executable, "-m", "dsum_demo", "serve", "--port", str(port)], cwd=PROJECT_ROOT,
            env={**os.environ, **changes, **environment}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            app = App(f"http://127.0.0.1:{port}/")
            app.wait()
            yield app
        finally:
            child.terminate()
            child.wait()


async def compare(client: httpx.AsyncClient, app: App, session: str, sample: Example) -> Answer:
    inputs = list(app.inputs)
    inputs[app.dialogue] = sample.dialogue
    begin = {"fn_index": app.begin, "data": [], "session_hash": session}
    call = {"fn_index": app.handler, "data": inputs, "session_hash": session}
    started, first, position, summaries = time.perf_counter(), 0.0, 0, {}
    (await client.post(f"{app.url}gradio_api/run/predict", json=begin)).raise_for_status()
    (await client.post(f"{app.url}gradio_api/queue/join", json=call)).raise_for_status()
    async with client.stream("GET", f"{app.url}gradio_api/queue/data", params={"session_hash": session}) as lines:
        async for line in lines.aiter_lines():
            if not first and FIRST_TOKEN in line:
                first = time.perf_counter() - started
            position = max([position, *map(int, POSITION.findall(line))])
            if found := DOWNLOAD.findall(line):
                systems = json.loads(base64.b64decode(found[-1]))["systems"]
                summaries = {system["name"]: system["summary"] for system in systems}
            if '"process_completed"' in line:
                if not summaries:
                    raise RuntimeError(f"The comparison failed: {line[:500]}")
                return Answer(first, time.perf_counter() - started, position, summaries)
    raise RuntimeError("The stream of answers ended before the comparison.")


async def load(
    app: App, samples: Sequence[Example], users: int, comparisons: int, think: float
) -> tuple[float, dict[tuple[int, int], Answer]]:
    """Seconds, and the answers by user and turn; the users start within one thinking time."""
    answers: dict[tuple[int, int], Answer] = {}

    async def user(number: int, client: httpx.AsyncClient) -> None:
        rng = random.Random(number)
        await asyncio.sleep(rng.uniform(0, think) if users > 1 else 0)
        for turn in range(comparisons):
            sample = samples[rng.randrange(len(samples))]
            answers[number, turn] = await compare(client, app, f"user{number}", sample)
            if turn + 1 < comparisons:
                await asyncio.sleep(rng.expovariate(1 / think))

    started = time.perf_counter()
    async with httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None)) as client:
        await asyncio.gather(*(user(number, client) for number in range(users)))
    return time.perf_counter() - started, answers


def row(users: int, side: str, seconds: float, answers: Mapping[Any, Answer]) -> str:
    firsts, ends = ([getattr(a, name) for a in answers.values()] for name in ("first", "end"))
    position = max(answer.position for answer in answers.values())
    spread = " | ".join(f"{statistics.median(v):.1f} s | {percentile(v, 95):.1f} s" for v in (firsts, ends))
    return f"| {users} | {side} | {60 * len(answers) / seconds:.1f} | {spread} | {position} |"


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="dsum-t5")
    parser.add_argument("--users", type=int, nargs="*", default=[1, 5, 20, 50])
    parser.add_argument("--comparisons", type=int, default=2, help="of each user")
    parser.add_argument("--think", type=float, default=2.0, help="mean seconds between a user's comparisons")
    parser.add_argument("--memory", type=int, default=0, help="comparisons of the memory test; 0: none")
    options = parser.parse_args()
    samples = read_samples(Settings().samples_file)
    print(
        f"{options.family}, {os.cpu_count()} cores; comparisons per minute, seconds to the first token and to the end"
    )
    print("| users | side | per minute | first, p50 | p95 | end, p50 | p95 | position |")
    print("|---|---|---|---|---|---|---|---|")
    sides = {"in batches": {}, "one by one": {"DSUM_BATCH_REQUESTS": "1"}}
    with running_app(options.family) as batched, running_app(options.family, **sides["one by one"]) as single:
        ratios, differing, texts = {}, 0, 0
        for users in options.users:
            found = {}
            for side, app in zip(sides, (batched, single), strict=True):
                found[side] = asyncio.run(load(app, samples, users, options.comparisons, options.think))
                print(row(users, side, *found[side]), flush=True)
            ratios[users] = found["one by one"][0] / found["in batches"][0]
            for key, answer in found["in batches"][1].items():
                others = found["one by one"][1][key].summaries
                differing += sum(text != others[name] for name, text in answer.summaries.items())
                texts += len(others)
    for users, ratio in ratios.items():
        print(f"{users} users: throughput in batches is {ratio:.2f} times that one by one")
    if texts:
        print(f"{differing} of {texts} summaries differ between the sides")
    if options.memory:
        with running_app(options.family) as app:
            asyncio.run(load(app, samples, 10, 5, 0.01))
            after_50 = app.metric("process_resident_memory_bytes")
            asyncio.run(load(app, samples, 10, max(1, (options.memory - 50) // 10), 0.01))
            after = app.metric("process_resident_memory_bytes")
        change = 100 * (after / after_50 - 1)
        print(f"memory: {after_50 / 1e6:.0f} MB after 50 comparisons, {after / 1e6:.0f} MB after {options.memory}: "
              f"{change:+.1f} %")  # fmt: skip


if __name__ == "__main__":
    main()
