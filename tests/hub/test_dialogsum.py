"""DialogSum from the loopback Hub through `datasets`: from the Hub, then from its cache, and where neither helps."""

from __future__ import annotations

import json

from tests.hub.checkpoints import DIALOGSUM, dialogsum_repository, dialogsum_rows

READ = """
import json
from dsum_demo.data import sources
from dsum_demo.errors import DsumError
from dsum_demo.composition import load_settings, make_sources

messages = []
sources.PATIENCE_SECONDS = PATIENCE
for source in SOURCES:
    try:
        stop = STOP and (lambda: len(messages) > 0)
        found = make_sources(load_settings()).read(source, on_progress=lambda text, share: messages.append(text),
                                                  should_stop=stop or (lambda: False))
        print(json.dumps([len(found), found[1].id, found[1].dialogue, found[1].references, found[1].topics]))
    except DsumError as error:
        print(json.dumps(f"{type(error).__name__}: {error}"))
print(json.dumps(messages))
"""


def read(child, *sources: str, stop: bool = False, patience: float = 60, **more: str) -> tuple[list, list[str]]:
    """Each source's result, and the progress messages."""
    done = child(f"SOURCES, STOP, PATIENCE = {list(sources)!r}, {stop}, {patience}\n{READ}", **more)
    assert done.returncode == 0, done.stderr
    # Standard error contains no warnings of other libraries.
    assert "arning" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    *found, messages = map(json.loads, done.stdout.splitlines())
    return found, messages


def test_from_the_hub_once_then_from_the_cache(hub, child):
    hub.add(DIALOGSUM, dialogsum_repository(), kind="datasets")
    (test, train), messages = read(child, "dialogsum:test", "dialogsum:train")
    rows = dialogsum_rows("test", 2)[3:]
    assert test == [500, "test_1", rows[0]["dialogue"], [r["summary"] for r in rows], [r["topic"] for r in rows]]
    assert train[:2] == [40, "train_1"] and len(train[3]) == 1
    assert messages == ["Downloading DialogSum from the Hub (12 MB)"]
    with hub.watched() as seen:
        (again, validation), messages = read(child, "dialogsum:test", "dialogsum:validation", HF_HUB_OFFLINE="1")
    assert again == test and validation[:2] == [10, "dev_1"]
    assert seen == [] and messages == []


def test_refusals_faults_and_a_stop_are_sentences(hub, child):
    found, messages = read(child, "dialogsum:test")
    assert (
        found[0].startswith("DataError: DialogSum could not be downloaded from the Hub: ")
        and "DSUM_DIALOGSUM" in found[0]
    )
    assert "knkarthick/dialogsum" in found[0]
    found, messages = read(child, "dialogsum:test", HF_HUB_OFFLINE="1")
    assert (
        found
        == [
            "DataError: DialogSum is not on this machine and cannot be downloaded. Offline: HF_HUB_OFFLINE is set. "
            "Set DSUM_DIALOGSUM to a folder with its splits, or use the samples."
        ]
        and messages == []
    )
    hub.add(DIALOGSUM, dialogsum_repository(test=1), kind="datasets")
    hub.fault("hang", "resolve/.*csv")
    found, _ = read(child, "dialogsum:test", stop=True)
    assert found == ["Stopped: The download of DialogSum was stopped."]
    found, _ = read(child, "dialogsum:test", patience=0.3)
    assert found[0].startswith("DataError: The download of DialogSum took more than 0.3 s. Set DSUM_DIALOGSUM")
