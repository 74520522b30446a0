"""Loads an export again and compares its summaries with the app's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from dsum_demo.data.examples import Example
from dsum_demo.errors import ExportError, Stopped
from dsum_demo.generation.streaming import HALF_A_CHARACTER, generate
from dsum_demo.metrics.rouge import ROUGE_TYPES, rouge_scores
from dsum_demo.metrics.scores import METRICS
from dsum_demo.models.catalog import Family
from dsum_demo.models.store import LoadedModel

_POLL_SECONDS = 0.2
_SHOWN_LINES = 6  # of a failed child's output
SHOWN = ROUGE_TYPES[:3]


@dataclass(frozen=True)
class SummaryPair:
    """The summaries of one dialogue by the app, by the export, and by the model before the export in float32; None if
    the app computes in float32 itself.
    """

    id: str
    app: str
    export: str
    unrounded: str | None = None

    @property
    def identical(self) -> bool:
        return self.app == self.export


@dataclass(frozen=True)
class ExportCheck:
    """All pairs of a check. app_dtype: of the app's weights."""

    pairs: tuple[SummaryPair, ...]
    app_dtype: str = "float32"

    @property
    def identical(self) -> int:
        return sum(pair.identical for pair in self.pairs)

    @property
    def identical_unrounded(self) -> int | None:
        """How many are identical to those of the model in float32, None if the app computes in float32 itself."""
        if any(pair.unrounded is None for pair in self.pairs):
            return None
        return sum(pair.unrounded == pair.export for pair in self.pairs)

    @property
    def different(self) -> list[SummaryPair]:
        return [pair for pair in self.pairs if not pair.identical]

    def rouge(self) -> dict[str, float]:
        """Mean F1 of the export's summaries against the app's, 0 to 1; 1 for identical ones."""
        scores = [rouge_scores(pair.export, pair.app) for pair in self.pairs if not pair.identical]
        same = [1.0] * self.identical
        return {name: fmean([*same, *(score[name][2] for score in scores)]) for name in SHOWN}

    @property
    def text(self) -> str:
        """One sentence, such as "20 of 20 summaries are identical to the app's."."""
        if not self.pairs:
            return "Not checked."
        text = f"{self.identical} of {len(self.pairs)} summaries are identical to the app's"
        if self.identical_unrounded is not None:
            text += (
                f", which computes in {self.app_dtype}, and {self.identical_unrounded} to those of the model in "
                "float32 before the export"
            )
        if not self.different:
            return f"{text}."
        scores = ", ".join(f"{METRICS[name].short} {100 * value:.1f}" for name, value in self.rouge().items())
        return f"{text}; ROUGE F1 of all against the app's: {scores}."

    def as_dict(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "dialogues": len(self.pairs),
            "app_dtype": self.app_dtype,
            "identical": self.identical,
            "identical_unrounded": self.identical_unrounded if self.pairs else None,
            "rouge": self.rouge() if self.pairs else None,
            "pairs": [asdict(pair) for pair in self.pairs],
        }


def app_summaries(
    loaded: LoadedModel, family: Family, examples: Sequence[Example], should_stop: Callable[[], bool]
) -> Iterator[tuple[str, str]]:
    """(dialogue as the model reads it, summary) of each example. Raises Stopped."""
    decode = family.decode
    for example in examples:
        fitted = loaded.fit(family.prompt, example.dialogue, family.max_source_tokens, decode.max_new_tokens)
        generation = generate(loaded, fitted.source_ids, decode, should_stop)
        if generation.stopped:
            raise Stopped("The export was stopped.")
        yield fitted.text, generation.text


def export_summaries(folder: Path, dialogues: Sequence[str], should_stop: Callable[[], bool]) -> Iterator[str]:
    """The summaries of the code and weights in `folder`, written by a child process without dsum and without the Hub.

    Raises Stopped, and ExportError with the end of its output if the child fails.
    """
    program = Path(__file__).with_name("reload.py")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with subprocess.Popen(
        [sys.executable, "-I", str(program)], cwd=folder, env=environment, text=True, encoding="utf-8",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdin and child.stdout and child.stderr
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(child.stderr or ()), daemon=True)
        reader.start()
        stopped = threading.Event()
        watcher = threading.Thread(target=_stop, args=(child, should_stop, stopped), daemon=True)
        watcher.start()
        try:
            child.stdin.write(json.dumps(dialogues))
            child.stdin.close()
            for line in child.stdout:
                # The app leaves out an incomplete last character.
                yield json.loads(line).rstrip(HALF_A_CHARACTER).strip()
        except BrokenPipeError:
            pass  # the child's output has the reason
        finally:
            if child.poll() is None and sys.exc_info()[0] is not None:
                child.kill()
            code = child.wait()
            watcher.join()
            reader.join()
    if stopped.is_set():
        raise Stopped("The export was stopped.")
    if code:
        said = " ".join(line.strip() for line in errors[-_SHOWN_LINES:])
        raise ExportError(f"The exported model cannot be loaded again: {said}")


def _stop(child: subprocess.Popen[str], should_stop: Callable[[], bool], stopped: threading.Event) -> None:
    while child.poll() is None:
        if should_stop():
            stopped.set()
            child.kill()
            return
        time.sleep(_POLL_SECONDS)
